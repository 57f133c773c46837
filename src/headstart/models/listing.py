"""List the pretrained backbones."""

from __future__ import annotations

import fnmatch

from headstart.errors import OptionError, did_you_mean
from headstart.models.providers import PROVIDERS, BackboneInfo


def backbones(pattern: str | None = None) -> list[BackboneInfo]:
    """The pretrained backbones, those with short names first; no network is built.

    Args:
        pattern: a part of the name, or with wildcards (``*resnet5?``) the whole of it; by default all.

    Returns:
        Name, input size, weights, family and licence of each.

    Raises:
        OptionError: no name matches; the nearest are named.
    """
    names = [(name, provider) for provider in PROVIDERS for name in provider.names()]
    found = [(name, provider) for name, provider in names if pattern is None or _matches(name, pattern.strip().lower())]
    if not found:
        close = did_you_mean(str(pattern), [name for name, _ in names])
        raise OptionError(f"no backbone matches {pattern!r}", f"{close} `hs.backbones()` lists them all.".strip())
    return [provider.describe(name) for name, provider in found]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name

"""Which backbones there are. In: a pattern. Out: ``BackboneInfo`` per pretrained network, from timm's tables; no
network is built.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from headstart.errors import OptionError, did_you_mean
from headstart.models.names import TORCHVISION_RESNETS, Entry, resolve
from headstart.models.starter import IMAGE_SIZE
from headstart.models.starter import NAME as STARTER


@dataclass(frozen=True)
class BackboneInfo:
    """``name`` as ``backbone`` takes it; ``image_size`` in px; ``weights`` in words; ``family``: timm's module;
    ``license`` of the weights.
    """

    name: str
    image_size: int
    weights: str
    family: str
    license: str | None = None


def backbones(pattern: str | None = None) -> list[BackboneInfo]:
    """List pretrained backbones, the short names first.

    Args:
        pattern: part of a name, or a glob (``*resnet5?``); by default all.

    Returns:
        Name, input size, weights, family and licence of each.

    Raises:
        OptionError: none matches; with the nearest names.
    """
    import timm

    names = [STARTER, *TORCHVISION_RESNETS, *timm.list_pretrained()]
    found = [name for name in names if pattern is None or _matches(name, pattern.strip().lower())]
    if not found:
        hint = f"{did_you_mean(str(pattern), names)} `hs.backbones()` lists them all.".strip()
        raise OptionError(f"no backbone matches {pattern!r}", hint)
    return [_info(name) for name in found]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name


def _info(name: str) -> BackboneInfo:
    if name == STARTER:
        return BackboneInfo(name, IMAGE_SIZE, resolve(name).weights, "resnet", "MIT")
    from timm.models import get_pretrained_cfg, model_entrypoint

    known = name in TORCHVISION_RESNETS
    entry = resolve(name) if known else Entry(name, name, "timm")  # timm's own list needs no checking, 1,700 times
    cfg = get_pretrained_cfg(entry.architecture)
    family = model_entrypoint(entry.architecture).__module__.rpartition(".")[2]
    return BackboneInfo(name, cfg.input_size[-1], entry.weights, family, cfg.license)

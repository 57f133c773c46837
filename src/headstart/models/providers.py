"""Who publishes pretrained networks, and what a backbone's name means."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.registry import Registry
from headstart.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from headstart.models.backbone import Backbone


@dataclass(frozen=True)
class Entry:
    """One pretrained network.

    ``name``: as asked for; ``architecture``: the full name, with the tag of its weights where it has one; ``provider``:
    who publishes the weights; ``weights``: the same in words; ``options``: what the provider is told besides.
    """

    name: str
    architecture: str
    provider: str
    weights: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def base(self) -> str:
        """The architecture without the tag of its weights."""
        return self.architecture.partition(".")[0]


@dataclass(frozen=True)
class BackboneInfo:
    """``name`` as ``backbone`` takes it; ``image_size`` in px; ``weights`` in words; ``family`` of architectures;
    ``license`` of the weights.
    """

    name: str
    image_size: int
    weights: str
    family: str
    license: str | None = None


class Provider(Protocol):
    """A publisher of pretrained networks."""

    takes_options: bool
    """Whether options may follow a name (``mobilenetv2_100:pad_type=same``)."""

    def resolve(self, name: str) -> Entry | None:
        """The network of that name, None where it is not of this provider. Raises OptionError for a wrong tag."""

    def names(self) -> Iterable[str]:
        """Every pretrained network."""

    def describe(self, name: str) -> BackboneInfo:
        """What ``headstart backbones`` shows of one of ``names``; nothing is built."""

    def at_hand(self, entry: Entry) -> bool:
        """Whether the weights are on this machine, so that ``fetch`` needs no network."""

    def fetch(self, entry: Entry) -> Path:
        """The file of the weights. Raises OptionError where none are published, WeightsError where they cannot be
        had.
        """

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        """The network with the weights of a file that ``fetch`` returned, or else with random ones."""


PROVIDERS: Registry[Provider] = Registry(
    "weights provider",
    "headstart.providers",
    {
        "starter": "headstart.models.starter:Starter",
        "torchvision": "headstart.models.resnet:TorchvisionResNets",
        "timm": "headstart.models.timm_networks:TimmNetworks",
    },
)
"""Asked in this order, so that timm, whose import takes seconds, is imported only for a name that needs it."""


def resolve(name: str) -> Entry:
    """The network that a name stands for; after a colon, options for its provider (``mobilenetv2_100:pad_type=same``).

    Raises:
        OptionError: a name, or a tag of a name, that does not exist; options that are none.
    """
    plain, colon, text = name.strip().partition(":")
    found = next((entry for provider in PROVIDERS if (entry := provider.resolve(plain))), None)
    if found is None:
        raise _unknown(plain)
    if not colon:
        return found
    if not PROVIDERS.get(found.provider).takes_options:
        raise OptionError(f"backbone {plain} takes no options (:{text})", "Options are for timm's other networks.")
    return replace(found, name=name.strip(), options=tuple(_option(part, name) for part in text.split(",")))


def _option(text: str, name: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier() or not value:
        raise OptionError(f"backbone {name!r}: {text!r} is not an option", "Write it like name:pad_type=same.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value  # a word


def _unknown(name: str) -> OptionError:
    known = [known for provider in PROVIDERS for known in provider.names()]
    hint = f"{did_you_mean(name.lower(), known)} `hs.backbones(PATTERN)` lists them.".strip()
    return OptionError(f"backbone {name!r} is not known", hint, option="backbone")

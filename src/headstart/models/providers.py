"""Who publishes pretrained networks, what a backbone's name means, and the list of them all."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.arguments import typed
from headstart.core.registry import OWN, Registry, own_part
from headstart.errors import OptionError, did_you_mean
from headstart.models.catalogue import KNOWN, Known
from headstart.models.options import Values, read_options

if TYPE_CHECKING:
    from headstart.models.backbone import Backbone


@dataclass(frozen=True)
class Entry:
    """One pretrained network.

    ``name`` as the user wrote it; ``architecture``: the full name, with the tag of its weights if it has one;
    ``provider``: the publisher of the weights; ``weights``: a description of them; ``options`` for the provider;
    ``at_most``: bytes that its tensors may take, where the name comes from a file.
    """

    name: str
    architecture: str
    provider: str
    weights: str
    options: tuple[tuple[str, Any], ...] = ()
    at_most: float = math.inf

    @property
    def base(self) -> str:
        """The architecture without the tag of its weights."""
        return self.architecture.partition(".")[0]


@dataclass(frozen=True)
class BackboneInfo:
    """``name`` as ``backbone`` takes it; ``image_size`` in px; a description of the ``weights``; ``family`` of
    architectures; ``license`` of the weights. Where they are known (``models.catalogue``): ``parameters``, ``mb``
    (millions of bytes) and published top-1 accuracy on ImageNet in percent. ``at_hand``: they are on this machine.
    """

    name: str
    image_size: int
    weights: str
    family: str
    license: str | None = None
    parameters: int | None = None
    mb: float | None = None
    imagenet: float | None = None
    at_hand: bool = False


class Provider(Protocol):
    """A publisher of pretrained networks."""

    options: Mapping[str, Values]
    """The options that may follow a name (``mobilenetv2_100:pad_type=same``), and their values."""

    def resolve(self, name: str) -> Entry | None:
        """The network of that name, None if it is not one of this provider's. Raises OptionError for a wrong tag."""

    def names(self) -> Iterable[str]:
        """Every pretrained network."""

    def describe(self, name: str) -> BackboneInfo:
        """What ``headstart backbones`` shows of one of ``names``; nothing is built."""

    def at_hand(self, entry: Entry) -> bool:
        """Whether the weights are on this machine, so that ``fetch`` needs no network."""

    def fetch(self, entry: Entry) -> Path:
        """The file of the weights. Raises OptionError if none are published, WeightsError if the download fails."""

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


SIZED = 20
"""Networks in a list, at most, whose parameters are counted for it: that takes a tenth of a second each."""
LONGEST = 300
"""Characters of a name with its options."""


def resolve(name: str) -> Entry:
    """The network of that name; options for its provider may follow a colon (``mobilenetv2_100:pad_type=same``).

    A name selects one of the networks that the providers list. It is never an address, a repository or a path, as timm
    itself would take it (``hf-hub:…``, ``local-dir:…``).

    Raises:
        OptionError: an unknown name or tag, or options that the provider does not take.
    """
    if len(name) > LONGEST:
        raise OptionError(f"backbone {name[:60]!r}… has {len(name)} characters, {LONGEST} at most", option="backbone")
    plain, colon, text = name.strip().partition(":")
    if plain == "auto":
        problem = "backbone 'auto' is for `train` alone"
        raise OptionError(problem, "`hs.recommend(DATA)` ranks backbones for any use.", option="backbone")
    if plain.startswith(OWN):
        raise own_part("backbone", plain, "backbone")
    found = next((entry for provider in PROVIDERS if (entry := provider.resolve(plain))), None)
    if found is None:
        close = did_you_mean(plain.lower(), [known for provider in PROVIDERS for known in provider.names()])
        hint = f"{close} `hs.backbones(PATTERN)` lists them.".strip()
        raise OptionError(f"backbone {plain!r} is not known", hint, option="backbone")
    if not colon:
        return found
    options = read_options(text, getattr(PROVIDERS.get(found.provider), "options", {}), plain)
    return replace(found, name=name.strip(), options=options)


@typed
def backbones(pattern: str | None = None) -> list[BackboneInfo]:
    """List the pretrained backbones, those with short names first; no weights are read.

    Args:
        pattern: a part of the name, or with wildcards (``*resnet5?``) the whole of it; by default all.

    Returns:
        Name, input size, weights, family and licence of each; parameters and size of some, and of all where there are
        few; published accuracy of some.

    Raises:
        OptionError: no name matches; the nearest are named.
    """
    names = [(name, provider) for provider in PROVIDERS for name in provider.names()]
    wanted = (pattern or "").strip().lower()
    if not set(wanted) & set("*?["):
        wanted = f"*{wanted}*"
    found = [(name, provider) for name, provider in names if fnmatch.fnmatchcase(name, wanted)]
    if not found:
        close = did_you_mean(str(pattern), [name for name, _ in names])
        raise OptionError(f"no backbone matches {pattern!r}", f"{close} `hs.backbones()` lists them all.".strip())
    infos = [_with_figures(provider.describe(name), provider) for name, provider in found]
    return infos if len(infos) > SIZED else [_with_size(info, found[i][1]) for i, info in enumerate(infos)]


def known(name: str) -> Known | None:
    """What ``catalogue`` knows of a network, also by a name without the tag of its weights."""
    entry = resolve(name)
    return None if entry.options else KNOWN.get(name) or KNOWN.get(entry.architecture)


def _with_figures(info: BackboneInfo, provider: Provider) -> BackboneInfo:
    entry = provider.resolve(info.name)
    info = replace(info, at_hand=entry is not None and provider.at_hand(entry))
    if (figures := KNOWN.get(info.name)) is None:
        return info
    return replace(info, parameters=figures.parameters, mb=round(figures.megabytes, 1), imagenet=figures.imagenet)


def _with_size(info: BackboneInfo, provider: Provider) -> BackboneInfo:
    """With parameters and size counted, where the provider can and they are not known."""
    count = getattr(provider, "parameters", None)
    if info.parameters is not None or count is None or (number := count(info.name)) is None:
        return info
    return replace(info, parameters=number, mb=round(Known(number).megabytes, 1))

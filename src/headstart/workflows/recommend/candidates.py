"""The backbones to compare, their published accuracy, and whether their weights are available."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from headstart.core.paths import place
from headstart.errors import OptionError, WeightsError, did_you_mean
from headstart.models.backbone import Backbone
from headstart.models.providers import PROVIDERS, known, resolve
from headstart.training.config import TrainOptions
from headstart.training.preparation import make_backbone
from headstart.training.typed_text import numbers


@dataclass(frozen=True)
class Candidate:
    """One backbone to try, by the options of ``train``; ``origin`` distinguishes it from another of the same name."""

    backbone: str
    cut: str | None = None
    weights: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    image_size: int | None = None
    origin: str = ""

    @property
    def name(self) -> str:
        """Its name in tables: ``resnet50@layer3 128 px``."""
        cut = f"@{self.cut}" if self.cut else ""
        size = f" {self.image_size} px" if self.image_size else ""
        return f"{self.backbone}{cut}{size}{self.origin}"

    def options(self, common: TrainOptions) -> TrainOptions:
        """The options of a training with this backbone. Raises OptionError for impossible values."""
        own = asdict(self)
        size, _ = own.pop("image_size"), own.pop("origin")
        return replace(common, **own, settings=common.settings | ({"image_size": size} if size else {}))

    @property
    def given(self) -> dict[str, Any]:
        """The options that select it in ``train``."""
        return {name: value for name, value in asdict(self).items() if value and name != "origin"}

    @property
    def imagenet(self) -> float | None:
        """Published top-1 accuracy in percent; None where it is unknown, or of other weights or another cut."""
        found = None if self.cut or self.weights else known(self.backbone)
        return found.imagenet if found else None


CURATED = (
    *map(Candidate, (
        "resnet18", "resnet50", "tf_efficientnet_lite0.in1k", "tf_efficientnet_lite2.in1k",
        "mobilenetv4_conv_medium.e500_r224_in1k", "regnety_016.tv2_in1k", "convnext_tiny.in12k_ft_in1k",
    )),
    # Their own 518 px take five times as long.
    *(Candidate(f"vit_{size}_patch14_dinov2.lvd142m", image_size=224) for size in ("small", "base")),
    *map(Candidate, (
        "vit_small_patch16_dinov3.lvd1689m", "vit_base_patch16_dinov3.lvd1689m",
        "vit_base_patch16_siglip_224.v2_webli", "vit_base_patch32_clip_224.datacompxl", "starter", "starter_large",
    )),
)  # fmt: skip
"""Networks of different kinds and sizes, with weights that are public, for a CPU or a small GPU. The tags of their
weights pin them, whatever timm's defaults become. ``headstart backbones`` shows their licences."""


def candidates(asked: Iterable[str | Mapping[str, Any]]) -> list[Candidate]:
    """The backbones that ``backbones`` names, in order; the curated list where it names nothing.

    An item is a mapping of train's options (``{"backbone": "resnet50", "cut": "layer3"}``), or text: names by commas
    (``resnet18,resnet50@layer3``: ``@`` ends the network at a stage), which may be followed by options for all of them
    as the command line writes them. Options of timm follow a colon, separated by commas.

    Raises:
        OptionError: an item that cannot be read; a candidate that is named twice.
    """
    found = [one for item in asked for one in (_of_text(item) if isinstance(item, str) else [_of_mapping(item)])]
    twice = {one.name for i, one in enumerate(found) if one in found[:i]}
    if twice:
        raise OptionError(f"`backbones` names {', '.join(sorted(twice))} twice.", "Leave out one of the two.")
    names = Counter(one.name for one in found)
    for i, one in enumerate(found):
        if names[one.name] > 1:  # they differ in weights or normalisation
            mean = f", mean {one.mean[0]:g}" if one.mean else ""
            found[i] = replace(one, origin=f" ({one.weights or 'published weights'}{mean})")
    return found or list(CURATED)


def _of_text(text: str) -> list[Candidate]:
    words = _words(text)
    if not words:
        raise OptionError("`backbones` names nothing.", "Write it like `backbones='resnet18,resnet50'`.")
    options = _options(words[1:], text)
    found = []
    # Names by commas; ``option=value`` after a comma belongs to the name before it.
    for name in filter(None, map(str.strip, re.split(r",(?![^,:]*=[^,:]*(?:,|$))", words[0]))):
        plain, sign, cut = name.partition("@")
        if sign and "cut" in options:
            raise OptionError(f"`backbones`: {name} and `cut={options['cut']}` both say where it ends.", "Give one.")
        found.append(_of_mapping({"backbone": plain, **({"cut": cut} if sign else {}), **options}))
    return found


def _words(text: str) -> list[str]:
    """Split as a shell does, but keep backslashes: paths of Windows have them."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.escape, reader.commenters = True, "", ""
    try:
        return list(reader)
    except ValueError:
        raise OptionError(f"`backbones={text!r}`: a quote is open.", "Close it.") from None


def _options(words: list[str], text: str) -> dict[str, Any]:
    """Options as the command line writes them (or with an equals sign) as fields of a candidate."""
    known = [f"--{name.replace('_', '-')}" for name in _READ if name != "backbone"]
    parts = [piece for word in words for piece in (word.split("=", 1) if word.startswith("--") else [word])]
    found: dict[str, Any] = {}
    for flag, value in zip(parts[::2], [*parts[1::2], None], strict=False):
        if flag not in known or value is None:
            what = f"{flag} needs a value" if flag in known else f"{flag!r} is not an option of a backbone"
            hint = did_you_mean(flag, known) or f"Options: {', '.join(known)}."
            raise OptionError(f"`backbones={text!r}`: {what}.", hint)
        found[flag.removeprefix("--").replace("-", "_")] = value
    return found


def _of_mapping(values: Mapping[str, Any]) -> Candidate:
    unknown = [name for name in values if name not in _READ]
    if unknown or "backbone" not in values:
        wrong = f"{unknown[0]!r} is not one of {', '.join(_READ)}" if unknown else "it names no backbone"
        raise OptionError(f"`backbones`: {dict(values)}: {wrong}.", did_you_mean("".join(unknown[:1]), _READ))
    return Candidate(**{name: _READ[name](value) for name, value in values.items() if value is not None})


def _three(value: Any) -> Any:
    return numbers("mean", value) if isinstance(value, str) else tuple(float(v) for v in value)


def _pixels(value: Any) -> int:
    if not str(value).isdigit():
        raise OptionError(f"`image_size={value!r}` is not a whole number.", "Write it like `image_size=160`.")
    return int(value)


_READ: dict[str, Callable[[Any], Any]] = {
    "backbone": str, "cut": str, "weights": partial(place, name="weights"), "mean": _three, "std": _three,
    "image_size": _pixels,
}  # fmt: skip


@dataclass
class Supply:
    """Loads backbones. A host that could not be reached is not tried again; local weights are still used.

    ``unreached``: hosts that could not be reached, each with the first candidate that needed it.
    """

    common: TrainOptions
    unreached: dict[str, str] = field(default_factory=dict)

    def load(self, candidate: Candidate) -> Backbone:
        """The candidate's backbone. Raises WeightsError (weights that are missing, or do not fit), OptionError."""
        if not candidate.weights:
            self._fetch(candidate)
        return make_backbone(candidate.options(self.common))

    def _fetch(self, candidate: Candidate) -> None:
        entry = resolve(candidate.backbone)
        provider = PROVIDERS.get(entry.provider)
        if provider.at_hand(entry):
            return
        if entry.provider in self.unreached:
            first = self.unreached[entry.provider]
            raise WeightsError(f"its weights are not on this machine, and their host was not reached (see {first})")
        try:
            provider.fetch(entry)
        except OptionError as none_published:
            raise WeightsError(none_published.problem) from None
        except WeightsError:
            self.unreached[entry.provider] = candidate.name
            raise


def megabytes(backbone: Backbone) -> float:
    """Millions of bytes of the weights, as a classifier keeps them (float32)."""
    return float(sum(tensor.numel() * tensor.element_size() for tensor in backbone.state_dict().values()) / 1e6)

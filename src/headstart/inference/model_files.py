"""model.json: its schema, read and checked, and its public form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field, to_builtins

from headstart.core.files import read_json
from headstart.core.formats import DAMAGED, checked, odd_value, warn_unknown
from headstart.errors import RunError
from headstart.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, LARGEST_SIDE

FORMAT = 2
"""2 where photos have any number of labels, which older versions would take for one class per photo; else 1, as before.
"""

Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
Mean = Annotated[float, Meta(ge=-1000, le=1000)]
Deviation = Annotated[float, Meta(ge=1e-6, le=1000)]
Value = Annotated[float, Meta(ge=-1e38, le=1e38)]
Text = Annotated[str, Meta(max_length=100_000)]


class ExpectedRanges(Struct):
    """``preprocessing.ranges``: see ``Ranges``."""

    integers: tuple[Value, Value] | None = None
    floats: tuple[Value, Value] | None = None


class Expected(Struct):
    """``preprocessing``: see ``Preprocessing``."""

    image_size: Side
    resize: Side
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    ranges: ExpectedRanges | None = None


class Architecture(Struct):
    """``architecture``: what ``create`` and ``build_head`` take."""

    backbone: Name
    dim: Annotated[int, Meta(ge=1, le=1_000_000)]
    head: Name
    cut: Name | None = None
    joined: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    dropout: Annotated[tuple[Annotated[float, Meta(ge=0, lt=1)], ...], Meta(max_length=100)] = ()
    module: Annotated[str, Meta(max_length=1000)] = ""  # the class of a network of the caller's, which is no file's
    outputs: Annotated[tuple[Value, ...], Meta(max_length=100)] = ()  # its logits for one photo, see ``network_files``


class TrainedOn(Struct):
    """``provenance.data``."""

    name: Text = "unknown"
    digest: Text = "unknown"
    summary: Text = "unknown"


class BegunWith(Struct):
    """``provenance.backbone``: where the weights were from that training started from."""

    source: Text = "unknown"
    weights_digest: Text = "unknown"


class Provenance(Struct):
    """``provenance``: for people; nothing is computed from it."""

    headstart: Text = "unknown"
    torch: Text = "unknown"
    timm: Text | None = None
    python: Text = "unknown"
    created: Text = "unknown"
    machine: Text = "unknown"
    command: Text = ""
    data: TrainedOn = field(default_factory=TrainedOn)
    backbone: BegunWith = field(default_factory=BegunWith)
    strategy: Text = "unknown"
    seed: int = 0
    temperature: Annotated[float, Meta(gt=0)] | None = None
    parts: dict[Name, Text] = field(default_factory=dict)  # of the caller's own


class Labels(Struct):
    """``labels``, where a photo has any number of them: a label is predicted from its threshold on."""

    name: Literal["multilabel"]
    thresholds: Annotated[tuple[Annotated[float, Meta(ge=0, le=1)], ...], Meta(max_length=100_000)]


class Description(Struct, omit_defaults=True):
    """model.json."""

    format: int
    classes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100_000)]
    preprocessing: Expected
    architecture: Architecture
    precision: Literal["bf16", "float32"]
    provenance: Provenance
    labels: Labels | None = None


def published(described: dict[str, Any]) -> dict[str, Any]:
    """A description without the command, which contains paths of the machine that trained the model."""
    provenance = {name: value for name, value in described["provenance"].items() if name != "command"}
    return {**described, "provenance": provenance}


def read_description(folder: Path) -> dict[str, Any]:
    """model.json of a run folder, checked.

    Raises:
        RunError: there is none, or it is not headstart's.
    """
    path, hint = folder / "model.json", "Name the folder that `hs.train` made."
    if folder.is_file():
        raise RunError(f"{folder} is a file, not the folder of a run.", hint)
    try:
        found = read_json(path)
    except FileNotFoundError:
        if (folder / "request.json").exists():
            hint = f"Its training did not end: `hs.resume({str(folder)!r})` continues it."
        raise RunError(f"{folder} holds no model (no model.json).", hint) from None
    if not isinstance(found, dict) or not {"format", "classes", "architecture"} <= found.keys():
        raise RunError(f"{path} is not a description of a headstart model.", hint)
    if odd := odd_value(found):
        raise RunError(f"{path}: {' '.join(odd)}.", DAMAGED)
    known = checked(path, found, Description, FORMAT)
    if len(set(known.classes)) < len(known.classes):
        raise RunError(f"{path}: classes holds a name twice.", DAMAGED)
    if known.labels and len(known.labels.thresholds) != len(known.classes):
        raise RunError(f"{path}: labels.thresholds does not fit classes.", DAMAGED)
    if known.preprocessing.resize < known.preprocessing.image_size:
        raise RunError(f"{path}: preprocessing.resize is below image_size.", DAMAGED)
    ranges = known.preprocessing.ranges or ExpectedRanges()
    if any(pair and pair[0] >= pair[1] for pair in (ranges.integers, ranges.floats)):
        raise RunError(f"{path}: preprocessing.ranges: white is not above black.", DAMAGED)
    unknown: list[str] = []
    described = _with_unknown(to_builtins(known), found, unknown)
    if unknown:
        warn_unknown("model.json holds keys", tuple(sorted(unknown)))
    return described


def _with_unknown(known: dict[str, Any], found: dict[str, Any], unknown: list[str]) -> dict[str, Any]:
    """The known values with the other keys that there were, whose names go to ``unknown``."""
    inner = {name: _with_unknown(known[name], found[name], unknown) for name in known if _both(known, found, name)}
    others = {name: value for name, value in found.items() if name not in known}
    unknown += others
    return {**known, **inner, **others}


def _both(known: dict[str, Any], found: dict[str, Any], name: str) -> bool:
    return isinstance(known[name], dict) and isinstance(found.get(name), dict)

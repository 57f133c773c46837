"""The options of a training: each one's type, help and default, and which functions take it.

The command line, Python's keyword arguments and the checks of each function follow from these tables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict, get_args, get_type_hints

from headstart.core.arguments import Device, Module
from headstart.core.files import file_name
from headstart.core.formats import DAMAGED, checked, known_only
from headstart.core.paths import Place
from headstart.data.schema import ClassFolders, Labels, Leakage, ReadOptions, SplitOptions
from headstart.errors import OptionError, RunError, did_you_mean
from headstart.training.option_checks import option_problems
from headstart.training.parts import StrategyObject, refuse_objects
from headstart.training.strategies import STRATEGIES

if TYPE_CHECKING:
    from headstart.data.sources.given import Data

Arm = Literal["probe", "finetune", "partial", "lp-ft", "scratch"]
Strategy = Literal["auto", Arm]
OnBad = Literal["skip", "fail"]
Log = Literal["tensorboard", "wandb", "mlflow"]
Augment = Literal["none", "flip", "crop", "mild", "light", "strong"]
Precision = Literal["bf16", "float32"]
Engine = Literal["openvino", "torch", "int8"]
BatchNorm = Literal["moving", "kept"]
Balance = Literal["auto", "none", "weights", "sampler"]
Stages = Literal["auto", "last", "all", "choose"]
Average = Literal["auto", "none", "val"]

DEFAULT_BACKBONE = "resnet18"
AUTO_BACKBONE = "auto"
"""As ``train`` takes it: chosen by the photos, of what is on this machine."""

# Defaults of options that belong to one function; its signature and the command line both read them here.
ARMS: tuple[Arm, ...] = ("probe", "finetune", "scratch")
SEEDS = 3
SAMPLE = 1000
TRIALS = 30
SHARD_MB = 256
ShardFormat = Literal["webdataset", "parquet"]
BAND_LEVEL = 0.9
SUGGESTED = 20
HOST = "127.0.0.1"
PORT = 8000
STUDIO_PORT = 8765


class Help(NamedTuple):
    """An option's panel and text in ``--help``. A setting of the plan without help is set by ``--set NAME=VALUE``."""

    panel: str
    text: str


_photos, _model = partial(Help, "Photos"), partial(Help, "Backbone and head")
_training, _machine = partial(Help, "Training"), partial(Help, "Machine")


LabelKind = Annotated[
    Labels,
    _photos("multi: photos of a table have any number of labels (cat|dog, or a column of 0 and 1 for each)."),
]


class DataOptions(TypedDict, total=False):
    """How labelled photos are read where the data leaves it open."""

    ignore: Annotated[
        Sequence[str],
        _photos("Leave out files and folders: name, path below DATA, or glob (test, raw/*.png). May be repeated."),
    ]
    class_folders: Annotated[ClassFolders, _photos("Which of nested folders are the classes: outer or inner.")]
    path_column: Annotated[str, _photos("The column of a table that names the photos. [default: by names and values]")]
    label_column: Annotated[str, _photos("The column of the classes. [default: by names and values]")]
    split_column: Annotated[
        str, _photos("The column of train, val and test; none for no column. [default: by names and values]")
    ]
    group_column: Annotated[
        str,
        _photos(
            "Column of groups (patients): each stays in one split; none: no column. [default: by names and values]"
        ),
    ]
    images: Annotated[str | Path, _photos("Folder that a table's paths start from. [default: around the table]")]
    suffix: Annotated[str, _photos("Suffix that a table's file names lack: .jpg. [default: that of the photos]")]


class RunOptions(TypedDict, total=False):
    """Options that also make sense for the photos of a finished run."""

    seed: Annotated[int, _photos("Seed of splits, shots, order, augmentation and random weights.")]
    on_bad: Annotated[OnBad, _photos("What to do with files that cannot be read: skip or fail.")]
    device: Annotated[Device, _machine("auto, cpu, cuda, cuda:1 or mps.")]


class FeatureOptions(TypedDict, total=False):
    """How a frozen backbone computes features."""

    image_size: Annotated[int, _training("Input size in px. [default: from weights and photos]")]
    resize: int
    precision: Annotated[Precision, _training("bf16 or float32. [default: bf16 where the hardware has it]")]
    engine: Engine
    device: Annotated[Device, _machine("auto, cpu, cuda, cuda:1 or mps.")]
    settings: Annotated[Mapping[str, Any], _training("Any setting of the plan: weight_decay=0.01. May be repeated.")]


class BackboneOptions(TypedDict, total=False):
    """Which backbone, its weights and its preprocessing."""

    backbone: Annotated[
        str | Module,
        _model(
            "resnet18 … resnet152 (torchvision's ImageNet weights), starter and starter_large (for 32 px, ship with"
            " headstart), or any timm name, with options for timm after a colon (mobilenetv2_100:pad_type=same). train"
            " takes auto, too: chosen by probes on a sample of the photos, among the weights on this machine."
        ),
    ]
    weights: Annotated[Place, _model("A checkpoint file of the backbone (.safetensors, .pth) instead of a download.")]
    from_run: Annotated[Place, _model("Start from the backbone of an earlier run (a folder, or hf:REPO).")]
    cut: Annotated[str, _model("End the backbone after this stage or block (layer2.2) and pool.")]
    mean: Annotated[Sequence[float], _model("Channel means for the weights: 0.485,0.456,0.406. [default: their own]")]
    std: Annotated[Sequence[float], _model("Standard deviation per channel. [default: the weights' own]")]


class EmbedOptions(BackboneOptions, FeatureOptions, total=False):
    """Options of ``embed`` and ``search``: the backbone whose features they use."""


class CheckOptions(BackboneOptions, FeatureOptions, DataOptions, total=False):
    """Options of ``check``: the backbone whose features it uses."""

    labels: LabelKind


class PackOptions(DataOptions, total=False):
    """Options of ``pack``: how the photos are read."""

    labels: LabelKind


class SuggestOptions(CheckOptions, total=False):
    """Options of ``suggest``: how the labelled photos are read, and the backbone whose features it uses."""


class RecommendOptions(RunOptions, FeatureOptions, DataOptions, total=False):
    """Options of ``recommend``, for all backbones that it compares."""


class ForecastOptions(RecommendOptions, BackboneOptions, total=False):
    """Options of ``forecast``."""


class CompareOptions(ForecastOptions, total=False):
    """Options of ``compare``, for all arms."""

    val: Annotated[float, _photos("Fraction of the photos for val, where the data has no val split. [default: 0.15]")]
    test: Annotated[
        float,
        _photos("Fraction of the photos for test, read once at the end. [default: 0.15 where the data has no splits]"),
    ]
    fraction: Annotated[float, _photos("Train on this fraction of the training photos.")]
    min_per_class: Annotated[
        int, _photos("Leave out classes with fewer photos than this in train and val; duplicates count once.")
    ]
    leakage: Annotated[
        Leakage,
        _photos(
            "Where splits of the data share pictures: drop those of the earlier split, keep near-duplicates with a"
            " warning, or stop. [default: drop; keep for named sets, as published]"
        ),
    ]
    allow_leakage: Annotated[bool, _photos("Deprecated: the same as leakage keep.")]
    head: Annotated[str, _model("linear, or mlp:1024,256 (hidden widths).")]
    dropout: Annotated[Sequence[float], _model("Dropout before each linear layer of the head: 0.5,0.3.")]
    boundary: Annotated[
        str, _training("First trained stage. [default: the last with partial, the first with finetune and lp-ft]")
    ]
    epochs: Annotated[int, _training("Passes over the training photos. [default: from the number of photos]")]
    batch_size: Annotated[int, _training("Photos per step. [default: from the number of photos]")]
    lr: Annotated[float, _training("Peak learning rate of the head. [default: from the strategy]")]
    augment: Annotated[
        Augment,
        _training(
            "none, flip, crop (never mirrored: text, digits), mild, light or strong. [default: light;"
            " mild for photos of at most 64 px]"
        ),
    ]
    balance: Annotated[
        Balance,
        _training(
            "Where classes are uneven: weights in the loss, a sampler that draws each class equally often, or none."
            " [default: auto, from the photos and the strategy]"
        ),
    ]
    stages: Stages
    average: Average
    lr_backbone: float
    stage_decay: float
    batchnorm: BatchNorm
    warmup: float
    weight_decay: float
    label_smoothing: float
    views: int


class TuneOptions(CompareOptions, total=False):
    """Options of ``tune``. The name of a strategy from another package needs ``# type: ignore[arg-type]``."""

    strategy: Annotated[
        Strategy | StrategyObject,
        _training(f"{', '.join(STRATEGIES.names())}. auto: a probe first, then what val decides."),
    ]
    shots: Annotated[int, _photos("Train on this many photos per class (and validate on at most as many).")]
    log: Annotated[Log, Help("Output", f"Write the scalars of history.csv to {', '.join(get_args(Log))} as well.")]


class TrainOptionsDict(TuneOptions, total=False):
    """Options of ``train``."""

    labels: LabelKind
    folds: Annotated[
        int,
        _photos(
            "Number of folds of a cross-validation: each photo is tested by a probe that was not trained on it, and the"
            " average of the probes is kept. For few photos."
        ),
    ]
    budget_minutes: Annotated[
        float, _training("Time limit for the fine-tuning of auto: 20m, 1h30m. [default: 10m, 5m on a GPU]")
    ]


TAKEN: dict[str, type] = {
    "train": TrainOptionsDict,
    "compare": CompareOptions,
    "tune": TuneOptions,
    "check": CheckOptions,
    "embed": EmbedOptions,
    "search": EmbedOptions,
    "suggest": SuggestOptions,
    "evaluate": DataOptions,
    "photos": DataOptions,
    "pack": PackOptions,
    "recommend": RecommendOptions,
    "forecast": ForecastOptions,
    "forecast of a run": RunOptions,
}
"""Function → the options of a training that it takes."""


@dataclass(frozen=True)
class TrainOptions:
    """The request for one training. Paths are text, so that it is JSON; ``settings`` overrides the plan by name. The
    command line lists options in this order.
    """

    data: str
    out: str | None = None
    ignore: tuple[str, ...] = ()
    class_folders: str | None = None
    labels: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    images: str | None = None
    suffix: str | None = None
    val: float | None = None
    test: float | None = None
    shots: int | None = None
    fraction: float | None = None
    seed: int = 0
    on_bad: str = "skip"
    min_per_class: int | None = None
    folds: int | None = None
    leakage: str | None = None
    allow_leakage: bool = False
    backbone: str = DEFAULT_BACKBONE
    weights: str | None = None
    from_run: str | None = None
    cut: str | None = None
    head: str = "linear"
    dropout: tuple[float, ...] = ()
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    strategy: str = "auto"
    boundary: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    log: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if problems := list(option_problems(self, _choices())):
            only = problems[0][0] if len(problems) == 1 else None
            raise OptionError("; ".join(words for _, words in problems), option=only)

    @classmethod
    def gather(
        cls, data: Data, out: Place | None, asked: Mapping[str, Any], by: str = "train", **fixed: Any
    ) -> TrainOptions:
        """Options from the keyword arguments ``asked`` of the function ``by`` (a key of ``TAKEN``): fields of this
        class, with settings of the plan (``epochs=5``) beside them. ``fixed``: options that the function decides
        itself. ``data`` in memory is written to the cache, last of all (``data.sources.given``).

        Raises OptionError that names every option that the function does not take, or every impossible value, and for
        empty ``data``; and what ``data.sources.given.on_disk`` raises.
        """
        refuse_objects(asked, by)
        known, own = taken_by(by), {f.name for f in fields(cls)}
        if unknown := [name for name in asked if name not in known]:
            words = (f"{by} takes no option {name!r}. {did_you_mean(name, known)}".strip() for name in unknown)
            raise OptionError("; ".join(words), option=unknown[0])
        asked = {name: value for name, value in asked.items() if value is not None} | fixed
        given = {name: value for name, value in asked.items() if name in own}
        settings = {**asked.get("settings", {}), **{k: v for k, v in asked.items() if k not in own}}
        paths = {name: str(given[name]) for name in ("weights", "from_run", "images") if given.get(name) is not None}
        place = None if out is None else str(out)
        asked = {"out": place, **given, **paths, **_tuples(given), "settings": settings}
        if isinstance(data, str | os.PathLike):
            return cls(**{"data": str(data), **asked})
        from headstart.data.sources.given import named, on_disk

        found = cls(**{"data": named(data), **asked})
        where, reading = on_disk(data, found.read_options)
        return replace(found, data=where, **vars(reading))

    def given(self, by: str = "train") -> dict[str, Any]:
        """The options that differ from the defaults, of those that a function (a key of ``TAKEN``) takes."""
        plain = TrainOptions(self.data)
        names = (f.name for f in fields(self) if f.name in (*taken_by(by), "out"))
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(plain, name)}

    @property
    def split_options(self) -> SplitOptions:
        """The options that decide how splits are drawn."""
        return SplitOptions(self.val, self.test, self.shots, self.fraction, self.seed, self.min_per_class, self.folds)

    @property
    def read_options(self) -> ReadOptions:
        """The options that decide how the data is read."""
        return ReadOptions(**{f.name: getattr(self, f.name) for f in fields(ReadOptions)})

    def to_json(self) -> dict[str, Any]:
        """As request.json holds it; without ``labels`` where it was not given, as older versions wrote and read it."""
        return {name: value for name, value in asdict(self).items() if name != "labels" or value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], file: str | Path = "request.json") -> TrainOptions:
        """The options that a file holds. Raises RunError."""
        own = known_only("request.json holds options", values, (f.name for f in fields(cls)))
        try:
            return checked(file, own, cls)
        except OptionError as error:
            raise RunError(f"{file}: {error.problem[:500]}", error.hint or DAMAGED) from None

    def run_name(self) -> str:
        """The default run folder's name: ``photos-resnet18-auto``."""
        stem = re.sub(r"[^\w.-]+", "-", Path(os.path.abspath(self.data)).name.split(".")[0]) or "photos"
        backbone = Path(self.from_run).name if self.from_run else re.sub(r"[^\w./-]+", "-", self.backbone)
        return file_name(f"{stem}-{backbone.split('/')[-1]}-{self.strategy}")


def _tuples(values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    found = {name: tuple(values[name]) for name in ("dropout", "mean", "std") if values.get(name) is not None}
    ignore = values.get("ignore")
    if ignore is not None:
        found["ignore"] = tuple(map(str, (ignore,) if isinstance(ignore, str | Path) else ignore))
    return found


def _choices() -> tuple[tuple[str, Sequence[str]], ...]:
    """Options with names for values, and these."""
    named = {
        "class_folders": get_args(ClassFolders), "on_bad": get_args(OnBad), "leakage": get_args(Leakage),
        "log": get_args(Log), "labels": get_args(Labels),
    }  # fmt: skip
    return (("strategy", STRATEGIES.names()), *named.items())


@cache
def taken_by(function: str) -> dict[str, Any]:
    """The options that a function takes, with their types; a type's ``Help`` is in its metadata. In the order of
    ``TrainOptions``, settings of the plan at the place of ``settings``.
    """
    hints = get_type_hints(TAKEN[function], include_extras=True) if function in TAKEN else {}
    place = {f.name: i for i, f in enumerate(fields(TrainOptions))}
    return {name: hints[name] for name in sorted(hints, key=lambda name: place.get(name, place["settings"] - 0.5))}

"""The plan of one training: every hyperparameter with its reason, as plan.json holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from headstart.core.formats import DAMAGED, check_format, checked, warn_unknown
from headstart.core.text import as_written
from headstart.data.augment import LEVELS
from headstart.errors import OptionError, RunError, did_you_mean
from headstart.inference.backends import ENGINES
from headstart.models.preprocessing import LARGEST_SIDE

FORMAT = 1  # of plan.json; a file without a number is older and reads the same
YOURS = "you chose it"
TRAINED_HEAD = "trained head"  # the variant of a probe whose head is trained by gradient descent


@dataclass(frozen=True)
class Plan:
    """Every hyperparameter of one training. The defaults are for what the plan.json of another headstart lacks;
    ``planning.resolve`` decides all of them.
    """

    strategy: str
    variant: str = ""  # how the strategy proceeds, where it has a choice: TRAINED_HEAD
    boundary: str = "end"  # where training begins in the network: "start", "end", a stage or a block
    image_size: int = 224  # px
    resize: int = 224  # of the shorter side, px
    precision: str = "float32"  # or "bf16"
    engine: str = "torch"  # what computes frozen networks; or "openvino", "int8"
    batch_size: int = 32
    epochs: int = 1
    lr: float = 1e-3  # peak, of the head
    lr_backbone: float = 5e-4  # peak, of the last stage
    stage_decay: float = 1.0  # factor between the rates of neighbouring stages
    batchnorm: str = "moving"  # running statistics follow the training photos; or "kept"
    warmup: float = 0.15  # part of the steps in which rates rise
    weight_decay: float = 0.05  # AdamW's, decoupled
    label_smoothing: float = 0.0  # part of the target that is spread over all classes
    stages: str = "last"  # what a probe reads: the last stage, or "all" joined; "choose": what cross-validation prefers
    average: str = "none"  # after lp-ft: or the average of its weights and the probe's that "val" prefers
    balance: str = "none"  # what is done about uneven classes: or "weights" in the loss, or "sampler"
    augment: str = "light"  # level of augmentation
    views: int = 1  # fixed views per photo that are cached where a frozen trunk is followed by trained layers
    budget_minutes: float = 10.0  # what auto may spend on fine-tuning after the probe
    folds: int = 0  # of a cross-validation, whose models are averaged; 0: none
    seed: int = 0  # of splits, order, augmentation, dropout and random weights
    reasons: dict[str, str] = field(default_factory=dict, compare=False)  # the rule behind each value, or YOURS
    unknown: dict[str, Any] = field(default_factory=dict, compare=False)  # in plan.json, but not of this headstart

    def to_json(self) -> dict[str, Any]:
        """The content of plan.json; settings that are unknown here are kept."""
        values = asdict(self)
        return {"format": FORMAT, **values.pop("unknown"), **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], file: str | Path = "plan.json") -> Plan:
        """Read plan.json: missing settings get a default, unknown ones are kept, with one warning. Raises RunError
        where the format is newer, or a value impossible.
        """
        check_format(file, values, FORMAT)
        known = {f.name for f in fields(cls)} - {"unknown"}
        unknown = {name: value for name, value in values.items() if name not in known | {"format"}}
        if unknown:
            warn_unknown("plan.json holds settings", tuple(sorted(unknown)))
        own = {name: value for name, value in values.items() if name in known}
        if own.get("strategy") == "head":  # what 0.1 called a probe with this variant
            own |= {"strategy": "probe", "variant": TRAINED_HEAD}
        if isinstance(reasons := own.get("reasons"), dict):  # words for people; a newer headstart may have others
            own["reasons"] = {name: reason for name, reason in reasons.items() if isinstance(reason, str)}
        plan = checked(file, own, cls)
        try:  # a word may be of a package that is not installed here
            check_overrides({name: getattr(plan, name) for name in SETTINGS if name not in CHOICES})
        except OptionError as error:
            raise RunError(f"{file}: {error.problem[:500]}", DAMAGED) from None
        return replace(plan, unknown=unknown)

    def differences(self, other: Plan) -> list[str]:
        """How another plan differs: ``["precision: bf16, float32"]``; reasons do not count."""
        values = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)
        return [f"{name}: {mine}, {yours}" for name, mine, yours in values if mine != yours]


TRAINING = frozenset(
    "epochs lr lr_backbone stage_decay batchnorm warmup weight_decay label_smoothing augment batch_size".split()
)
"""The settings of a training by gradient descent."""
OF_SOME = TRAINING | {
    "views",
    "budget_minutes",
    "variant",
    "stages",
    "average",
    "folds",
}  # the settings that some strategies do not use
SETTINGS = tuple(
    f.name
    for f in fields(Plan)
    if f.name not in {"reasons", "unknown", "strategy", "variant", "seed", "boundary", "folds"}
)
AUTO = "auto"
"""As a value that a user asks for: the rule decides. A plan never holds it."""
CHOICES: dict[str, tuple[str, ...]] = {
    "batchnorm": ("moving", "kept"), "precision": ("bf16", "float32"), "engine": ENGINES, "augment": LEVELS,
    "balance": ("auto", "none", "weights", "sampler"), "stages": ("auto", "last", "all", "choose"),
    "average": ("auto", "none", "val"),
}  # fmt: skip
_POSITIVE = frozenset("image_size resize batch_size epochs lr lr_backbone stage_decay views budget_minutes".split())
_MOST = {"image_size": LARGEST_SIDE, "resize": LARGEST_SIDE, "views": 1000}
"""The largest values, px and photos: above them memory would run out, hours later perhaps. Other counts: a million."""


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The user's values in the types of their settings; text such as ``"5"`` is read. Raises OptionError that names
    every unknown setting and impossible value.
    """
    types = {f.name: {"int": int, "float": float}.get(str(f.type), str) for f in fields(Plan)}
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in overrides.items():
        if name not in SETTINGS:
            hint = did_you_mean(name, SETTINGS) or f"Known: {', '.join(SETTINGS)}."
            wrong.append(f"unknown setting {as_written(name)}. {hint}")
            continue
        try:
            good[name] = _read(name, value, types[name])
        except ValueError as error:
            wrong.append(f"{name}={as_written(value)}: {error}")
    if wrong:
        raise OptionError("The plan cannot be: " + "; ".join(wrong))
    return good


def _read(name: str, value: Any, kind: type) -> Any:
    try:
        read = kind(value)
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and read != value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"not {'a whole number' if kind is int else 'a number'}") from None
    if name in CHOICES and read not in CHOICES[name]:
        raise ValueError(f"not one of {', '.join(CHOICES[name])}. {did_you_mean(str(read), CHOICES[name])}".strip())
    if kind is float and not math.isfinite(read):
        raise ValueError("must be finite")
    if kind in (int, float) and not (read > 0 if name in _POSITIVE else read >= 0):
        raise ValueError("must be above zero" if name in _POSITIVE else "must not be negative")
    if kind is int and read > (most := _MOST.get(name, 10**6)):
        raise ValueError(f"must be at most {most:,}")
    if name in {"warmup", "label_smoothing"} and read >= 1:
        raise ValueError("must be below 1, such as 0.1")
    return read

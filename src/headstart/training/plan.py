"""The plan of one training: every hyperparameter with its reason, as plan.json holds it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any

from headstart.core.formats import check_format
from headstart.data.augment import LEVELS
from headstart.errors import OptionError, did_you_mean
from headstart.inference.backends import ENGINES
from headstart.training import rules

FORMAT = 1
"""Of plan.json; a file without a number is older and reads the same."""
YOURS = "you chose it"
TRAINED_HEAD = "trained head"
"""The variant of a probe whose head is trained by gradient descent."""


@dataclass(frozen=True)
class Plan:
    """Every hyperparameter of one training.

    The defaults stand in for what the file of another headstart does not say; ``planning.resolve`` decides all of them.

    Attributes:
        strategy: its name.
        variant: how the strategy proceeds, where it has a choice ("trained head"), else "".
        boundary: where training begins in the network: "start", "end", a stage or a block.
        image_size: input size, px.
        resize: what the shorter side is resized to, px.
        precision: "bf16" or "float32".
        engine: what computes frozen networks: "openvino" or "torch".
        batch_size: photos per step.
        epochs: passes over the training photos.
        lr: peak learning rate of the head.
        lr_backbone: peak learning rate of the last stage.
        stage_decay: factor between the rates of neighbouring stages.
        batchnorm: whether running statistics follow the training photos: "moving" or "kept".
        warmup: part of the steps in which rates rise.
        weight_decay: AdamW's decoupled decay.
        label_smoothing: part of the target that is spread over all classes.
        augment: level of augmentation.
        views: fixed views per photo that are cached where a frozen trunk is followed by trained layers.
        budget_minutes: what auto may spend on fine-tuning after the probe.
        seed: of splits, order, augmentation, dropout and random weights.
        reasons: the rule behind each value, or "you chose it".
        unknown: settings of plan.json that this headstart does not know.
    """

    strategy: str
    variant: str = ""
    boundary: str = "end"
    image_size: int = 224
    resize: int = 224
    precision: str = "float32"
    engine: str = "torch"
    batch_size: int = 32
    epochs: int = 1
    lr: float = 1e-3
    lr_backbone: float = 5e-4
    stage_decay: float = 1.0
    batchnorm: str = "moving"
    warmup: float = 0.15
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    augment: str = "light"
    views: int = 1
    budget_minutes: float = 10.0
    seed: int = 0
    reasons: dict[str, str] = field(default_factory=dict, compare=False)
    unknown: dict[str, Any] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """What plan.json says; settings that are unknown here are kept."""
        values = asdict(self)
        return {"format": FORMAT, **values.pop("unknown"), **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """What plan.json says: missing settings get a default, unknown ones are kept aside and told once.

        Raises:
            RunError: the file is of a newer format.
        """
        check_format("plan.json", values, FORMAT)
        known = {f.name for f in fields(cls)} - {"unknown"}
        unknown = {name: value for name, value in values.items() if name not in known | {"format"}}
        if unknown:
            _tell_unknown(tuple(sorted(unknown)))
        own = {name: value for name, value in values.items() if name in known}
        if own["strategy"] == "head":  # what 0.1 called a probe with this variant
            own |= {"strategy": "probe", "variant": TRAINED_HEAD}
        return cls(**own, unknown=unknown)

    def differences(self, other: Plan) -> list[str]:
        """What another plan has otherwise: ``["precision: bf16, float32"]``; reasons do not count."""
        names = [f.name for f in fields(self) if f.compare]
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in names)
        return [f"{name}: {mine}, {yours}" for name, mine, yours in pairs if mine != yours]


@cache
def _tell_unknown(names: tuple[str, ...]) -> None:
    logging.getLogger("headstart").warning(
        "plan.json holds settings that this headstart does not know, and ignores: %s.", ", ".join(names)
    )


TRAINING = frozenset(
    "epochs lr lr_backbone stage_decay batchnorm warmup weight_decay label_smoothing augment batch_size".split()
)
"""The settings of a training by gradient descent."""
OF_SOME = TRAINING | {"views", "budget_minutes", "variant"}
"""The settings that some strategies do not use."""
SETTINGS = tuple(
    f.name for f in fields(Plan) if f.name not in {"reasons", "unknown", "strategy", "variant", "seed", "boundary"}
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "batchnorm": rules.BATCHNORM,
    "precision": ("bf16", "float32"),
    "engine": ENGINES,
    "augment": LEVELS,
}
_POSITIVE = frozenset("image_size resize batch_size epochs lr lr_backbone stage_decay views budget_minutes".split())


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The user's values in the types of their settings; text such as ``"5"`` is read.

    Raises:
        OptionError: every unknown setting and impossible value.
    """
    types = {f.name: {"int": int, "float": float}.get(str(f.type), str) for f in fields(Plan)}
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in overrides.items():
        if name not in SETTINGS:
            wrong.append(
                f"unknown setting {name!r}. {did_you_mean(name, SETTINGS) or 'Known: ' + ', '.join(SETTINGS) + '.'}"
            )
            continue
        try:
            good[name] = _read(name, value, types[name])
        except ValueError as error:
            wrong.append(f"{name}={value!r}: {error}")
    if wrong:
        raise OptionError("The plan cannot be: " + "; ".join(wrong))
    return good


def _read(name: str, value: Any, kind: type) -> Any:
    try:
        read = kind(value)
        if kind is int and isinstance(value, float) and read != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"not {'a whole number' if kind is int else 'a number'}") from None
    if name in _CHOICES and read not in _CHOICES[name]:
        raise ValueError(f"not one of {', '.join(_CHOICES[name])}. {did_you_mean(str(read), _CHOICES[name])}".strip())
    if kind is float and math.isinf(read):
        raise ValueError("must be finite")
    if kind in (int, float) and not (read > 0 if name in _POSITIVE else read >= 0):
        raise ValueError("must be above zero" if name in _POSITIVE else "must not be negative")
    if name in {"warmup", "label_smoothing"} and read >= 1:
        raise ValueError("is a part of one: 0.1, say")
    return read

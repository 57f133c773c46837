"""The plan. In: facts and the user's wishes. Out: every hyperparameter resolved, each with its reason, before
anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from headstart.core.choice import Choice
from headstart.data.augment import LEVELS
from headstart.errors import OptionError, did_you_mean
from headstart.inference.backends import ENGINES
from headstart.training import rules
from headstart.training.rules import Facts

YOURS = "you chose it"


@dataclass(frozen=True)
class Plan:
    """Every hyperparameter of one training. ``reasons`` names the rule, or says that the user chose, for each field."""

    strategy: str
    boundary: str
    image_size: int
    resize: int
    precision: str
    engine: str
    batch_size: int
    epochs: int
    lr: float
    lr_backbone: float
    stage_decay: float
    batchnorm: str
    warmup: float
    weight_decay: float
    label_smoothing: float
    augment: str
    views: int
    budget_minutes: float
    seed: int
    reasons: dict[str, str] = field(default_factory=dict, compare=False)

    def rows(self) -> list[tuple[str, Any, str]]:
        """(name, value, reason) of the settings that this strategy uses, for printing."""
        unused = _UNUSED.get(self.strategy, frozenset())
        return [
            (f.name, getattr(self, f.name), self.reasons.get(f.name, ""))
            for f in fields(self)
            if f.name not in {"reasons", *unused}
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        return cls(**values)

    def differences(self, other: Plan) -> list[str]:
        """What another plan has otherwise: ``["precision: bf16, float32"]``; reasons do not count."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name != "reasons")
        return [f"{name}: {mine}, {yours}" for name, mine, yours in pairs if mine != yours]

    def changed(self, reason: str, **values: Any) -> Plan:
        """This plan with other values, for one reason."""
        return replace(self, **values, reasons={**self.reasons, **dict.fromkeys(values, reason)})


_TRAINING = frozenset(
    "epochs lr lr_backbone stage_decay batchnorm warmup weight_decay label_smoothing augment batch_size".split()
)
_UNUSED: dict[str, frozenset[str]] = {
    "probe": _TRAINING | {"views", "budget_minutes"},
    "head": frozenset({"lr_backbone", "stage_decay", "batchnorm", "augment", "views", "budget_minutes"}),
    "finetune": frozenset({"views", "budget_minutes"}),
    "scratch": frozenset({"views", "budget_minutes"}),
    "lp-ft": frozenset({"views", "budget_minutes"}),
    "partial": frozenset({"budget_minutes"}),
    "auto": _TRAINING | {"views"},
}
SETTINGS = tuple(f.name for f in fields(Plan) if f.name not in {"reasons", "strategy", "seed", "boundary"})
_CHOICES: dict[str, tuple[str, ...]] = {
    "batchnorm": rules.BATCHNORM,
    "precision": ("bf16", "float32"),
    "engine": ENGINES,
    "augment": LEVELS,
}
_POSITIVE = frozenset("image_size resize batch_size epochs lr lr_backbone stage_decay views budget_minutes".split())


def resolve(
    facts: Facts, seed: int = 0, boundary: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Plan:
    """Resolve every setting by its rule, then put the user's values in their place.

    Raises:
        OptionError: an override that is unknown or impossible; all of them are named at once.
    """
    yours = check_overrides(overrides or {})
    batch = yours.get("batch_size", rules.batch_size(facts).value)
    size = rules.image_size(facts)
    input_size = yours.get("image_size", size.value)
    chosen: dict[str, Choice] = {
        "strategy": Choice(facts.strategy, _STRATEGY_WORDS[facts.strategy]),
        "boundary": _boundary(facts.strategy, boundary),
        "image_size": size,
        "resize": Choice(input_size, "the input size: nothing of the shorter side is cut off"),
        "precision": rules.precision(facts),
        "engine": rules.engine(facts, input_size),
        "batch_size": rules.batch_size(facts),
        "epochs": rules.epochs(facts, batch),
        "lr": rules.learning_rate(facts),
        "lr_backbone": rules.backbone_rate(facts),
        "stage_decay": rules.stage_decay(facts),
        "batchnorm": rules.batchnorm(facts),
        "warmup": Choice(0.15, "part of the steps in which rates rise, before a cosine takes them to zero"),
        "weight_decay": rules.weight_decay(facts),
        "label_smoothing": rules.label_smoothing(facts),
        "augment": rules.augment(facts),
        "views": rules.views(facts),
        "budget_minutes": Choice(
            10.0 if facts.device == "cpu" else 5.0, "what auto may spend on fine-tuning after the probe"
        ),
        "seed": Choice(seed, "decides splits, order, crops, dropout and random weights"),
    }
    chosen |= {name: Choice(value, YOURS) for name, value in yours.items()}
    return Plan(**{n: c.value for n, c in chosen.items()}, reasons={n: c.reason for n, c in chosen.items()})


_STRATEGY_WORDS = {
    "auto": "a probe first, then whatever val says",
    "probe": "the whole backbone is frozen; a linear head is fitted on its outputs",
    "head": "the whole backbone is frozen; the head is trained on its outputs",
    "finetune": "everything is trained, from pretrained weights",
    "partial": "stages before the boundary are frozen and read once; the rest is trained",
    "lp-ft": "everything is trained, from pretrained weights and the probe's head (Kumar et al. 2022)",
    "scratch": "everything is trained, from random weights: what the photos alone can teach",
}


def _boundary(strategy: str, asked: str | None) -> Choice:
    if strategy == "partial":
        return Choice(asked or "layer4", YOURS if asked else "the last stage: the one most particular to the old task")
    if asked is not None and strategy not in rules.BOUNDED:
        raise OptionError(
            f"--boundary {asked} goes with --strategy {', '.join(rules.BOUNDED)}, not with {strategy}.",
            "Leave it out, or ask for one of these.",
        )
    if asked is not None:
        return Choice(asked, YOURS)
    if strategy in {"probe", "head", "auto"}:
        return Choice("end", "the whole backbone is frozen")
    return Choice("start", "every stage is trained")


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The user's values in the types of their settings; text such as ``"5"`` is read.

    Raises:
        OptionError: naming every unknown setting and impossible value.
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

"""What ``tune`` searches. In: a plan. Out: ranges around its values, and the values of a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.training.plan import OF_SOME, Plan
from headstart.training.strategies import STRATEGIES

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Range:
    """The values of one setting: from ``low`` to ``high``, whole where both are, or one of ``names``."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    names: tuple[str, ...] = ()

    def suggest(self, trial: Trial, setting: str) -> Any:
        """The value that the sampler takes for a trial."""
        if self.names:
            return trial.suggest_categorical(setting, list(self.names))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(setting, self.low, self.high, log=self.log)
        return trial.suggest_float(setting, self.low, self.high, log=self.log)

    @property
    def words(self) -> str:
        """For people."""
        return ", ".join(self.names) if self.names else f"{self.low:.3g} to {self.high:.3g}"


def _tenfold(value: float) -> Range:
    """From a tenth of the plan's value to ten times it, by orders of magnitude."""
    return Range(value / 10, value * 10, log=True)


_AROUND: dict[str, Callable[[Any], Range]] = {
    "lr": _tenfold,
    "lr_backbone": _tenfold,
    "stage_decay": lambda value: Range(min(0.4, value), max(1.0, value)),
    "weight_decay": lambda value: Range(min(1e-3, value or 1e-3), max(0.3, value), log=True),
    "label_smoothing": lambda value: Range(0.0, max(0.2, value)),
    "epochs": lambda value: Range(max(1, value // 2), 2 * value),
    "augment": lambda value: Range(names=tuple(dict.fromkeys([value, "flip", "mild", "light", "strong"]))),
}
"""Each range holds the plan's own value. The input size, precision and batch size decide time more than accuracy."""


def space_of(plan: Plan, fixed: Collection[str]) -> dict[str, Range]:
    """The ranges of the settings that the plan's strategy uses, without those that the user ``fixed``."""
    unused = OF_SOME - STRATEGIES.get(plan.strategy).settings(plan)
    taken = [name for name in _AROUND if name not in unused and name not in fixed]
    if not STRATEGIES.get(plan.strategy).trains_backbone:
        taken = [name for name in taken if name != "augment"]
    return {name: _AROUND[name](getattr(plan, name)) for name in taken if getattr(plan, name) or name in _FROM_ZERO}


_FROM_ZERO = ("label_smoothing",)

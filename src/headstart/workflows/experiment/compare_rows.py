"""What the page of a comparison shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.data.schema import Split
from headstart.reporting.page import Fact


@dataclass(frozen=True)
class ArmRow:
    """One arm in one group ("10 per class"; "" where there is only one): accuracy per seed, its mean and interval."""

    group: str
    arm: str
    mean: float
    values: Sequence[float]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DifferenceRow:
    """``first`` − ``second`` in accuracy within a group, its interval and p-value; ``verdict`` puts it in words."""

    group: str
    first: str
    second: str
    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Curve:
    """Validation accuracy of one arm by epoch: the mean over seeds and, where there are several, a band.

    An arm without epochs (a probe) gives its one value; it is drawn as a level line.
    """

    group: str
    arm: str
    epochs: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class CompareReport:
    """Several arms side by side, for ``render_compare``.

    Groups and arms are shown, and arms coloured, in the order in which ``rows`` names them first. ``split`` is the one
    whose accuracy ``rows`` and ``differences`` tell.
    """

    title: str
    answer: str
    command: str
    rows: Sequence[ArmRow]
    split: Split = "test"
    more: str = ""
    caveats: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    differences: Sequence[DifferenceRow] = ()
    curves: Sequence[Curve] = ()
    samples: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """Group names, each once, in order of appearance."""
        return list(dict.fromkeys(row.group for row in self.rows))

    @property
    def arms(self) -> list[str]:
        """Arm names, each once, in order of appearance."""
        return list(dict.fromkeys(row.arm for row in self.rows))

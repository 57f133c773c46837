"""All that a page shows. In: what a run or a comparison found. Out: ``RunReport`` and ``CompareReport``, free of HTML.

Shares (accuracy, confidence) are in [0, 1]; photos are uint8 arrays [h, w, 3], RGB, of any size: pages scale them down
themselves. Everything beyond title, answer and command may be left out, and its section is then left out too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from headstart.data.imageset import BadFile, Split


class EpochRow(TypedDict, total=False):
    """One epoch of history.csv. ``phase`` names the part of the strategy ("finetune"); None: that was not measured."""

    epoch: int
    phase: str
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None
    seconds: float | None


class ProbeRow(TypedDict, total=False):
    """One L2 strength of a probe's grid and how it did."""

    l2: float
    train_accuracy: float | None
    val_accuracy: float | None
    val_loss: float | None


@dataclass(frozen=True)
class Fact:
    """A tile at the top of the page: "training", "38 s", "2 CPU cores, bf16"."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class PlanRow:
    """One hyperparameter, what it was resolved to, and why."""

    name: str
    value: str
    reason: str = ""


@dataclass(frozen=True)
class Mistake:
    """A classified photo that is worth looking at, mostly a wrong one; ``confidence`` is p(``predicted``), ``path`` is
    relative to the data. ``looked``: the photo with a map of what spoke for ``predicted``.
    """

    photo: np.ndarray
    true: str
    predicted: str
    confidence: float
    path: str = ""
    looked: np.ndarray | None = None


@dataclass(frozen=True)
class DataCheck:
    """What scanning and decoding found; ``conversions`` counts photos by what was done to them ("EXIF-rotated": 12)."""

    summary: str
    good: int
    bad: Sequence[BadFile] = ()
    conversions: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """One training, for ``render_run``.

    answer       the one sentence to take home; ``more`` a second one; ``caveats`` what a careful reader should know
    metrics      split ("val", "test") → what ``evaluate.metrics.evaluate`` returned; the page tells of test if it can
    temperature  what the outputs were divided by (metrics tell of calibration before and after)
    counts       split → photos per class, in the order of ``classes``
    names        class → name to show, where it differs (a breed for its WordNet number)
    history      epochs; ``best_epoch`` is the one whose weights were kept (the last of that number, if phases recount)
    probe_path   a probe's grid of L2, ``chosen_l2`` marked; lp-ft has both this and a history
    samples      class → a few photos
    hits         the surest right answers, with maps: what the model goes by
    environment  name → version or description ("torch": "2.12.1", "machine": "2 CPU cores")
    contents     file in the run folder → what it holds
    usage        (command, what it does)
    """

    title: str
    answer: str
    command: str
    classes: Sequence[str]
    more: str = ""
    caveats: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    metrics: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    temperature: float = 1.0
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[EpochRow] = ()
    best_epoch: int | None = None
    probe_path: Sequence[ProbeRow] = ()
    chosen_l2: float | None = None
    samples: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()
    hits: Sequence[Mistake] = ()
    data_check: DataCheck | None = None
    plan: Sequence[PlanRow] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    usage: Sequence[tuple[str, str]] = ()


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

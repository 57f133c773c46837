"""What the table and the page of a study or a comparison show. Accuracies are in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.evaluation.over_seeds import MIN_SEEDS
from headstart.evaluation.statistics import LEVEL
from headstart.reporting.page import Fact


@dataclass(frozen=True)
class ArmRow:
    """One arm at one point: a line of the table.

    values           one per seed
    method           of the interval: "95 % for the expected accuracy, 3 seeds", "one run; Wilson 95 % over photos"
    point            "10" where the arm is swept over shots, "layer2.2" over cuts; else ""
    published        accuracy; ``published_words``: shown in its place where given
    expected         the recipe's range at full size
    setting          "finetune, 160 px, 10 epochs, 7671 photos"
    seconds          mean per run
    judged           number of photos that it was tested on
    note             prose, may hold `code`
    """

    arm: str
    mean: float
    values: Sequence[float]
    low: float | None = None
    high: float | None = None
    method: str = ""
    images: str = ""
    point: str = ""
    published: float | None = None
    published_words: str = ""
    expected: tuple[float, float] | None = None
    setting: str = ""
    seconds: float = 0.0
    judged: int = 0
    note: str = ""

    @property
    def band(self) -> tuple[float, ...]:
        """(low, high) for the expected accuracy; empty where there are too few seeds for it."""
        return (self.low or 0.0, self.high or 0.0) if len(self.values) >= MIN_SEEDS else ()


@dataclass(frozen=True)
class DifferenceRow:
    """``first`` − ``second`` in accuracy on the same photos.

    method                   "95 % for the expected difference, 3 seeds" or "paired bootstrap 95 %, …; McNemar exact"
    over                     what the interval holds: "seeds and photos", or "photos" alone
    only_first, only_second  of one run: how many photos only this arm classified correctly (McNemar)
    p_holm                   the p-value, corrected for the number of differences in the table
    seeds                    that both arms have
    """

    first: str
    second: str
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    method: str
    over: str
    images: str = ""
    point: str = ""
    only_first: int | None = None
    only_second: int | None = None
    verdict: str = ""
    p_holm: float | None = None
    seeds: int = 1

    @property
    def settled(self) -> bool:
        """Whether the difference stands at the level of the intervals, among all those of its table."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


@dataclass(frozen=True)
class Curve:
    """One arm's epochs at one point, mean over seeds; a measure that was not taken is an empty sequence.

    Bands reach from the lowest to the highest of at least ``MIN_SEEDS`` seeds. ``level``: an arm without epochs (a
    probe), with a single value.
    """

    arm: str
    epochs: Sequence[int]
    train_loss: Sequence[float] = ()
    val_loss: Sequence[float] = ()
    train_accuracy: Sequence[float] = ()
    val_accuracy: Sequence[float] = ()
    val_accuracy_low: Sequence[float] = ()
    val_accuracy_high: Sequence[float] = ()
    level: bool = False
    point: str = ""


@dataclass(frozen=True)
class Sweep:
    """Arms over one thing that was varied.

    key      "shots", "cut", "fraction", "image_size"
    heading  "Accuracy by photos per class"; ``axis``: "photos per class"
    lines    the rows of each arm
    levels   (arm, accuracy) of arms that are not swept: level dashed lines
    """

    key: str
    heading: str
    axis: str
    lines: Sequence[Sequence[ArmRow]]
    levels: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class TextBlock:
    """A block of plain text behind a click: a classification report, an architecture."""

    heading: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class ExperimentReport:
    """One study or comparison, for ``render_experiment``. A section without content is left out.

    more    what the published project did (prose with `code`)
    rows    arms are shown, and coloured, in the order in which rows name them first
    kind    "study" or "comparison"
    split   that the accuracy of all rows is measured on, "test" or "val"; "" where they differ
    points  point to its heading ("10 per class"): rows and curves are then grouped by point
    samples class to a few photos, uint8 [h, w, 3]; ``names``: class to the name shown, where it differs
    """

    title: str
    answer: str
    command: str
    rows: Sequence[ArmRow]
    more: str = ""
    kind: str = "study"
    split: str = ""
    points: Mapping[str, str] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    differences: Sequence[DifferenceRow] = ()
    curves: Sequence[Curve] = ()
    sweeps: Sequence[Sweep] = ()
    samples: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[TextBlock] = ()
    notes: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def arms(self) -> list[str]:
        """Arm names, each once: those of the rows in their order, then any that only a curve or a sweep names."""
        curves = [curve.arm for curve in self.curves]
        swept = [line[0].arm for sweep in self.sweeps for line in sweep.lines]
        return list(dict.fromkeys([*(row.arm for row in self.rows), *curves, *swept]))

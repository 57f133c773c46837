"""What ``study`` and ``compare`` return."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.results import JobResult
from headstart.workflows.experiment.rows import ArmRow, DifferenceRow

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Study:
    """A finished study.

    path                its folder
    results             every training
    rows, differences   the table, and how sure the arms differ
    answer, text        the result in a sentence; all of it for a terminal
    """

    path: Path
    recipe: Recipe
    results: tuple[JobResult, ...]
    rows: tuple[ArmRow, ...]
    differences: tuple[DifferenceRow, ...]
    answer: str
    text: str

    def frame(self) -> DataFrame:
        """The rows as a pandas frame. Raises OptionError where pandas is not installed."""
        from headstart.reporting.notebook import frame

        return frame(asdict(row) for row in self.rows)

    def _repr_html_(self) -> str:
        from headstart.reporting.notebook import answer_html

        columns = ("arm", "point", "published", "mean", "low", "high", "values", "seconds")
        rows = [{name: getattr(row, name) for name in columns} for row in self.rows]
        return answer_html(self.answer, rows, self.path / "report.html")

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "study": self.recipe.name, "answer": self.answer, "report": str(self.path / "report.html"),
            "arms": [asdict(row) for row in self.rows], "differences": [asdict(gap) for gap in self.differences],
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    results             every training: its group, arm, seed, split, accuracy, right, curve, seconds, train_photos
    rows                per number of shots ("group") and arm: accuracy with interval
    differences         every pair of arms: the better one first, with interval and p-value
    text, answer        all of it for a terminal; the result in a sentence
    report              its page
    """

    results: tuple[JobResult, ...]
    rows: tuple[dict[str, Any], ...]
    differences: tuple[dict[str, Any], ...]
    text: str
    answer: str
    report: Path | None = None

    def frame(self) -> DataFrame:
        """The rows as a pandas frame. Raises OptionError where pandas is not installed."""
        from headstart.reporting.notebook import frame

        return frame(self.rows)

    def _repr_html_(self) -> str:
        from headstart.reporting.notebook import answer_html

        return answer_html(self.answer, self.rows, self.report)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "answer": self.answer,
            "report": str(self.report) if self.report else None,
            "arms": list(self.rows),
            "differences": list(self.differences),
        }

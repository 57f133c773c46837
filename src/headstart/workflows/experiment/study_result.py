"""What ``study`` returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.results import JobResult

if TYPE_CHECKING:
    from pandas import DataFrame

    from headstart.workflows.experiment.rows import StudyDifference, StudyRow


@dataclass(frozen=True)
class Study:
    """A finished study; ``text`` is the table for a terminal."""

    path: Path
    recipe: Recipe
    results: tuple[JobResult, ...]
    rows: tuple[StudyRow, ...]
    differences: tuple[StudyDifference, ...]
    answer: str
    text: str

    def frame(self) -> DataFrame:
        """The rows as a pandas frame."""
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

"""What ``compare`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ArmResult:
    """One training of one arm. ``right[i]``: whether photo i of the judged split was named correctly; ``curve``: val
    accuracy per epoch.
    """

    group: str
    arm: str
    seed: int
    split: str
    accuracy: float
    right: tuple[bool, ...]
    curve: tuple[float, ...]
    seconds: float
    train_photos: int


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; ``text`` is the table for a terminal, ``report`` the page (None where none was asked
    for).
    """

    results: tuple[ArmResult, ...]
    rows: tuple[dict[str, Any], ...]
    differences: tuple[dict[str, Any], ...]
    text: str
    answer: str
    report: Path | None = None

    def frame(self) -> DataFrame:
        """The rows as a pandas frame."""
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

"""What ``forecast`` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.evaluation.learning_curve import Band, LearningCurve, Needed, Points

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class Forecast:
    """What to expect of a probe of ``backbone``.

    ``counts``: photos to learn from per class; ``measured``: what the curve was fitted to; ``now`` and ``ahead``: bands
    at the photos at hand and with ``more`` per class; ``gains``: (low, high) of each of them over now; ``needed``: for
    the target, if there was one; ``answer``: the sentence; ``page``: the HTML file, None where none was asked for.
    """

    data: str
    backbone: str
    counts: dict[str, int]
    measured: Points
    curve: LearningCurve = field(repr=False)
    now: Band
    more: tuple[int, ...]
    ahead: tuple[Band, ...]
    gains: tuple[tuple[float, float], ...]
    needed: Needed | None
    answer: str
    notes: tuple[str, ...]
    text: str
    page: Path | None = None

    @property
    def photos(self) -> int:
        """Photos to learn from, val among them."""
        return sum(self.counts.values())

    @property
    def per_class(self) -> float:
        """Photos per class, on average."""
        return self.photos / len(self.counts)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        measured = zip(self.measured.sizes.tolist(), self.measured.accuracy.tolist(), strict=True)
        need = self.needed
        return {
            "data": self.data, "backbone": self.backbone, "photos": self.photos, "classes": self.counts,
            "level": self.now.level,
            "measured": [{"photos": round(n), "accuracy": round(a, 5)} for n, a in measured],
            "now": _numbers(self.now),
            "ahead": [
                {"more_per_class": m, **_numbers(b), "gain_low": round(g[0], 5), "gain_high": round(g[1], 5)}
                for m, b, g in zip(self.more, self.ahead, self.gains, strict=True)
            ],
            "target": None if need is None else {
                "accuracy": need.target, "photos": need.value, "low": need.low, "high": need.high,
                "chance_that_it_is_reached": round(need.reachable, 3),
            },
            "answer": self.answer, "notes": list(self.notes), "page": str(self.page) if self.page else None,
        }  # fmt: skip

    def frame(self) -> DataFrame:
        """A row per size as a pandas frame: what was measured, then what is forecast."""
        from headstart.reporting.notebook import frame

        measured = zip(self.measured.sizes.tolist(), self.measured.accuracy.tolist(), strict=True)
        rows = [{"kind": "measured", "photos": round(n), "accuracy": a, "low": None, "high": None} for n, a in measured]
        kinds = ["now", *("forecast" for _ in self.ahead)]
        return frame(rows + [{"kind": k, **_numbers(b)} for k, b in zip(kinds, (self.now, *self.ahead), strict=True)])

    def figure(self) -> Figure:
        """The learning curve with its band, as a matplotlib figure."""
        from headstart.workflows.forecast.plots import learning_curve

        return learning_curve(self.curve, self.measured, (self.now, *self.ahead))

    def _repr_html_(self) -> str:
        from headstart.reporting.notebook import answer_html

        rows = [{"": name, **_numbers(band)} for name, band in table_of(self.now, self.more, self.ahead)]
        return answer_html(self.answer, rows, self.page)


def _numbers(band: Band) -> dict[str, Any]:
    shown = {"accuracy": band.value, "low": band.low, "high": band.high}
    return {"photos": round(band.photos), **{name: round(value, 5) for name, value in shown.items()}}


def table_of(now: Band, more: Sequence[int], ahead: Sequence[Band]) -> list[tuple[str, Band]]:
    """(name, band) of each row."""
    return [("now", now), *((f"+{m:,} per class", band) for m, band in zip(more, ahead, strict=True))]

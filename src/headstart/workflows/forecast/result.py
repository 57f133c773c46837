"""The result of ``forecast``, and its summary in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.text import joined
from headstart.evaluation.learning_curve import FAR, Band, LearningCurve, Needed, Points
from headstart.reporting.notebook import answer_html, frame, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


EVEN = 1.2
"""Photos of the largest class over those of the smallest, up to which "per class" means each of them."""
WIDE = 0.1
"""Width of an interval from which the forecast itself says that it is wide."""
CHECKED = 4.0
"""Times the photos at hand up to which the intervals were checked (docs/explanation/measured-forecast.md)."""


@dataclass(frozen=True)
class Forecast:
    """The expected accuracy of a probe of ``backbone``.

    ``counts``: photos to learn from per class; ``measured``: what the curve was fitted to; ``now`` and ``ahead``: bands
    at the photos at hand and with ``more`` per class; ``gains``: (low, high) of each of them over now; ``needed``: for
    the target, if there was one; ``answer``: the sentence; ``page``: the HTML file, if one was asked for.
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
    def rows(self) -> list[tuple[str, Band]]:
        """(name, band): now, then with more photos."""
        names = ("now", *(f"+{more:,} per class" for more in self.more))
        return list(zip(names, (self.now, *self.ahead), strict=True))

    @property
    def text(self) -> str:
        """The table and the answer, for a terminal."""
        lines = [f"{'':20}{'photos':>8}  {'expected':>8}   {100 * self.now.level:g} % band"]
        lines += [f"{name:20}{b.photos:8.0f}  {b.value:8.3f}   {b.low:.3f} to {b.high:.3f}" for name, b in self.rows]
        return joined([*lines, "", self.answer, *([] if self.page is None else ["", f"Page: {self.page}"])])

    @property
    def curve_bands(self) -> list[Band]:
        """Bands to draw, from the smallest size that was measured to the largest that is forecast."""
        sizes = np.geomspace(self.measured.sizes[0], max(band.photos for _, band in self.rows), 60)
        return self.curve.bands(sizes, self.now.level)

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
        measured = zip(self.measured.sizes.tolist(), self.measured.accuracy.tolist(), strict=True)
        rows = [{"kind": "measured", "photos": round(n), "accuracy": a, "low": None, "high": None} for n, a in measured]
        rows += [{"kind": "forecast" if i else "now", **_numbers(band)} for i, (_, band) in enumerate(self.rows)]
        return frame(rows)

    def figure(self) -> Figure:
        """The learning curve with its band, as a matplotlib figure."""
        bands = self.curve_bands
        figure = new_figure(6, 3.6)
        axes = figure.subplots()
        photos = [band.photos for band in bands]
        axes.fill_between(photos, [b.low for b in bands], [b.high for b in bands], alpha=0.2, label="band")
        axes.plot(photos, [b.value for b in bands], label="expected")
        axes.plot(self.measured.sizes, self.measured.accuracy, "o", markersize=4, label="measured")
        axes.axvline(self.photos, linestyle="--", linewidth=1, color="grey")
        axes.set(xlabel="photos", ylabel="accuracy", xscale="log")
        axes.legend(loc="lower right")
        return figure

    def _repr_html_(self) -> str:
        return answer_html(self.answer, [{"": name, **_numbers(band)} for name, band in self.rows], self.page)


def _numbers(band: Band) -> dict[str, Any]:
    shown = {"accuracy": band.value, "low": band.low, "high": band.high}
    return {"photos": round(band.photos), **{name: round(value, 5) for name, value in shown.items()}}


def answer_of(
    counts: Mapping[str, int], now: Band, more: Sequence[int], ahead: Sequence[Band], needed: Needed | None
) -> str:
    """The sentence: what the first of ``more`` brings, and what the target takes."""
    added = f"{more[0]:,} more per class"
    if max(counts.values()) > EVEN * min(counts.values()):
        factor = 1 + more[0] * len(counts) / sum(counts.values())
        added = f"{factor:.3g} times as many photos of every class ({added} on average)"
    expect = f"With {added} expect {band_words(ahead[0])} (now {now.value:.3f}, {band_words(now)})."
    return expect if needed is None else f"{expect} {target_words(counts, now, needed)}"


def band_words(band: Band) -> str:
    """ "0.962–0.975", with a fourth digit where three would show no width."""
    digits = 3 if band.high - band.low >= 0.002 else 4
    return f"{band.low:.{digits}f}–{band.high:.{digits}f}"


def target_words(counts: Mapping[str, int], now: Band, needed: Needed) -> str:
    """What the target takes, or why that is unknown."""
    photos, classes, target = sum(counts.values()), len(counts), f"{needed.target:g}"
    if needed.reachable < (1 - now.level) / 2:
        return f"{target} is most likely out of reach of a probe of this network, with any number of photos like these."

    def per_class(total: float) -> str:
        return f"{max(0, round_up((total - photos) / classes)):,}"

    even = "" if max(counts.values()) <= EVEN * min(counts.values()) else " on average"
    if needed.value is not None and needed.value <= photos:
        if needed.high is not None and needed.high <= photos:
            return f"{target} is reached with the photos at hand."
        takes = f"{per_class(needed.high)} more per class{even}" if needed.high else "more than can be said"
        return f"{target} is about what the photos at hand reach; to be nearly sure of it takes {takes}."
    if needed.value is None:
        far = f"{int((FAR - 1) * photos / classes):,} more per class"
        least = "" if needed.low is None else f", and at least {per_class(needed.low)}"
        return f"{target} takes perhaps more than {far}{even}{least}, if it can be reached at all: too far to say."
    low = per_class(needed.low or photos)
    ends = f"{low} to {per_class(needed.high)}" if needed.high is not None else f"at least {low}, or out of reach"
    return f"{target} takes about {per_class(needed.value)} more per class{even} ({ends})."


def round_up(number: float) -> int:
    """To two digits, upwards: 1,234 → 1,300."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return int(-(-number // step) * step)


def notes_of(counts: Mapping[str, int], now: Band, ahead: Sequence[Band], most: float) -> list[str]:
    """Caveats of this forecast; ``most``: the upper end of the largest gain."""
    notes, photos = [], sum(counts.values())
    if now.high - now.low > WIDE:
        notes.append(
            f"{photos} photos say little: even the accuracy of a probe of all of them is known to within "
            f"{now.high - now.low:.2f} only. Forecast again with more photos."
        )
    elif most < now.high - now.low:
        notes.append(
            f"The gain is small: {100 * most:.1f} points at most, less than the uncertainty of the accuracy now. So "
            "the bands overlap, which does not mean that more photos do not help."
        )
    if any(band.photos > CHECKED * photos * 1.05 for band in ahead):
        notes.append(f"Bands were checked up to {CHECKED:g} times the photos; beyond, they rest on the curve alone.")
    return notes

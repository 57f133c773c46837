"""``forecast``: how many more photos are needed? In: photos, or a run. Out: ``Forecast``: what a probe would reach with
more of them, with bands, what a target takes, and a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.classifier import write_text
from headstart.data.scan import check_labels
from headstart.errors import DataError, OptionError
from headstart.forecasting.learning_curve import Band, LearningCurve, Needed, Points, fit, points
from headstart.forecasting.measuring import FEWEST, few, measure
from headstart.forecasting.source import Source, find_source
from headstart.forecasting.telling import Asked, answer_of, notes_of, table_of
from headstart.survey import Survey, survey
from headstart.voice import Voice

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEVEL = 0.9


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
        from headstart.notebook import frame

        measured = zip(self.measured.sizes.tolist(), self.measured.accuracy.tolist(), strict=True)
        rows = [{"kind": "measured", "photos": round(n), "accuracy": a, "low": None, "high": None} for n, a in measured]
        kinds = ["now", *("forecast" for _ in self.ahead)]
        return frame(rows + [{"kind": k, **_numbers(b)} for k, b in zip(kinds, (self.now, *self.ahead), strict=True)])

    def figure(self) -> Figure:
        """The learning curve with its band, as a matplotlib figure."""
        from headstart.notebook import learning_curve

        return learning_curve(self)

    def _repr_html_(self) -> str:
        from headstart.notebook import answer_html

        rows = [{"": name, **_numbers(band)} for name, band in table_of(self.now, self.more, self.ahead)]
        return answer_html(self.answer, rows, self.page)


def _numbers(band: Band) -> dict[str, Any]:
    shown = {"accuracy": band.value, "low": band.low, "high": band.high}
    return {"photos": round(band.photos), **{name: round(value, 5) for name, value in shown.items()}}


def forecast(
    data: str | Path, *, more: Sequence[int] = (), target: float | None = None, level: float = LEVEL,
    out: str | Path | None = None, overwrite: bool = False, quiet: bool = False, **options: Any,
) -> Forecast:  # fmt: skip
    """What a probe would reach with more photos like these.

    Args:
        data: photos as for ``train``, or the folder of a run: then its own train and val photos, and the pretrained
            backbone that it began with.
        more: photos per class to add, several to compare; by default as many again, and three times as many.
        target: an accuracy to reach. level: how often a band should hold the truth.
        out: a folder (``forecast.html`` is written there) or a file that ends in .html; by default no page is written.
        options: backbone and preprocessing as for ``train``, ``seed``, ``device``, ``on_bad``; with a run, only the
            last three.

    Raises:
        DataError: a class with too few photos. OptionError, RunError, WeightsError: see their messages.
    """
    asked = Asked(tuple(more), target, level)
    asked.check()
    page = page_path(out, overwrite)
    with Voice(quiet) as voice:
        source = find_source(data, options, voice)
        seen = survey(source.options, voice, source.listing)
        asked.check_reach(asked.more, len(seen) / len(seen.classes))
        found = conclude(seen, _measured(seen, source.options.seed, voice), asked, source)
        for note in found.notes:
            voice.warn(note)
        if page is None:
            return found
        from headstart.report.forecast import render_forecast

        found = replace(found, page=page, text=f"{found.text}\n\nPage: {page}")
        write_text(page, render_forecast(found, source.command + asked.words, seen.machine.words))
    return found


def _measured(seen: Survey, seed: int, voice: Voice) -> Points:
    """Accuracy of probes of growing parts of the photos. Raises DataError for too few of them."""
    check_labels([seen.photo(i) for i in range(len(seen))], seen.photos.listing.name)
    unit = seen.units
    refuse_few(seen.classes, seen.labels, unit)
    listing = seen.photos.listing
    voice.say(f"{listing.name} ({listing.layout}): {len(seen.classes)} classes, {len(seen)} photos to learn from")
    found = measure(seen.features, seen.labels, unit, seed, partial(voice.progress, "probes of parts of them"))
    return points(found.sizes, found.right, found.unit)


def conclude(seen: Survey, measured: Points, asked: Asked, source: Source) -> Forecast:
    """Fit the curve, and say what it means."""
    tally = Counter(seen.labels.tolist())
    counts = {label: tally[i] for i, label in enumerate(seen.classes)}
    photos, classes = len(seen), len(counts)
    more = asked.more or default_more(photos / classes)
    curve = fit(measured, source.options.seed)
    places = np.array([photos, *(photos + classes * m for m in more)], float)
    now, *ahead = curve.bands(places, asked.level)
    gains = curve.gains(places, asked.level)[1:]
    needed = None if asked.target is None else curve.needed(asked.target, photos, asked.level)
    notes = (*source.remarks, *notes_of(counts, now, ahead, max(high for _, high in gains)))
    answer = answer_of(counts, now, more, ahead, needed)
    text = "\n".join([*_lines(now, more, ahead), "", answer])
    return Forecast(
        seen.photos.listing.name, seen.backbone.name, counts, measured, curve, now, more, tuple(ahead), gains, needed,
        answer, notes, text,
    )  # fmt: skip


def default_more(per_class: float) -> tuple[int, ...]:
    """As many again, and three times as many, in round numbers."""

    def rounded(n: float) -> int:
        step = 10 ** max(0, len(str(int(n))) - 2)
        return max(1, round(n / step) * step)

    return rounded(per_class), rounded(3 * per_class)


def _lines(now: Band, more: Sequence[int], ahead: Sequence[Band]) -> list[str]:
    head = f"{'':20}{'photos':>8}  {'expected':>8}   {100 * now.level:g} % band"
    return [head] + [
        f"{name:20}{band.photos:8.0f}  {band.value:8.3f}   {band.low:.3f} to {band.high:.3f}"
        for name, band in table_of(now, more, ahead)
    ]


def refuse_few(classes: Sequence[str], labels: np.ndarray, unit: Sequence[int]) -> None:
    """Raise DataError where a class has too few photos that do not belong together."""
    first = np.unique(np.stack([labels, np.asarray(unit)]), axis=1)[0]
    lacking = few(first)
    if lacking:
        named = ", ".join(f"{classes[label]!r} has {n}" for label, n in list(lacking.items())[:5])
        more = f" and {len(lacking) - 5} more classes" if len(lacking) > 5 else ""
        raise DataError(
            f"A forecast needs at least {FEWEST} photos of every class, copies and groups counted once: {named}{more}.",
            "Add photos, or leave the class out.",
        )


def page_path(out: str | Path | None, overwrite: bool) -> Path | None:
    """Where the page goes. Raises OptionError where something lies there already."""
    if out is None:
        return None
    path = Path(out)
    page = path if path.suffix.lower() in (".html", ".htm") else path / "forecast.html"
    if page.is_dir() or (page is not path and path.exists() and not path.is_dir()):
        wrong = "is a folder" if page.is_dir() else "is a file, and not an .html"
        raise OptionError(f"--out {path} {wrong}.", "Name a folder, or a file that ends in .html.")
    if page.exists() and not overwrite:
        raise OptionError(f"--out {page} exists.", "Use --overwrite to replace it, or choose another name.")
    return page

"""``forecast``: the accuracy that a linear probe would reach with more photos, by extrapolating its learning curve."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.files import write_text
from headstart.core.paths import Place, check_writable, taken
from headstart.core.text import listed, quoted
from headstart.data.sources.detect import check_labels
from headstart.data.sources.given import Data
from headstart.errors import DataError, OptionError
from headstart.evaluation.learning_curve import FAR, Points, fit, points
from headstart.reporting.command import command_line
from headstart.reporting.console import console_events
from headstart.training.config import BAND_LEVEL, ForecastOptions
from headstart.training.embeddings import EmbeddedDataset, embed_dataset
from headstart.workflows.forecast.measure import measure
from headstart.workflows.forecast.result import Forecast, answer_of, notes_of
from headstart.workflows.forecast.source import Source, find_source


@dataclass(frozen=True)
class Asked:
    """The request: ``more`` photos per class, an accuracy to reach, the coverage of intervals."""

    more: tuple[int, ...]
    target: float | None
    level: float

    def check(self) -> None:
        """Raises OptionError that names every impossible value."""
        wrong = [f"`more={m}` must be at least 1" for m in self.more if m < 1]
        if self.target is not None and not 0 < self.target < 1:
            wrong.append(f"`target={self.target:g}` must be above 0 and below 1 (0.95 is 95 %)")
        if not 0.5 <= self.level < 1:
            wrong.append(f"`level={self.level:g}` must be from 0.5 to below 1")
        if wrong:
            raise OptionError("; ".join(wrong))

    def check_reach(self, more: Sequence[int], per_class: float) -> None:
        """Raises OptionError for more photos than the curve can be extrapolated to."""
        most = int((FAR - 1) * per_class)
        far = [m for m in more if m > most]
        if far:
            raise OptionError(
                f"`more={far[0]}` is more than {FAR:g} times the {per_class:.0f} photos per class at hand.",
                f"Ask for at most {most}, or add photos first.",
            )

    @property
    def given(self) -> dict[str, Any]:
        """The options that ask for this."""
        level = None if self.level == BAND_LEVEL else self.level
        return {"more": self.more, "target": self.target, "level": level}


@typed
def forecast(
    data: Data,
    *,
    more: Sequence[int] = (),
    target: float | None = None,
    level: float = BAND_LEVEL,
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[ForecastOptions],
) -> Forecast:
    """Forecast the accuracy of a linear probe with more photos like these.

    Args:
        data: photos as for ``train``, or a run folder: then its own train and val photos, and the pretrained backbone
            that it began with.
        more: photos per class to add, several to compare; by default as many again, and three times as many.
        target: an accuracy to reach: how many photos does it take?
        level: the coverage of intervals, from 0.5 to below 1.
        out: a folder (``forecast.html`` is written there) or a file that ends in .html; by default no page is written.
        overwrite: replace a page that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.ForecastOptions``; with a run, only seed, device and on_bad.

    Returns:
        Accuracies with intervals at each number of photos, and what the target takes.

    Raises:
        DataError: a class with too few photos.
        OptionError: an option that is unknown, cannot be, or has no use with a run.
        RunError: a run that was trained from scratch, or whose photos are gone.
        WeightsError: pretrained weights that are missing or do not fit.
    """
    asked = Asked(tuple(more), target, level)
    asked.check()
    page = page_path(out, overwrite)
    with console_events(quiet, listener) as events:
        source = find_source(data, {**options}, events)
        seen = embed_dataset(source.options, events, source.manifest)
        asked.check_reach(asked.more, len(seen) / len(seen.classes))
        found = _conclude(seen, _measured(seen, source.options.seed, events), asked, source)
        for note in found.notes:
            events.warning(note)
        if page is not None:
            from headstart.workflows.forecast.report import render_forecast

            found = replace(found, page=page)
            subject = data if isinstance(data, str | os.PathLike) else source.options.data
            command = command_line("forecast", str(subject), {**source.given, **asked.given})
            write_text(page, render_forecast(found, command, seen.machine.words))
    return found


def _measured(seen: EmbeddedDataset, seed: int, events: Events) -> Points:
    """Accuracy of probes of growing subsets of the photos. Raises DataError for too few photos."""
    data, unit = seen.photos.manifest, seen.units
    check_labels([seen.photo(i) for i in range(len(seen))], data.name)
    per_class = Counter(np.unique(np.stack([seen.labels, np.asarray(unit)]), axis=1)[0].tolist())
    lacking = [f"{quoted(seen.classes[label])} has {n}" for label, n in sorted(per_class.items()) if n < 4]
    if lacking:
        what = f"4 photos of every class, duplicates and groups counted once: {listed(lacking)}"
        raise DataError(f"A forecast needs at least {what}.", "Add photos, or leave the class out.")
    events.message(f"{data.name} ({data.layout}): {len(seen.classes)} classes, {len(seen)} photos to learn from")
    found = measure(seen.features, seen.labels, unit, seed, partial(events.progress, "probes of subsets"))
    return points(found.sizes, found.correct, found.unit)


def _conclude(seen: EmbeddedDataset, measured: Points, asked: Asked, source: Source) -> Forecast:
    """Fit the curve and extrapolate it."""
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
    return Forecast(
        seen.photos.manifest.name, seen.backbone.name, counts, measured, curve, now, more, tuple(ahead), gains, needed,
        answer_of(counts, now, more, ahead, needed), notes,
    )  # fmt: skip


def default_more(per_class: float) -> tuple[int, ...]:
    """As many again, and three times as many, in round numbers."""

    def rounded(n: float) -> int:
        step: int = 10 ** max(0, len(str(int(n))) - 2)
        return max(1, round(n / step) * step)

    return rounded(per_class), rounded(3 * per_class)


def page_path(out: Place | None, overwrite: bool) -> Path | None:
    """Where the page goes. Raises OptionError where a file is there already."""
    if out is None:
        return None
    path = Path(out)
    page = path if path.suffix.lower() in (".html", ".htm") else path / "forecast.html"
    if page.is_dir() or (page is not path and path.exists() and not path.is_dir()):
        wrong = "is a folder" if page.is_dir() else "is a file, and not an .html"
        raise OptionError(f"`out={path}` {wrong}.", "Name a folder, or a file that ends in .html.", option="out")
    if page.exists() and not overwrite:
        raise taken(page)
    check_writable(page)
    return page

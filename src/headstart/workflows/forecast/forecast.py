"""``forecast``: how many more photos are needed? In: photos, or a run. Out: ``Forecast``: what a probe would reach with
more of them, with bands, what a target takes, and a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.events import Events
from headstart.core.files import write_text
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError, OptionError
from headstart.evaluation.learning_curve import Band, Points, fit, points
from headstart.reporting.console import console_events
from headstart.training.embeddings import EmbeddedDataset, embed_dataset
from headstart.workflows.forecast.measure import FEWEST, few, measure
from headstart.workflows.forecast.result import Forecast, table_of
from headstart.workflows.forecast.source import Source, find_source
from headstart.workflows.forecast.text import Asked, answer_of, notes_of

LEVEL = 0.9


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
    with console_events(quiet) as events:
        source = find_source(data, options, events)
        seen = embed_dataset(source.options, events, source.manifest)
        asked.check_reach(asked.more, len(seen) / len(seen.classes))
        found = conclude(seen, _measured(seen, source.options.seed, events), asked, source)
        for note in found.notes:
            events.warning(note)
        if page is None:
            return found
        from headstart.workflows.forecast.report import render_forecast

        found = replace(found, page=page, text=f"{found.text}\n\nPage: {page}")
        write_text(page, render_forecast(found, source.command + asked.words, seen.machine.words))
    return found


def _measured(seen: EmbeddedDataset, seed: int, events: Events) -> Points:
    """Accuracy of probes of growing parts of the photos. Raises DataError for too few of them."""
    check_labels([seen.photo(i) for i in range(len(seen))], seen.photos.manifest.name)
    unit = seen.units
    refuse_few(seen.classes, seen.labels, unit)
    manifest = seen.photos.manifest
    events.message(
        f"{manifest.name} ({manifest.layout}): {len(seen.classes)} classes, {len(seen)} photos to learn from"
    )
    found = measure(seen.features, seen.labels, unit, seed, partial(events.progress, "probes of parts of them"))
    return points(found.sizes, found.right, found.unit)


def conclude(seen: EmbeddedDataset, measured: Points, asked: Asked, source: Source) -> Forecast:
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
        seen.photos.manifest.name, seen.backbone.name, counts, measured, curve, now, more, tuple(ahead), gains, needed,
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

"""``forecast``: how many more photos are needed? In: photos, or a run. Out: ``Forecast``: what a probe would reach with
more of them, with bands, what a target takes, and a page.

Photos counted are those to learn from, val among them; the test photos of a run, or of data that brings some, are left
alone. What is forecast is a probe: its features are there already, so a learning curve costs minutes at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.classifier import write_text
from headstart.data.draw import units
from headstart.data.imageset import Listing, Photo
from headstart.data.names import natural_key
from headstart.data.scan import check_labels
from headstart.data.split import read_splits
from headstart.errors import DataError, OptionError, RunError
from headstart.forecasting.learning_curve import FAR, Band, LearningCurve, Needed, Points, fit, points
from headstart.forecasting.measuring import FEWEST, few, measure
from headstart.forecasting.telling import Asked, answer_of, notes_of, table_of
from headstart.options import TrainOptions
from headstart.prepare import find_photos
from headstart.runfolder import RunFolder
from headstart.runphotos import run_photos
from headstart.survey import Survey, survey
from headstart.voice import Voice

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEVEL = 0.9
FITTED = ("finetune", "partial", "lp-ft")
"""Strategies whose backbone has learned the photos that it was trained on."""
OF_NO_USE = ("val", "test", "shots", "fraction", "head", "dropout", "strategy", "boundary", "log")
"""Options of ``train`` that a forecast has no use for: it draws its own splits, and always fits a linear probe."""


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
        target: an accuracy to reach. level: how often bands should hold the truth.
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
        request, listing, remarks = _what(data, options, voice)
        seen = survey(request, voice, listing)
        unit = units([seen.photo(i).group for i in range(len(seen))], seen.pixels.digests)
        refuse_few(seen.classes, seen.labels, unit)
        made = measure(
            seen.features, seen.labels, unit, request.seed, lambda d, t: voice.progress("probes of parts", d, t)
        )
        measured = points(made.sizes, made.right, made.unit)
        found = conclude(seen, measured, asked, remarks, request.seed)
        for note in found.notes:
            voice.warn(note)
        if page is None:
            return found
        from headstart.report.forecast import render_forecast

        found = replace(found, page=page, text=f"{found.text}\n\nPage: {page}")
        write_text(
            page, render_forecast(found, _command(data, asked, request, listing is not None), seen.machine.words)
        )
    return found


def conclude(seen: Survey, measured: Points, asked: Asked, remarks: Sequence[str], seed: int) -> Forecast:
    """Fit the curve, and say what it means. Raises OptionError for more photos than a curve can reach."""
    tally = Counter(seen.labels.tolist())
    counts = {label: tally[i] for i, label in enumerate(seen.classes)}
    photos, classes = len(seen), len(counts)
    more = asked.more or default_more(photos / classes)
    asked.check_reach(more, photos / classes)
    curve = fit(measured, seed)
    places = np.array([photos, *(photos + classes * m for m in more)], float)
    now, *ahead = curve.bands(places, asked.level)
    gains = curve.gains(places, asked.level)[1:]
    needed = None if asked.target is None else curve.needed(asked.target, photos, asked.level)
    notes = (*remarks, *notes_of(counts, now, ahead))
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
            f"A forecast needs at least {FEWEST} photos of every class (copies and groups count as one): {named}{more}.",
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


# -- which photos, which backbone --


def _what(data: str | Path, options: dict[str, Any], voice: Voice) -> tuple[TrainOptions, Listing, list[str]]:
    """(what the survey is asked for, the photos to learn from, remarks)."""
    wrong = [name for name in options if name in OF_NO_USE]
    if wrong:
        raise OptionError(f"forecast has no option {wrong[0]!r}.", "It draws its own splits and fits a linear probe.")
    if (Path(data) / "request.json").is_file():
        return _of_run(Path(data), options)
    request = TrainOptions.gather(data, None, {**options, "strategy": "probe"})
    listing = find_photos(request.data, voice)
    check_labels(listing.photos, listing.name)
    kept = tuple(photo for photo in listing.photos if photo.split != "test")
    left = len(listing.photos) - len(kept)
    if left:
        voice.say(f"{listing.name}: its {left} test photos are left alone")
    return request, replace(listing, photos=kept), _seen_before(request)


def _of_run(run: Path, options: dict[str, Any]) -> tuple[TrainOptions, Listing, list[str]]:
    """A run's own photos, and the backbone that it began with.

    Not the backbone that it ended with, where that was trained: it has learned these very photos, so a probe of its
    features would be right about them as it never is about new ones.
    """
    strangers = sorted(options.keys() - {"seed", "device", "on_bad", "settings"}) + sorted(
        options.get("settings") or ()
    )
    if strangers:
        raise OptionError(
            f"{run} is a run: backbone and preprocessing are its own, so it takes no {strangers[0]!r}.",
            "Leave that out, or name the photos in place of the run.",
        )
    folder, before = RunFolder.open(run)
    if before.strategy == "scratch":
        raise RunError(
            f"{run} was trained from scratch: its network has learned these very photos, and no other is there to"
            " forecast with.",
            f"Forecast a pretrained one: headstart forecast {before.data}",
        )
    plan = folder.read_json("plan.json")
    settings = {name: plan[name] for name in ("image_size", "resize", "precision") if name in plan}
    request = TrainOptions.gather(
        before.data, None,
        {name: getattr(before, name) for name in ("backbone", "weights", "from_run", "cut", "mean", "std")}
        | {"strategy": "probe", "settings": settings, **{k: v for k, v in options.items() if k != "settings"}},
    )  # fmt: skip
    members = run_photos(run, ("train", "val"))
    photos = tuple(
        Photo(photo.path, photo.label, group=photo.group)
        for photo in sorted(members, key=lambda p: natural_key(p.shown))
    )
    listing = Listing(Path(before.data), run.name, "photos of a run", photos)
    return request, listing, [*_trained_on(run, folder, plan, before), *_seen_before(request)]


def _trained_on(run: Path, folder: RunFolder, plan: dict[str, Any], before: TrainOptions) -> list[str]:
    if plan["strategy"] not in FITTED:
        return []
    metrics = folder.read_json("metrics.json")
    split = "test" if "test" in metrics else "val"
    return [
        f"{run.name} was fine-tuned ({plan['strategy']}): its own network has learned these photos, so what is forecast"
        f" is a probe of the pretrained {before.backbone}. The run reached {metrics[split]['accuracy']['value']:.3f} on"
        f" its {split} photos."
    ]


def _seen_before(request: TrainOptions) -> list[str]:
    """A remark where the backbone comes from a run that trained it: perhaps on photos of these."""
    table = Path(request.from_run or "") / "splits.csv"
    if not request.from_run or not table.is_file():
        return []
    trained = RunFolder(Path(request.from_run)).read_json("plan.json")["strategy"] in (*FITTED, "scratch")
    if not trained or not read_splits(table):
        return []
    return [
        f"the backbone of {request.from_run} was trained on photos of its own: where they are among these, the forecast"
        " flatters"
    ]


def _command(data: str | Path, asked: Asked, request: TrainOptions, of_run: bool) -> str:
    words = request.command().replace("headstart train", "headstart forecast", 1).replace(" --strategy probe", "")
    return f"{words}{asked.words}"


__all__ = ["FAR", "Forecast", "forecast"]

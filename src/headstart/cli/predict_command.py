"""``headstart predict``: predictions as lines, CSV or JSON, printed or in a file; counts per class at the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import headstart as hs
from headstart.cli.base import (
    Device,
    Executor,
    RunFolder,
    Say,
    SomeUnread,
    argument,
    csv_output,
    load,
    option,
    print_json,
    told,
)
from headstart.core.events import Events
from headstart.core.files import AS_IT_IS, Rows, replacing
from headstart.core.paths import taken
from headstart.core.text import elided, json_text, plural, printable
from headstart.errors import OptionError
from headstart.inference.uses import EVERY

if TYPE_CHECKING:
    from headstart.workflows.predict import Predictions

PHOTOS = "Photos, folders, globs, archives, shards, s3://…; a CSV of paths, or - for paths from standard input."
Form = Literal["text", "json", "jsonl", "csv"]
_FORMS: dict[str, Form] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv"}
NONE = "(no label)"
_MOST = 30
"""Classes in the table of counts."""
_EXCEL = "utf-8-sig"
"""Begins a CSV with a mark: Excel takes one without for Windows' Latin letters."""


def predict(
    say: Say,
    run: RunFolder,
    files: Annotated[list[str], argument("FILES", PHOTOS)],
    as_json: Annotated[
        bool, option("One JSON document: the predictions, and counts.", "--json", panel="Output")
    ] = False,
    as_lines: Annotated[bool, option("One JSON object per photo and line.", "--jsonl", panel="Output")] = False,
    as_csv: Annotated[bool, option("CSV with a column per class.", "--csv", panel="Output")] = False,
    out: Annotated[
        Path | None,
        option(
            "Write a file that ends in .csv (as Excel reads it), .json or .jsonl; or, for many photos, a folder of"
            " Parquet files (repeat an interrupted command to continue).",
            panel="Output",
        ),
    ] = None,
    overwrite: Annotated[bool, option("Replace --out where it exists.", panel="Output")] = False,
    sort_into: Annotated[
        Path | None,
        option("Copy each photo to the folder of its class there; nothing is moved or overwritten.", panel="Output"),
    ] = None,
    every: Annotated[str, option("For videos, the time between frames: 0.5s, 10s, 1m.")] = EVERY,
    coverage: Annotated[float | None, option("Add conformal prediction sets of this coverage: 0.95.")] = None,
    device: Device = "auto",
    executor: Executor = "local",
) -> None:
    """Classify new photos; those unlike the training photos (out of distribution) are marked unknown."""
    if executor != "local" or (out is not None and not out.suffix):
        _check_parts(out, executor, as_lines, as_csv, sort_into)
        load("predict", say, run, *files[:3])
        made = hs.predict_shards(
            run, files, str(out), coverage=coverage, every=every, overwrite=overwrite, device=device, executor=executor,
            **say,
        )  # fmt: skip
        print_json(made.summary) if as_json else print(printable(made.text, keep="\n"))
        if made.unread:
            raise SomeUnread(2)
        return
    form = _form(as_json, as_lines, as_csv, out)
    if out is not None and out.exists() and not (overwrite and out.is_file()):
        raise taken(out)
    load("predict")
    from headstart.data.sources.unlabelled import tell_skipped

    predictions = hs.predict(run, files, coverage=coverage, sort_into=sort_into, every=every, device=device)
    events = Events(say["listener"])
    tell_skipped(predictions, events)
    if predictions.promise is not None:
        events.warning(predictions.promise)
    counts = _Counts()
    with _output(form, out, predictions, coverage is not None, counts) as write:
        # On a terminal the lines themselves are the progress.
        total = predictions.total if out or not sys.stdout.isatty() else None
        for done, one in enumerate(predictions, 1):
            counts.add(one, predictions.several)
            write(one)
            if one.problem is not None:
                told(f"headstart: {one.name}: {one.problem}")
            if total is not None:
                events.progress("photos", done, total)
    counts.tell(events, predictions)
    if out:
        events.message(f"Predictions: {out}")
    if counts.unread:
        raise SomeUnread(2)


def _check_parts(out: Path | None, executor: str, as_lines: bool, as_csv: bool, sort_into: Path | None) -> None:
    """Refuse what has no meaning where predictions go into Parquet files. Raises OptionError."""
    if out is None or out.suffix:
        problem = f"`executor={executor!r}` writes Parquet files into a folder."
        raise OptionError(problem, "Name one, without a suffix: `out=predictions`.", option="out")
    for name, given in (("--jsonl", as_lines), ("--csv", as_csv), ("`sort_into`", sort_into is not None)):
        if given:
            raise OptionError(
                f"{name} does not go with a folder of Parquet files in `out`.", "Leave out one of the two."
            )


def _form(as_json: bool, as_lines: bool, as_csv: bool, out: Path | None) -> Form:
    """What is written. Raises OptionError for two forms at once, and a file of no known form."""
    given: dict[Form, bool] = {"json": as_json, "jsonl": as_lines, "csv": as_csv}
    asked = [form for form, yes in given.items() if yes]
    if len(asked) > 1:
        named = " and ".join(f"--{form}" for form in asked)
        raise OptionError(f"{named} are forms of one output: give one.")
    form: Form = asked[0] if asked else "text"
    if out is None:
        return form
    by_name = _FORMS.get(out.suffix.lower())
    if by_name is None:
        raise OptionError(f"`out={str(out)!r}` ends in none of .csv, .json and .jsonl.", option="out")
    if asked and asked[0] != by_name:
        raise OptionError(f"--{form} and `out={str(out)!r}` name two forms: leave one out.", option="out")
    return by_name


class _Counts:
    """How many photos each class got."""

    def __init__(self) -> None:
        self.classes, self.unknown, self.unread = Counter[str](), Counter[str](), 0
        self.photos = self.photos_unknown = 0

    def add(self, one: hs.Prediction, several: bool) -> None:
        """Count a prediction; where photos have any number of labels, for each of them."""
        if one.label is None:
            self.unread += 1
            return
        self.photos += 1
        self.photos_unknown += bool(one.unknown)
        for label in (one.labels or ("",)) if several else (one.label,):
            self.classes[label] += 1
            self.unknown[label] += bool(one.unknown)

    def to_json(self) -> dict[str, Any]:
        return {
            "photos": self.photos, "counts": dict(self.classes), "unknown": self.photos_unknown,
            "unreadable": self.unread,
        }  # fmt: skip

    def tell(self, events: Events, predictions: Predictions) -> None:
        """The table, of more than one photo, and where copies are."""
        if self.photos + self.unread > 1:
            ranked = self.classes.most_common()
            rows = [(elided(label or NONE, 40), n, self.unknown[label] or "") for label, n in ranked[:_MOST]]
            if rest := ranked[_MOST:]:
                unknown = sum(self.unknown[label] for label, _ in rest)
                rows.append((f"{len(rest)} more classes", sum(n for _, n in rest), unknown or ""))
            what = "label" if predictions.several else "class"
            events.table(plural(self.photos, "photo"), (what, "photos", "unknown?"), rows)
            if self.unread:
                events.warning(f"{plural(self.unread, 'photo')} cannot be read: named above, with the reason.")
        if (copies := predictions.copies) is not None:
            parts = [f"{plural(copies.copied.total(), 'photo')} copied into {copies.folder}"]
            if unknown := self.photos_unknown:
                parts.append(f"{unknown:,} unlike the training photos in {copies.unknown}")
            if copies.there:
                parts.append(f"{copies.there:,} there already")
            if self.unread:
                parts.append(f"{self.unread:,} left out, which cannot be read")
            events.message("; ".join(parts) + ".")


@contextmanager
def _output(
    form: Form, out: Path | None, predictions: Predictions, sets: bool, counts: _Counts
) -> Iterator[Callable[[hs.Prediction], None]]:
    """What writes one prediction. A file, and the one document, appear at the end, and only where nothing failed."""
    with _file(out, form) as file:
        rows: list[object] = []
        if form == "csv":
            row = Rows(file).write if file else csv_output()
            row(_columns(predictions, sets))
            yield lambda one: row(_csv_row(one, len(predictions.classes), sets))
        elif form == "json":
            yield lambda one: rows.append(_as_json(one, predictions.classes))
            document = {**counts.to_json(), "predictions": rows}
            print_json(document) if file is None else file.write(f"{json_text(document, 1)}\n")
        elif form == "jsonl":
            yield lambda one: _line(_as_json(one, predictions.classes), file)
        else:
            yield lambda one: _text(one, sets)


@contextmanager
def _file(out: Path | None, form: Form) -> Iterator[TextIO | None]:
    """The file that appears where nothing failed; None without a name for one."""
    if out is None:
        yield None
        return
    encoding = _EXCEL if form == "csv" else "utf-8"
    with replacing(out) as work, work.open("w", encoding=encoding, errors=AS_IT_IS, newline="") as file:
        yield file


def _line(value: object, file: TextIO | None) -> None:
    print_json(value, None) if file is None else file.write(f"{json_text(value)}\n")


def _text(one: hs.Prediction, sets: bool) -> None:
    if one.problem is None:
        labels = f"  {{{', '.join(one.labels or ())}}}" if sets else ""
        unknown = "  unknown?" if one.unknown else ""
        print(printable(f"{one.name}  {one.label or NONE}  {one.confidence:.3f}{labels}{unknown}"))


def _columns(predictions: Predictions, sets: bool) -> list[str]:
    return [
        "path", "label", "confidence", *predictions.columns, "problem", "unknown", "distance", *["labels"] * sets,
    ]  # fmt: skip


def _as_json(prediction: hs.Prediction, classes: tuple[str, ...]) -> dict[str, object]:
    """A prediction as JSON: probabilities by class name, or the problem."""
    if prediction.problem is not None:
        return {"path": prediction.name, "label": None, "confidence": None, "problem": prediction.problem}
    far = prediction.distance
    return {
        "path": prediction.name, "label": prediction.label,
        "confidence": round(float(prediction.confidence or 0), 6),
        **({} if prediction.labels is None else {"labels": list(prediction.labels)}),
        "unknown": prediction.unknown, "distance": None if far is None else round(far, 4),
        "probabilities": dict(zip(classes, (round(p, 6) for p in prediction.probabilities), strict=True)),
    }  # fmt: skip


def _csv_row(prediction: hs.Prediction, classes: int, sets: bool) -> list[object]:
    if prediction.problem is not None:
        return [prediction.name, "", "", *[""] * classes, prediction.problem, "", "", *[""] * sets]
    far = prediction.distance
    return [
        prediction.name, prediction.label, f"{prediction.confidence:.6f}",
        *[f"{p:.6f}" for p in prediction.probabilities], "",
        *(["", ""] if far is None else ["yes" if prediction.unknown else "no", f"{far:z.4f}"]),
        *(["|".join(prediction.labels or ())] if sets else []),
    ]  # fmt: skip

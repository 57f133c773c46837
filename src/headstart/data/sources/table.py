"""Labelled photos listed in a CSV or TSV file; unusable rows are named with their lines."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from headstart.core.events import OnProgress
from headstart.data.filenames import TABLE_SUFFIXES, clean_label, natural_key, split_of
from headstart.data.schema import BadFile, Manifest, Photo, Split
from headstart.data.sources.base import local
from headstart.errors import DataError, did_you_mean

_COLUMNS = {
    "path": "path file filename filepath image imagepath imagefile imagename img imgpath photo".split(),
    "label": "label labels class classname category target tag".split(),
    "split": "split set subset partition usage".split(),
    "group": "group groups groupid patient patientid subject subjectid".split(),
}
_HINT = "A table needs a header with the columns path and label (and optionally split and group), one photo per line."


class TableSource:
    """A table with the columns path and label."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return path.suffix.lower() in TABLE_SUFFIXES and os.path.exists(path)

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        return read_table(local(data))


def lists_photos(path: Path) -> bool:
    """Whether a table's header names a path and a label column (so that it can stand for the folder it lies in)."""
    try:
        header = next(_rows(path), (1, []))[1]
    except DataError:
        return False
    return {"path", "label"} <= _columns(header).keys()


def read_table(path: Path, within: Path | None = None) -> Manifest:
    """All photos of a table; paths in it are relative to its own folder; ``skipped`` has one entry per unusable row.

    Delimiter (comma, semicolon, tab, bar), encoding (UTF-8 with or without a byte-order mark, UTF-16, Windows-1252) and
    the usual names of the columns are recognised.

    Args:
        path: a CSV or TSV file.
        within: refuse paths that lead out of this folder: a table from an archive must not name other files.

    Raises:
        DataError: the header does not serve, or most rows point to no file.
    """
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    columns = _columns(header)
    for needed in ("path", "label"):
        if needed not in columns:
            close = did_you_mean(needed, [h.strip() for h in header])
            raise DataError(
                f"{path} has no column {needed!r} (its columns: {', '.join(header) or 'none'})", close or _HINT
            )
    photos, skipped = _read_rows(rows, columns, path, within)
    _refuse_mostly_missing(photos, skipped, path)
    photos.sort(key=lambda photo: natural_key(str(photo.path)))
    used = [f"{header[at].strip()} as {what}" for what, at in columns.items() if header[at].strip().casefold() != what]
    notes = (f"columns of {path.name}: {', '.join(used)}",) if used else ()
    return Manifest(path.parent, path.stem, "CSV", tuple(photos), tuple(skipped), notes)


def _read_rows(
    rows: Iterator[tuple[int, list[str]]], columns: dict[str, int], path: Path, within: Path | None
) -> tuple[list[Photo], list[BadFile]]:
    photos: list[Photo] = []
    skipped: list[BadFile] = []
    first_line: dict[str, tuple[int, str]] = {}
    for line, cells in rows:
        cell = {what: cells[at].strip() if at < len(cells) else "" for what, at in columns.items()}
        place = os.path.normpath(os.path.join(path.parent, cell["path"].replace("\\", "/")))
        problem = _problem(cell, len(cells) > max(columns.values()), place, within)
        label = clean_label(cell["label"])
        if not problem and place in first_line:
            line_before, label_before = first_line[place]
            problem = f"listed on line {line_before} already" + (
                f" as {label_before!r}" if label_before != label else ""
            )
        if problem:
            skipped.append(BadFile(Path(place), f"line {line} of {path.name}: {problem}"))
            continue
        first_line[place] = (line, label)
        split: Split | None = split_of(cell.get("split", ""))
        photos.append(Photo(Path(place), label, split, clean_label(cell.get("group", "")) or None))
    if any(p.split for p in photos):  # one without is a mistake: drawing for it could put its twin in another split
        skipped += [
            BadFile(p.path, f"{path.name}: no split, though other rows have one") for p in photos if not p.split
        ]
        photos = [p for p in photos if p.split]
    return photos, skipped


def _problem(cell: dict[str, str], complete: bool, place: str, within: Path | None) -> str:
    if not complete:
        return "too few cells"
    for what in ("path", "label"):
        if not cell[what]:
            return f"no {what}"
    if cell.get("split") and not split_of(cell["split"]):
        return f"unknown split {cell['split']!r} (train, val or test)"
    if within and not Path(place).resolve().is_relative_to(within.resolve()):
        return "its path leads out of the archive"
    return "" if os.path.isfile(place) else "no such file"


def _refuse_mostly_missing(photos: list[Photo], skipped: list[BadFile], path: Path) -> None:
    rows = len(photos) + len(skipped)
    if not rows:
        raise DataError(f"{path} lists no photos", _HINT)
    if 2 * len(skipped) > rows:
        first = "".join(f"\n    {bad.path}: {bad.reason}" for bad in skipped[:5])
        raise DataError(
            f"{len(skipped)} of the {rows} rows of {path} cannot be used, first of all:{first}",
            f"Paths in a table are relative to the table's own folder ({path.parent}).",
        )


def _columns(header: list[str]) -> dict[str, int]:
    """Column index of path, label, split and group, as far as the header names them."""
    plain = ["".join(filter(str.isalnum, h.casefold())) for h in header]
    found = {what: [plain.index(name) for name in names if name in plain] for what, names in _COLUMNS.items()}
    return {what: at[0] for what, at in found.items() if at}


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank, the header first. Raises ``DataError``."""
    try:
        text = _decoded(path.read_bytes())
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        yield from ((reader.line_num, cells) for cells in reader if any(c.strip() for c in cells))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a table that can be read ({error})", _HINT) from error


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _delimiter(text: str) -> str:
    """The delimiter that the header line holds most of (rows mislead: paths may hold commas)."""
    header = text.lstrip().partition("\n")[0]
    return max(",;\t|", key=header.count)

"""Labelled photos listed in a CSV or TSV file; unusable rows are reported with their line numbers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from headstart.core.events import OnProgress
from headstart.data.filenames import TABLE_SUFFIXES, clean_label, merged, natural_key, split_of
from headstart.data.schema import BadFile, Manifest, Photo, Split
from headstart.data.sources.base import local
from headstart.errors import DataError, did_you_mean

_COLUMNS = {
    "path": "path file filename filepath image imagepath imagefile imagename img imgpath photo".split(),
    "label": "label labels class classname category target tag".split(),
    "split": "split set subset partition usage".split(),
    "group": "group groups groupid patient patientid subject subjectid".split(),
}
_QUOTED = tuple("=+-@\t\r'")
_HINT = "A table needs a header with the columns path and label (and optionally split and group), one photo per line."


class TableSource:
    """A table with the columns path and label."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return path.suffix.lower() in TABLE_SUFFIXES and os.path.isfile(path)

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        return read_table(local(data))


def lists_photos(path: Path) -> bool:
    """Whether a table's header names a path and a label column, so that it can describe the folder it is in."""
    try:
        header = next(_rows(path), (1, []))[1]
    except DataError:
        return False
    return {"path", "label"} <= _columns(header).keys()


def read_table(path: Path, within: Path | None = None) -> Manifest:
    """All photos of a CSV or TSV file, with paths relative to its folder; ``skipped`` has one entry per unusable row.

    Detects the delimiter (comma, semicolon, tab, bar), the encoding (UTF-8 with or without a byte-order mark, UTF-16,
    Windows-1252) and the usual names of the columns. ``within``: refuse paths that lead out of this folder, since a
    table in an archive must not name other files. Raises DataError where the header lacks a column, or most rows name
    no file.
    """
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    columns = _columns(header)
    for needed in ("path", "label"):
        if needed not in columns:
            known = ", ".join(header) or "none"
            close = did_you_mean(needed, [h.strip() for h in header])
            raise DataError(f"{path} has no column {needed!r} (its columns: {known})", close or _HINT)
    labels: set[str] = set()
    photos, skipped = _read_rows(rows, columns, path, within, labels)
    count = len(photos) + len(skipped)
    if not count:
        raise DataError(f"{path} lists no photos", _HINT)
    if 2 * len(skipped) > count:
        raise DataError(
            f"{len(skipped)} of the {count} rows of {path} cannot be used, first of all:",
            f"Paths in a table are relative to the table's own folder ({path.parent}).",
            lines=[f"{bad.path}: {bad.reason}" for bad in skipped[:5]],
        )
    photos.sort(key=lambda photo: natural_key(str(photo.path)))
    used = [f"{header[at].strip()} as {what}" for what, at in columns.items() if header[at].strip().casefold() != what]
    notes = (f"columns of {path.name}: {', '.join(used)}",) if used else ()
    return Manifest(path.parent, path.stem, "CSV", tuple(photos), tuple(skipped), (*notes, *merged(labels)))


def _read_rows(
    rows: Iterator[tuple[int, list[str]]], columns: dict[str, int], path: Path, within: Path | None, labels: set[str]
) -> tuple[list[Photo], list[BadFile]]:
    """The photos, the rows that cannot be used, and all labels as they are written, added to ``labels``."""
    photos: list[Photo] = []
    skipped: list[BadFile] = []
    first_line: dict[str, tuple[int, str]] = {}
    for line, cells in rows:
        raw = {what: _unquoted(cells[at]) if at < len(cells) else "" for what, at in columns.items()}
        place = _place(path.parent, raw["path"])
        cell = {what: _text(text.strip()) for what, text in raw.items()}
        problem = _problem(cell, len(cells) > max(columns.values()), place, within)
        label = clean_label(cell["label"])
        if not problem and place in first_line:
            line_before, label_before = first_line[place]
            problem = f"listed on line {line_before} already"
            if label_before != label:
                problem += f" as {label_before!r}"
        if problem:
            skipped.append(BadFile(Path(place), f"line {line} of {path.name}: {problem}"))
            continue
        first_line[place] = (line, label)
        labels.add(cell["label"])
        split: Split | None = split_of(cell.get("split", ""))
        photos.append(Photo(Path(place), label, split, clean_label(cell.get("group", "")) or None))
    with_split = [p for p in photos if p.split]
    if not with_split:
        return photos, skipped
    # A row without a split is a mistake: drawing one could separate the photo from its duplicate.
    no_split = f"{path.name}: no split, though other rows have one"
    return with_split, skipped + [BadFile(p.path, no_split) for p in photos if not p.split]


def _problem(cell: dict[str, str], complete: bool, place: str, within: Path | None) -> str:
    if not complete:
        return "too few cells"
    for what in ("path", "label"):
        if not cell[what]:
            return f"no {what}"
    if cell.get("split") and not split_of(cell["split"]):
        return f"unknown split {cell['split']!r} (train, val or test)"
    if not os.path.isfile(place):  # before ``resolve``, which fails for what no path can be
        return "no such file"
    if within and not Path(place).resolve().is_relative_to(within.resolve()):
        return "its path leads out of the archive"
    return ""


def _place(folder: Path, written: str) -> str:
    """The file that a cell names: by these very characters, else without blanks around them, with bytes that are not
    UTF-8 read as Windows-1252, or with the separators of Windows. Where a link leads to the table's folder, the path is
    from here or from there.
    """
    place = os.path.normpath(os.path.join(folder, written))
    if os.path.isfile(place):
        return place
    bare = written.strip()
    ways = (bare, _text(bare), bare.replace("\\", "/"), _text(bare).replace("\\", "/"))
    homes = (str(folder), os.path.realpath(folder))
    places = [os.path.normpath(os.path.join(home, way)) for home in homes for way in (written, *ways)]
    return next(filter(os.path.isfile, places), os.path.normpath(os.path.join(folder, ways[-1])))


def _unquoted(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from taking it for a formula (``files.write_rows``)."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _QUOTED else cell


def _text(cell: str) -> str:
    """A cell whose bytes are not UTF-8, as Windows-1252; the five bytes that it lacks are escaped."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "backslashreplace")
    return cell


def _columns(header: list[str]) -> dict[str, int]:
    """Column index of path, label, split and group, where the header names them."""
    plain = ["".join(filter(str.isalnum, h.casefold())) for h in header]
    found = {what: next((name for name in names if name in plain), None) for what, names in _COLUMNS.items()}
    return {what: plain.index(name) for what, name in found.items() if name}


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank, the header first. Raises ``DataError``."""
    try:
        text = _decoded(path.read_bytes())
        header = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t|", key=header.count)  # of the header: paths in the rows may contain commas
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        yield from ((reader.line_num, cells) for cells in reader if any(c.strip() for c in cells))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a table that can be read ({error})", _HINT) from error


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")  # file names may be any bytes; for text, see ``_text``


def listed_paths(path: Path) -> list[tuple[str, Path]]:
    """The paths of a table that needs no labels, in its order: as they are written, and the files that they name.
    Raises DataError where the header names no column of paths.
    """
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    at = _columns(header).get("path")
    if at is None:
        hint = "Name the column of paths so, or give the paths through standard input: `-`."
        raise DataError(f"{path} has no column 'path' (its columns: {', '.join(header) or 'none'})", hint)
    names = (_unquoted(cells[at]) if at < len(cells) else "" for _, cells in rows)
    return [(name, Path(_place(path.parent, os.path.expanduser(name)))) for name in names]

"""The rows of a table, whatever program wrote it: encodings, delimiters, lines that are no rows, kinds of files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from headstart.core.text import plural
from headstart.data.filenames import is_image_name
from headstart.data.sources.arrow_columns import PARQUET_SUFFIXES, holds_images
from headstart.data.sources.table_json import cell_of, json_rows
from headstart.errors import DataError

TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".psv"})
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
LIST_SUFFIXES = frozenset({".txt", ".lst"})
"""Lists such as ``cat/1.jpg 0``; most texts beside photos are something else."""
OFFICE = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb"), "an Excel file"),
    ".ods": "an OpenDocument spreadsheet", ".numbers": "a Numbers spreadsheet",
}  # fmt: skip
_NUMBERS = re.compile(r"[-+.\deE\s]+")
"""Lines of numbers alone, such as boxes within a photo, list no photos."""
SUFFIXES = TEXT_SUFFIXES | JSON_SUFFIXES | LIST_SUFFIXES | OFFICE.keys() | frozenset(PARQUET_SUFFIXES)
HINT = "A table needs a header with the columns path and label (and optionally split and group), one photo per line."
_DELIMITERS = ",;\t|"
_BLANKS_LAST = re.compile(r"(.+?)[ \t]+(\S+)\s*")

Row = tuple[int, list[str]]


@dataclass
class Table:
    """``rows``: (line number, cells) of each, without the header; ``header``: the names of the columns. Where
    ``sure`` is False, the header may as well be the first row; ``line`` is where it stands.
    """

    path: Path
    header: list[str]
    rows: list[Row]
    kind: str = "CSV"
    sure: bool = False
    line: int = 1
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    def column(self, at: int) -> list[str]:
        """All cells of one column; empty ones where a row is too short."""
        return [cells[at] if at < len(cells) else "" for _, cells in self.rows]


def read(path: Path) -> Table:
    """Read a table of any kind. Raises DataError for one that cannot be read."""
    suffix = path.suffix.lower()
    if suffix in OFFICE:
        raise DataError(f"{path} is {OFFICE[suffix]}, which cannot be read here", "Save it as CSV, and name that file.")
    if suffix in PARQUET_SUFFIXES:
        return _parquet(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if suffix in JSON_SUFFIXES:
        header, rows = json_rows(path, _decoded(data)[0])
        return Table(path, header, rows, "JSON", sure=True)
    return _text_table(path, data)


def _text_table(path: Path, data: bytes) -> Table:
    text, encoding = _decoded(data)
    notes = [f"{path.name} is read as {encoding}"] if encoding else []
    lines = io.StringIO(text, newline="")
    delimiter, skipped = _opening(lines)
    rows: Iterable[Row]
    if path.suffix.lower() in LIST_SUFFIXES and not any(one in text[:10_000] for one in _DELIMITERS):
        matches = ((number, _BLANKS_LAST.fullmatch(line)) for number, line in enumerate(lines, skipped + 1))
        rows = ((number, [match[1].strip(), match[2]]) for number, match in matches if match)
        rows = () if (found := list(rows)) and all(_NUMBERS.fullmatch(" ".join(c)) for _, c in found) else found
    else:
        rows = _quoted_rows(path, lines.readlines(), delimiter, skipped)
    kept = [(number, cells) for number, cells in rows if any(c.strip() for c in cells)]
    if not kept:
        return Table(path, [], [], notes=tuple(notes))
    line, header = kept[0]
    kept, comments = _without_comments(kept[1:], len(header))
    if comments:
        notes.append(f"{path.name}: {plural(comments, 'line')} that begin with # left out, as comments")
    while header and not header[-1].strip() and not any(len(c) >= len(header) and c[len(header) - 1] for _, c in kept):
        header = header[:-1]  # a delimiter at the end of each line
    return Table(path, header, kept, line=line, notes=tuple(notes))


def _quoted_rows(path: Path, lines: Sequence[str], delimiter: str, skipped: int) -> list[Row]:
    """The rows of these lines, which follow the first ``skipped`` of the file. Raises DataError for a quotation mark
    that takes in the rows after it.
    """
    reader = csv.reader(lines, delimiter=delimiter)
    rows, before = list[Row](), 0
    try:
        for cells in reader:
            rows.append((skipped + reader.line_num, cells))
            if any("\n" in cell or "\r" in cell for cell in cells):
                within = [line for cell in cells for line in cell.splitlines()[1:]]
                own = lines[before : reader.line_num]
                if not _is_closed(own, delimiter) or _are_rows(within, delimiter, len(rows[0][1])):
                    raise _unclosed(path, skipped + before + 1, len(own) - 1)
            before = reader.line_num
    except csv.Error:  # a cell of more than 128 kB
        raise _unclosed(path, skipped + before + 1, reader.line_num - before - 1) from None
    return rows


def _unclosed(path: Path, line: int, after: int) -> DataError:
    rows = f", and takes in the {plural(after, 'line')} after it" if after > 0 else ""
    return DataError(
        f"line {line} of {path}: a quotation mark is not closed{rows}",
        'Close it, write "" for a mark within a quoted cell, or remove it.',
    )


def _is_closed(lines: Sequence[str], delimiter: str) -> bool:
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True


def _are_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether the further lines of a cell look like rows of the table, and not like a text of several lines. Its last
    line is the beginning of the row in which the mark was closed.
    """
    *inner, last = [line.split(delimiter) for line in lines]
    whole = all(len(part) == width for part in inner) and len(last) <= width
    names = [cell for part in (*inner, last[:-1]) for cell in part]  # a name may itself hold a line break, and end here
    return width > 1 and whole and (len(lines) > 3 or any(is_image_name(cell.strip()) for cell in names))


def _without_comments(rows: list[Row], width: int) -> tuple[list[Row], int]:
    """The rows without comments, and how many those were; a file's name may begin with # as well."""
    kept = [row for row in rows if not (row[1][0].startswith("#") and len(row[1]) < width)]
    return kept, len(rows) - len(kept)


def _opening(lines: io.StringIO) -> tuple[str, int]:
    """The delimiter, and the number of lines before the header, which are passed over: ``sep=;``, comments."""
    told, skipped, here = "", 0, 0
    while line := lines.readline():
        if said := re.fullmatch(r'"?sep=(.)"?\s*', line, re.IGNORECASE):
            told = said[1]
        elif line.strip() and not line.startswith("#"):
            break
        skipped, here = skipped + 1, lines.tell()
    lines.seek(here)
    bare = re.sub(r'"[^"]*"', "", line)
    # That of the header: paths in the rows may contain commas.
    return told or max(_DELIMITERS, key=(bare if bare.strip() else line).count), skipped


def _decoded(data: bytes) -> tuple[str, str]:
    """The text, and the encoding that it is in where that is not what everyone expects."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), ""
    head = data[:4000]
    for encoding, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(head) > 3 and head[first::2].count(0) > 0.4 * len(head) / 2 and not head[1 - first :: 2].count(0):
            return data.decode(encoding, "replace"), "UTF-16"
    text = data.decode("utf-8-sig", "surrogateescape")  # file names may be any bytes; for text, see ``plain``
    return text, "" if text.isascii() or _is_utf_8(text) else "Windows-1252 where it is not UTF-8"


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(cell: str) -> str:
    """A cell whose bytes are not UTF-8, as Windows-1252; what that lacks, and half characters, are escaped."""
    if _is_utf_8(cell):
        return cell
    try:
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "backslashreplace")
    except UnicodeEncodeError:  # a half of a character, which JSON can write
        return cell.encode("utf-8", "backslashreplace").decode()


def _parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path} is a Parquet file, which needs pyarrow", 'pip install "headstart[parquet]"') from None
    try:
        found = parquet.ParquetFile(path)
        if holds_images(found):
            raise DataError(
                f"{path} holds the photos themselves, not their names",
                "Name the file itself as the data: its photos are read in place.",
            )
        table = found.read()
        names, columns = list(table.column_names), [column.to_pylist() for column in table.columns]
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError) as error:  # of damaged files, pyarrow raises its own kinds
        raise DataError(f"{path} is not a Parquet file that can be read ({str(error)[:120]})") from error
    cells = ([cell_of(value) for value in row] for row in zip(*columns, strict=True))
    return Table(path, names, list(enumerate(cells, 1)), "Parquet", sure=True)


def sample(values: list[str], most: int = 60) -> list[str]:
    """Some of the values, spread evenly."""
    return list(islice(values[:: max(1, len(values) // most)], most))

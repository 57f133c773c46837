"""Tables in memory: frames of pandas and polars, Hugging Face data sets, and pairs of images and labels, as columns and
rows.

Nothing of these libraries is imported; a frame is known by its ``columns``, a data set by its ``features``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

from headstart.core.text import listed
from headstart.data.label_sets import SEPARATOR
from headstart.data.pictures import is_picture, lasting
from headstart.data.sources.table_json import cell_of
from headstart.errors import OptionError, option

HINT = (
    "Give a path, (images, labels), a DataFrame with a column of paths or pictures, or a Hugging Face Dataset; images "
    "are paths or pictures."
)


@dataclass(frozen=True)
class Rows:
    """``header``: the names of the columns; ``rows``: a cell per column each, as its library gives it; ``images``: the
    columns with pictures, or of which the table says that they are images; ``labels``: the column of the classes, where
    the table says so; ``split``: the column that names the part of a ``DatasetDict``.
    """

    header: list[str]
    rows: Iterable[list[Any]]
    images: Sequence[str] = ()
    labels: str | None = None
    split: str | None = None


def rows_of(data: Any, argument: str, several: bool = False) -> Rows | None:
    """The rows of a frame, a data set or a pair; None for what is none of them. ``several``: an image has any number of
    labels. Raises OptionError.
    """
    if isinstance(data, tuple):
        return _pair(data, argument, several)
    if is_dataset(data):
        return _dataset(data)
    if isinstance(data, Mapping) and data and all(is_dataset(one) for one in data.values()):
        return _parts(data, argument)
    return _frame(data, argument) if is_frame(data) else None


def is_frame(data: Any) -> bool:
    """Whether it is a frame, of pandas or polars."""
    return hasattr(data, "columns") and hasattr(data, "shape") and hasattr(data, "__getitem__")


def is_dataset(data: Any) -> bool:
    """Whether it is a data set of Hugging Face."""
    return hasattr(data, "features") and hasattr(data, "column_names") and hasattr(data, "__iter__")


def _pair(pair: tuple[Any, ...], argument: str, several: bool) -> Rows:
    """``(images, labels)``. Raises OptionError, also for a number of labels that is not that of the images."""
    if len(pair) != 2:
        problem = f"{option(argument)} is a tuple of {len(pair)}, not of images and labels."
        raise OptionError(problem, "Give `(images, labels)`.", option=argument)
    for what, one in zip(("images", "labels"), pair, strict=True):
        if isinstance(one, str | bytes | os.PathLike | Mapping) or not isinstance(one, Iterable):
            problem = f"{option(argument)}: its {what} are no list, but of the type {type(one).__name__}."
            raise OptionError(problem, "Give `(images, labels)`: a label for each image.", option=argument)
    given, labels = pair[0], list(pair[1])
    images = list(map(lasting, given)) if isinstance(given, Iterator) else list(given)  # which may fill one array anew
    if len(images) != len(labels):
        problem = f"{option(argument)} has {len(images):,} images and {len(labels):,} labels."
        raise OptionError(problem, "Give a label for each image.", option=argument)
    if several:
        labels = [_label_list(label, number, argument) for number, label in enumerate(labels, 1)]
        return Rows(["path", "label"], map(list, zip(images, labels, strict=True)), ["path"], "label")
    for number, label in enumerate(labels, 1):
        if is_missing(label) or (isinstance(label, str) and not label.strip()):
            raise OptionError(f"{option(argument)}: label {number} is missing.", option=argument)
        if not isinstance(label, str | Number) and getattr(label, "ndim", True):  # a tensor of one number has 0
            problem = f"{option(argument)}: label {number} is of the type {type(label).__name__}, not one class."
            raise OptionError(problem, "Give one name or number for each image.", option=argument)
    return Rows(["path", "label"], map(list, zip(images, labels, strict=True)), ["path"], "label")


def _label_list(labels: Any, number: int, argument: str) -> list[str]:
    """The labels of one image, given as a list of them, or one alone; none for None and an empty list."""
    if isinstance(labels, str) or not isinstance(labels, Iterable) or not getattr(labels, "ndim", True):
        text = text_of(labels).strip()
        return [part.strip() for part in text.split(SEPARATOR) if part.strip()]
    if hasattr(labels, "ndim") and not all(isinstance(one, str) for one in labels):
        problem = f"{option(argument)}: label {number} is an array of numbers, whose labels have no names."
        raise OptionError(problem, "Give a list of names for each image: `['cat', 'dog']`.", option=argument)
    return [text for one in labels if (text := text_of(one).strip())]


def _frame(frame: Any, argument: str) -> Rows:
    names = list(frame.columns)
    header = [str(name) for name in names]
    if len(set(header)) < len(header):
        twice = listed(sorted({name for name in header if header.count(name) > 1}))
        raise OptionError(f"{option(argument)} has two columns of one name: {twice}.", "Rename one.", option=argument)
    columns = [list(frame[name]) for name in names]
    images = [name for name, cells in zip(header, columns, strict=True) if any(map(holds_picture, cells))]
    return Rows(header, map(list, zip(*columns, strict=True)), images)


def _dataset(data: Any) -> Rows:
    features: Mapping[str, Any] = data.features or {}
    names = list(data.column_names or features)
    images = [name for name in names if _is(features.get(name), "Image")]
    classes = [name for name in names if _class_names(features.get(name))]
    texts = {name: _class_names(features[name]) for name in classes}
    if not _is_transformed(data):
        data = data.with_format(None) if hasattr(data, "with_format") else data
        for name in images:
            data = _undecoded(data, name, features[name])

    def rows() -> Iterator[list[Any]]:
        for row in data:
            yield [_named(row.get(name), texts.get(name)) for name in names]

    if not images:  # pictures that a transform makes, say
        images = [name for name, cell in zip(names, next(rows(), []), strict=False) if holds_picture(cell)]
    return Rows(names, rows(), images, classes[0] if len(classes) == 1 else None)


def _class_names(feature: Any) -> list[str]:
    """The names of the classes, of a column of class numbers or of lists of these; none of another column."""
    inner = getattr(feature, "feature", feature)
    return list(getattr(inner, "names", None) or ()) if _is(inner, "ClassLabel") else []


def _is_transformed(data: Any) -> bool:
    """Whether a function of the caller's makes the rows, which expects them as they are stored."""
    kind = (getattr(data, "format", None) or {}).get("type")  # of a set that is streamed, a private attribute says it
    return "custom" in (kind, getattr(getattr(data, "_formatting", None), "format_type", None))


def _is(feature: Any, kind: str) -> bool:
    return type(feature).__name__ == kind


def _undecoded(data: Any, name: str, feature: Any) -> Any:
    """The data set with images as the bytes of their files, where it can give these: nothing is encoded again."""
    try:
        return data.cast_column(name, type(feature)(decode=False))
    except (AttributeError, TypeError, ValueError):
        return data


def _named(value: Any, names: list[str] | None) -> Any:
    """The name of a class, of its number, or those of a list; -1 is how a data set without labels says so."""
    if names is None:
        return value
    if isinstance(value, list) or getattr(value, "ndim", 0) == 1:
        return [name for one in value if (name := _named(one, names)) is not None]
    value = value.item() if hasattr(value, "item") else value  # a transform may give NumPy's or PyTorch's numbers
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    return names[value] if 0 <= value < len(names) else None


def _parts(parts: Mapping[str, Any], argument: str) -> Rows:
    """A ``DatasetDict``: the parts below one another, with a column that names them."""
    read = {str(name): _dataset(one) for name, one in parts.items()}
    first = next(iter(read.values()))
    if any(one.header != first.header for one in read.values()):
        raise OptionError(
            f"{option(argument)}: its parts have different columns.", "Give one of them.", option=argument
        )
    column = "split"
    while column in first.header:
        column += "_"
    rows = ([*row, name] for name, one in read.items() for row in one.rows)
    return Rows([*first.header, column], rows, first.images, first.labels, column)


def image_column(rows: Rows, asked: str | None, argument: str) -> str | None:
    """The column that holds pictures; None where that of paths has to be found. Raises OptionError where several do."""
    if asked is not None:
        return asked if asked in rows.images else None
    if len(rows.images) > 1:
        problem = f"{option(argument)} has several columns of pictures: {listed(rows.images)}."
        raise OptionError(problem, f"Name one: `path_column={rows.images[0]!r}`.", option="path_column")
    return rows.images[0] if rows.images else None


def holds_picture(cell: Any) -> bool:
    """Whether a cell is a picture, or a data set's ``{"bytes": …, "path": …}``."""
    return is_picture(cell) or (isinstance(cell, Mapping) and {"bytes", "path"} <= cell.keys())


def content_of(cell: Any) -> Any:
    """The picture or the path in a cell; None where it is empty."""
    if isinstance(cell, Mapping):
        return cell.get("bytes") or cell.get("path")
    return cell if is_picture(cell) or isinstance(cell, str | Path) or not is_missing(cell) else None


def is_missing(cell: Any) -> bool:
    """None, NaN, NaT and pandas' NA: what a frame writes into an empty cell. Texts are none of these."""
    if cell is None:
        return True
    if isinstance(cell, str) or getattr(cell, "ndim", False):
        return False
    return type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, Number) and cell != cell)


def text_of(cell: Any) -> str:
    """A cell as text: ``001``, ``None``, ``NA`` and ``True`` stay what they are; an empty one is empty. A whole number
    is written as one: beside an empty cell, pandas makes 1.0 of each 1.
    """
    if is_missing(cell):
        return ""
    if getattr(cell, "ndim", 0) == 1:  # a list of labels, as Parquet gives it
        cell = cell.tolist()
    if isinstance(cell, set | frozenset):
        cell = sorted(cell, key=str)
    if hasattr(cell, "item") and not getattr(cell, "ndim", True):  # a number of NumPy or PyTorch
        cell = cell.item()
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell) if isinstance(cell, bool | os.PathLike) else cell_of(cell)

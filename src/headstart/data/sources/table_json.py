"""Rows of JSON: an object per line, a list of objects, names to labels. Formats of annotation tools are recognised, to
say what they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.data.filenames import is_image_name
from headstart.errors import DataError

_HINT = 'One object per photo, in a list or a line each: {"file_name": "cat/1.jpg", "label": "cat"}.'
_KINDS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("COCO", "boxes and outlines", lambda v: _has(v, "images", "annotations") or _has(v, "images", "categories")),
    ("VIA", "regions", lambda v: _has(v, "_via_img_metadata") or _every(_values(v), "regions", "filename")),
    ("LabelMe", "outlines", lambda v: _has(v, "shapes", "imagePath") or _every(v, "shapes", "imagePath")),
    ("Label Studio", "annotations", lambda v: _every(v, "annotations", "data")),
    ("CreateML", "boxes", lambda v: _every(v, "image", "annotations")),
)


def json_rows(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns and the rows of a JSON file, each with its line or place. Raises DataError."""
    objects, whole = _objects(path, text)
    for kind, holds, test in _KINDS:
        if test(whole):
            raise DataError(
                f"{path} holds {holds} ({kind}), which are no labels of whole photos",
                "A classifier needs one label per photo: write a table with the columns path and label.",
            )
    columns = list(dict.fromkeys(name for _, one in objects for name in one))
    return [str(name) for name in columns], [(at, [cell_of(one.get(c)) for c in columns]) for at, one in objects]


def cell_of(value: Any) -> str:
    """A value as a table shows it; lists and objects stay JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _objects(path: Path, text: str) -> tuple[list[tuple[int, Mapping[str, Any]]], Any]:
    """(line or place, object) of each row, and the value that the whole file is."""
    try:
        try:
            whole = json.loads(text)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
            lines = [(at, _line(at, line)) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
            return _rows(path, lines), [value for _, value in lines]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON that can be read ({str(error)[:120]})", _HINT) from error
    if isinstance(whole, Mapping) and len(whole) == 1 and isinstance(inner := next(iter(whole.values())), list):
        whole = inner  # {"data": [...]}
    by_name = isinstance(whole, Mapping) and bool(whole) and sum(map(is_image_name, whole)) > len(whole) / 2
    if isinstance(whole, Mapping) and whole and (by_name or all(isinstance(v, str | int) for v in whole.values())):
        if {name.casefold() for name in whole} & {"file_name", "label", "path"}:
            return [(1, whole)], whole  # one line of JSON lines
        about = ((name, v if isinstance(v, Mapping) else {"label": v}) for name, v in whole.items())
        return [(at, {"path": name, **more}) for at, (name, more) in enumerate(about, 1)], whole
    if isinstance(whole, Mapping) and whole and all(isinstance(v, Mapping) for v in whole.values()):
        return [(at, {"path": name, **about}) for at, (name, about) in enumerate(whole.items(), 1)], whole
    if isinstance(whole, Mapping) and whole and all(isinstance(v, list) for v in whole.values()) and _square(whole):
        names = list(whole)
        each = zip(*whole.values(), strict=True)
        return [(at, dict(zip(names, one, strict=True))) for at, one in enumerate(each, 1)], whole
    if isinstance(whole, list):
        return _rows(path, list(enumerate(whole, 1))), whole
    return _rows(path, [(1, whole)]), whole


def _line(at: int, text: str) -> Any:
    """The value of one line. Raises ValueError that names the line, and not the first, as which it is read."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {at}: {error.msg} at character {error.pos + 1}") from None


def _rows(path: Path, values: list[tuple[int, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    objects = [(at, value) for at, value in values if isinstance(value, Mapping)]
    if len(objects) < len(values) or not values:
        raise DataError(f"{path} is JSON, but not a list of photos", _HINT)
    return objects


def _square(columns: Mapping[str, Sequence[Any]]) -> bool:
    return len({len(column) for column in columns.values()}) == 1


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, Mapping) and all(key in value for key in keys)


def _values(value: Any) -> Any:
    return list(value.values()) if isinstance(value, Mapping) else value


def _every(value: Any, *keys: str) -> bool:
    return isinstance(value, list) and bool(value) and all(_has(one, *keys) for one in value)

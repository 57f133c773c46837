"""Values that somebody changed, for every place in a JSON value; and harmful checkpoints."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

Place = tuple[str | int, ...]
DELETED = object()
CHANGES: dict[str, Any] = {
    "deleted": DELETED, "null": None, "text": "tampered", "empty text": "", "long text": "x" * 200_000, "flag": True,
    "negative": -1, "zero": 0, "huge": 10**30, "digits": 10**4000, "fraction": 0.5, "nan": float("nan"),
    "infinite": float("inf"), "list": [], "nested": [[[["x"]]]], "object": {}, "deep": "DEEP", "surrogate": "\ud800",
    "control": "\x1b[31mred\x07", "many": [0] * 200_000,
}  # fmt: skip
"""What to write in place of a value. "DEEP" becomes a list in a list, 100,000 times: see ``text_of``."""


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """The place of each value within a JSON value; of a list, of its first and last."""
    if here:
        yield here
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = [(i, value[i]) for i in sorted({0, len(value) - 1}) if value]
    for key, held in inner:
        yield from places(held, (*here, key))


def changed(value: Any, place: Place, to: Any) -> Any:
    """A copy with another value at a place, or none there."""
    made = copy.deepcopy(value)
    within = made
    for key in place[:-1]:
        within = within[key]
    if to is DELETED:
        del within[place[-1]]
    else:
        within[place[-1]] = to
    return made


def text_of(value: Any) -> str:
    """The value as JSON. Python's own ``json`` could write neither numbers that long nor lists that deep."""
    import json
    import sys

    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value).replace('"DEEP"', "[" * 100_000 + "]" * 100_000)
    finally:
        sys.set_int_max_str_digits(before)


def checkpoint(pickled: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """A checkpoint of PyTorch's zip format with another list of tensors, and other records beside it."""
    whole, made = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.ones(1)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(made, "w", compression) as target:
        for member in source.infolist():
            name = member.filename.rpartition("/")[2]
            content = pickled if name == "data.pkl" else records.get(name, source.read(member))
            target.writestr(member.filename, content)
    return made.getvalue()


def deep_tuple(depth: int) -> bytes:
    """A pickle of a dict whose key is a tuple in a tuple, so many times: hashing it overflows the stack."""
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


def deep_dict(depth: int) -> bytes:
    """A pickle of ``{"model": {"model": ...}}``."""
    return b"\x80\x02" + b"}X\x05\x00\x00\x00model" * depth + b"}" + b"s" * depth + b"."


def endless_dict() -> bytes:
    """A pickle of a dict that is its own "model"."""
    return b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."


def shared_dicts(depth: int, names: tuple[str, ...]) -> bytes:
    """A pickle of dicts whose every value is one and the same next dict: names ** depth ways to the end."""
    made = b"\x80\x02}q\x00"
    for level in range(1, depth + 1):
        made += b"}q" + bytes([level]) + b"("
        for name in names:
            made += b"X" + len(name).to_bytes(4, "little") + name.encode() + b"h" + bytes([level - 1])
        made += b"u"
    return made + b"."

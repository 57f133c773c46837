"""Files of other versions, and of other people: a newer format number is refused, keys that are not known are told once
and ignored, and every value has the type and the bounds that a schema gives it.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from headstart.core.text import brief, listed
from headstart.errors import RunError

T = TypeVar("T")
DAMAGED = "It is damaged or not headstart's; train again with `overwrite=True`."
DEEPEST = 50
_SURROGATE = re.compile("[\ud800-\udfff]")


def parsed(text: str) -> Any:
    """The value of a JSON text. Raises ValueError where it is none, or is nested more deeply than any of headstart's:
    what walks through it later need not fear the depth.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        held = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list))
        if not (level := [inner for values in held for inner in values]):
            return value
    raise ValueError("it is nested too deeply")


def check_format(file: str | Path, facts: Mapping[str, Any], newest: int) -> None:
    """Raise RunError where a file's format number (0 where it has none) is newer than this version reads, or none."""
    number = facts.get("format", 0)
    if type(number) is not int or number < 0:
        raise RunError(f"{file}: `format` is not a version number.", DAMAGED)
    if number > newest:
        shown = number if number < 10**9 else "a number"
        raise RunError(f"{file} has format {shown}, newer than this headstart reads ({newest}).", "Update headstart.")


def checked(file: str | Path, values: Any, kind: type[T], newest: int = 0, hint: str = DAMAGED) -> T:
    """What a JSON file holds, in the types of ``kind`` (a msgspec Struct or a dataclass) and within their bounds. A
    missing key has its default. ``hint``: what to do about one that is not such.

    Raises RunError that names the file and the field.
    """
    import msgspec

    if newest and isinstance(values, Mapping):
        check_format(file, values, newest)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).replace("`", "").partition(" - at ")
        field = f" {place.removeprefix('$').removeprefix('.')[:100]}:" if place else ""
        raise RunError(f"{file}:{field} {words[:1].lower()}{words[1:200]}.", hint) from None
    except (ValueError, OverflowError, RecursionError, SystemError) as error:
        # A lone surrogate; msgspec before 0.22 raises SystemError for a whole number that no float holds.
        raise RunError(f"{file} cannot be read: {brief(error)}.", hint) from None


def odd_value(values: Any) -> tuple[str, str] | None:
    """(place, what is wrong) of a number that is not finite or a text that no encoding can write, anywhere in what a
    JSON file holds; None where there is none.
    """
    waiting = [("", values)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += ((f"{place[:100]}.{key[:60]}", inner) for key, inner in value.items())
            value = "".join(value)
        elif isinstance(value, list):
            waiting += ((f"{place[:100]}[{i}]", inner) for i, inner in enumerate(value))
        if isinstance(value, float) and not math.isfinite(value):
            return place.lstrip("."), "is not a finite number"
        if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
            return place.lstrip("."), "holds half a character"
    return None


def known_only(found: str, values: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The entries with a known name; what else there is, is told once ("plan.json holds settings") and ignored."""
    own = {name: values[name] for name in known if name in values}
    if unknown := values.keys() - own.keys():
        warn_unknown(found, tuple(sorted(unknown)))
    return own


@cache
def warn_unknown(found: str, names: tuple[str, ...]) -> None:
    """Warn, once, of what a newer headstart wrote into a file ("plan.json holds settings")."""
    shown = [name if name.isprintable() and len(name) <= 60 else repr(name[:60]) for name in names]
    words = f"{found} that this headstart does not know, and ignores: {listed(shown, 10)}."
    logging.getLogger("headstart").warning(words)

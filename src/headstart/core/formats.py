"""Files of other versions: a newer format number is refused; keys that are not known are told once and ignored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from headstart.errors import RunError


def check_format(file: str | Path, facts: Mapping[str, Any], newest: int) -> None:
    """Raise RunError where a file's format number (0 where it has none) is newer than this version reads."""
    if (number := facts.get("format", 0)) > newest:
        raise RunError(f"{file} has format {number}, newer than this headstart reads ({newest}).", "Update headstart.")


def known_only(found: str, values: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The entries with a known name; what else there is, is told once ("plan.json holds settings") and ignored."""
    own = {name: values[name] for name in known if name in values}
    if unknown := values.keys() - own.keys():
        warn_unknown(found, tuple(sorted(unknown)))
    return own


@cache
def warn_unknown(found: str, names: tuple[str, ...]) -> None:
    """Warn, once, of what a newer headstart wrote into a file ("plan.json holds settings")."""
    words = f"{found} that this headstart does not know, and ignores: {', '.join(names)}."
    logging.getLogger("headstart").warning(words)

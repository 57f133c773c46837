"""Lengths of time as they are typed: ``90s``, ``10m``, ``1h30m``."""

from __future__ import annotations

import re

from headstart.errors import OptionError


def seconds_of(text: str | float, name: str = "time") -> float:
    """``90s``, ``10m``, ``1h``, ``1h30m``; a bare number is seconds. Raises OptionError."""
    if isinstance(text, int | float):
        return float(text)
    written = text.strip().lower()
    if not re.fullmatch(r"\d+(\.\d+)?|(\d+(\.\d+)?\s*(s|min|m|h)\s*)+", written):
        hint = f"Write it like `{name}='90s'`, 10m or 1h30m."
        raise OptionError(f"`{name}={text!r}` is not a length of time.", hint, option=name)
    parts = re.findall(r"([\d.]+)\s*(s|min|m|h)?", written)
    return sum(float(number) * {"": 1, "s": 1, "h": 3600}.get(unit, 60) for number, unit in parts)

"""Lengths of time. In: text as a person types it (``90s``, ``10m``, ``1h30m``), or a number. Out: seconds."""

from __future__ import annotations

import math
import re

from headstart.errors import OptionError

_NUMBER = r"\d+(\.\d+)?"


def seconds_of(text: str | float, name: str = "time", bare: bool = True) -> float:
    """``90s``, ``10m``, ``1h``, ``1h30m``; where ``bare`` numbers are taken, they are seconds. Raises OptionError for
    anything else, and for no time at all; ``name`` is the option's.
    """
    hint = f"Write it like `{name}='90s'`, 10m or 1h30m."
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        written = text.strip().lower()
        number = re.fullmatch(_NUMBER, written)
        if not number and not re.fullmatch(rf"({_NUMBER}\s*(s|min|m|h)\s*)+", written):
            raise OptionError(f"`{name}={text!r}` is not a length of time.", hint, option=name)
        if number and not bare:
            raise OptionError(f"{text} for `{name}` has no unit.", f"Write {text}m for minutes.", option=name)
        parts = re.findall(r"([\d.]+)\s*(s|min|m|h)?", written)
        seconds = sum(float(n) * {"": 1, "s": 1, "h": 3600}.get(unit, 60) for n, unit in parts)
    if not (seconds > 0 and math.isfinite(seconds)):
        raise OptionError(f"`{name}={text!r}` must be above zero.", hint, option=name)
    return seconds

"""What a backbone may cost. In: what a user allows. Out: ``Budget``, and why a candidate is over it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headstart.core.text import duration
from headstart.errors import OptionError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """The most that a backbone may take; None where nothing is said. ``ms`` per photo; ``mb``: millions of bytes of
    float32 weights; ``seconds`` for one pass over all photos.
    """

    ms: float | None = None
    mb: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{flag} {value:g} must be above 0"
            for flag, value in (("--max-ms", self.ms), ("--max-mb", self.mb), ("--time", self.seconds))
            if value is not None and not value > 0
        ]
        if wrong:
            raise OptionError("; ".join(wrong))

    def too_large(self, mb: float) -> str:
        """The reason for which a network of that size is out, or an empty string."""
        return f"{mb:.0f} MB, above --max-mb {self.mb:g}" if self.mb is not None and mb > self.mb else ""

    def too_slow(self, ms: float, seconds: float) -> str:
        """The reason for which a network that takes so long is out, or an empty string."""
        if self.ms is not None and ms > self.ms:
            return f"{ms:.3g} ms per photo, above --max-ms {self.ms:g}"
        if self.seconds is not None and seconds > self.seconds:
            return f"{duration(seconds)} for all photos, above --time {duration(self.seconds)}"
        return ""


def seconds_of(text: str | float) -> float:
    """``90s``, ``10m``, ``1h``, ``1h30m``; a bare number is seconds. Raises OptionError."""
    if isinstance(text, int | float):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(s|min|m|h)?", text.strip().lower())
    if not parts or not re.fullmatch(r"\d+(\.\d+)?|(\d+(\.\d+)?\s*(s|min|m|h)\s*)+", text.strip().lower()):
        raise OptionError(f"--time {text!r} is not a length of time.", "Write it like --time 90s, 10m or 1h30m.")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)

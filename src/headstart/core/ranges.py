"""Which values of photos with more than 8 bits are black and white."""

from __future__ import annotations

from typing import NamedTuple


class Ranges(NamedTuple):
    """(black, white) of integers and of floats; None: 0 and 65535, and of floats 0 and 1 where a photo stays within."""

    integers: tuple[float, float] | None = None
    floats: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """A part of a name in the cache."""
        parts = [(name, pair) for name, pair in zip("if", self, strict=True) if pair is not None]
        return "_".join(f"{name}{low:.9g}_{high:.9g}" for name, (low, high) in parts)

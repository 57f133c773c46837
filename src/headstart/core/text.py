"""Numbers and lists in words."""

from __future__ import annotations


def counted(number: int, noun: str, more: str = "") -> str:
    """ "1 photo", "1,200 photos"; ``more`` is the plural where an s does not make it."""
    return f"{number:,} {noun if number == 1 else more or noun + 's'}"


def count(number: int) -> str:
    """3000 → "3,000"."""
    return f"{number:,}"


def plural(number: int, noun: str, more: str = "") -> str:
    """1 → "1 photo", 3000 → "3,000 photos"; ``more`` is the plural where an s does not make it."""
    return f"{count(number)} {noun if number == 1 else more or noun + 's'}"

"""Lengths of time as they are typed."""

from __future__ import annotations

import pytest

from headstart.core.lengths import seconds_of
from headstart.errors import OptionError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("10 min", 600), ("1h", 3600), ("1h30m", 5400), ("0.5h", 1800), ("45", 45), (7.5, 7.5)],
    ids=str,
)
def test_lengths_of_time(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "10x", "m", "-5m", "10m later"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(OptionError, match="is not a length of time"):
        seconds_of(text)

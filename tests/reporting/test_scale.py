"""Axes have round ends and hold what they must."""

from __future__ import annotations

import pytest

from headstart.reporting.scale import nice_scale


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.475, 0.925], (0.4, 0.6, 0.8, 1.0)),
        ([0.61, 0.99], (0.6, 0.7, 0.8, 0.9, 1.0)),
        ([0.97, 0.98], (0.97, 0.972, 0.974, 0.976, 0.978, 0.98)),
        ([0.9], (0.9, 0.901)),
        ([0.0, 0.3], (0.0, 0.1, 0.2, 0.3)),
        ([0.1, 0.2, 0.30000000000000004], (0.1, 0.15, 0.2, 0.25, 0.3)),
        ([-1.4, 2.0], (-2.0, -1.0, 0.0, 1.0, 2.0)),
    ],
)
def test_ticks_are_round_and_hold_the_values(values: list[float], ticks: tuple[float, ...]) -> None:
    scale = nice_scale(values)
    assert scale.ticks == pytest.approx(ticks)
    assert (scale.low, scale.high) == (pytest.approx(ticks[0]), pytest.approx(ticks[-1]))


def test_places_are_percent_and_stay_on_the_axis() -> None:
    scale = nice_scale([0.6, 1.0])
    assert [scale.place(value) for value in (0.6, 0.7, 1.0, 0.2, 3.0)] == [0.0, 25.0, 100.0, 0.0, 100.0]


def test_nothing_has_no_axis() -> None:
    with pytest.raises(ValueError, match="no value"):
        nice_scale([])

"""A forecast in words."""

from __future__ import annotations

import pytest

from headstart.errors import OptionError
from headstart.evaluation.learning_curve import Band, Needed
from headstart.reporting.command import command_line
from headstart.workflows.forecast.forecast import Asked, default_more
from headstart.workflows.forecast.result import answer_of, notes_of, round_up, target_words

EVEN, UNEVEN = {"cat": 500, "dog": 510}, {"cat": 900, "dog": 100}
NOW = Band(1010, 0.957, 0.95, 0.963, 0.9)
THEN = Band(1410, 0.969, 0.962, 0.975, 0.9)


def test_per_class_means_each_where_classes_are_even() -> None:
    assert answer_of(EVEN, NOW, [200], [THEN], None) == (
        "With 200 more per class expect 0.962–0.975 (now 0.957, 0.950–0.963)."
    )


def test_uneven_classes_grow_by_one_factor() -> None:
    said = answer_of(UNEVEN, NOW, [200], [THEN], None)
    assert said.startswith("With 1.4 times as many photos of every class (200 more per class on average) expect 0.962")


def test_a_narrow_band_has_the_digits_to_be_seen() -> None:
    assert "0.9971–0.9984" in answer_of(EVEN, NOW, [200], [Band(1410, 0.998, 0.99712, 0.9984, 0.9)], None)


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (Needed(0.99, None, None, None, 0.03), "0.99 is most likely out of reach of a probe of this network"),
        (Needed(0.99, None, 3010, None, 0.3), "at least 1,000, if it can be reached at all: too far to say"),
        (Needed(0.97, 2010, 1210, 9010, 1.0), "0.97 takes about 500 more per class (100 to 4,000)."),
        (
            Needed(0.97, 2010, 1210, None, 0.9),
            "0.97 takes about 500 more per class (at least 100, or out of reach).",
        ),
        (Needed(0.9, 1010, 1010, 1010, 1.0), "0.9 is reached with the photos at hand."),
        (Needed(0.957, 1010, 1010, 1300, 1.0), "to be nearly sure of it takes 150 more per class."),
        (Needed(0.957, 1010, 1010, None, 0.8), "to be nearly sure of it takes more than can be said."),
    ],
    ids=["never", "far", "some", "some or never", "reached", "about", "about, unsure"],
)
def test_a_target_has_a_number_or_a_reason_for_none(needed: Needed, said: str) -> None:
    assert said in target_words(EVEN, NOW, needed)
    assert "on average" not in target_words(EVEN, NOW, needed)


def test_notes_say_what_the_data_cannot() -> None:
    assert notes_of(EVEN, NOW, [THEN], 0.02) == []
    far = Band(1010 * 5, 0.975, 0.968, 0.982, 0.9)
    gain, beyond = notes_of(EVEN, NOW, [THEN, far], 0.01)
    assert "1.0 points at most" in gain
    assert "checked up to 4 times" in beyond
    little = notes_of(EVEN, Band(1010, 0.8, 0.7, 0.9, 0.9), [THEN], 0.01)
    assert len(little) == 1  # few photos: nothing is said of a small gain
    assert "1010 photos say little" in little[0]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(OptionError, match=r"`more=0` .*`target=1\.5` .*`level=0\.2`"):
        Asked((0,), 1.5, 0.2).check()
    Asked((1,), 0.5, 0.5).check()


def test_far_too_many_photos_are_refused() -> None:
    asked = Asked((), None, 0.9)
    asked.check_reach([990], 10)
    with pytest.raises(OptionError, match=r"991.*100 times"):
        asked.check_reach([100, 991], 10)


def test_words_of_the_command() -> None:
    asked = command_line("forecast", "photos", Asked((100, 200), 0.99, 0.8).given)
    assert asked == "headstart forecast photos --more 100,200 --target 0.99 --level 0.8"
    assert command_line("forecast", "photos", Asked((), None, 0.9).given) == "headstart forecast photos"


@pytest.mark.parametrize(("number", "rounded"), [(0, 0), (7, 7), (41.2, 42), (1234, 1300), (99_000, 99_000)])
def test_numbers_of_photos_are_rounded_upwards(number: float, rounded: int) -> None:
    assert round_up(number) == rounded


@pytest.mark.parametrize(
    ("per_class", "more"), [(8.0, (8, 24)), (104.3, (100, 310)), (1000.0, (1000, 3000)), (1.0, (1, 3))]
)
def test_without_a_wish_as_many_again_and_three_times_as_many(per_class: float, more: tuple[int, int]) -> None:
    assert default_more(per_class) == more

"""Seconds left of a list of jobs, by a clock that the test moves."""

from __future__ import annotations

import pytest

from headstart.core.estimate import Estimate, time_left


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def estimate(clock: Clock) -> Estimate[str]:
    """Jobs a0, b0, a1, b1 of two kinds, of work 10 and 30."""
    jobs = ("a0", "b0", "a1", "b1")
    return Estimate({job: 10 if job[0] == "a" else 30 for job in jobs}, {job: job[0] for job in jobs}, clock)


def test_nothing_is_said_before_anything_is_known(estimate: Estimate[str], clock: Clock) -> None:
    assert estimate.seconds_left() is None
    estimate.progressed("a0")
    clock.now = 5
    assert estimate.seconds_left() is None
    estimate.finished("a0", None)  # an earlier call had done it
    assert estimate.seconds_left() is None


def test_what_has_not_run_yet_is_weighed_by_its_work(estimate: Estimate[str]) -> None:
    estimate.finished("a0", 20.0)  # 2 s per unit of work
    assert estimate.seconds_left() == pytest.approx(60 + 20 + 60)
    estimate.finished("a1", None)
    assert estimate.seconds_left() == pytest.approx(60 + 60)


def test_a_job_takes_as_long_as_those_of_its_kind_did(estimate: Estimate[str]) -> None:
    estimate.finished("a0", 20.0)
    estimate.finished("b0", 100.0)
    assert estimate.seconds_left() == pytest.approx(20 + 100)
    estimate.finished("a1", 30.0)
    assert estimate.seconds_left() == pytest.approx(100)
    estimate.finished("b1", 90.0)
    assert estimate.seconds_left() == 0


def test_a_running_job_is_extrapolated_from_the_part_that_is_done(estimate: Estimate[str], clock: Clock) -> None:
    estimate.progressed("a0")
    clock.now = 5
    estimate.progressed("a0", 0.25)
    assert estimate.seconds_left() == pytest.approx(15 + 60 + 20 + 60)  # 5 s for a quarter of 10: 2 s per unit
    estimate.progressed("a0")  # evaluation after the training: no less is done
    assert estimate.seconds_left() == pytest.approx(15 + 60 + 20 + 60)
    estimate.finished("a0", 20.0)
    estimate.progressed("b0")
    clock.now = 45
    estimate.progressed("b0", 0.5)
    assert estimate.seconds_left() == pytest.approx(40 + 20 + 30 * 60 / 25)  # 60 s for 10 + 15


def test_the_first_steps_of_a_job_say_less_than_the_jobs_before_it(estimate: Estimate[str], clock: Clock) -> None:
    estimate.finished("a0", 20.0)
    estimate.progressed("a1")
    clock.now = 6
    estimate.progressed("a1", 0.01)  # not 600 s
    assert estimate.seconds_left() == pytest.approx(60 + (20 - 6) + 60)
    clock.now = 50
    assert estimate.seconds_left() == pytest.approx(60 + 0 + 60)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""), (0, "less than a minute left"), (59.9, "less than a minute left"), (60, "about 1 min left"),
        (61, "about 2 min left"), (89 * 60, "about 89 min left"), (90 * 60, "about 1.5 h left"),
        (5 * 3600, "about 5.0 h left"),
    ],
)  # fmt: skip
def test_time_left_in_words(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words

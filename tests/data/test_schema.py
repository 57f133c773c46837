"""Options of splits are checked where they are made, all at once, as Python writes them."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.data.schema import SplitOptions
from headstart.errors import OptionError
from headstart.training.config import TrainOptions


@pytest.mark.parametrize("make", [SplitOptions, lambda **options: TrainOptions("photos", **options)])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shots": 0}, "`shots=0` must be at least 1"),
        ({"val": 1.0}, "`val=1.0` must be at least 0 and below 1"),
        ({"test": -0.1}, "`test=-0.1` must be at least 0"),
        ({"val": 0}, "`val=0` leaves no validation set"),
        ({"val": 0.6, "test": 0.4}, "`val=0.6` and `test=0.4` leave nothing to train on"),
        ({"fraction": 0}, "`fraction=0` must be above 0 and at most 1"),
        ({"shots": 3, "fraction": 0.5}, "`shots` and `fraction` both limit"),
        ({"seed": -1}, "`seed=-1` must be from 0 to 2147483647"),
        ({"seed": 2**31}, "`seed=2147483648` must be from 0"),
    ],
)
def test_each_limit_is_said_in_one_sentence(make: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        make(**options)
    assert words in caught.value.problem


def test_one_wrong_option_is_named_and_several_are_said_together() -> None:
    with pytest.raises(OptionError) as caught:
        SplitOptions(shots=0)
    assert caught.value.option == "shots"
    with pytest.raises(OptionError, match=r"`val=2` .*; `seed=-1` ") as caught:
        SplitOptions(val=2, seed=-1)
    assert caught.value.option is None


def test_what_is_usual_is_accepted() -> None:
    assert SplitOptions().val is None
    assert SplitOptions(val=0.1, test=0, shots=1, seed=2**31 - 1).shots == 1
    assert SplitOptions(fraction=1).fraction == 1
    assert SplitOptions(folds=2).folds == 2

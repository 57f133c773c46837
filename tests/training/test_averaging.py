"""Averages of the weights before and after fine-tuning."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from headstart.evaluation.objective import OnVal
from headstart.training.averaging import average_weights, mixture


def network(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in made.state_dict().values():
        tensor.fill_(value)
    return made


@pytest.mark.parametrize("wanted", [1.0, 0.75, 0.5, 0.25, 0.0])
def test_the_average_that_is_best_on_val_is_left(wanted: float) -> None:
    """The tuned weights are 4, those before 0; val likes one number between them."""
    tuned, before = network(4.0), network(0.0).state_dict()

    def validate() -> tuple[float, float]:
        away = abs(tuned[0].weight[0, 0].item() - 4 * wanted)
        return away, 0.5 - away / 10

    val, share = average_weights(tuned, before, validate, OnVal(*validate()), 100)
    assert share == wanted
    assert (val[0], val[1]) == (pytest.approx(0), pytest.approx(0.5))
    assert all(
        torch.allclose(t, torch.tensor(4 * wanted)) for t in tuned.state_dict().values() if t.is_floating_point()
    )
    assert int(tuned[1].num_batches_tracked) == 4


def test_equal_figures_take_the_middle() -> None:
    tuned = network(4.0)
    _, share = average_weights(tuned, network(0.0).state_dict(), lambda: (1.0, 0.5), OnVal(1.0, 0.5), 100)
    assert share == 0.5
    assert tuned[0].weight[0, 0].item() == 2


@pytest.mark.parametrize(("better", "share"), [(0.9, 0.5), (1.1, 1.0)])
def test_one_photo_does_not_outweigh_the_middle(better: float, share: float) -> None:
    """The tuned weights, two steps from the middle, classify so many of 100 photos more correctly than any average."""
    tuned, val = network(4.0), OnVal(1.0, 0.5 + better / 100)
    _, found = average_weights(tuned, network(0.0).state_dict(), lambda: (1.0, 0.5), val, 100)
    assert found == share


def test_what_was_there_before_is_not_touched() -> None:
    before = copy.deepcopy(network(1.0).state_dict())
    average_weights(network(3.0), before, lambda: (0.0, 1.0), OnVal(9.0, 0.0), 10)
    assert all(bool((t == 1).all()) for t in before.values())


def test_the_words_say_what_was_chosen() -> None:
    assert "25% fine-tuned and 75% the probe's" in mixture(0.25)
    assert "did not improve" in mixture(0.0)
    assert "fine-tuned ones alone" in mixture(1.0)

"""Ranges that ``tune`` searches: around the plan, of what the strategy uses, without what the user fixed."""

from __future__ import annotations

import sys

import pytest

from headstart.errors import OptionError
from headstart.training.plan import Plan
from headstart.workflows.tune.search import import_optuna
from headstart.workflows.tune.space import space_of


@pytest.mark.parametrize("strategy", ["finetune", "partial", "lp-ft", "scratch"])
def test_every_range_holds_the_plans_own_value(strategy: str) -> None:
    plan = Plan(strategy, epochs=1, augment="none", label_smoothing=0.3, weight_decay=0.5)
    space = space_of(plan, ())
    assert {"lr", "lr_backbone", "epochs", "augment", "weight_decay"} <= space.keys()
    for name, one in space.items():
        value = getattr(plan, name)
        assert value in one.names if one.names else one.low <= value <= one.high, name
        assert one.low > 0 or not one.log


def test_what_is_fixed_or_unused_is_not_searched() -> None:
    assert "lr" not in space_of(Plan("finetune"), {"lr"})
    assert space_of(Plan("probe"), ()) == {}
    assert space_of(Plan("probe", variant="trained head"), ()).keys() >= {"lr", "epochs"}
    assert "augment" not in space_of(Plan("probe", variant="trained head"), ())


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # type: ignore[arg-type]
    with pytest.raises(OptionError) as error:
        import_optuna()
    assert 'pip install "headstart[tune]"' in str(error.value)

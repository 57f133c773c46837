"""From facts to a plan: general rules, overridden by the strategy's rules, overridden by the user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from headstart.core.choice import Choice
from headstart.errors import OptionError
from headstart.training import rules
from headstart.training.plan import AUTO, OF_SOME, YOURS, Plan, check_overrides
from headstart.training.rules import Facts
from headstart.training.strategies import STRATEGIES
from headstart.training.strategies.base import LAST, Strategy


def resolve(
    facts: Facts, seed: int = 0, boundary: str | None = None, overrides: Mapping[str, Any] | None = None, folds: int = 0
) -> Plan:
    """The plan of one training, with the user's ``boundary``, ``folds`` and ``overrides`` (by the names of
    ``plan.SETTINGS``). Raises OptionError that names every override that is unknown or impossible, and for a strategy
    that needs a stage where the network has none.
    """
    yours = {name: value for name, value in check_overrides(overrides or {}).items() if value != AUTO}
    strategy = STRATEGIES.get(facts.strategy)
    batch, size = rules.batch_size(facts), rules.image_size(facts)
    facts = replace(facts, batch_size=yours.get("batch_size", batch.value))
    input_size = yours.get("image_size", size.value)
    minutes = 10.0 if facts.device == "cpu" else 5.0
    chosen: dict[str, Choice] = {
        "strategy": Choice(facts.strategy, strategy.summary),
        "variant": Choice("", "the strategy has no other"),
        "boundary": _boundary(boundary, strategy, facts),
        "image_size": size,
        "resize": Choice(input_size, "the input size: nothing of the shorter side is cut off"),
        "precision": rules.precision(facts),
        "engine": rules.engine(facts, input_size, strategy.reads_train_features),
        "batch_size": batch,
        "epochs": rules.epochs(facts),
        **rules.rates(facts),
        "batchnorm": Choice("moving", "statistics follow the new photos"),
        "warmup": Choice(0.15, "part of the steps in which rates rise, before a cosine takes them to zero"),
        "weight_decay": Choice(0.05, "AdamW's usual decay; biases and normalisation are left out"),
        "label_smoothing": _smoothing(facts),
        "stages": _stages(facts),
        "average": Choice("val", "of the tuned weights, the probe's and three averages, what val prefers (WiSE-FT)"),
        "balance": rules.balance(facts),
        "augment": rules.augment(facts),
        "views": Choice(1, "this strategy reads no fixed views"),
        "budget_minutes": Choice(minutes, "what auto may spend on fine-tuning after the probe"),
        "folds": Choice(folds, YOURS if folds else "photos are judged by a split of their own"),
        "seed": Choice(seed, "decides splits, order, crops, dropout and random weights"),
    }
    chosen |= strategy.defaults(facts) | {name: Choice(value, YOURS) for name, value in yours.items()}
    return Plan(**{n: c.value for n, c in chosen.items()}, reasons={n: c.reason for n, c in chosen.items()})


def _smoothing(facts: Facts) -> Choice:
    if facts.several:
        return Choice(0.0, "of several labels each is a yes or no, whose probability is to be its share")
    return Choice(0.1, "limits overconfidence and the effect of label errors")


def _stages(facts: Facts) -> Choice:
    if facts.several:
        return Choice("last", "stages are compared for one class per photo alone; `stages=all` joins them")
    return Choice("choose", "the last stage, or all joined where cross-validation on train and val prefers that")


def _boundary(asked: str | None, strategy: Strategy, facts: Facts) -> Choice:
    default = strategy.boundary
    if asked or default.default != LAST:
        return Choice(asked, YOURS) if asked else Choice(default.default, default.reason)
    if not facts.last_stage:
        problem = f"`strategy={facts.strategy}` freezes the stages before the last, and this network cannot be divided"
        hint = "Use `strategy='probe'`, `'lp-ft'` or `'finetune'`, or another backbone."
        raise OptionError(problem, hint, option="strategy")
    return Choice(facts.last_stage, default.reason)


def plan_rows(plan: Plan) -> list[tuple[str, Any, str]]:
    """(name, value, reason) of the settings that the plan's strategy uses, for printing."""
    known = plan.strategy in STRATEGIES  # or an object of the caller's, or of a package that is not installed
    used = STRATEGIES.get(plan.strategy).settings(plan) if known else OF_SOME
    hidden = OF_SOME - used | {"reasons", "unknown"}
    names = [f.name for f in fields(plan) if f.name not in hidden]
    return [(name, getattr(plan, name), plan.reasons.get(name, "")) for name in names]

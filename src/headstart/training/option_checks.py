"""What is wrong with the options of a training: impossible values, and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headstart.core.registry import OWN
from headstart.data.schema import split_problems
from headstart.errors import did_you_mean
from headstart.training.fold_rules import no_average
from headstart.training.strategies import STRATEGIES

Options = Any
"""``config.TrainOptions``, which imports this module."""


def option_problems(options: Options, choices: Iterable[tuple[str, Sequence[str]]]) -> Iterator[tuple[str, str]]:
    """(option, what is wrong) of each impossible value and each contradiction; ``choices``: options whose values have
    names, and these.
    """
    for name, known in choices:
        value = getattr(options, name)
        if value is not None and value not in known and not value.startswith(OWN):
            hint = did_you_mean(str(value), known)
            yield name, f"`{name}={value!r}` is not one of {', '.join(known)}. {hint}".strip(" .")
    splits = ("val", "test", "shots", "fraction", "seed", "min_per_class", "folds")
    for error in split_problems(*(getattr(options, name) for name in splits)):
        yield str(error.option), error.problem
    if options.allow_leakage and options.leakage not in (None, "keep"):
        yield "allow_leakage", f"`allow_leakage` means `leakage='keep'`, and `leakage={options.leakage!r}` was given"
    for name, values, low in (("mean", options.mean, -10), ("std", options.std, 1e-6)):
        if values is not None and (len(values) != 3 or not all(low <= v <= 10 for v in values)):
            words = f"takes three numbers between {low} and 10, for red, green and blue (photos run from 0 to 1)"
            yield name, f"`{name}` {words}"
    if options.weights and options.from_run:
        yield "weights", "`weights` and `from_run` both say where the backbone is from: give one"
    strategy = STRATEGIES.get(options.strategy) if options.strategy in STRATEGIES else None
    if strategy and not strategy.pretrained and (options.weights or options.from_run):
        words = f"`strategy={options.strategy!r}` starts from random weights: leave out `weights` and `from_run`"
        yield "strategy", words
    if strategy and options.boundary and strategy.boundary.use == "none":
        bounded = ", ".join(name for name in STRATEGIES.names() if STRATEGIES.get(name).boundary.use != "none")
        yield "boundary", f"`boundary` goes with the strategies {bounded}, not with {options.strategy}"
    if options.folds is not None and (refused := no_average(options.strategy, options.head, options.dropout)):
        yield "folds", refused
    if options.labels == "multi":
        yield from _with_several_labels(options)


def _with_several_labels(options: Options) -> Iterator[tuple[str, str]]:
    """What presumes that a photo has one class."""
    multi = "with `labels='multi'`"
    for name, why in (
        ("folds", "is not built"), ("shots", "says nothing: photos have several labels"),
        ("fraction", "is not built"),
    ):  # fmt: skip
        if getattr(options, name) is not None:
            yield name, f"`{name}` {multi} {why}: leave it out"
    if options.backbone == "auto":
        yield "backbone", f"`backbone='auto'` {multi} is not built: name a backbone"
    if options.settings.get("balance") == "sampler":
        why = "would draw classes equally often, and photos have several labels"
        yield "balance", f"`balance='sampler'` {multi} {why}: use `balance='weights'`"
    if options.settings.get("stages") == "choose":
        yield "stages", f"`stages='choose'` {multi} is not built: use `stages='all'` or `stages='last'`"

"""A caller's own parts of one training: the objects that ``train`` takes, which no file can hold. In: the objects. Out:
their names for the run's files, what the plan and the options have to do with them, and refusals.

Nothing heavy is imported here: the command line reads options without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headstart.core.arguments import Module, class_named
from headstart.core.choice import Choice
from headstart.core.registry import own_name
from headstart.errors import OptionError, RunError

if TYPE_CHECKING:
    from headstart.training.callbacks import AnyCallback
    from headstart.training.own_loss import Loss
    from headstart.training.own_transform import Transform
    from headstart.training.plan import Plan
    from headstart.training.strategies.base import Strategy

    StrategyObject = Strategy
else:
    StrategyObject = class_named("headstart.training.strategies.base", "Strategy")

OWN_AUGMENT = "own"
"""As ``Plan.augment``: the caller's transform."""
_NAMED = ("backbone", "strategy")
"""Options that take a name as well."""


def refuse_objects(asked: Mapping[str, Any], by: str) -> None:
    """Raises OptionError for an object where the function ``by`` takes a name alone."""
    for name in _NAMED:
        if not isinstance(asked.get(name) or "", str):
            problem = f"`{name}`, of the type {type(asked[name]).__name__}: {by} takes the name of one."
            raise OptionError(problem, "`train` takes the object itself.", option=name)


@dataclass(frozen=True)
class Parts:
    """The caller's own: ``network`` for ``backbone``, and the others by the names of their options."""

    network: Module | None = None
    strategy: StrategyObject | None = None
    transform: Transform | None = None
    loss: Loss | None = None
    callbacks: tuple[AnyCallback, ...] = ()

    @classmethod
    def of(
        cls, options: Mapping[str, Any], transform: Any = None, loss: Any = None, callbacks: Sequence[Any] = ()
    ) -> tuple[Parts, dict[str, Any]]:
        """The parts, and the options with names in their places. Raises OptionError for what cannot be such a part, or
        contradicts an option.
        """
        objects = {name: options[name] for name in _NAMED if not isinstance(options.get(name) or "", str)}
        if callbacks:
            from headstart.training.callbacks import check_callbacks

            check_callbacks(callbacks)
        found = cls(objects.get("backbone"), objects.get("strategy"), transform, loss, tuple(callbacks))
        found._check_options({**options, **options.get("settings", {})})
        return found, {**options, **{name: own_name(part) for name, part in objects.items()}}

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Raises OptionError for options that one of the parts decides."""
        decided = {
            "backbone": ("weights", "from_run") if self.network is not None else (),
            "transform": ("augment",) if self.transform else (),
            "loss": ("label_smoothing",) if self.loss else (),
        }
        for part, names in decided.items():
            for name in names:
                if options.get(name) is not None:
                    problem = f"`{name}` and an own `{part}` contradict each other: the object decides that."
                    raise OptionError(problem, "Leave one of the two out.", option=name)
        if self.loss and options.get("balance") == "weights":
            problem = (
                "`balance='weights'` and an own `loss` contradict each other: the object decides what a class weighs."
            )
            raise OptionError(problem, "`balance='sampler'` goes with it.", option="balance")
        if self.strategy is not None and not isinstance(getattr(self.strategy, "summary", None), str):
            problem = f"`strategy`: a {type(self.strategy).__name__} has no `summary`."
            raise OptionError(problem, "It is a few words that complete 'trained by …'.", option="strategy")
        random = options.get("strategy") == "scratch" or not getattr(self.strategy, "pretrained", True)
        if self.network is not None and random:
            problem = "Training from random weights makes the network itself, and `backbone` is a network with weights."
            raise OptionError(problem, "`strategy='finetune'` trains it from those.", option="strategy")

    @property
    def given(self) -> dict[str, Any]:
        """The parts that there are, by the names of their options."""
        every = {"backbone": self.network, "strategy": self.strategy, "transform": self.transform, "loss": self.loss}
        return {name: part for name, part in every.items() if part is not None} | (
            {"callbacks": self.callbacks} if self.callbacks else {}
        )

    @property
    def told(self) -> dict[str, str]:
        """What the run's files say of each: its class or its name, and how it prints."""
        return {
            name: ", ".join(map(told, part)) if name == "callbacks" else told(part, name == "backbone")
            for name, part in self.given.items()
        }

    @property
    def written(self) -> dict[str, str]:
        """How each would be written in a call."""
        return {name: "[…]" if name == "callbacks" else written(part) for name, part in self.given.items()}

    @contextmanager
    def known(self) -> Iterator[None]:
        """An own strategy is known by its name for as long as this lasts."""
        from headstart.training.strategies import STRATEGIES

        with STRATEGIES.lent(self.strategy):
            yield

    def check_used(self, plan: Plan) -> None:
        """Raises OptionError where the plan's strategy would not use one of the parts."""
        from headstart.training.strategies import STRATEGIES

        takes = STRATEGIES.get(plan.strategy).takes(plan)
        unused = [name for name in ("transform", "loss", "callbacks") if name in self.given and name not in takes]
        if not unused:
            return
        why = {
            "auto": "which may keep a probe, whose photos and loss are fixed",
            "probe": "which solves a logistic regression on features that are computed once",
            "partial": "which computes its views of each photo once",
        }.get(plan.strategy, "whose `takes` does not name it")
        if plan.strategy == "probe" and plan.variant:
            why = "whose features are computed once"
        hints = ["`strategy='finetune'`", "`'lp-ft'`"]
        hints += ["`'partial'`"] if "transform" not in unused else []
        more = ", or a head that is trained by steps: `head='mlp:256'`" if unused != ["transform"] else ""
        more = more if plan.strategy == "probe" and "transform" not in unused else ""
        problem = f"An own `{unused[0]}` has no effect with `strategy={plan.strategy!r}`, {why}."
        raise OptionError(problem, f"Use {' or '.join(hints)}{more}.", option=unused[0])

    def planned(self, plan: Plan) -> Plan:
        """The plan with the settings that the parts decide."""
        from headstart.training.plan import YOURS

        chosen: dict[str, Choice] = {}
        if self.network is not None:
            kept = {name for name in ("engine", "precision") if plan.reasons.get(name) == YOURS}
            of_its_own = Choice("torch", "a network of your own is computed by PyTorch, as it was written")
            wide = Choice("float32", "a network of your own may not take bf16")
            chosen = {n: c for n, c in (("engine", of_its_own), ("precision", wide)) if n not in kept}
        if self.transform is not None:
            chosen["augment"] = Choice(OWN_AUGMENT, f"your transform {told(self.transform, True)}")
        if self.loss is not None:
            chosen["label_smoothing"] = Choice(0.0, f"your loss decides: {told(self.loss, True)}")
            if plan.balance == "weights":
                chosen["balance"] = Choice("none", "your loss decides what each class weighs")
        values = {name: choice.value for name, choice in chosen.items()}
        return replace(plan, **values, reasons=plan.reasons | {name: choice.reason for name, choice in chosen.items()})

    def check_resumed(self, run: str, began: Mapping[str, str]) -> None:
        """Raises RunError unless these are the parts that the run began with, as far as names tell."""
        if self.told == dict(began):
            return
        words = ", ".join(f"{name} {text}" for name, text in began.items()) or "no parts of your own"
        wrong = [name for name in {**began, **self.told} if self.told.get(name) != began.get(name)]
        now = ", ".join(f"{name} {self.told[name]}" for name in wrong if name in self.told)
        problem = f"{run} began with {words}; {f'now there is {now}' if now else 'no file holds that'}."
        call = ", ".join([repr(run), *(f"{name}={'[…]' if name == 'callbacks' else '…'}" for name in began)])
        raise RunError(problem, f"Give the same: `hs.resume({call})`.")


def written(part: Any) -> str:
    """A function's name, or that of a class with its parentheses."""
    return str(getattr(part, "__name__", f"{type(part).__name__}(…)"))


def told(part: Any, short: bool = False) -> str:
    """What a file says of an object: a function's name, or a class's and, unless ``short``, how the object prints."""
    name = getattr(part, "__qualname__", "")
    if name:
        return ".".join(filter(None, (getattr(part, "__module__", ""), name)))
    name = f"{type(part).__module__}.{type(part).__qualname__}"
    printed = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(part).split()))
    plain = short or printed.startswith(f"<{name}")
    return name if plain else f"{name}: {printed}"[:500]

"""What a user can ask of a training. In: arguments of ``train`` (CLI or Python). Out: ``TrainOptions``, the one home of
each default, as JSON for resume.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from headstart.data.schema import SplitOptions, split_problems
from headstart.errors import OptionError, did_you_mean
from headstart.training.loggers import KINDS
from headstart.training.strategies import STRATEGIES

DEFAULT_BACKBONE = "resnet18"
ON_BAD = ("skip", "fail")


@dataclass(frozen=True)
class TrainOptions:
    """One training, as it was asked for. Paths are text so that the whole is JSON; ``settings`` overrides the plan by
    name.
    """

    data: str
    out: str | None = None
    backbone: str = DEFAULT_BACKBONE
    weights: str | None = None
    from_run: str | None = None
    cut: str | None = None
    head: str = "linear"
    dropout: tuple[float, ...] = ()
    strategy: str = "auto"
    boundary: str | None = None
    val: float | None = None
    test: float | None = None
    shots: int | None = None
    fraction: float | None = None
    seed: int = 0
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    device: str = "auto"
    on_bad: str = "skip"
    allow_leakage: bool = False
    log: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [*self._unknown_words(), *self._impossible_numbers(), *self._contradictions()]
        if problems:
            raise OptionError("; ".join(problems))

    def _unknown_words(self) -> list[str]:
        wrong = []
        words = (
            ("strategy", self.strategy, STRATEGIES.names()),
            ("on-bad", self.on_bad, ON_BAD),
            ("log", self.log, KINDS),
        )
        for name, value, known in words:
            if value is not None and value not in known:
                wrong.append(
                    f"--{name} {value!r} is not one of {', '.join(known)}. {did_you_mean(value, known)}".strip(" .")
                )
        return wrong

    def _impossible_numbers(self) -> list[str]:
        split = split_problems(self.val, self.test, self.shots, self.fraction, self.seed)
        wrong = [error.problem for error in split]
        for name, values, allowed in (("mean", self.mean, (-10, 10)), ("std", self.std, (1e-6, 10))):
            if values is not None and (len(values) != 3 or not all(allowed[0] <= v <= allowed[1] for v in values)):
                wrong.append(
                    f"--{name} takes three numbers between {allowed[0]} and {allowed[1]}, for red, green and blue "
                    "(photos run from 0 to 1)"
                )
        return wrong

    def _contradictions(self) -> list[str]:
        wrong = []
        if self.weights and self.from_run:
            wrong.append("--weights and --from both say where the backbone is from: give one")
        known = self.strategy in STRATEGIES
        if known and (self.weights or self.from_run) and not STRATEGIES.get(self.strategy).pretrained:
            wrong.append(f"--strategy {self.strategy} starts from random weights: leave out --weights and --from")
        if known and self.boundary and STRATEGIES.get(self.strategy).boundary.use == "none":
            bounded = ", ".join(n for n in STRATEGIES.names() if STRATEGIES.get(n).boundary.use != "none")
            wrong.append(f"--boundary goes with --strategy {bounded}, not with {self.strategy}")
        return wrong

    @classmethod
    def gather(cls, data: str | Path, out: str | Path | None, asked: Mapping[str, Any]) -> TrainOptions:
        """Options as keyword arguments name them: fields of this class, and settings of the plan (``epochs=5``) beside
        them.

        Raises:
            OptionError: a name that is neither, or a value that cannot be; all of them at once.
        """
        from headstart.training.plan import SETTINGS

        own = {f.name for f in fields(cls)} - {"data", "out"}
        unknown = [name for name in asked if name not in own and name not in SETTINGS]
        if unknown:
            words = (f"unknown option {name!r}. {did_you_mean(name, [*own, *SETTINGS])}".strip() for name in unknown)
            raise OptionError("; ".join(words))
        settings = dict(asked.get("settings") or {}) | {
            name: value for name, value in asked.items() if name in SETTINGS and value is not None
        }
        given = {name: value for name, value in asked.items() if name in own and name != "settings"}
        paths = {name: str(given[name]) for name in ("weights", "from_run") if given.get(name) is not None}
        lists = {name: tuple(given[name]) for name in ("dropout", "mean", "std") if given.get(name) is not None}
        return cls(
            data=str(data), out=str(out) if out is not None else None, settings=settings, **{**given, **paths, **lists}
        )

    @property
    def split_options(self) -> SplitOptions:
        """What of this says how splits are drawn."""
        return SplitOptions(self.val, self.test, self.shots, self.fraction, self.seed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainOptions:
        known = {f.name for f in fields(cls)}
        tuples = {k: tuple(values[k]) for k in ("dropout", "mean", "std") if values.get(k) is not None}
        return cls(**{k: v for k, v in values.items() if k in known} | tuples)

    def run_name(self) -> str:
        """The default run folder's name: ``photos-resnet18-auto``."""
        stem = re.sub(r"[^\w.-]+", "-", Path(os.path.abspath(self.data)).name.split(".")[0]) or "photos"
        backbone = Path(self.from_run).name if self.from_run else re.sub(r"[^\w./-]+", "-", self.backbone)
        return f"{stem}-{backbone.split('/')[-1]}-{self.strategy}"

    def command(self) -> str:
        """The command line that asks for exactly this."""
        import shlex

        words = ["headstart", "train", self.data]
        default = TrainOptions(self.data)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in {"data", "settings"} or value == getattr(default, f.name):
                continue
            flag = "--from" if f.name == "from_run" else "--" + f.name.replace("_", "-")
            words += [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        for name, value in self.settings.items():
            words += ["--set", f"{name}={value}"]
        return shlex.join(words)


def numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers of a list as it is typed, ``0.5,0.3``. Raises OptionError that names the option."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--{name} {text!r} is not a list of numbers.", f"Write it like --{name} 0.5,0.3.") from None

"""``tune``: a search over the plan's settings on val, and one run by the best of them, which reads test once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.executor import Executor, LocalExecutor, find_executor, session
from headstart.core.files import write_json
from headstart.core.lengths import seconds_of
from headstart.core.paths import Place, check_writable
from headstart.core.text import json_text, plural
from headstart.data.sources.given import Data
from headstart.errors import DataError, OptionError, RunError
from headstart.evaluation.metrics import accuracies, judged_on
from headstart.reporting.console import console_events
from headstart.runs.folder import RunFolder
from headstart.training.config import TRIALS, TrainOptions, TuneOptions
from headstart.training.preparation import Prepared, prepare
from headstart.training.strategies import STRATEGIES
from headstart.workflows.train.choose_backbone import with_backbone
from headstart.workflows.train.result import Run
from headstart.workflows.train.train import train
from headstart.workflows.tune.search import Search, import_optuna, in_words, open_study, problem_of, without_password
from headstart.workflows.tune.space import Range, space_of
from headstart.workflows.tune.together import Together

STRATEGY = "lp-ft"
"""What ``auto`` goes on with after its probe, and whose settings can be searched."""
SEARCH, SUMMARY = "search.journal", "tune.json"


@dataclass(frozen=True)
class Tuned:
    """The result of ``tune``. ``run``: by the best settings; ``best``, ``default``: accuracy on val (balanced where
    classes are uneven); ``settings``: the best ones, empty where none beat the plan's own; ``trials``: a row each.
    """

    run: Run
    best: float
    default: float
    settings: dict[str, Any]
    trials: tuple[dict[str, Any], ...]
    val_photos: int

    @property
    def text(self) -> str:
        """The answer in a few lines."""
        ended = [one["state"] for one in self.trials]
        counts = [f"{ended.count(state)} {words}" for state, words in _STATES.items() if state in ended]
        lines = [f"{plural(len(ended), 'trial')}: {', '.join(counts)}."]
        if self.settings:
            gain = round((self.best - self.default) * self.val_photos)
            photos = f"about {plural(gain, 'photo')} of {self.val_photos}"
            lines.append(f"The best reaches {self.best:.3f} on val, the plan's default {self.default:.3f} ({photos}).")
            lines.append(f"Settings: {in_words(self.settings)}")
            lines.append("The best of many trials flatters itself on val; the photos below chose nothing.")
        else:
            lines.append(f"No trial beat the plan's default on val ({self.default:.3f}): the run is by the default.")
        split = judged_on(self.run.metrics)
        if split == "val":
            lines[-1] = "There is no test set: the figure below is of the photos that chose the settings."
        return "\n".join([*lines, "", f"{split} {accuracies(self.run.metrics[split])}"])

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "beats_default": bool(self.settings), "val": {"best": self.best, "default": self.default},
            "settings": self.settings, "trials": list(self.trials), **self.run.summary,
        }  # fmt: skip


_STATES = {"complete": "trained to the end", "pruned": "stopped early", "fail": "failed"}


@typed
def tune(
    data: Data,
    *,
    trials: int = TRIALS,
    time: str | float | None = None,
    storage: str | None = None,
    out: Place | None = None,
    executor: str | Executor = "local",
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[TuneOptions],
) -> Tuned:
    """Search the settings of the plan for those with the best accuracy on val, and train a run by them.

    The plan's own settings are the first trial; where none is better, the run is by them, and the result says so. A
    trial that is below the median of the others after an epoch is stopped. Called again, it goes on with the search.

    Args:
        data: as for ``train``.
        trials: how many are to have ended, those of earlier calls and of other machines among them.
        time: for the search, at most: seconds, or text such as ``"2h"``.
        storage: where the search is kept: a file, or a database's URL (``sqlite:///tune.db``, ``postgresql://…``),
            which several machines may share; by default a file in ``out``.
        out: a folder; by default ``runs/<data>-<backbone>-<strategy>-tune``. The run is ``run`` in it.
        executor: where trials run: "local", one after the other here; "ray" or "ray:HOST:PORT", several at a time on
            Ray; or an object with the ``submit`` of ``concurrent.futures``. The run by the best is trained here.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: as for ``train``; settings that are given are not searched.

    Returns:
        The run, and what the search found.

    Raises:
        OptionError: unknown or invalid options, a strategy with nothing to search, Optuna missing.
        DataError, WeightsError: as for ``train``. RunError: the folder holds something else, or the storage fails.
        Interrupted: the search can go on.
    """
    import_optuna()
    where = find_executor(executor)
    if trials < 1:
        raise OptionError(f"`trials={trials}` must be at least 1.", option="trials")
    seconds = None if time is None else seconds_of(time)
    asked = TrainOptions.gather(data, out, options, "tune")
    if asked.strategy == "auto":
        asked = replace(asked, strategy=STRATEGY)
    folder = Path(asked.out) if asked.out else Path("runs") / f"{asked.run_name()}-tune"
    _refuse(folder)
    with console_events(quiet, listener) as events, session(where, asked.device, events):
        asked = with_backbone(replace(asked, out=None), events)
        prepared = prepare(asked, events)
        if not len(prepared.labels["val"]):
            raise DataError("There are no photos to choose on.", "Leave out `val=0`.")
        space = space_of(prepared.plan, asked.settings)
        if not space:
            others = ", ".join(name for name in STRATEGIES.names() if STRATEGIES.get(name).trains_backbone)
            problem = f"`strategy={asked.strategy!r}` has no settings to search here."
            raise OptionError(problem, f"Choose another one ({others}).", option="strategy")
        place = storage or str(folder / SEARCH)
        study = open_study(place, _name(prepared, space), None if storage else asked.seed)
        events.table("Search", ("setting", "values"), [(name, one.words) for name, one in space.items()])
        search = Search(prepared, space, study, events)
        if earlier := len(search.ended):
            events.message(f"{plural(earlier, 'trial')} of this search are in {without_password(place)} already.")
        if isinstance(where, LocalExecutor):
            search.run(trials, seconds)
        else:
            Together(search, where, place, trials, seconds).run(folder)
        return _finish(search, folder, asked, events)


def _finish(search: Search, folder: Path, asked: TrainOptions, events: Events) -> Tuned:
    """Train the run by the best settings, which reads test, and write the summary."""
    best, default = search.best, search.default
    if best is None:
        problems = [problem_of(one) for one in search.ended]
        raise RunError("No trial could be trained to the end.", next(filter(None, problems), "Search longer."))
    settings = {} if default is not None and best.number == default.number else dict(best.params)
    if (folder / "run").exists():
        events.message(f"{folder / 'run'} is of an earlier search: this run has a number.")
    target = RunFolder.unused(folder / "run")
    given: dict[str, Any] = {name: value for name, value in asked.given("train").items() if name != "out"}
    given["settings"] = {**asked.settings, **settings}
    run = train(asked.data, out=target, quiet=True, listener=events.send, **given)
    rows = tuple(_trial_row(one) for one in search.ended)
    score = float(best.value or 0)
    known = score if default is None else float(default.value or 0)
    found = Tuned(run, score, known, settings, rows, len(search.prepared.labels["val"]))
    write_json(folder / SUMMARY, {"format": 1, **found.summary})
    events.message(f"Search: {folder / SUMMARY}")
    return found


def _trial_row(trial: Any) -> dict[str, Any]:
    row = {"trial": trial.number, "state": trial.state.name.lower(), "val": trial.value, "settings": trial.params}
    problem = problem_of(trial)
    return {**row, "problem": problem} if problem else row


def _refuse(folder: Path) -> None:
    """Raise RunError where the folder holds anything but a search, and OptionError where it cannot be written to."""
    check_writable(folder / SUMMARY)
    if not os.path.exists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not {SEARCH, SUMMARY} & set(os.listdir(folder))):
        raise RunError(f"{folder} exists and holds no search.", "Choose another folder with `out`.", option="out")


def _name(prepared: Prepared, space: dict[str, Range]) -> str:
    """A name that only the same search has: the same photos, splits, weights, options and ranges, on any machine."""
    options = prepared.options
    fixed = {name: getattr(options, name) for name in ("strategy", "boundary", "head", "dropout", "seed", "cut")}
    facts = [
        prepared.dataset.digest, prepared.backbone.name, prepared.backbone.weights_digest, fixed, options.settings,
        {name: one.words for name, one in space.items()}, prepared.plan.image_size,
    ]  # fmt: skip
    digest = hashlib.blake2b(json_text(facts).encode(), digest_size=6).hexdigest()
    return f"headstart-{options.strategy}-{digest}"

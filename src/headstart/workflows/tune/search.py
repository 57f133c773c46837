"""The search of ``tune``: Optuna proposes settings, a trial trains by them, val judges it. Test is not read."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.events import EpochEnd, Event, Events
from headstart.core.extras import require
from headstart.core.text import first_line, plural
from headstart.errors import Interrupted, RunError, TrainingError
from headstart.evaluation.objective import OnVal
from headstart.training.launch import fit
from headstart.training.planning import resolve
from headstart.training.preparation import Prepared
from headstart.workflows.train.assess import make_context
from headstart.workflows.tune.space import Range

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STARTUP = 5
"""Trials before any is pruned: the median of fewer says little."""
_DEFAULT, _STOPPED, _LOSS, _PROBLEM, _BY = "default", "interrupted", "val_loss", "problem", "by"


def import_optuna() -> Any:
    """The package. Raises OptionError where it is not installed."""
    require("A search", ["optuna"], "tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(storage: str, name: str, seed: int | None) -> Study:
    """The search of this name in a file or a database (``sqlite:///x.db``, ``postgresql://…``), which others may work
    on at the same time. Raises RunError.
    """
    optuna = import_optuna()
    # Absolute: Optuna's lock is a link to the file, and one that leads nowhere is waited for without an end.
    storage = storage if "://" in storage else os.path.abspath(os.path.expanduser(storage))
    try:
        if "://" in storage:
            kept: Any = storage
        else:
            journal = optuna.storages.journal
            lock = journal.JournalFileOpenLock(storage) if os.name == "nt" else journal.JournalFileSymlinkLock(storage)
            Path(storage).parent.mkdir(parents=True, exist_ok=True)
            kept = optuna.storages.JournalStorage(journal.JournalFileBackend(storage, lock_obj=lock))
        study: Study = optuna.create_study(
            storage=kept, study_name=name, direction="maximize", load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - whatever a database's driver raises
        words = first_line(error)
        hint = "Give a file, or a database's URL whose driver is installed."
        raise RunError(
            f"`storage={without_password(storage)!r}` cannot be used: {words}.", hint, option="storage"
        ) from None
    return study


def without_password(storage: str) -> str:
    """A storage as it may be shown."""
    scheme, sign, rest = storage.partition("://")
    return f"{scheme}{sign}{rest.rpartition('@')[2]}"


@dataclass
class Search:
    """Trials of one study on prepared photos. ``space``: what varies; every trial has the user's own settings too.
    ``name``: of one search of several that share the study, unlike any other's; the same after it was started again.
    """

    prepared: Prepared
    space: Mapping[str, Range]
    study: Study
    events: Events
    name: str = ""
    _epochs: int = field(default=0, init=False)

    def run(self, trials: int, seconds: float | None) -> None:
        """Run trials until so many have ended, here or on other machines, or the time is over. The first has the plan's
        own settings. Raises Interrupted.
        """
        began = time.monotonic()
        self.begin()
        while (done := len(self.ended)) < trials:
            if seconds is not None and done and time.monotonic() - began > seconds:
                self.events.message(f"The time is over: {done} of {plural(trials, 'trial')} have ended.")
                return
            self._trial(self.study.ask(), done + 1, trials)

    def begin(self) -> None:
        """Queue the plan's own settings, and again what a search of this name was at when its process ended."""
        state = import_optuna().trial.TrialState
        default = {name: getattr(self.prepared.plan, name) for name in self.space}
        self.study.enqueue_trial(default, user_attrs={_DEFAULT: True}, skip_if_exists=True)
        for lost in self.study.get_trials(deepcopy=False, states=(state.RUNNING,)) if self.name else ():
            if lost.user_attrs.get(_BY) != self.name:
                continue
            whose = {name: value for name, value in lost.user_attrs.items() if name == _DEFAULT}
            self.study.enqueue_trial(lost.params or default, user_attrs=whose)
            self.study._storage.set_trial_user_attr(lost._trial_id, _STOPPED, True)
            self.study.tell(lost.number, state=state.FAIL)

    @property
    def ended(self) -> list[FrozenTrial]:
        """Those that have a result, or cannot have one."""
        return [one for one in self.study.trials if one.state.is_finished() and _STOPPED not in one.user_attrs]

    @property
    def default(self) -> FrozenTrial | None:
        """The trial of the plan's own settings."""
        found = [one for one in self.ended if one.user_attrs.get(_DEFAULT) and one.value is not None]
        return found[0] if found else None

    @property
    def best(self) -> FrozenTrial | None:
        """The most accurate on val, of equals the one with the lower loss; the default's own of all that equal it."""
        whole = [one for one in self.ended if one.state.name == "COMPLETE"]
        if not whole:
            return None
        most = max(float(one.value or 0) for one in whole)
        equal = [one for one in whole if one.value == most]
        return next((one for one in equal if one.user_attrs.get(_DEFAULT)), None) or min(
            equal, key=lambda one: float(one.user_attrs.get(_LOSS, 0))
        )

    def _trial(self, trial: Trial, number: int, trials: int) -> None:
        optuna, words = import_optuna(), f"trial {number} of {trials}"
        state = optuna.trial.TrialState
        if self.name:
            trial.set_user_attr(_BY, self.name)
        try:
            settings = {name: one.suggest(trial, name) for name, one in self.space.items()}
            val = self._train(trial, settings)
        except optuna.TrialPruned:
            self.study.tell(trial, state=state.PRUNED)
            self.events.message(f"{words}: stopped early, below the median   {in_words(trial.params)}")
        except TrainingError as error:
            trial.set_user_attr(_PROBLEM, error.problem)
            self.study.tell(trial, state=state.FAIL)
            self.events.message(f"{words}: {error.problem}   {in_words(trial.params)}")
        except BaseException as error:
            trial.set_user_attr(_STOPPED, True)
            self.study.tell(trial, state=state.FAIL)
            if isinstance(error, KeyboardInterrupt | Interrupted):
                kept = f"Stopped; {plural(number - 1, 'trial')} of {trials} are kept."
                raise Interrupted(kept, "The same command goes on.") from None
            raise
        else:
            trial.set_user_attr(_LOSS, -val[1])
            self.study.tell(trial, val[0])
            which = "the plan's default" if trial.user_attrs.get(_DEFAULT) else in_words(settings)
            self.events.message(f"{words}: val {val[0]:.3f}   {which}")
        self.events.progress("trials", number, trials)

    def _train(self, trial: Trial, settings: Mapping[str, Any]) -> tuple[float, float]:
        """(score, −loss) on val of a training by these settings. Raises TrialPruned, TrainingError."""
        prepared, options = self.prepared, self.prepared.options
        asked = replace(options, settings={**options.settings, **settings})
        plan = resolve(prepared.facts, options.seed, options.boundary, asked.settings)
        self._epochs = 0
        state = Path(tempfile.mkdtemp(prefix="headstart-trial-"))
        try:
            listened = Events(lambda event: self._judge(trial, event))
            fitted = fit(make_context(replace(prepared, options=asked, plan=plan), state, listened))
        finally:
            shutil.rmtree(state, ignore_errors=True)
        return OnVal.of(fitted.val).score

    def _judge(self, trial: Trial, event: Event) -> None:
        """After an epoch: stop a trial that is below the median of the others at that epoch; never the default's."""
        if not isinstance(event, EpochEnd):
            return
        self._epochs += 1
        trial.report(event.row.on_val.score[0], self._epochs)
        if not trial.user_attrs.get(_DEFAULT) and trial.should_prune():
            raise import_optuna().TrialPruned


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )


def problem_of(trial: FrozenTrial) -> str:
    """Why a trial has no result; empty where it has one."""
    return str(trial.user_attrs.get(_PROBLEM, ""))

"""``headstart tune``: a search on val that goes on, prunes, and reads test once."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.core.events import Events
from headstart.errors import Interrupted
from headstart.training import trainer
from headstart.workflows.train import assess
from headstart.workflows.tune import search as searching
from headstart.workflows.tune.together import Together

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'headstart[tune]'")
Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def tune(cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path) -> Cli:
    """``tune(*words)``: fine-tunings of an epoch in ``tmp_path/t``."""

    def run(*words: object) -> Any:
        return cli("tune", photos, *starter, "--strategy", "finetune", "--epochs", 1, "--out", tmp_path / "t", *words)

    return run


def summary(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "t" / "tune.json").read_text(encoding="utf-8"))
    return found


def test_a_search_ends_in_a_run_by_the_best_settings_and_goes_on(
    tune: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, real = [], assess._features

    def watched(prepared: Any, extractor: Any, split: Any, *more: Any) -> np.ndarray:
        read.append(split)
        return real(prepared, extractor, split, *more)

    monkeypatch.setattr(assess, "_features", watched)
    answer = tune("--trials", 4, "--set", "label_smoothing=0.05")
    assert answer.code == 0, answer
    assert read.count("test") == 1  # of the run alone: no trial reads it
    found = summary(tmp_path)
    assert len(found["trials"]) == 4
    plan = json.loads((tmp_path / "t" / "run" / "plan.json").read_text(encoding="utf-8"))
    assert plan["label_smoothing"] == 0.05
    assert plan["epochs"] == 1
    assert {"epochs", "label_smoothing"}.isdisjoint(found["trials"][1]["settings"])
    values = [one["val"] for one in found["trials"]]
    assert found["val"] == {"best": max(values), "default": values[0]}
    assert found["beats_default"] == (max(values) > values[0])
    assert {name: plan[name] for name in found["settings"]} == pytest.approx(found["settings"])
    metrics = json.loads((tmp_path / "t" / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["val"]["accuracy"]["value"] == pytest.approx(max(values))  # on one machine the run is the trial
    assert f"test accuracy {metrics['test']['accuracy']['value']:.3f}" in answer.out
    more = tune("--trials", 5, "--set", "label_smoothing=0.05", "--json")
    assert len(json.loads(more.out)["trials"]) == 5
    assert "4 trials of this search are in" in " ".join(more.err.split())
    assert (tmp_path / "t" / "run-2" / "report.html").exists()


def figures_by_trial(monkeypatch: pytest.MonkeyPatch, accuracy: Callable[[int], float]) -> None:
    """Let the val accuracy of each epoch be a function of the number of its trial, from 1."""
    count, real = [0], trainer.Trainer.run

    def counted(self: Any) -> Any:
        count[0] += 1
        return real(self)

    class Row(trainer.EpochRow):
        def __init__(self, *values: Any, **named: Any) -> None:
            super().__init__(*values, **named)
            object.__setattr__(self, "val_accuracy", accuracy(count[0]))

    monkeypatch.setattr(trainer.Trainer, "run", counted)
    monkeypatch.setattr(trainer, "EpochRow", Row)


@pytest.mark.slow
def test_trials_below_the_median_are_stopped_and_the_default_is_not(
    tune: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By figures that fall from trial to trial, in each epoch."""
    figures_by_trial(monkeypatch, lambda trial: 1 / trial)
    answer = tune("--trials", 8, "--epochs", 3)
    assert answer.code == 0, answer
    states = [one["state"] for one in summary(tmp_path)["trials"]]
    assert states[:5] == ["complete"] * 5
    assert "pruned" in states[5:]
    assert "stopped early" in answer.err
    assert "No trial beat the plan's default on val (1.000)" in answer.out


def test_the_run_is_by_the_best_settings(tune: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures_by_trial(monkeypatch, lambda trial: trial / 10)
    answer = tune("--trials", 3)
    found = summary(tmp_path)
    assert found["beats_default"]
    assert found["val"] == {"best": 0.3, "default": 0.1}
    assert found["settings"] == found["trials"][2]["settings"] != {}
    plan = json.loads((tmp_path / "t" / "run" / "plan.json").read_text(encoding="utf-8"))
    assert {name: plan[name] for name in found["settings"]} == pytest.approx(found["settings"])
    assert "The best reaches 0.300 on val, the plan's default 0.100" in answer.out


def test_an_interrupted_search_goes_on(tune: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = searching.fit, []

    def stopping(context: Any) -> Any:
        begun.append(context.plan.lr)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(context)

    monkeypatch.setattr(searching, "fit", stopping)
    answer = tune("--trials", 3)
    assert answer.code == 130
    assert "2 trials of 3 are kept" in answer.err
    assert not (tmp_path / "t" / "run").exists()
    assert tune("--trials", 3).code == 0
    assert len(begun) == 4
    assert [one["state"] for one in summary(tmp_path)["trials"]] == ["complete"] * 3


@pytest.mark.slow
def test_several_machines_work_on_one_search(tune: Cli, photos: Path, weights: Path, tmp_path: Path) -> None:
    """A database, and a file; another folder stands for another machine."""
    for storage in (f"sqlite:///{tmp_path / 'a.db'}", str(tmp_path / "shared.journal")):
        first = tune("--trials", 2, "--storage", storage, "--out", tmp_path / f"one{len(storage)}")
        assert first.code == 0, first
        found = hs.tune(
            photos, trials=3, storage=storage, out=tmp_path / f"two{len(storage)}", backbone="starter",
            weights=weights, strategy="finetune", epochs=1, quiet=True, settings={"precision": "float32"},
        )  # fmt: skip
        assert len(found.trials) == 3
        assert not (tmp_path / f"one{len(storage)}" / "search.journal").exists()


@pytest.mark.skipif(os.name == "nt", reason="the lock there is no link")
def test_the_lock_of_a_process_that_is_gone_leads_to_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna takes over a lock that nobody renews; of a link that leads nowhere it would wait for ever."""
    monkeypatch.chdir(tmp_path)
    locks = list[Path]()
    take = optuna.storages.journal.JournalFileSymlinkLock.acquire

    def acquired(lock: Any) -> Any:
        found = take(lock)
        locks.extend(Path().glob("runs/*.lock"))
        assert all(lock.exists() for lock in locks)
        return found

    monkeypatch.setattr(optuna.storages.journal.JournalFileSymlinkLock, "acquire", acquired)
    searching.open_study("runs/search.journal", "s", 0)
    assert locks


def test_what_cannot_be(tune: Cli, cli: Cli, refused: Refused, photos: Path, tmp_path: Path) -> None:
    refused(tune("--trials", 0), "--trials 0")
    refused(tune("--time", "soon"), "--time soon")
    assert "--folds" in tune("--folds", 3).err  # no option of tune
    refused(tune("--strategy", "probe"), "--strategy probe", "no settings to search")
    refused(tune("--storage", "nosuch://user:secret@host/db"), "--storage", "nosuch://host/db")
    assert "secret" not in tune("--storage", "nosuch://user:secret@host/db").err
    (tmp_path / "t").mkdir(exist_ok=True)
    (tmp_path / "t" / "mine.txt").write_text("mine")
    refused(tune(), "holds no search", "--out")


def test_python_is_stopped_as_the_command_is(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(context: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "fit", stop)
    with pytest.raises(Interrupted, match="0 trials of 2"):
        hs.tune(photos, trials=2, out=tmp_path / "t", backbone="starter", weights=weights, quiet=True)


class Sent:
    """Runs each job here at once, pickled and unpickled as for another machine."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def submit(self, work: Any, job: Any, /) -> Future[Any]:
        future: Future[Any] = Future()
        self.numbers.append(job)
        future.set_result(pickle.loads(pickle.dumps(work))(job))
        return future


def test_searchers_of_an_executor_share_one_search(photos: Path, weights: Path, tmp_path: Path) -> None:
    sent = Sent()
    found = hs.tune(
        photos, trials=3, strategy="finetune", epochs=1, backbone="starter", weights=weights, device="cpu",
        out=tmp_path / "t", executor=sent, quiet=True,
    )  # fmt: skip
    assert sent.numbers == list(range(len(sent.numbers)))
    assert len(found.trials) == 3
    assert [one["state"] for one in found.trials].count("complete") >= 1
    assert (tmp_path / "t" / "run" / "report.html").exists()


def test_each_trial_is_told_once_though_a_later_one_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    said, futures, ended = list[str](), list[Future[int]](), list[Any]()

    def trial(number: int) -> Any:
        state = SimpleNamespace(name="COMPLETE")
        return SimpleNamespace(number=number, value=number / 10, state=state, params={"epochs": number}, user_attrs={})

    def heard(event: Any) -> None:
        if text := getattr(event, "text", ""):
            said.append(text)
            if not futures[0].done():
                ended.insert(0, trial(0))
                futures[0].set_result(0)

    class Slow:
        def submit(self, work: Any, job: int, /) -> Future[int]:
            futures.append(Future())
            if job == 1:
                ended.append(trial(1))
                futures[1].set_result(1)
            return futures[job]

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    prepared, study = SimpleNamespace(options=None), SimpleNamespace(study_name="s")
    search: Any = SimpleNamespace(
        prepared=prepared, study=study, space={}, ended=ended, events=Events(heard), begin=lambda: None
    )
    Together(search, Slow(), "storage", 2, None).run(Path("unused"))
    assert [text.split("   ") for text in said] == [
        ["trial 1 of 2: complete val 0.100", "epochs 1"], ["trial 2 of 2: complete val 0.000", "epochs 0"],
    ]  # fmt: skip


def test_a_searcher_that_starts_again_takes_up_its_lost_trial(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine dies at the first trial, which is the plan's own settings: they are tried again all the same."""
    real, died = searching.Search._train, list[int]()

    def dying(self: searching.Search, trial: Any, settings: Any) -> Any:
        if not died:
            died.append(trial.number)
            raise Died
        return real(self, trial, settings)

    class Died(BaseException):
        """Nobody is left to tell Optuna."""

    class Again(Sent):
        def submit(self, work: Any, job: Any, /) -> Future[Any]:
            with monkeypatch.context() as patch:
                patch.setattr(optuna.Study, "tell", lambda *_, **__: None)
                patch.setattr(optuna.Trial, "set_user_attr", keep_no_end)
                with pytest.raises(Died):
                    pickle.loads(pickle.dumps(work))(job)
            return super().submit(work, job)

    kept = optuna.Trial.set_user_attr

    def keep_no_end(self: Any, name: str, value: Any) -> None:
        if name != "interrupted":
            kept(self, name, value)

    monkeypatch.setattr(searching.Search, "_train", dying)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    found = hs.tune(
        photos, trials=2, strategy="finetune", epochs=1, backbone="starter", weights=weights, device="cpu",
        out=tmp_path / "t", executor=Again(), quiet=True,
    )  # fmt: skip
    assert died == [0]
    assert len(found.trials) == 2
    assert found.default is not None
    assert found.trials[0]["trial"] == 1  # the same settings, anew

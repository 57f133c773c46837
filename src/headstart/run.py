"""``train``: from photos to a run. In: options. Out: a ``Run``: the run folder with classifier, plan, history,
metrics and report.
"""

from __future__ import annotations

import contextlib
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart._version import __version__
from headstart.cache import trim
from headstart.certainty.certainty import Certainty
from headstart.certainty.likeness import class_means, some_of_each
from headstart.certainty.temperature import before_scaling, scale_head
from headstart.classifier import Classifier, write_json, write_text
from headstart.data.imageset import Split
from headstart.data.names import shown
from headstart.data.split import write_splits
from headstart.errors import Interrupted, RunError
from headstart.evaluation.metrics import evaluate
from headstart.modelcard import model_card
from headstart.network import head_logits, softmax
from headstart.options import TrainOptions
from headstart.paths import lasting
from headstart.prepare import Prepared, check_facts, prepare
from headstart.runfolder import RunFolder, write_history, write_rows
from headstart.tracking import Tracker
from headstart.training.loop import Listener
from headstart.training.plan import Plan
from headstart.training.strategies import Outcome, Task, network_features, pooled_features
from headstart.training.strategies import train as run_strategy
from headstart.voice import Voice

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass
class Run:
    """A finished training: where it lies, what it found, and the classifier itself."""

    path: Path
    metrics: dict[str, Any]
    plan: Plan
    classifier: Classifier

    def history(self) -> DataFrame:
        """history.csv as a pandas frame."""
        return self._frame("history.csv")

    def predictions(self) -> DataFrame:
        """predictions.csv as a pandas frame: every val and test photo, its class and the answer."""
        return self._frame("predictions.csv")

    def _frame(self, name: str) -> DataFrame:
        from headstart.notebook import read_frame

        return read_frame(self.path / name)

    def figure(self) -> Figure:
        """Accuracy and loss as they went, as a matplotlib figure."""
        from headstart.notebook import curves

        return curves(self)

    def _repr_html_(self) -> str:
        from headstart.notebook import run_html

        return run_html(self)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "run": str(self.path),
            "report": str(self.path / "report.html"),
            "strategy": self.plan.strategy,
            "classes": list(self.classifier.classes),
            "metrics": self.metrics,
        }


@dataclass
class Results:
    """What a trained network does on val and test: features [N, D], probabilities [N, C] and metrics per split."""

    features: dict[Split, np.ndarray]
    probabilities: dict[Split, np.ndarray]
    metrics: dict[str, Any]
    seconds: dict[str, float]


def train(
    data: str | Path, *, out: str | Path | None = None, overwrite: bool = False, quiet: bool = False, **options: Any
) -> Run:
    """Train a classifier on labelled photos.

    Args:
        data: a folder, CSV, archive or named set.
        out: the run folder; by default ``runs/<data>-<backbone>-<strategy>``.
        options: as in ``headstart train --help``, by the same names (``shots=10``; ``--from`` is ``from_run``).

    Raises:
        HeadstartError: one of its children, with one clear message.
    """
    asked = TrainOptions.gather(data, out, options)
    path = Path(asked.out) if asked.out else Path("runs") / asked.run_name()
    RunFolder(path).refuse(overwrite)
    with Voice(quiet) as voice:
        prepared = prepare(asked, voice)  # before the folder is made: a mistake leaves nothing behind
        folder = RunFolder.create(path, _lasting(asked), overwrite)
        return train_prepared(folder, prepared, voice)


def resume(run: str | Path, *, quiet: bool = False) -> Run:
    """Go on with a training that was interrupted; a finished one is given back as it is. Raises HeadstartError."""
    folder, options = RunFolder.open(Path(run))
    if folder.finished:
        return open_run(run)
    with Voice(quiet) as voice:
        prepared = prepare(options, voice)
        check_unchanged(folder, prepared)
        return train_prepared(folder, prepared, voice, folder.mistakes)


def check_unchanged(folder: RunFolder, prepared: Prepared) -> None:
    """Only the same photos under the same plan can end with the same weights. Raises RunError."""
    data, plan = folder.recall("data"), folder.recall("plan")
    if data is not None and data != prepared.image_set.digest:
        where = prepared.options.data
        raise RunError(f"The photos in {where} are not those that {folder.path} began with.", "Train with --overwrite.")
    if plan is not None and (changes := Plan.from_json(plan).differences(prepared.plan)):
        raise RunError(
            f"{folder.path} cannot be resumed here: the plan would change ({', '.join(changes)}).",
            "Resume it on the machine and with the headstart that began it, or train with --overwrite.",
        )


def open_run(run: str | Path, device: str = "auto") -> Run:
    """A finished run. Raises RunError."""
    folder = RunFolder(Path(run))
    classifier = Classifier.load(folder.path, device)
    return Run(folder.path, folder.read_json("metrics.json"), Plan.from_json(folder.read_json("plan.json")), classifier)


def _lasting(asked: TrainOptions) -> TrainOptions:
    """The request with paths that hold from anywhere: it may be resumed from there."""
    places = {name: getattr(asked, name) for name in ("data", "weights", "from_run")}
    held: dict[str, Any] = {name: lasting(place) for name, place in places.items() if place}
    return replace(asked, **held)


def train_prepared(folder: RunFolder, prepared: Prepared, voice: Voice, mistakes: Sequence[str] = ()) -> Run:
    """Train in a folder that was made, or opened again, for it; ``mistakes`` are those that a study makes on purpose.

    Raises:
        TrainingError, Interrupted: the folder can be gone on with.
    """
    began = time.monotonic()
    folder.remember("data", prepared.image_set.digest)
    folder.remember("plan", prepared.plan.to_json())
    write_splits(prepared.image_set, folder.path / "splits.csv")
    say_plan(prepared.plan, voice)
    log = prepared.options.log
    tracker = Tracker(log, folder.path, prepared.plan.to_json()) if log else None
    task = make_task(prepared, folder.state, voice, folder)
    if tracker:
        task = replace(task, listener=replace(task.listener, epoch=_both(task.listener.epoch, tracker.epoch)))
    try:
        outcome = run_strategy(replace(task, mistakes=tuple(mistakes)))
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            f"Stopped; nothing in {folder.path} is lost.",
            f"Go on with: headstart train --resume {shlex.quote(str(folder.path))}",
        ) from None
    if tracker:
        tracker.strengths(outcome.probe.path if outcome.probe else ())
        tracker.close()
    trained = time.monotonic() - began
    results = judge(prepared, outcome, voice)
    results.seconds["training"] = trained
    classifier = make_classifier(prepared, outcome, find_certainty(prepared, outcome, results, voice))
    return Run(folder.path, _write(folder, prepared, outcome, results, classifier, voice), outcome.plan, classifier)


def _both(first: Callable[[Any], None], second: Callable[[Any], None]) -> Callable[[Any], None]:
    def tell(row: Any) -> None:
        first(row)
        second(row)

    return tell


def say_plan(plan: Plan, voice: Voice) -> None:
    """Print the plan: each value with its reason."""
    voice.table("Plan", ("setting", "value", "why"), plan.rows())


def make_task(prepared: Prepared, state: Path, voice: Voice, folder: RunFolder | None = None) -> Task:
    """The task for the strategies; without a folder nothing is kept for a resume but the loop's own state."""
    options = prepared.options
    keep: dict[str, Any] = {"remember": folder.remember, "recall": folder.recall} if folder else {}
    return Task(
        len(prepared.image_set.classes), prepared.pixels, prepared.labels, prepared.backbone, options.head,
        tuple(options.dropout), prepared.plan, prepared.plan_for, prepared.machine, state,
        Listener(voice.step, voice.epoch, voice.say), voice.progress, ready=prepared.ready, **keep,
    )  # fmt: skip


def judge(prepared: Prepared, outcome: Outcome, voice: Voice) -> Results:
    """Read val, and test for the one time, with the network that val chose; val also says what its head's logits are
    divided by, if that has not been done.
    """
    began = time.monotonic()
    judged: tuple[Split, ...] = ("val", "test")
    features = {s: _features(prepared, outcome, s, voice) for s in judged if len(prepared.labels[s])}
    head = outcome.network.head
    if outcome.temperature is None:
        outcome.temperature = scale_head(head, features["val"], prepared.labels["val"]) if "val" in features else 1.0
    probabilities: dict[Split, np.ndarray] = {}
    metrics: dict[str, Any] = {}
    for split, rows in features.items():
        logits, labels = head_logits(head, rows), prepared.labels[split]
        probabilities[split] = softmax(logits)
        metrics[split] = evaluate(probabilities[split], labels, prepared.image_set.classes)
        metrics[split]["calibration"]["before"] = before_scaling(logits, labels, outcome.temperature)
    return Results(features, probabilities, metrics, {"evaluation": time.monotonic() - began})


def _features(
    prepared: Prepared, outcome: Outcome, split: Split, voice: Voice, members: np.ndarray | None = None
) -> np.ndarray:
    """What the trained network's head sees of a split [N, D], or of some of its photos."""
    task = replace(make_task(prepared, Path(), voice), plan=prepared.plan)
    if outcome.network.backbone is prepared.backbone:  # frozen: in the cache
        rows = pooled_features(task, split)
        return rows if members is None else rows[members]
    pixels = prepared.pixels[split]
    return network_features(outcome.network, task, pixels if members is None else pixels.take(members.tolist()))


def find_certainty(prepared: Prepared, outcome: Outcome, results: Results, voice: Voice) -> Certainty | None:
    """What the run keeps to say how sure an answer is, and how that did on test, in ``results.metrics``."""
    if "val" not in results.features:
        return None
    labels = prepared.labels
    members = some_of_each(labels["train"])
    means = class_means(_features(prepared, outcome, "train", voice, members), labels["train"][members])
    found = Certainty.learn(means, results.features["val"], results.probabilities["val"], labels["val"])
    if "test" in results.features:
        far = found.distances(results.features["test"])
        results.metrics["test"]["certainty"] = found.measured(far, results.probabilities["test"], labels["test"])
    return found


def make_classifier(prepared: Prepared, outcome: Outcome, certainty: Certainty | None = None) -> Classifier:
    """The artefact, with where it comes from."""
    import torch

    options, plan = prepared.options, outcome.plan
    provenance = {
        "headstart": __version__, "torch": torch.__version__, "timm": version("timm"),
        "python": platform.python_version(), "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": prepared.machine.words, "command": options.command(),
        "data": {
            "name": prepared.image_set.name, "digest": prepared.image_set.digest, "summary": prepared.image_set.summary
        },
        "backbone": {"source": prepared.backbone.source, "weights_digest": prepared.backbone.weights_digest},
        "strategy": plan.strategy, "seed": options.seed, "temperature": outcome.temperature,
    }  # fmt: skip
    preprocessing = prepared.backbone.preprocessing.at(plan.image_size, plan.resize)
    return Classifier(
        outcome.network,
        preprocessing,
        prepared.image_set.classes,
        options.head,
        tuple(options.dropout),
        plan.precision,
        provenance,
        certainty,
    )


def _write(
    folder: RunFolder, prepared: Prepared, outcome: Outcome, results: Results, classifier: Classifier, voice: Voice
) -> dict[str, Any]:
    """Write the run folder's files, the report last; returns what metrics.json says."""
    from headstart.reporting import run_page

    path = folder.path
    classifier.save(path)
    write_json(path / "plan.json", outcome.plan.to_json())
    write_history(path / "history.csv", outcome.probe.path if outcome.probe else (), outcome.history)
    extra = {
        "strategy": outcome.plan.strategy,
        "parts": outcome.parts,
        "decision": outcome.decision,
        "temperature": outcome.temperature,
        "seconds": results.seconds,
    }
    metrics = {**results.metrics, "training": extra}
    write_json(path / "metrics.json", metrics)
    write_json(path / "check.json", check_facts(prepared.photos, prepared.image_set))
    _write_predictions(path / "predictions.csv", prepared, results)
    card = model_card(path.resolve().name, classifier.description(), metrics, outcome.plan.to_json())
    write_text(path / "MODEL_CARD.md", card)
    write_text(
        path / "report.html", run_page(prepared, outcome, results, path, classifier)
    )  # last: its presence says that the run is whole
    folder.close()
    with contextlib.suppress(RunError):
        trim(keep=[store.folder for store in [prepared.photos.pixels.store] if store])
    voice.say(f"Report: {path / 'report.html'}")
    return metrics


def _write_predictions(path: Path, prepared: Prepared, results: Results) -> None:
    classes, rows = prepared.image_set.classes, []
    for split, probabilities in results.probabilities.items():
        for sample, p in zip(prepared.image_set.split(split), probabilities, strict=True):
            best = int(p.argmax())
            rows.append(
                [
                    shown(sample.path, prepared.image_set.root),
                    split,
                    classes[sample.label],
                    classes[best],
                    f"{p[best]:.6f}",
                ]
            )
    write_rows(path, ("path", "split", "label", "predicted", "confidence"), rows)

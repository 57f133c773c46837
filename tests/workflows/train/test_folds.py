"""A cross-validated run: what it says of its number, and that everything that reads a run reads it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix
from statsmodels.stats.proportion import proportion_confint

import headstart as hs
from headstart.core.events import Event, Progress
from headstart.errors import Interrupted, RunError
from headstart.evaluation.conformal import least_probability
from headstart.evaluation.metrics import judged_on
from headstart.evaluation.uncertainty import Uncertainty
from headstart.runs.figures import read_metrics
from headstart.workflows.train.folds import mean_path
from headstart.workflows.train.result import Run


def trained(data: Path, weights: Path, out: Path, folds: int = 4, **more: Any) -> Run:
    asked: dict[str, Any] = {"backbone": "starter", "weights": weights, "precision": "float32", "device": "cpu"}
    return hs.train(data, out=out, folds=folds, quiet=True, **{**asked, **more})


@pytest.fixture(scope="module")
def run(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(photos, weights, tmp_path_factory.mktemp("folds") / "run")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_photo_is_judged_once_and_the_figures_are_those_of_the_predictions(run: Run) -> None:
    rows, figures = rows_of(run.path / "predictions.csv"), run.metrics["folds"]
    assert run.metrics.keys() == {"folds", "training"}
    assert len({row["path"] for row in rows}) == len(rows) == figures["photos"] == 36
    truth, said = ([row[name] for row in rows] for name in ("label", "predicted"))
    assert figures["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    assert figures["confusion"] == confusion_matrix(truth, said, labels=list(run.classifier.classes)).tolist()
    low, high = proportion_confint(figures["accuracy"]["value"] * 36 / 1.4, 36 / 1.4, method="wilson")
    assert (figures["accuracy"]["low"], figures["accuracy"]["high"]) == (pytest.approx(low), pytest.approx(high))
    for each in figures["each"]:
        own = [row["label"] == row["predicted"] for row in rows if row["fold"] == str(each["fold"])]
        assert (len(own), np.mean(own)) == (each["photos"], pytest.approx(each["accuracy"]))
    splits = {row["path"]: row["fold"] for row in rows_of(run.path / "splits.csv")}
    assert splits == {row["path"]: row["fold"] for row in rows}
    assert {row["fold"] for row in rows_of(run.path / "history.csv")} == {"1", "2", "3", "4"}


def test_the_request_and_the_plan_say_it(run: Run) -> None:
    request = json.loads((run.path / "request.json").read_text())["options"]
    assert (request["folds"], request["strategy"]) == (4, "auto")
    plan = json.loads((run.path / "plan.json").read_text())
    assert (plan["folds"], plan["strategy"]) == (4, "probe")
    assert json.loads((run.path / "metrics.json").read_text())["format"] == 3
    assert "--folds 4" in run.classifier.provenance["command"]


def test_the_words_say_what_the_number_is(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    share = f"{run.metrics['folds']['accuracy']['value']:.1%}"
    assert f"{share} of 36 photos are classified correctly by a model that did not see them" in page
    assert "4 models, each trained on 3/4 of the photos" in page
    assert "own accuracy is not measured" in page
    assert 'id="folds"' in page
    assert "fold 4" in page
    assert "the test set is read once" not in page
    assert "out-of-fold accuracy on 36 photos" in page
    card = (run.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| out of fold, 36 |" in card
    assert "every photo judged by the model that did not see it" in card
    assert "test photos" not in card
    assert "36 out-of-fold photos" in run._repr_html_()


def test_the_command_prints_it_and_repeats_only_with_overwrite(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", photos, "--folds", 3, "--backbone", "starter", "--weights", weights, "--out", "run")
    first = cli(*command, "--set", "precision=float32")
    assert first.code == 0
    assert re.search(r"^out-of-fold accuracy [01]\.\d{3} \(95 % interval ", first.out, re.MULTILINE)
    assert re.search(
        r"^3 folds, from .*: each photo was judged by the model that did\nnot see it;", first.out, re.MULTILINE
    )
    assert "--folds 3: auto trains the probe alone" in first.err
    refused = cli(*command, "--json")
    assert refused.code != 0
    assert "--overwrite" in refused.err
    assert json.loads(cli("train", "--resume", "run", "--json").out)["metrics"]["folds"]["photos"] == 36


def test_a_given_test_split_is_judged_by_the_average_and_divides_nothing(
    class_folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    data = class_folder("given", per_class=8, splits=("train", "val", "test"))
    run = trained(data, weights, tmp_path / "run", folds=3)
    assert run.metrics.keys() == {"folds", "test", "training"}
    assert (run.metrics["folds"]["photos"], run.metrics["test"]["photos"]) == (32, 16)
    assert judged_on(run.metrics) == "test"
    said = {row["path"]: row["predicted"] for row in rows_of(run.path / "predictions.csv") if row["split"] == "test"}
    again = hs.predict(run, [data / path for path in said])
    assert [one.label for one in again] == list(said.values())
    assert "certainty" in run.metrics["test"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "16 unseen test photos" in page
    assert "is known from the test photos alone" in page
    assert "test accuracy" not in (run.path / "MODEL_CARD.md").read_text()


def test_interrupted_between_folds_it_ends_with_the_same_weights(
    run: Run, photos: Path, weights: Path, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Progress) and (event.task, event.done) == ("folds", 2):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="resume"):
        trained(photos, weights, tmp_path / "run", listener=stop)
    resumed = hs.resume(tmp_path / "run", quiet=True)
    mine, yours = (one.classifier.network.state_dict() for one in (resumed, run))
    assert mine.keys() == yours.keys()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    assert resumed.metrics["folds"] == run.metrics["folds"]


def test_what_a_prediction_says_of_itself_comes_from_the_photos_out_of_fold(run: Run) -> None:
    kept = Uncertainty.load(run.path, run.classifier.network.backbone.facts.dim)
    assert kept is not None
    assert kept.folds == 4
    rows = rows_of(run.path / "predictions.csv")
    right = sorted(float(row["confidence"]) for row in rows if row["label"] == row["predicted"])
    assert len(kept.own) == len(kept.far) == 36
    np.testing.assert_allclose([p for p in right if p > 0.5], [p for p in kept.own if p > 0.5], atol=1e-6)
    assert "the 36 photos of the 4 folds, about 90 %" in kept.promise(0.9)
    assert least_probability(kept.own, 0.9) > 0
    data = Path(json.loads((run.path / "request.json").read_text())["options"]["data"])
    (found,) = hs.predict(run, data / rows[0]["path"], coverage=0.9)
    assert found.labels
    assert found.unknown is not None


@pytest.mark.slow
def test_it_is_exported_explained_forecast_and_opened_like_any_other(run: Run, photos: Path, tmp_path: Path) -> None:
    assert hs.export(run, out=tmp_path / "model.onnx", quiet=True).parity.photos == 36
    found = hs.explain(run.path, sorted(photos.rglob("*.png"))[:1], out=tmp_path / "explained", quiet=True)
    assert found.photos[0].neighbours
    assert hs.forecast(run.path, quiet=True).text
    opened = hs.open_run(run.path)
    assert opened.metrics["folds"] == run.metrics["folds"]
    assert opened.figure().axes[0].lines
    assert len(opened.predictions()) == 36
    assert hs.evaluate(run.path, photos, quiet=True)["photos"] == 36


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("folds"), "neither val nor folds"),
        (lambda m: m["folds"].pop("each"), "each"),
        (lambda m: m["folds"].update(each=[]), "each"),
        (lambda m: m["folds"]["each"][0].update(accuracy=7), "accuracy"),
        (lambda m: m["folds"].update(confusion=[[1]]), "folds.confusion does not fit"),
        (lambda m: m.update(format=9), "newer"),
    ],
)
def test_a_tampered_file_of_figures_is_refused(run: Run, tmp_path: Path, change: Any, words: str) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text())
    change(metrics)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=words):
        read_metrics(tmp_path)


def test_the_path_over_l2_is_the_mean_over_folds_of_what_all_tried() -> None:
    rows = [
        {"l2": l2, "fold": fold, "phase": "probe", "val_loss": fold * l2, "val_balanced_accuracy": None}
        for fold, strengths in ((1, (0.1, 1.0)), (2, (0.01, 0.1, 1.0)))
        for l2 in strengths
    ]
    found = mean_path(rows)
    assert [row["l2"] for row in found] == [0.1, 1.0]
    assert [row["val_loss"] for row in found] == pytest.approx([0.15, 1.5])
    assert found[0]["val_balanced_accuracy"] is None

"""Any number of labels per photo, from the table to every use of the run."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import said_by
from helpers.several import COLOURS, SHARES, draw_several, joined_table, one_hot_table
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import headstart as hs
from headstart.cli.app import main
from headstart.errors import DataError, Interrupted, OptionError, RunError

TRAIN: dict[str, Any] = {"labels": "multi", "backbone": "starter", "strategy": "probe", "quiet": True}
LABELS = tuple(COLOURS)


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def as_targets(texts: list[str]) -> np.ndarray:
    return np.array([[label in text.split("|") for label in LABELS] for text in texts])


def test_the_figures_are_those_of_scikit_learn_on_the_predictions(several_run: Path) -> None:
    metrics = json.loads((several_run / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["format"], metrics["labels"]) == (4, "multi")
    rows = [row for row in read(several_run / "predictions.csv") if row["split"] == "test"]
    true, said = (as_targets([row[name] for row in rows]) for name in ("label", "predicted"))
    p, found = np.array([[float(row[label]) for label in LABELS] for row in rows]), metrics["test"]
    assert found["photos"] == len(rows)
    assert found["map"]["value"] == pytest.approx(average_precision_score(true, p, average="macro"), abs=1e-4)
    assert found["f1_micro"]["value"] == pytest.approx(f1_score(true, said, average="micro"))
    assert found["f1_macro"]["value"] == pytest.approx(f1_score(true, said, average="macro"))
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(true, said))
    assert found["map"]["value"] > np.mean(list(SHARES.values())) + 0.2  # better than guessing


def test_the_model_knows_its_labels_and_thresholds(several_run: Path) -> None:
    described = json.loads((several_run / "model.json").read_text(encoding="utf-8"))
    assert described["format"] == 2
    assert described["labels"]["name"] == "multilabel"
    rows = hs.open_run(several_run).metrics["val"]["report"]["classes"]
    assert described["labels"]["thresholds"] == [row["threshold"] for row in rows]
    val = [row for row in read(several_run / "predictions.csv") if row["split"] == "val"]
    for label, threshold in zip(LABELS, described["labels"]["thresholds"], strict=True):
        true = [label in row["label"].split("|") for row in val]
        p = np.array([float(row[label]) for row in val])
        best = max(f1_score(true, p >= cut) for cut in np.append(p, 0))
        assert f1_score(true, p >= threshold) == pytest.approx(best)


def test_a_run_of_one_class_per_photo_has_the_files_it_had(probe_run: Path) -> None:
    described = json.loads((probe_run / "model.json").read_text(encoding="utf-8"))
    assert described["format"] == 1
    assert "labels" not in described
    assert "labels" not in json.loads((probe_run / "metrics.json").read_text(encoding="utf-8"))
    assert "labels" not in json.loads((probe_run / "request.json").read_text(encoding="utf-8"))["options"]
    header = (probe_run / "history.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith("val_balanced_accuracy,cv_score")


def test_report_and_card_speak_of_labels(several_run: Path) -> None:
    page = unescape((several_run / "report.html").read_text(encoding="utf-8"))
    assert "mean average precision on" in page
    assert "Metrics per label" in page
    assert "Mean average precision over L2 strength" in page
    assert "All labels right over L2 strength" in page
    splits = [row["split"] for row in read(several_run / "splits.csv")]
    for split in ("train", "val", "test"):
        assert re.search(rf'<th scope="row">{split}</th><td class="figure">{splits.count(split)}</td>', page)
    assert "Confusion" not in page
    assert "--coverage" not in page
    card = (several_run / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "any number of 3 labels" in card
    assert "mean_average_precision" in card
    assert "| label | threshold |" in card
    assert "p.labels" in card
    assert "mean average precision" in hs.open_run(several_run)._repr_html_()


def test_predictions_are_the_labels_above_their_thresholds(
    several_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = several_run.parent / "photos"
    thresholds = json.loads((several_run / "model.json").read_text(encoding="utf-8"))["labels"]["thresholds"]
    found = list(hs.predict(several_run, folder))
    assert {one.label for one in found} > {"", "cat"}
    for one in found:
        above = tuple(c for c, p, cut in zip(LABELS, one.probabilities, thresholds, strict=True) if p >= cut)
        assert one.labels == above
        assert one.label == "|".join(above)
        own = [p for c, p in zip(LABELS, one.probabilities, strict=True) if c in above]
        assert one.confidence == pytest.approx(min(own) if own else 1 - max(one.probabilities))
    names = [str(folder / f"{i:03d}.png") for i in range(6)]
    monkeypatch.setattr("sys.argv", ["headstart", "predict", str(several_run), *names, "--json"])
    code, said, _ = said_by(main, capsys)
    document = json.loads(said)
    assert code == 0
    assert [one["labels"] for one in document["predictions"]] == [list(one.labels or ()) for one in found[:6]]
    assert document["photos"] == 6
    assert sum(document["counts"].values()) == sum(max(1, len(one.labels or ())) for one in found[:6])
    monkeypatch.setattr("sys.argv", ["headstart", "predict", str(several_run), *names])
    assert "(no label)" in said_by(main, capsys)[1]
    assert list(hs.predict(several_run, names).frame()["labels"]) == [one.labels for one in found[:6]]


@pytest.mark.parametrize("asked", [{"coverage": 0.9}, {"sort_into": "sorted"}])
def test_what_presumes_one_class_is_refused_in_predict(
    several_run: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    asked = {name: tmp_path / value if isinstance(value, str) else value for name, value in asked.items()}
    with pytest.raises(OptionError, match=f"`{next(iter(asked))}.*any number of labels"):
        list(hs.predict(several_run, several_run.parent / "photos", **asked))
    assert not list(tmp_path.glob("sorted*"))


def test_evaluate_reads_both_forms_of_a_table(several_run: Path, tmp_path: Path) -> None:
    rows = draw_several(tmp_path, 60, seed=5)
    first = hs.evaluate(several_run, joined_table(tmp_path / "one.csv", rows), quiet=True)
    second = hs.evaluate(several_run, one_hot_table(tmp_path / "other.csv", rows), quiet=True)
    same = ("map", "f1_micro", "f1_macro", "accuracy", "report")
    assert [first[name] for name in same] == [second[name] for name in same]
    found = list(hs.predict(several_run, [tmp_path / name for name, _ in rows]))
    said, true = as_targets([str(one.label) for one in found]), as_targets(["|".join(labels) for _, labels in rows])
    assert first["f1_micro"]["value"] == pytest.approx(f1_score(true, said, average="micro"))
    assert first["certainty"]["sets"] == []
    unknown = joined_table(tmp_path / "unknown.csv", [(rows[1][0], ["cat", "yak"]), *rows[2:]])
    with pytest.raises(DataError, match="does not know: yak"):
        hs.evaluate(several_run, unknown, quiet=True)


def test_evaluate_tells_of_labels(
    several_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = joined_table(tmp_path / "one.csv", draw_several(tmp_path, 40, seed=5))
    monkeypatch.setattr("sys.argv", ["headstart", "evaluate", str(several_run), str(table)])
    code, said, _ = said_by(main, capsys)
    assert code == 0
    assert "threshold" in said
    assert "mean average precision" in said
    assert "all labels right" in said


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "finetune", "epochs": 2}, {"strategy": "lp-ft", "epochs": 1, "balance": "weights"},
        {"strategy": "probe", "head": "mlp:8", "epochs": 2}, {"strategy": "partial", "epochs": 1},
        {"strategy": "auto", "epochs": 1}, {"strategy": "probe", "balance": "weights", "stages": "all"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)  # fmt: skip
def test_every_strategy_trains(tmp_path: Path, more: dict[str, Any]) -> None:
    table = joined_table(tmp_path / "some.csv", draw_several(tmp_path, 60))
    run = hs.train(table, out=tmp_path / "run", **{**TRAIN, **more}, image_size=32)
    assert 0 <= run.metrics["test"]["map"]["value"] <= 1
    rows = read(run.path / "history.csv")
    assert rows
    assert all(0 <= float(row["val_map"]) <= 1 for row in rows)
    assert 0 <= run.metrics["training"]["parts"][-1]["val_map"] <= 1
    again = hs.open_run(run.path)
    assert again.classifier.objective == run.classifier.objective
    assert [one.label for one in again.predict(tmp_path / "photos")] == [
        one.label for one in run.predict(tmp_path / "photos")
    ]


def test_a_frame_with_lists_of_labels_is_the_same_photos(several_run: Path, tmp_path: Path) -> None:
    from pandas import DataFrame

    rows = draw_several(tmp_path, 150)
    frame = DataFrame({"path": [tmp_path / name for name, _ in rows], "label": [labels for _, labels in rows]})
    run = hs.train(frame, out=tmp_path / "run", **TRAIN)
    assert run.metrics["test"] == hs.open_run(several_run).metrics["test"]


def test_lists_of_labels_in_memory_are_the_same_photos(several_run: Path, tmp_path: Path) -> None:
    rows = draw_several(tmp_path, 150)
    images, labels = [tmp_path / name for name, _ in rows], [own for _, own in rows]
    run = hs.train((images, labels), out=tmp_path / "run", **TRAIN)
    assert run.metrics["test"] == hs.open_run(several_run).metrics["test"]
    with pytest.raises(OptionError, match="array of numbers"):
        hs.train((images, np.eye(3)[np.zeros(150, int)]), out=tmp_path / "other", **TRAIN)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"folds": 3}, "folds"), ({"shots": 3}, "shots"), ({"fraction": 0.5}, "fraction"),
        ({"balance": "sampler"}, "sampler"), ({"stages": "choose"}, "stages"), ({"backbone": "auto"}, "backbone"),
        ({"labels": "many"}, "not one of single, multi"),
    ],
)  # fmt: skip
def test_what_presumes_one_class_is_refused_before_a_folder_is_made(
    tmp_path: Path, more: dict[str, Any], word: str
) -> None:
    table = joined_table(tmp_path / "some.csv", draw_several(tmp_path, 20))
    with pytest.raises(OptionError, match=word):
        hs.train(table, out=tmp_path / "run", **{**TRAIN, **more})
    assert not (tmp_path / "run").exists()


def test_labels_of_folders_and_single_labels_are_refused(class_folder: Callable[..., Path], tmp_path: Path) -> None:
    for data in (class_folder(), "cifar10"):
        with pytest.raises(DataError, match="several labels per photo are read from a table"):
            hs.train(data, out=tmp_path / "run", **TRAIN)
    rows = [(name, ["cat"] if labels else []) for name, labels in draw_several(tmp_path, 20)]
    with pytest.raises(DataError, match="1 label only"):
        hs.train(joined_table(tmp_path / "one.csv", rows), out=tmp_path / "run", **TRAIN)
    assert not (tmp_path / "run").exists()


def test_rare_labels_are_refused_and_left_out_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = draw_several(tmp_path, 60)
    rows = [(name, [*labels, "yak"] if i < 2 else labels) for i, (name, labels) in enumerate(rows)]
    table = joined_table(tmp_path / "some.csv", rows)
    with pytest.raises(DataError, match="'yak' has 2 photos"):
        hs.train(table, out=tmp_path / "run", **TRAIN)
    assert not (tmp_path / "run").exists()
    run = hs.train(table, out=tmp_path / "run", min_per_class=3, **TRAIN)
    assert run.classifier.classes == LABELS
    assert len(read(run.path / "splits.csv")) == 60
    assert "leaves out 1 of 4 labels; photos stay, without them" in capsys.readouterr().err


def test_two_tables_of_one_kind_or_two_say_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = draw_several(tmp_path, 40)
    for table in (joined_table(tmp_path / "one.csv", rows), one_hot_table(tmp_path / "other.csv", rows)):
        with pytest.raises(DataError, match="several labels per photo") as refused:
            hs.train(table, out=tmp_path / "run", backbone="starter", quiet=True)
        assert "labels='multi'" in str(refused.value.hint)
    with pytest.raises(DataError, match="several labels per photo"):
        hs.compare(tmp_path / "one.csv", out=tmp_path / "run", backbone="starter", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_forecast_of_such_a_run_is_refused(several_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="any number of labels"):
        hs.forecast(several_run, out=tmp_path / "page.html", quiet=True)
    assert not (tmp_path / "page.html").exists()


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.training.trainer import Trainer

    table = joined_table(tmp_path / "some.csv", draw_several(tmp_path, 40))
    asked = {**TRAIN, "strategy": "finetune", "epochs": 2, "image_size": 32}
    whole = hs.train(table, out=tmp_path / "whole", **asked)
    ended: list[int] = []
    finish = Trainer._finish_epoch

    def once(self: Trainer, epoch: int) -> None:
        finish(self, epoch)
        if not ended:
            ended.append(epoch)
            self._save()
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_finish_epoch", once)
    with pytest.raises(Interrupted):
        hs.train(table, out=tmp_path / "run", **asked)
    run = hs.resume(tmp_path / "run", quiet=True)
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert run.metrics["test"] == whole.metrics["test"]


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [0.5, 0.5]}, {"thresholds": [0.5, 0.5, 2.0]}, {"name": "regression"}, {"thresholds": ["a"] * 3},
    ],
)  # fmt: skip
def test_a_damaged_model_is_refused(several_run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    run = tmp_path / "run"
    shutil.copytree(several_run, run)
    described = json.loads((run / "model.json").read_text(encoding="utf-8"))
    described["labels"] |= change
    (run / "model.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(RunError, match="labels"):
        hs.open_run(run)


def test_damaged_metrics_are_refused(several_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(several_run, run)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    for change in ({"map": None}, {"f1_micro": 3}, {"headline": "accuracy"}):
        broken = {**metrics, "val": {**metrics["val"], **change}}
        (run / "metrics.json").write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(RunError, match=r"metrics\.json"):
            hs.open_run(run)


def test_runs_are_listed_with_their_figure(several_run: Path, probe_run: Path) -> None:
    row = hs.list_runs(several_run).rows[0]
    assert row.figure == "mean average precision"
    assert ") mAP" in hs.list_runs(several_run).text
    assert "mAP" not in hs.list_runs(probe_run).text

"""What ``train`` does, says and writes where classes are uneven, and where there are very many."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.long_tail import draw_long_tail

import headstart as hs
from headstart.cli.app import main
from headstart.errors import DataError, RunError
from headstart.runs.figures import read_metrics

TRAIN: dict[str, Any] = {"backbone": "starter", "strategy": "probe", "quiet": True}


def cut(folder: Path, label: str, keep: int) -> Path:
    for photo in sorted((folder / label).iterdir())[keep:]:
        photo.unlink()
    return folder


@pytest.fixture
def uneven(class_folder: Callable[..., Path]) -> Path:
    return cut(class_folder(classes=("cat", "dog", "owl"), per_class=60), "owl", 10)


def test_uneven_classes_are_said_and_weigh_the_same(
    uneven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hs.train(uneven, out=tmp_path / "run", **TRAIN)
    said = [line for line in capsys.readouterr().err.splitlines() if "class imbalance" in line]
    assert len(said) == 1
    assert "42 training photos of 'cat', 7 of 'owl'" in said[0]
    assert "`balance='weights'`" in said[0]
    assert run.plan.balance == "weights"
    assert run.plan.reasons["balance"].startswith("42 training photos of the largest class, 7 of the smallest")


def test_both_accuracies_are_told_and_the_balanced_one_first(uneven: Path, tmp_path: Path) -> None:
    from sklearn.metrics import balanced_accuracy_score

    run = hs.train(uneven, out=tmp_path / "run", **TRAIN)
    with (run.path / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    found = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))["test"]
    expected = balanced_accuracy_score(*([row[name] for row in rows] for name in ("label", "predicted")))
    assert found["balanced_accuracy"]["value"] == pytest.approx(expected)
    assert found["headline"] == "balanced_accuracy"
    page = unescape((run.path / "report.html").read_text(encoding="utf-8"))
    assert f"balanced accuracy on {len(rows)} test photos" in page
    assert "Averaged over the classes, " in page
    assert "Balanced accuracy over L2 strength" in page
    assert "too high for rare classes" in page
    card = (run.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "type: balanced_accuracy" in card
    assert "balanced accuracy, the mean over the classes, says more" in card
    assert "balanced accuracy" in run._repr_html_()


def test_choices_on_val_went_by_balanced_accuracy(uneven: Path, tmp_path: Path) -> None:
    run = hs.train(uneven, out=tmp_path / "run", **{**TRAIN, "strategy": "finetune"}, epochs=2, image_size=32)
    with (run.path / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(0 <= float(row["val_balanced_accuracy"]) <= 1 for row in rows)
    assert 0 <= run.metrics["training"]["parts"][0]["val_balanced_accuracy"] <= 1


def test_even_classes_are_trained_as_before(class_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = class_folder(per_class=20)
    runs = [hs.train(folder, out=tmp_path / f"{way}", balance=way, **TRAIN) for way in ("auto", "none")]
    first, second = (run.classifier.network.head.state_dict() for run in runs)
    assert all((first[name] == second[name]).all() for name in first)
    assert runs[0].plan.balance == "none"
    assert runs[0].metrics["test"]["headline"] == "accuracy"
    assert not any(row["val_balanced_accuracy"] for row in csv.DictReader((runs[0].path / "history.csv").open()))


@pytest.mark.parametrize("balance", ["none", "weights", "sampler"])
@pytest.mark.parametrize("strategy", ["probe", "partial", "lp-ft"])
def test_every_strategy_takes_every_balance(uneven: Path, tmp_path: Path, strategy: str, balance: str) -> None:
    asked = {**TRAIN, "strategy": strategy, "epochs": 1, "image_size": 32, "balance": balance}
    run = hs.train(uneven, out=tmp_path / "run", **asked)
    assert (run.plan.balance, run.plan.reasons["balance"]) == (balance, "you chose it")


def test_a_training_of_a_version_that_knew_no_balance_goes_on_without(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("headstart.workflows.train.train.fit", stop)
        with pytest.raises(hs.errors.Interrupted):
            hs.train(uneven, out=tmp_path / "run", **TRAIN)
    file = tmp_path / "run" / "state" / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    del plan["balance"]
    file.write_text(json.dumps(plan), encoding="utf-8")
    assert hs.resume(tmp_path / "run", quiet=True).plan.balance == "none"


# -- many classes --


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_long_tail(tmp_path_factory.mktemp("many") / "photos", classes=130, small=4, noise=120)


@pytest.fixture(scope="session")
def many_run(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hs.train(many, out=tmp_path_factory.mktemp("many-run") / "run", min_per_class=3, **TRAIN).path


def test_small_classes_stop_a_training_with_one_message_that_says_how_to_go_on(many: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        hs.train(many, out=tmp_path / "run", **TRAIN)
    assert "in 4 of 130 classes" in caught.value.problem
    assert "leave out 4 classes (4 photos) with `min_per_class=3`" in caught.value.hint


def test_without_them_it_trains_and_says_what_is_left_out(many_run: Path) -> None:
    facts = json.loads((many_run / "check.json").read_text(encoding="utf-8"))
    assert "leaves out 4 of 130 classes, 4 photos" in facts["notes"][0]
    assert [one["label"] for one in facts["left_out"]] == [f"class-{c:04d}" for c in range(4)]
    assert len(hs.open_run(many_run).classifier.classes) == 126
    assert "… and 78 classes more" in " ".join((many_run / "report.html").read_text(encoding="utf-8").split())


def test_fix_leaves_the_same_classes_out(many: Path, many_run: Path, tmp_path: Path) -> None:
    found = hs.check(many, quick=True, fix=tmp_path / "clean.csv", out=tmp_path / "page.html", quiet=True)
    assert (found.left_out, found.lost) == (4, "")
    few = next(finding for finding in found.findings if finding.kind == "few" and finding.severity == "error")
    assert "'class-0000' has 1" in few.sentence
    assert "`min_per_class=3`" in few.advice
    run = hs.train(tmp_path / "clean.csv", out=tmp_path / "run", **TRAIN)
    assert run.classifier.classes == hs.open_run(many_run).classifier.classes


def test_metrics_hold_no_matrix_and_are_read(many_run: Path) -> None:
    metrics = json.loads((many_run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["format"] == 2
    assert metrics["test"]["confusion"] is None
    assert read_metrics(many_run)["test"]["confused"] == metrics["test"]["confused"]
    assert "1 of 1" in (many_run / "report.html").read_text(encoding="utf-8")
    assert "fewer than 5 photos" in (many_run / "MODEL_CARD.md").read_text(encoding="utf-8")
    for value in (3, "x", {}, [{"true": 0, "predicted": 126, "photos": 1}], [{"true": -1}]):
        changed = {**metrics, "test": {**metrics["test"], "confused": value}}
        (many_run.parent / "metrics.json").write_text(json.dumps(changed), encoding="utf-8")
        (many_run.parent / "request.json").write_text("{}", encoding="utf-8")
        with pytest.raises(RunError, match=r"metrics\.json"):
            read_metrics(many_run.parent)


def test_the_worst_classes_come_first_on_the_page(many_run: Path) -> None:
    metrics = json.loads((many_run / "metrics.json").read_text(encoding="utf-8"))
    page = (many_run / "report.html").read_text(encoding="utf-8")
    table = page[page.index('<section id="classes">') :]
    f1 = {row["label"]: row["f1"] for row in metrics["test"]["report"]["classes"]}
    order = sorted(f1, key=lambda label: table.index(f">{label}<"))
    assert np.all(np.diff([f1[label] for label in order]) >= 0)


def test_the_terminal_shows_a_summary(
    many_run: Path, many: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hs.check(many, quick=True, fix=tmp_path / "clean.csv", out=tmp_path / "page.html", quiet=True)
    monkeypatch.setattr("sys.argv", ["headstart", "evaluate", str(many_run), str(tmp_path / "clean.csv"), "--quiet"])
    with contextlib.suppress(SystemExit):
        main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 25, lines
    assert any("the 10 worst classes; 116 more" in line for line in lines)
    assert any(" accuracy 0." in line and "balanced accuracy 0." in line for line in lines)


@pytest.mark.slow
def test_1200_classes(tmp_path: Path) -> None:
    folder = draw_long_tail(tmp_path / "photos", noise=130)
    run = hs.train(folder, out=tmp_path / "run", **TRAIN)
    assert (run.path / "metrics.json").stat().st_size < 1_000_000
    assert (run.path / "report.html").stat().st_size < 3_000_000
    assert len(hs.open_run(run.path).classifier.classes) == 1200

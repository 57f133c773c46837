"""What a run keeps: it is there, it is read, it is refused where it does not fit, and old runs live without it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.errors import OptionError, RunError
from headstart.evaluation.uncertainty import FILE, Uncertainty
from headstart.models.serialization import load_state, save_state

Cli = Callable[..., Any]


@pytest.fixture
def old_run(sure_run: Path, tmp_path: Path) -> Path:
    """A run as it was before there was a certainty.safetensors."""
    shutil.copytree(sure_run, tmp_path / "old")
    (tmp_path / "old" / FILE).unlink()
    return tmp_path / "old"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A photo of another world: black stripes on white."""
    stripes = np.full((40, 40, 3), 255, np.uint8)
    stripes[:, ::4] = 0
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    return tmp_path / "stripes.png"


def own(run: Path) -> Path:
    return run.parent / "photos"


def test_sets_and_marks_are_those_of_the_files(sure_run: Path) -> None:
    """Worked out again from predictions.csv and the features, by hand."""
    run = hs.open_run(sure_run)
    kept = run.classifier.certainty
    assert kept is not None
    photos = [own(sure_run) / row.path for row in run.predictions().itertuples() if row.split == "val"]
    answers = list(hs.predict(sure_run, photos, coverage=0.9))
    mine = [a.probabilities[run.classifier.classes.index(a.path.parent.name)] for a in answers]
    assert kept.own == pytest.approx(np.sort(mine), abs=1e-5)
    least = sorted(mine, reverse=True)[int(np.ceil((len(mine) + 1) * 0.9)) - 1]
    for answer in answers:
        ranked = sorted(zip(answer.probabilities, run.classifier.classes, strict=True), reverse=True)
        wanted = [label for p, label in ranked if p >= least - 1e-6] or [answer.label]
        assert list(answer.labels or ()) == wanted
    far = [a.distance for a in answers]
    assert sum(d > 1.0001 for d in far) == len(far) - int(np.ceil((len(far) + 1) * 0.95))


def test_the_test_photos_tell_how_it_does(cli: Cli, sure_run: Path) -> None:
    metrics = json.loads((sure_run / "metrics.json").read_text(encoding="utf-8"))
    told = metrics["test"]["certainty"]
    assert "certainty" not in metrics["val"]  # it was made by them
    photos = [own(sure_run) / p.path for p in hs.open_run(sure_run).predictions().itertuples() if p.split == "test"]
    for row in told["sets"]:
        answers = list(hs.predict(sure_run, photos, coverage=row["coverage"]))
        assert row["holds"] == pytest.approx(np.mean([a.path.parent.name in a.labels for a in answers]))
        assert row["labels"] == pytest.approx(np.mean([len(a.labels) for a in answers]))
        assert told["unknown"] == pytest.approx(np.mean([a.unknown for a in answers]))
    again = hs.evaluate(sure_run, own(sure_run), quiet=True)["certainty"]
    assert [row["coverage"] for row in again["sets"]] == [0.8, 0.9, 0.95]
    assert 0 < again["unknown"] < 0.2
    assert (
        f"marked unknown (unlike the training photos): {again['unknown']:.1%}"
        in cli("evaluate", sure_run, own(sure_run)).out
    )


def test_a_photo_of_another_world_is_marked(cli: Cli, sure_run: Path, foreign: Path) -> None:
    usual = own(sure_run) / "cat" / "cat_00.png"
    lines = cli("predict", sure_run, foreign, usual).out.splitlines()
    assert lines[0].endswith("  unknown?")
    assert lines[0].split("  ")[1] in ("cat", "dog", "owl")  # the label is not hidden
    assert "unknown" not in lines[1]
    found = [json.loads(line) for line in cli("predict", sure_run, foreign, usual, "--jsonl").out.splitlines()]
    assert [one["unknown"] for one in found] == [True, False]
    assert found[0]["distance"] > 1 > found[1]["distance"]
    assert "labels" not in found[0]
    rows = list(csv.DictReader(io.StringIO(cli("predict", sure_run, foreign, usual, "--csv").out)))
    assert [row["unknown"] for row in rows] == ["yes", "no"]
    assert float(rows[0]["distance"]) == pytest.approx(found[0]["distance"], abs=1e-4)
    frame = hs.predict(sure_run, [foreign]).frame()
    assert bool(frame.unknown[0])
    assert "unknown?" in hs.predict(sure_run, [foreign])._repr_html_()


def test_an_explanation_carries_the_mark(sure_run: Path, foreign: Path, tmp_path: Path) -> None:
    usual = own(sure_run) / "cat" / "cat_00.png"
    found = hs.explain(sure_run, [foreign, usual], out=tmp_path / "explained", neighbours=0, quiet=True)
    assert [one["unknown"] for one in found.summary["photos"]] == [True, False]
    assert found.page.read_text(encoding="utf-8").count("Unknown?") == 1


def test_sets_in_every_form(cli: Cli, sure_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    one = own(sure_run) / "owl" / "owl_00.png"
    words = ("predict", sure_run, one, tmp_path / "bad.png", "--coverage", 0.95)
    (wanted, _) = hs.predict(sure_run, [one, tmp_path / "bad.png"], coverage=0.95)
    assert wanted.labels
    text = cli(*words)
    assert f"  {{{', '.join(wanted.labels)}}}" in text.out
    assert "at least 95 % of the sets hold the true class" in text.err
    assert "not for each class nor each photo" in text.err
    found = json.loads(cli(*words, "--jsonl").out.splitlines()[0])
    assert found["labels"] == list(wanted.labels)
    rows = list(csv.DictReader(io.StringIO(cli(*words, "--csv").out)))
    assert rows[0]["labels"] == "|".join(wanted.labels)
    assert rows[1]["labels"] == rows[1]["distance"] == ""
    assert rows[1]["problem"]
    assert hs.predict(sure_run, [one], coverage=0.95).frame()["labels"][0] == wanted.labels


def test_too_few_val_photos_are_said(cli: Cli, probe_run: Path, photos: Path) -> None:
    answer = cli("predict", probe_run, photos / "cat" / "cat_00.png", "--coverage", 0.95)
    assert "they need 19 validation photos; this run had 6" in answer.err.replace("\n", " ")
    assert len(answer.out[answer.out.index("{") :].split(",")) == 3
    (found,) = hs.predict(probe_run, [photos / "cat" / "cat_00.png"])
    assert found.unknown is None
    assert found.distance is None
    assert "hold every class" not in cli("predict", probe_run, photos / "cat" / "cat_00.png", "--coverage", 0.8).err


def test_answers_that_are_right_often_enough_say_so() -> None:
    kept = Uncertainty(np.linspace(0.6, 0.99, 40), np.linspace(0.1, 0.5, 40), np.eye(3, dtype=np.float16))
    assert "every set holds one label" in kept.promise(0.9)
    assert "every set holds one label" not in Uncertainty(kept.own / 2, kept.far, kept.means).promise(0.9)


@pytest.mark.parametrize("coverage", ["0", "1", "95", "-0.1", "nan"])
def test_a_coverage_that_is_none_is_refused(
    cli: Cli, refused: Callable[..., None], sure_run: Path, coverage: str
) -> None:
    words = "not a finite number" if coverage == "nan" else "not between 0 and 1"
    refused(cli("predict", sure_run, own(sure_run), "--coverage", coverage), "--coverage", words)
    with pytest.raises(OptionError):
        hs.predict(sure_run, [own(sure_run)], coverage=float(coverage))


def test_an_old_run_answers_without_marks_and_makes_no_sets(
    cli: Cli, refused: Callable[..., None], old_run: Path, sure_run: Path, foreign: Path
) -> None:
    (found,), (new,) = hs.predict(old_run, [foreign]), hs.predict(sure_run, [foreign])
    assert found.unknown is None
    assert found.probabilities == new.probabilities
    assert "unknown?" not in cli("predict", old_run, foreign).out
    assert json.loads(cli("predict", old_run, foreign, "--jsonl").out)["unknown"] is None
    refused(cli("predict", old_run, foreign, "--coverage", 0.9), "certainty.safetensors", "Train it again")
    assert "certainty" not in hs.evaluate(old_run, own(sure_run), quiet=True)


def test_a_file_that_does_not_fit_is_refused(old_run: Path, sure_run: Path) -> None:
    tensors, _ = load_state(sure_run / FILE)
    save_state(old_run / FILE, {**tensors, "means": tensors["means"][:, :7]}, {"format": 1})
    with pytest.raises(RunError, match="does not fit the model"):
        hs.predict(old_run, [own(sure_run)])
    save_state(old_run / FILE, tensors, {"format": 2})
    with pytest.raises(RunError, match="newer"):
        hs.predict(old_run, [own(sure_run)])
    (old_run / FILE).write_bytes(b"damaged")
    with pytest.raises(RunError, match="cannot be read"):
        hs.predict(old_run, [own(sure_run)])


def test_distances_are_in_units_of_what_is_usual() -> None:
    far = np.arange(1, 41) / 100
    kept = Uncertainty(np.linspace(0.1, 0.9, 40), far, np.eye(3, dtype=np.float16))
    assert kept.usual == pytest.approx(0.39)  # the ⌈41 · 0.95⌉-th of 40
    assert Uncertainty(kept.own, far[:18], kept.means).usual is None
    assert kept.distances(np.array([[1.0, 0, 0], [1, 1, 1]])) == pytest.approx([0, (1 - 3**-0.5) / 0.39], abs=1e-3)
    photos = np.eye(3)[:2], np.array([0, 1])
    assert kept.measured([0.5, 1.5, 2.0, None], *photos)["unknown"] == pytest.approx(2 / 3)
    assert kept.measured([None, None], *photos)["unknown"] is None


def test_the_report_and_the_card_tell_of_it(sure_run: Path) -> None:
    page = (sure_run / "report.html").read_text(encoding="utf-8")
    assert 'id="certainty"' in page
    assert "before scaling" in page
    card = (sure_run / "MODEL_CARD.md").read_text(encoding="utf-8")
    before = json.loads((sure_run / "metrics.json").read_text(encoding="utf-8"))["test"]["calibration"]["before"]
    assert f"| {before['ece']:.4f} |" in card
    assert "Its outputs are divided by" in card
    assert "Marked as unlike the training photos" in card

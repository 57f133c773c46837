"""The real command line: results on standard output, messages on standard error, exit codes, and every unhappy path."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headstart.data.split_table import read_splits
from headstart.runs.folder import CONTENTS

Cli = Callable[..., Any]
Refused = Callable[..., None]
MAIN = "from headstart.cli.app import main; main()"


# -- what works --


def test_train_prints_the_report_and_says_the_rest_on_standard_error(train: Cli, photos: Path, tmp_path: Path) -> None:
    answer = train(photos)
    assert answer.code == 0, answer
    assert "weighted avg" in answer.out
    assert "test accuracy" in answer.out
    assert "3 classes, 36 photos, no splits: 70/15/15 stratified, seed 0" in answer.err.replace("\n", " ")
    assert "you chose it" in answer.err
    assert {p.name for p in (tmp_path / "run").iterdir()} == set(CONTENTS)


def test_json_is_all_there_is_on_standard_output(train: Cli, photos: Path, tmp_path: Path) -> None:
    answer = train(photos, "--json", "--quiet")
    found = json.loads(answer.out)
    assert found["run"] == str(tmp_path / "run")
    assert found["metrics"]["test"]["photos"] == 6
    assert answer.err == ""


@pytest.mark.parametrize("strategy", ["finetune", "partial", "lp-ft", "auto"])
def test_every_strategy_runs(train: Cli, photos: Path, tmp_path: Path, strategy: str) -> None:
    answer = train(photos, "--strategy", strategy, "--epochs", 1, "--batch-size", 8)
    assert answer.code == 0, answer
    assert json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))["strategy"] in {
        strategy,
        "probe",
        "lp-ft",
    }


def test_scratch_from_a_run_and_cut(train: Cli, cli: Cli, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    scratch = train(
        photos, "--strategy", "scratch", "--backbone", "starter", "--epochs", 1, "--out", tmp_path / "scratch"
    )
    assert scratch.code == 0, scratch
    again = train(photos, "--from", probe_run, "--cut", "layer3", "--out", tmp_path / "again")
    assert again.code == 0, again
    described = json.loads((tmp_path / "again" / "model.json").read_text(encoding="utf-8"))
    assert described["architecture"]["cut"] == "layer3.0"
    assert cli("predict", tmp_path / "again", photos / "cat").code == 0


def test_shots_and_seed_choose_the_photos(train: Cli, photos: Path, tmp_path: Path) -> None:
    assert "2 per class" in train(photos, "--shots", 2, "--seed", 5).err
    rows = (tmp_path / "run" / "splits.csv").read_text(encoding="utf-8")
    assert rows.count(",train,") == 6


def test_the_published_head_is_exactly_that(train: Cli, cli: Cli, photos: Path, tmp_path: Path) -> None:
    assert train(photos, "--head", "mlp:1024,256", "--dropout", "0.5,0.3", "--epochs", 1).code == 0
    text = cli("describe", tmp_path / "run").out
    order = [
        "Dropout(p=0.5",
        "out_features=1024",
        "ReLU",
        "Dropout(p=0.3",
        "out_features=256",
        "ReLU",
        "out_features=3",
    ]
    at = text.index(order[0])
    for piece in order[1:]:
        at = text.index(piece, at + 1)


def test_predict_in_three_forms(cli: Cli, probe_run: Path, photos: Path) -> None:
    one = photos / "dog" / "dog_03.png"
    text = cli("predict", probe_run, one)
    assert text.out.split()[:2] == [str(one), "dog"]
    found = json.loads(cli("predict", probe_run, one, "--jsonl").out)
    assert found["label"] == "dog"
    assert set(found["probabilities"]) == {"cat", "dog", "owl"}
    rows = list(csv.DictReader(io.StringIO(cli("predict", probe_run, photos / "cat", "--csv").out)))
    assert len(rows) == 12
    assert [row["label"] for row in rows].count("cat") >= 10
    assert float(rows[0]["cat"]) == pytest.approx(float(rows[0]["confidence"]))


def test_predict_takes_folders_and_globs_in_natural_order(cli: Cli, probe_run: Path, photos: Path) -> None:
    assert len(cli("predict", probe_run, photos).out.splitlines()) == 36
    found = cli("predict", probe_run, photos / "*" / "*_1*.png").out.splitlines()
    assert [Path(line.split()[0]).name for line in found] == [
        f"{c}_{n}.png" for c in ("cat", "dog", "owl") for n in (10, 11)
    ]


def test_predict_names_bad_photos_and_answers_the_others(
    cli: Cli, probe_run: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    answer = cli("predict", probe_run, tmp_path / "bad.jpg", photos / "owl" / "owl_00.png")
    assert answer.code == 2
    assert answer.out.split()[1] == "owl"
    assert "bad.jpg: empty" in answer.err


def test_a_raw_photo_is_none_wherever_it_is_named(cli: Cli, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    """What Pillow reads of it is a preview; a folder leaves it out as well."""
    Image.open(next(photos.rglob("*.png"))).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.CR2")
    answer = cli("predict", probe_run, tmp_path / "a.CR2")
    assert answer.code == 2
    assert "RAW photo (.cr2): export it as JPEG" in answer.err


def test_evaluate_is_the_accuracy_on_these_photos(cli: Cli, probe_run: Path, photos: Path) -> None:
    found = json.loads(cli("evaluate", probe_run, photos, "--json", "-q").out)
    assert (found["photos"], found["split"]) == (36, "all")
    assert found["accuracy"]["value"] > 0.9
    answer = cli("evaluate", probe_run, photos)
    assert "on 36 photos of photos" in answer.out
    own = Counter(row.split for row in read_splits(probe_run / "splits.csv"))
    assert found["learned"] == {"train": own["train"], "val": own["val"]}
    words = f"Of these 36 photos {own['train']} were trained on and {own['val']} were used for choices"
    assert words in " ".join(answer.err.split())


def test_evaluate_takes_fewer_classes_and_one_split(
    cli: Cli, probe_run: Path, class_folder: Callable[..., Path]
) -> None:
    data = class_folder(splits=("train", "test"), per_class=3)
    found = json.loads(cli("evaluate", probe_run, data, "--json", "-q").out)
    assert found["photos"] == 6
    assert "learned" not in found
    answer = cli("evaluate", probe_run, data, "--split", "val")
    assert "--split all takes every photo" in " ".join(answer.err.split())
    assert json.loads(cli("evaluate", probe_run, data, "--json", "-q", "--split", "all").out)["photos"] == 12


def test_compare_prints_a_table(cli: Cli, starter: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    words = ("compare", photos, "--arms", "probe,scratch", "--seeds", 1, "--shots", "2,3", "--epochs", 1, *starter)
    answer = cli(*words, "--out", tmp_path / "c")
    assert answer.code == 0, answer
    assert "2 per class" in answer.out
    assert "report.html" in answer.out
    found = json.loads(cli(*words, "--out", tmp_path / "c", "--overwrite", "--json", "-q").out)
    assert {row["arm"] for row in found["arms"]} == {"probe", "scratch"}


def test_describe_and_backbones(cli: Cli, probe_run: Path) -> None:
    assert "layer4" in json.loads(cli("describe", probe_run, "--json").out)["architecture"]
    assert "resnet18" in cli("backbones", "resnet18").out
    assert json.loads(cli("backbones", "resnet18", "--json").out)[0]["image_size"] == 224


def test_help_and_version(cli: Cli) -> None:
    assert "compare" in cli("--help").out
    assert "--weights" in cli("train", "--help").out
    assert cli("--version").out.startswith("headstart ")


# -- as a process --


def test_help_imports_nothing_heavy() -> None:
    heavy = "print({'torch', 'timm', 'numpy'} & set(sys.modules))"
    code = f"import sys; sys.argv = ['headstart', '--help']\ntry:\n    {MAIN}\nfinally:\n    {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("set()"), done.stdout + done.stderr


def test_a_mistake_in_a_process_ends_in_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "train", str(tmp_path / "nowhere")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "no such folder" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end in another way there")
def test_a_reader_that_goes_away_is_no_defect() -> None:
    code = f"import os, sys; sys.argv = ['headstart', 'backbones', 'resnet']; {MAIN}"
    reading, writing = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)
    _, errors = child.communicate(timeout=120)
    assert "Traceback" not in errors
    assert child.returncode == 0, errors


def test_a_terminal_without_the_characters_does_not_stop_the_work(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "train", str(tmp_path / "写真")], capture_output=True, text=True, env=environment
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr

"""Bad input: each mistake ends in one clear message and exit code 2, nothing is lost and nothing is half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]
Refused = Callable[..., None]


# -- bad files --


def test_a_folder_of_every_bad_file_trains_on_the_good_ones_and_names_each_bad_one(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path, bad_files: Callable[[Path], dict[str, str | None]]
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    expected = bad_files(data / "cat")
    bad = {name: reason for name, reason in expected.items() if reason}
    answer = train(data)
    assert answer.code == 0, answer
    for name, reason in bad.items():
        line = next(line for line in answer.err.splitlines() if name in line)
        assert str(reason) in line
    check = json.loads((tmp_path / "run" / "check.json").read_text(encoding="utf-8"))
    assert {Path(b["path"]).name for b in check["bad"]} == set(bad)
    assert {"CMYK", "grayscale"} <= check["conversions"].keys()
    refusal = train(data, "--on-bad", "fail", "--out", tmp_path / "strict")
    refused(refusal, *bad, "--on-bad skip")
    assert not (tmp_path / "strict").exists()


def test_odd_names_go_all_the_way(train: Cli, cli: Cli, draw_photo: Callable[..., Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("kæt 写真", 'd,o"g', "<b>owl")
    for c, label in enumerate(names):
        for i in range(6):
            draw_photo(tmp_path / "d" / label / f"{'ö' * 100} {i}.png", c, rng)
    answer = train(tmp_path / "d")
    assert answer.code == 0, answer
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<b>owl" not in page
    assert "&lt;b&gt;owl" in page
    found = json.loads(cli("predict", tmp_path / "run", tmp_path / "d" / names[0], "--jsonl").out.splitlines()[0])
    assert set(found["probabilities"]) == set(names)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_a_circle_ends(train: Cli, photos: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "cat" / "again").symlink_to(data)
    assert train(data).code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_folder_is_named(train: Cli, photos: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "owl").chmod(0)
    answer = train(data)
    (data / "owl").chmod(0o700)
    assert answer.code == 0
    assert "owl" in answer.err


# -- refusals: the data --


DATA = {
    "a path that is not there": (lambda d: d / "nowhere", ["no such folder or file", "nowhere"]),
    "an empty folder": (lambda d: (d / "empty").mkdir() or d / "empty", ["no photos"]),
    "a folder of texts": (lambda d: _texts(d / "texts"), ["no photos"]),
    "one class": (lambda d: _without(d, "dog"), ["one class only", "'cat'"]),
    "a photo": (lambda d: d / "cat" / "cat_000.png", ["one photo"]),
    "a file that is nothing": (lambda d: _texts(d / "texts") / "a.xyz", ["neither a folder nor"]),
    "too few photos for the splits": (lambda d: _few(d), ["'dog' has 2", "--test 0"]),
    "a class only in test": (lambda d: _only_in_test(d), ["'owl'", "only in test"]),
    "an address": (lambda _: "https://example.org/photos.zip", ["address"]),
}  # fmt: skip


def _texts(folder: Path) -> Path:
    folder.mkdir()
    for name in ("a.txt", "b.md", "a.xyz"):
        (folder / name).write_text("words")
    return folder


def _without(data: Path, label: str) -> Path:
    shutil.rmtree(data / label)
    return data


def _few(data: Path) -> Path:
    for photo in sorted((data / "dog").iterdir())[2:]:
        photo.unlink()
    return data


def _only_in_test(data: Path) -> Path:
    splits = data.with_name("splits")
    shutil.copytree(data, splits / "train")
    shutil.copytree(data, splits / "test")
    shutil.copytree(data / "cat", splits / "test" / "owl")
    return splits


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_learned_from(
    train: Cli, refused: Refused, class_folder: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    make, words = DATA[case]
    refused(train(make(class_folder())), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "resnet81"], ["resnet81", "did you mean"]),
        (["--cut", "layer9"], ["layer9", "did you mean"]),
        (["--strategy", "partial", "--boundary", "layer5"], ["layer5", "did you mean"]),
        (["--strategy", "prob"], ["--strategy prob", "'probe'"]),
        (["--strategy", "probe", "--boundary", "layer4"], ["--boundary"]),
        (["--set", "weight_decy=1"], ["weight_decy", "'weight_decay'"]),
        (["--set", "epochs"], ["NAME=VALUE"]),
        (["--epochs", "0"], ["epochs", "above zero"]),
        (["--lr", "-1"], ["lr", "above zero"]),
        (["--augment", "lite"], ["'light'"]),
        (["--precision", "half"], ["bf16"]),
        (["--image-size", "0"], ["image_size"]),
        (["--set", "resize=8"], ["resize"]),
        (["--head", "mpl:5"], ["mpl", "'mlp'"]),
        (["--head", "mlp:0"], ["mlp:0"]),
        (["--dropout", "half"], ["--dropout"]),
        (["--dropout", "0.5,0.5"], ["2 dropouts"]),
        (["--dropout", "1.5"], ["dropout 1.5"]),
        (["--mean", "1,2"], ["--mean"]),
        (["--shots", "500"], ["--shots 500", "too few"]),
        (["--shots", "0"], ["--shots 0"]),
        (["--val", "1"], ["--val"]),
        (["--val", "0.6", "--test", "0.6"], ["nothing to train on"]),
        (["--fraction", "2"], ["--fraction"]),
        (["--seed", "-1"], ["--seed"]),
        (["--on-bad", "cry"], ["--on-bad cry"]),
        (["--device", "tpu9"], ["tpu9"]),
        (["--weights", "nowhere.pth"], ["nowhere.pth"]),
        (["--from", "nowhere"], ["--from", "nowhere"]),
        (["--weights", "w", "--from", "r"], ["--weights", "--from"]),
        (["--strategy", "scratch", "--weights", "w"], ["scratch"]),
    ],
)
def test_options_that_have_no_meaning(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path, words: list[str], said: list[str]
) -> None:
    refused(train(photos, *words), *said)
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_is_a_matter_of_two_too(cli: Cli, photos: Path) -> None:
    answer = cli("train", photos, "--epoch", 5)
    assert answer.code == 2
    assert "--epochs" in answer.err
    assert "Traceback" not in answer.err


def test_data_or_resume_and_not_both(cli: Cli, refused: Refused, photos: Path, tmp_path: Path) -> None:
    refused(cli("train"), "--resume")
    refused(cli("train", photos, "--resume", tmp_path), "--resume")
    refused(cli("train", "--resume", tmp_path / "nowhere"), "nothing to resume")


def test_resume_takes_no_other_wishes(cli: Cli, refused: Refused, probe_run: Path) -> None:
    refused(cli("train", "--resume", probe_run, "--lr", 0.1), "--resume")
    refused(cli("train", "--resume", probe_run, "--backbone", "resnet50"), "--resume")


def test_weights_that_do_not_fit_are_named(
    train: Cli, refused: Refused, weights: Path, photos: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    del tensors["layer4.0.conv1.weight"]
    save_file(tensors, tmp_path / "lacking.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:5000])
    (tmp_path / "text.pth").write_text("no weights")
    for name, words in (("lacking", ["layer4.0.conv1.weight"]), ("cut", ["cut.safetensors"]), ("text", ["text.pth"])):
        file = next(tmp_path.glob(f"{name}.*"))
        refused(train(photos, "--backbone", "starter", "--weights", file), *words)
    assert not (tmp_path / "run").exists()


def test_no_network_says_what_to_do_instead(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    refused(train(photos, "--backbone", "resnet18"), "--weights")
    assert not (tmp_path / "run").exists()


OTHERS = """
predict RUN nowhere.png | predict RUN LONG | predict nowhere PHOTO | predict RUN PHOTO --json --csv
predict RUN PHOTO --device tpu9 | evaluate nowhere PHOTOS | evaluate RUN nowhere | evaluate RUN PHOTOS --split test
evaluate RUN PHOTOS --split tset | describe nowhere | describe LONG | backbones resnot999
compare PHOTOS --arms prob | compare PHOTOS --shots few
"""


@pytest.mark.parametrize("words", [words.strip() for words in OTHERS.strip().replace("\n", "|").split("|")])
def test_other_commands_refuse_in_the_same_way(
    cli: Cli, refused: Refused, probe_run: Path, photos: Path, words: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    stands = {"RUN": probe_run, "PHOTOS": photos, "PHOTO": photos / "cat" / "cat_00.png", "LONG": "x" * 300}
    refused(cli(*(stands.get(w, w) for w in words.split())))
    assert not (tmp_path / "runs").exists()


def test_a_class_that_the_model_does_not_know(
    cli: Cli, refused: Refused, probe_run: Path, class_folder: Callable[..., Path]
) -> None:
    refused(cli("evaluate", probe_run, class_folder(classes=("cat", "emu"))), "emu", "cat, dog, owl")


def test_with_json_the_message_is_json_too(cli: Cli, tmp_path: Path) -> None:
    answer = cli("train", tmp_path / "nowhere", "--json")
    found = json.loads(answer.out)
    assert found["exit_code"] == answer.code == 2
    assert "nowhere" in found["error"]
    assert "\nheadstart: " in answer.err


# -- --out --


def test_an_existing_out_is_refused_at_once_and_left_alone(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(photos).code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with monkeypatch.context() as patch:
        from headstart.data import loading

        patch.setattr(loading, "read_photos", lambda *_, **__: pytest.fail("photos were read for nothing"))
        refused(train(photos), "exists", "--overwrite")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    refused(train(tmp_path / "nowhere", "--overwrite"), "no such")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    assert train(photos, "--overwrite", "--seed", 1).code == 0
    assert (tmp_path / "run" / "splits.csv").read_bytes() != before["splits.csv"]


def test_an_out_that_holds_photos_is_never_cleared(
    train: Cli, refused: Refused, class_folder: Callable[..., Path]
) -> None:
    data = class_folder()
    refused(train(data, "--out", data, "--overwrite"), "not a run")
    assert len(list(data.rglob("*.png"))) == 12


def test_an_out_that_cannot_be_made(train: Cli, refused: Refused, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    refused(train(photos, "--out", tmp_path / "file"), "is a file")
    refused(train(photos, "--out", tmp_path / "file" / "run"), "cannot be made")
    refused(train(photos, "--out", tmp_path / ("x" * 300)), "cannot be made")
    assert (tmp_path / "file").read_text() == "dear"


# -- while it trains --


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("strategy", ["probe", "finetune"])
def test_a_full_disk_is_said_and_the_run_can_be_resumed(
    train: Cli, cli: Cli, refused: Refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    from headstart.models import serialization

    with monkeypatch.context() as patch:
        patch.setattr(serialization, "save_file", full_disk)
        refused(train(photos, "--strategy", strategy, "--epochs", 1), "No space left")
    assert not (tmp_path / "run" / "model.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()
    assert cli("train", "--resume", tmp_path / "run").code == 0


def test_a_cache_that_is_full_or_in_the_way_is_said(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    refused(train(photos), "cache")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_and_says_where(
    train: Cli, refused: Refused, photos: Path, tmp_path: Path
) -> None:
    answer = train(photos, "--strategy", "finetune", "--lr", "1e30", "--set", "lr_backbone=1e30", "--epochs", 2)
    refused(answer, "not a finite number", "--lr")
    assert not (tmp_path / "run" / "model.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_ctrl_c_says_how_to_resume_and_the_resumed_run_is_the_same(
    train: Cli, cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.core.events import Events

    words = (photos, "--strategy", "finetune", "--epochs", 2, "--batch-size", 8)
    assert train(*words, "--out", tmp_path / "whole").code == 0
    count = iter(range(100))

    def progress(self: Events, task: str, *_: object) -> None:
        if task == "training" and next(count) == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Events, "progress", progress)
        answer = train(*words)
    assert answer.code == 130
    assert f"headstart train --resume {tmp_path / 'run'}" in answer.err
    assert "Traceback" not in answer.err
    assert cli("predict", tmp_path / "run", photos / "cat").code == 2
    resumed = cli("train", "--resume", tmp_path / "run")
    assert resumed.code == 0, resumed
    for name in ("model.safetensors", "certainty.safetensors", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_before_training_leaves_nothing(
    train: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import loading

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "read_photos", stop)
    answer = train(photos)
    assert answer.code == 130
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run").exists()

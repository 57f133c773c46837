"""``headstart check``: the whole command, its exit code, page and cleaned list; and what ``train`` does of it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import headstart as hs
from headstart.cli.app import main
from headstart.data.sources.detect import scan
from headstart.errors import DataError
from headstart.training.config import TrainOptions
from headstart.training.preparation import leakage_of
from headstart.workflows.check.base import CHECKS, Check, Context, Finding

Make = Callable[..., Path]


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["headstart", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def leaking(scenes: Make) -> Path:
    """Splits that share two pictures: one by its bytes, one mirrored."""
    folder = scenes(splits=("train", "test"), per_class=8)
    shutil.copy(folder / "train" / "cat" / "cat-0.png", folder / "test" / "cat" / "copy.png")
    ImageOps.mirror(Image.open(folder / "train" / "dog" / "dog-1.png")).save(folder / "test" / "dog" / "mirror.jpg")
    return folder


def test_leaking_splits_end_with_1_and_are_shown(
    leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert run(monkeypatch, "check", leaking, "--backbone", "starter", "--out", page) == 1
    shown = capsys.readouterr().out
    assert "error    2 pairs of duplicates across splits" in shown
    assert "train/cat/cat-0.png = test/cat/copy.png (cat)  the same file" in shown
    text = page.read_text()
    assert "Duplicates across splits" in text
    assert text.count("mirror.jpg") == 1
    assert text.count("data:image/jpeg") >= 4


def test_the_cleaned_list_is_fit_and_nothing_is_moved(
    leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (leaking / "train" / "dog" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    before = sorted(leaking.rglob("*"))
    clean = tmp_path / "lists" / "clean.csv"
    asked = ("--quick", "--out", tmp_path / "page.html", "--json", "--quiet")
    assert run(monkeypatch, "check", leaking, "--fix", clean, *asked) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["fit"], told["left_out"], told["cleaned"]) == (False, 3, str(clean))
    assert sorted(leaking.rglob("*")) == before
    with (clean.parent / "clean-left-out.csv").open() as file:
        gone = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert gone.keys() == {"cat-0.png", "dog-1.png", "cut.jpg"}  # those of train: what judges stays whole
    assert gone["cat-0.png"] == "a duplicate of test/cat/copy.png"
    assert run(monkeypatch, "check", clean, *asked, "--overwrite") == 0
    kept = json.loads(capsys.readouterr().out)
    assert (kept["fit"], kept["photos"]) == (True, 32)


def test_one_picture_under_two_labels_is_an_error_and_leaves_no_copy(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(per_class=20)
    shutil.copy(folder / "cat" / "cat-0.png", folder / "dog" / "same.png")
    ImageOps.mirror(Image.open(folder / "cat" / "cat-1.png")).save(folder / "dog" / "near.jpg")
    found = hs.check(folder, quick=True, quiet=True, out=tmp_path / "p.html", fix=tmp_path / "clean.csv")
    assert [(f.kind, f.severity) for f in found.findings] == [("conflict", "error"), ("near-conflict", "warning")]
    assert found.left_out == 4
    assert not found.fit


def test_copies_in_one_class_are_a_note_and_all_but_one_go(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(per_class=20)
    for name in ("same.png", "again.png"):
        shutil.copy(folder / "cat" / "cat-0.png", folder / "cat" / name)
    found = hs.check(folder, quick=True, quiet=True, out=tmp_path / "p.html", fix=tmp_path / "clean.csv")
    assert found.fit
    assert [(f.kind, f.severity, len(f.cases)) for f in found.findings] == [("copies", "note", 2)]
    assert found.left_out == 2
    assert len(found.frame()) == 4
    assert "duplicates within a class" in found._repr_html_()


def test_labels_are_judged_by_the_network(class_folder: Make, tmp_path: Path) -> None:
    folder = class_folder(classes=("cat", "dog"), per_class=60)
    for i in range(4):
        shutil.move(folder / "cat" / f"cat_00{i}.png", folder / "dog" / f"moved-{i}.png")
    found = hs.check(folder, backbone="starter", quiet=True, out=tmp_path / "p.html")
    labels = next(f for f in found.findings if f.kind == "label")
    named = {found.about(case.photos[0])["path"] for case in labels.cases}
    assert len(named) >= 2  # others are far enough from all to count as strangers
    assert named <= {f"dog/moved-{i}.png" for i in range(4)}
    assert all("looks like cat" in case.words for case in labels.cases)


@pytest.mark.parametrize("name", ["mine.csv", "mine-left-out.csv"])
def test_files_that_exist_are_not_written_over(scenes: Make, tmp_path: Path, name: str) -> None:
    folder = scenes(per_class=4)
    (tmp_path / name).write_text("precious")
    with pytest.raises(hs.errors.OptionError, match=rf"{name} exists"):
        hs.check(folder, quick=True, quiet=True, out=tmp_path / "p.html", fix=tmp_path / "mine.csv")
    assert (tmp_path / name).read_text() == "precious"


def test_the_list_must_not_replace_the_data_nor_the_page(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(per_class=4)
    table = tmp_path / "photos.csv"
    table.write_text("path,label\n" + "\n".join(f"{p},{p.parent.name}" for p in sorted(folder.glob("*/*"))))
    with pytest.raises(hs.errors.OptionError, match="is the data itself"):
        hs.check(table, quick=True, quiet=True, fix=table, overwrite=True)
    with pytest.raises(hs.errors.OptionError, match="is the page itself"):
        hs.check(table, quick=True, quiet=True, out=tmp_path / "x.html", fix=tmp_path / "x.html")


def test_a_page_that_cannot_be_written_is_one_message(scenes: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(hs.errors.OptionError, match="is a file, not a folder"):
        hs.check(scenes(per_class=4), quick=True, quiet=True, out=tmp_path / "file" / "page.html")


def test_a_list_that_cannot_be_trained_on_says_so(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(splits=("train", "test"), per_class=8)
    for photo in (folder / "train" / "dog").iterdir():
        shutil.copy(photo, folder / "test" / "dog" / f"again-{photo.name}")
    found = hs.check(folder, quick=True, quiet=True, out=tmp_path / "p.html", fix=tmp_path / "clean.csv")
    assert "'dog' is only in test" in found.lost
    assert "It cannot be trained on" in found.text(3)


def test_a_run_is_no_data(scenes: Make, tmp_path: Path) -> None:
    run = hs.train(scenes(per_class=12), out=tmp_path / "run", **TRAIN)
    with pytest.raises(DataError, match="is a run, not photos"):
        hs.check(run.path, quick=True, quiet=True)


def test_bursts_stay_together_and_one_picture_alone_is_told_of(
    scenes: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight scenes a class with four frames each can be parted; a class that is one scene cannot."""
    folder = scenes(per_class=8)
    for photo in sorted(folder.glob("*/*")):
        for n in range(3):
            frame = Image.open(photo).copy()
            frame.putpixel((n, n), (255, 0, 0))
            frame.save(photo.with_name(f"{photo.stem}-{n}.png"))
    run = hs.train(folder, out=tmp_path / "run", **TRAIN)
    with (run.path / "splits.csv").open() as file:
        where = {Path(row["path"]).stem: row["split"] for row in csv.DictReader(file)}
    scenes_of = {name[:5]: {split for other, split in where.items() if other[:5] == name[:5]} for name in where}
    assert all(len(splits) == 1 for splits in scenes_of.values())
    for photo in (folder / "dog").iterdir():
        if not photo.stem.startswith("dog-1"):
            photo.unlink()
    for n in range(16):
        frame = Image.open(folder / "dog" / "dog-1.png").copy()
        frame.putpixel((30, n), (0, 255, 0))
        frame.save(folder / "dog" / f"dog-1x{n}.png")
    hs.train(folder, out=tmp_path / "run2", **TRAIN)
    assert "most photos of 'dog' are near-duplicates of each other" in capsys.readouterr().err
    found = hs.check(folder, backbone="starter", quiet=True, out=tmp_path / "p.html")
    assert "unjudged" in {f.kind for f in found.findings}


def test_no_findings_are_an_empty_frame(scenes: Make, tmp_path: Path) -> None:
    found = hs.check(scenes(per_class=20), quick=True, quiet=True, out=tmp_path / "p.html")
    assert found.frame().columns[0] == "kind"
    assert not len(found.frame())


def test_without_weights_the_rest_is_checked_all_the_same(
    leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADSTART_MIRROR", "http://127.0.0.1:9")  # nothing answers there
    found = hs.check(leaking, backbone="resnet18", out=tmp_path / "p.html")
    assert "labels are not checked" in capsys.readouterr().err
    assert {f.kind for f in found.findings} == {"leakage", "few"}


def test_weights_that_were_named_must_be_there(leaking: Path, tmp_path: Path) -> None:
    with pytest.raises(hs.errors.WeightsError):
        hs.check(leaking, backbone="resnet18", weights=tmp_path / "none.pth", quiet=True)


# -- what train does of it --


TRAIN = {"backbone": "starter", "strategy": "probe", "quiet": True}


def left_out(run: Path) -> dict[str, str]:
    """Path → reason of the photos that splits.csv names in no split."""
    with (run / "splits.csv").open() as file:
        return {row["path"]: row["left_out"] for row in csv.DictReader(file) if not row["split"]}


GONE = {
    "train/cat/cat-0.png": "a duplicate of test/cat/copy.png (test)",
    "train/dog/dog-1.png": "a duplicate of test/dog/mirror.jpg (test)",
}


def test_train_goes_on_without_the_copies_in_train_and_says_so(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hs.train(leaking, out=tmp_path / "run", **TRAIN)
    said = [line for line in capsys.readouterr().err.splitlines() if "a later split" in line]
    assert len(said) == 1
    assert "the same picture (1 near-duplicate): 2 photos, train/cat/cat-0.png (train) = test/cat/copy.png" in said[0]
    assert left_out(run.path) == GONE
    facts = json.loads((run.path / "check.json").read_text())
    assert {one["path"]: one["reason"] for one in facts["left_out"]} == GONE
    assert facts["leakage"] == {"handling": "drop", "near_duplicates_kept": 0}
    assert run.metrics["training"]["leakage"] == facts["leakage"]
    assert "the same picture (1 near-duplicate): 2 photos" in (run.path / "report.html").read_text()
    assert run.metrics["test"]["photos"] == 18  # test is whole


def test_what_train_leaves_out_is_what_fix_leaves_out(leaking: Path, tmp_path: Path) -> None:
    hs.check(leaking, backbone="starter", fix=tmp_path / "clean.csv", out=tmp_path / "page.html", quiet=True)
    with (tmp_path / "clean-left-out.csv").open() as file:
        fixed = {row["path"].partition("photos/")[2] for row in csv.DictReader(file)}
    assert fixed == GONE.keys()


def test_of_copies_in_val_and_test_the_one_in_val_is_left_out(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(splits=("train", "val", "test"), per_class=8)
    for split in ("train", "val"):  # one picture in all three; the mirrored one is near
        ImageOps.mirror(Image.open(folder / "test/dog/dog-1.png")).save(folder / split / "dog/mirror.jpg", quality=95)
    run = hs.train(folder, out=tmp_path / "run", **TRAIN)
    assert left_out(run.path).keys() == {"train/dog/mirror.jpg", "val/dog/mirror.jpg"}


def test_the_splits_of_a_run_are_a_table_that_trains_on_the_same_photos(leaking: Path, tmp_path: Path) -> None:
    run = hs.train(leaking, out=tmp_path / "run", **TRAIN)
    shutil.copy(run.path / "splits.csv", leaking / "splits.csv")
    again = hs.train(leaking / "splits.csv", out=tmp_path / "again", **TRAIN)
    first, second = (hs.open_run(r.path).classifier.provenance["data"]["digest"] for r in (run, again))
    assert first == second


def test_train_stops_at_splits_that_share_pictures_where_it_is_asked_to(leaking: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as stopped:
        hs.train(leaking, out=tmp_path / "run", leakage="stop", **TRAIN)
    message = str(stopped.value)
    assert "2 pairs of duplicates across splits" in message
    assert "cat-0.png (train)" in message
    assert "copy.png (test)" in message
    assert "`leakage='drop'`" in message
    assert "fix=" in message
    assert stopped.value.option == "leakage"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", [{"leakage": "keep"}, {"allow_leakage": True}])
def test_near_copies_are_kept_where_it_is_asked_and_the_report_counts_them(
    leaking: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    run = hs.train(leaking, out=tmp_path / "run", **asked, **TRAIN)
    assert left_out(run.path).keys() == {"train/cat/cat-0.png"}  # the same bytes leave train
    assert "share 1 pair of near-duplicates" in (run.path / "report.html").read_text()
    assert run.metrics["training"]["leakage"] == {"handling": "keep", "near_duplicates_kept": 1}


def test_two_answers_about_leakage_are_refused(leaking: Path) -> None:
    with pytest.raises(hs.errors.OptionError, match=r"`allow_leakage` means `leakage='keep'`"):
        hs.train(leaking, leakage="drop", allow_leakage=True, quiet=True)


def test_the_splits_of_a_named_set_stay_as_published_unless_another_way_is_chosen(leaking: Path) -> None:
    manifest = scan(leaking)
    named = replace(manifest, source="named")
    for asked, of_yours, published in ((None, "drop", "keep"), ("drop", "drop", "drop"), ("stop", "stop", "stop")):
        options = TrainOptions(str(leaking), leakage=asked)
        assert (leakage_of(options, manifest), leakage_of(options, named)) == (of_yours, published)


def test_a_split_whose_photos_are_all_copies_is_named(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(splits=("train", "test"), per_class=8)
    shutil.copytree(folder / "test", folder / "val")
    with pytest.raises(DataError, match="every photo of val is a duplicate of a photo in a later split"):
        hs.train(folder, out=tmp_path / "run", **TRAIN)


def test_splits_that_train_draws_keep_near_copies_together(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(per_class=20)
    for i in range(10):
        ImageOps.mirror(Image.open(folder / "cat" / f"cat-{i}.png")).save(folder / "cat" / f"mirror-{i}.jpg")
    for seed in range(3):
        run = hs.train(folder, out=tmp_path / f"run{seed}", seed=seed, **TRAIN)
        with (run.path / "splits.csv").open() as file:
            split = {Path(row["path"]).stem: row["split"] for row in csv.DictReader(file)}
        assert all(split[f"cat-{i}"] == split[f"mirror-{i}"] for i in range(10))
        assert "near-duplicates stay in one split" in (run.path / "check.json").read_text()


@pytest.mark.assets
@pytest.mark.slow
def test_what_nature_planted_in_real_photos(assets: Path, tmp_path: Path) -> None:
    found = hs.check(
        assets / "data/animals", weights=assets / "weights/resnet18.fp16.safetensors", image_size=160, quiet=True,
        out=tmp_path / "p.html",
    )  # fmt: skip
    assert found.fit
    by_kind = {f.kind: {found.about(i)["path"] for case in f.cases for i in case.photos} for f in found.findings}
    assert by_kind["copies"] == {"dogs/dogs_00276.jpg", "dogs/dogs_00404.jpg"}
    logos = {"cats/cats_00374.jpg", "cats/cats_00556.jpg", "dogs/dogs_00065.jpg", "dogs/dogs_00403.jpg"}
    assert logos <= by_kind["stranger"]
    assert len(by_kind["stranger"]) < 20


# -- a check from outside --


def _overexposed(context: Context) -> Iterator[Finding]:
    mean = context.fingerprints.thumbs.reshape(len(context.members), -1).mean(1)
    bright = np.flatnonzero(mean > 240)
    if len(bright):
        cases = context.cases(bright, lambda i: f"gray level {mean[i]:.0f}", lambda i: mean[i])
        yield Finding("warning", f"{len(bright)} overexposed", "Look at them.", cases)


@pytest.fixture
def overexposed() -> Iterator[None]:
    CHECKS.register("overexposed", Check("Overexposed photos", _overexposed, removes="all"))
    yield
    CHECKS.unregister("overexposed")


def test_a_check_from_outside_is_reported_shown_and_cleaned_like_the_others(
    scenes: Make, overexposed: None, tmp_path: Path
) -> None:
    folder = scenes(per_class=20)
    for n in range(2):
        pixels = np.full((120, 160), 255, np.uint8)
        pixels[n * 40 : n * 40 + 20, 20 : 60 + n * 60] = 0
        Image.fromarray(np.where(pixels, 255, 200).astype(np.uint8)).save(folder / "cat" / f"white-{n}.png")
    found = hs.check(folder, quick=True, quiet=True, out=tmp_path / "p.html", fix=tmp_path / "clean.csv")
    (told,) = (f for f in found.findings if f.kind == "overexposed")
    assert {found.about(case.photos[0])["path"] for case in told.cases} == {"cat/white-0.png", "cat/white-1.png"}
    assert "Overexposed photos" in (tmp_path / "p.html").read_text()
    assert "white-" not in (tmp_path / "clean.csv").read_text()
    assert "gray level" in (tmp_path / "clean-left-out.csv").read_text()


def test_a_check_that_needs_features_is_left_out_without_them(scenes: Make, tmp_path: Path) -> None:
    def fails(context: Context) -> Iterator[Finding]:
        raise AssertionError("asked without features")

    CHECKS.register("needy", Check("Needy", fails, needs_features=True))
    try:
        assert hs.check(scenes(per_class=20), quick=True, quiet=True, out=tmp_path / "p.html").fit
    finally:
        CHECKS.unregister("needy")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_the_cleaned_list_names_the_same_photos_whatever_their_names(
    tmp_path: Path, draw_photo: Callable[..., Path], cli: Callable[..., Any], train: Callable[..., Any]
) -> None:
    classes = (b"caf\xe9", b"caf\xe8", b"=sum", b"back\\slash", b"new\nline", b" blank ", b"com,ma", "写真".encode())
    rng, home = np.random.default_rng(0), tmp_path / "home"
    for number, name in enumerate(classes):
        folder = os.fsdecode(os.path.join(os.fsencode(home / "photos"), name))
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system has no such names")
        for i in range(6):
            draw_photo(tmp_path / "one.png", number, rng).rename(os.path.join(folder, os.fsdecode(b"\xff ,%d.png" % i)))
    (tmp_path / "real" / "deep" / "down").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep" / "down")
    clean = tmp_path / "link" / "clean.csv"
    page = tmp_path / "page.html"
    answer = cli("check", home / "photos", "--quick", "--fix", clean, "--out", page)
    assert answer.code == 0, answer
    before, after = scan(home / "photos"), scan(clean)
    assert {(p.path, p.label) for p in after.photos} == {(p.path, p.label) for p in before.photos}
    assert scan(clean.resolve()).skipped == after.skipped == ()
    names = [r"=sum", r"back\slash", "blank", r"caf\xe8", r"caf\xe9", "com,ma", r"new\nline", "写真"]
    for data in (home / "photos", clean):
        assert train(data, "--overwrite").code == 0
        model = json.loads((tmp_path / "run" / "model.json").read_bytes().decode())
        assert model["classes"] == names
        checked = json.loads(cli("evaluate", tmp_path / "run", data, "--split", "all", "--json").out)
        assert checked["bad"] == []
        assert checked["classes"] == names
    answers = [
        json.loads(line) for line in cli("predict", tmp_path / "run", home / "photos", "--jsonl").out.splitlines()
    ]
    assert len(answers) == 6 * len(classes)
    assert all(list(answer["probabilities"]) == names for answer in answers)

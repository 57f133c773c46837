"""``headstart study``: what ships runs in its quick form, and every mistake ends in one message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.workflows.experiment.catalogue import load, shipped

Cli = Callable[..., Any]
Refused = Callable[..., None]
ClassFolder = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_a_shipped_study_runs_in_its_quick_form(
    cli: Cli, class_folder: ClassFolder, resnets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, quick_forms: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(
        "headstart.inference.device.BATCH", 4
    )  # batches are always full: with four photos 32 cost eight times
    sets, backbones, changes = quick_forms[name]
    changes = [*changes, "test_photos=4"]
    words: list[object] = ["study", name, "--quick", "--out", tmp_path / "out", "--device", "cpu"]
    for dataset, layout in sets.items():
        words += ["--data", f"{dataset}={class_folder(dataset, **layout)}"]
    for backbone in backbones:
        words += ["--weights", f"{backbone}={resnets[backbone]}"]
    for change in changes:
        words += ["--set", change]
    answer = cli(*words)
    assert answer.code == 0, answer.err
    recipe = load(name, changes, quick=True)
    rows = [f"{arm.name} {point}".strip() for arm in recipe.arms for point, _ in arm.points()]
    table, found = re.split(r"\ndifferences \(.*\)\n", answer.out)
    assert [row for row in rows if re.search(rf"^{re.escape(row)}  ", table, re.MULTILINE)] == rows
    assert answer.out.startswith(recipe.title)
    assert "over photos" in found
    assert "\nA quick trial: " in answer.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for told in (answer.out, page):
        assert "This is the quick form of the study" in told
    assert "Published beside ours" not in page  # what others reached at full size
    assert not [row for row in json.loads((tmp_path / "out" / "study.json").read_text())["arms"] if row["published"]]
    figures = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    assert [f"{row['arm']} {row['point']}".strip() for row in figures["arms"]] == rows
    assert figures["answer"] in answer.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(arm.name in page for arm in recipe.arms)
    assert f"headstart study {name}" in page
    assert list((tmp_path / "out" / "pictures").glob("*.svg"))
    assert {row["judged"] for row in figures["arms"]} == {3 if name == "animals" else 4}


# -- looking --


def test_the_list_names_every_study_that_ships(cli: Cli) -> None:
    answer = cli("study", "--list")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == list(shipped())
    assert all(file.summary in answer.out for file in shipped().values())
    as_json = json.loads(cli("study", "--list", "--json").out)
    assert as_json == [{"name": name, "about": file.summary} for name, file in shipped().items()]


def test_show_prints_a_recipe_that_is_one(cli: Cli, tmp_path: Path) -> None:
    answer = cli("study", "imagewoof", "--show")
    assert (answer.code, answer.out) == (0, shipped()["imagewoof"].text)
    (tmp_path / "copy.yaml").write_text(answer.out, encoding="utf-8")
    assert load(str(tmp_path / "copy.yaml")) == load("imagewoof")


# -- one's own --

OWN = """
name: own
images: {pets: {words: "Photos of pets."}}
every_arm: {backbone: starter, image_size: 32, batch_size: 8, epochs: 1}
arms:
  probe: {strategy: probe}
  scratch: {strategy: scratch}
quick: {shots: 2}
"""


@pytest.fixture
def own(recipe_file: Callable[..., Path]) -> Path:
    return recipe_file(OWN)


def test_the_result_is_json_where_asked_and_the_rest_goes_to_standard_error(
    cli: Cli, own: Path, photos: Path, weights: Path, tmp_path: Path
) -> None:
    words = ["study", own, "--data", photos, "--weights", weights, "--quick", "--seeds", 2, "--set", "epochs=1"]
    answer = cli(*words, "--out", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [(row["arm"], len(row["values"])) for row in found["arms"]] == [("probe", 2), ("scratch", 2)]
    assert found["report"] == str(tmp_path / "out" / "report.html")
    assert [line.split()[:3] for line in answer.err.splitlines() if "accuracy" in line] == [
        [str(n), "of", "4"] for n in (1, 2, 3, 4)
    ]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"--data {photos} --weights {weights} --quick --seeds 2 --set epochs=1" in page


def test_a_path_may_hold_an_equals_sign(cli: Cli, own: Path, class_folder: ClassFolder, tmp_path: Path) -> None:
    data = class_folder("a=b", per_class=8)
    answer = cli("study", own, "--data", data, "--set", "strategy=probe", "--out", tmp_path / "out", "--quiet")
    assert answer.code == 0, answer.err
    assert "probe" in answer.out


# -- mistakes --

MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no name": ([], ["Which study?", "headstart study --list"]),
    "show without a name": (["--show"], ["Which study?"]),
    "an unknown name": (["animls"], ["There is no study 'animls'", "'animals'"]),
    "show of an unknown name": (["animls", "--show"], ["'animals'"]),
    "no such recipe": (["nowhere.yaml"], ["nowhere.yaml cannot be read"]),
    "an unknown arm": (["OWN", "--set", "prob.epochs=2"], ["no arm is named 'prob'", "'probe'"]),
    "an unknown key": (["OWN", "--set", "epocs=2"], ["unknown key 'epocs'", "'epochs'"]),
    "no value": (["OWN", "--set", "epochs"], ["'epochs' is not NAME=VALUE", "--set epochs=3"]),
    "an impossible value": (["OWN", "--set", "scratch.epochs=none"], ["arms.scratch", "epochs='none'"]),
    "no seeds": (["OWN", "--seeds", "0"], ["seeds: 0 is not a whole number from 1 to 1,000"]),
    "no photos": (["OWN"], ["own needs photos of yours: --data pets=FOLDER. Photos of pets."]),
    "photos of nobody": (["OWN", "--data", "petz=PHOTOS"], ["--data petz", "'pets'"]),
    "photos twice": (["OWN", "--data", "pets=PHOTOS", "--data", "pets=PHOTOS"], ["--data names pets twice"]),
    "photos twice, unnamed": (["OWN", "--data", "PHOTOS", "--data", "PHOTOS"], ["a path without a name twice"]),
    "photos that are not there": (["OWN", "--data", "PHOTOS-not"], ["no such folder or file", "PHOTOS-not"]),
    "weights that are not there": (["OWN", "--data", "PHOTOS", "--weights", "none.pt"], ["none.pt is no file"]),
    "weights of nobody": (["OWN", "--data", "PHOTOS", "--weights", "resnet5=OWN"], ["no arm uses resnet5"]),
    "weights that are none": (["OWN", "--data", "PHOTOS", "--weights", "OWN"], ["own.yaml"]),
    "an unknown device": (["OWN", "--data", "PHOTOS", "--device", "gpu"], ["gpu"]),
    "a file as --out": (["OWN", "--data", "PHOTOS", "--out", "OWN"], ["own.yaml is a file"]),
    "too few photos": (["OWN", "--data", "PHOTOS", "--set", "shots=500"], ["--shots 500: too few photos"]),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_ends_in_one_message(
    cli: Cli, refused: Refused, own: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given, expected = MISTAKES[kind]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PHOTOS").symlink_to(photos, target_is_directory=True)
    words = [str(own) if word == "OWN" else word.replace("=OWN", f"={own}") for word in given]
    refused(cli("study", *words), *expected)
    assert not (tmp_path / "runs").exists()

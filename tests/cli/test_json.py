"""Whatever a command prints with --json, and every JSON file that it leaves, is JSON: no NaN, no Infinity, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
# Where metrics tend to be 0/0: one class and one photo in val and in test, and no photo that is classified wrongly.
SPARSE = ("train,cat,5", "train,dog,5", "val,cat,1", "test,dog,1")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def sparse(class_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A CSV of photos with ``SPARSE``'s splits."""
    folder, rows, used = class_folder(per_class=8), ["path,label,split"], dict.fromkeys(("cat", "dog"), 0)
    for line in SPARSE:
        split, label, count = line.split(",")
        for _ in range(int(count)):
            rows.append(f"{folder.name}/{label}/{label}_{used[label]:03d}.png,{label},{split}")
            used[label] += 1
    (tmp_path / "sparse.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "sparse.csv"


@pytest.mark.parametrize("strategy", ["probe", "finetune", "auto"])
def test_of_next_to_no_photos(cli: Cli, starter: tuple[str, ...], sparse: Path, tmp_path: Path, strategy: str) -> None:
    run = tmp_path / "run"
    few = ("--json", "-q")
    commands: list[tuple[object, ...]] = [
        ("train", sparse, "--strategy", strategy, "--epochs", 1, *starter, "--out", run),
        ("evaluate", run, sparse), ("evaluate", run, sparse, "--split", "val"), ("describe", run),
        ("explain", run, tmp_path / "photos" / "cat" / "cat_000.png", "--out", tmp_path / "explained"),
    ]  # fmt: skip
    for words in commands:
        answer = cli(*words, *(few[:1] if words[0] == "describe" else few))
        assert answer.code == 0, answer
        strict(answer.out)
    for line in cli("predict", run, tmp_path / "photos", "--jsonl").out.splitlines():
        strict(line)
    for path in [*run.rglob("*.json"), *(tmp_path / "explained").rglob("*.json")]:
        strict(path.read_bytes().decode("utf-8"))


@pytest.mark.slow
def test_of_one_seed_and_of_two_that_agree(cli: Cli, starter: tuple[str, ...], sparse: Path, tmp_path: Path) -> None:
    for seeds in (1, 2):
        words = ("--arms", "probe,scratch", "--seeds", seeds, "--epochs", 1, "--json", "-q", "--overwrite")
        answer = cli("compare", sparse, *words, *starter, "--out", tmp_path / "out")
        assert answer.code == 0, answer
        strict(answer.out)
    recipe = "name: own\nimages: {p: }\nevery_arm: {backbone: starter, epochs: 1}\narms: {a: {strategy: probe}, b: }\n"
    (tmp_path / "own.yaml").write_text(recipe, encoding="utf-8")
    answer = cli(
        "study", tmp_path / "own.yaml", "--data", sparse, "--weights", starter[3], "--json", "-q", "--out",
        tmp_path / "study",
    )  # fmt: skip
    assert answer.code == 0, answer
    strict(answer.out)
    for path in [*(tmp_path / "out").rglob("*.json"), *(tmp_path / "study").rglob("*.json")]:
        strict(path.read_bytes().decode("utf-8"))


@pytest.mark.slow
def test_of_what_looks_at_photos(cli: Cli, starter: tuple[str, ...], class_folder: Callable[..., Path]) -> None:
    photos = class_folder(per_class=6)
    for words in (
        ("check", photos, *starter[:4]), ("check", photos, "--quick"), ("backbones", "resnet1*"),
        ("recommend", photos, "--backbones", "starter,starter@layer2"), ("forecast", photos, *starter[:4]),
        ("forecast", photos, *starter[:4], "--target", "0.999"),
    ):  # fmt: skip
        answer = cli(*words, "--json", *(() if words[0] == "backbones" else ("-q",)))
        assert answer.code in (0, 1), answer
        strict(answer.out)

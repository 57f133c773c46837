"""What the tests of earlier formats share: where the files of headstart 0.1.0 lie, and what is compared."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

STORED = Path(__file__).parents[1] / "fixtures" / "format-0.1"
TEXT = (".json", ".csv", ".md", ".yaml")
INTERRUPTED = ("finetune-interrupted", "auto-interrupted")
LAST_ARM = Path("arms") / "tuned-1"

Earlier = Callable[..., Path]
Headstart = Callable[..., "Answer"]


class Answer(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def change(path: Path, *, within: str = "", without: str = "", **new: Any) -> None:
    """Put keys into a JSON file, or into the mapping of that name in it, and take one out."""
    whole = read(path)
    part = whole[within] if within else whole
    part |= new
    if without:
        del part[without]
    path.write_text(json.dumps(whole), encoding="utf-8")


def files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file: the same where nothing was written."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same_weights(run: Path, expected: Path, recorded: dict[str, Any]) -> None:
    """Bit for bit, where arithmetic here is that of the machine on which the files were made."""
    mine, theirs = load_file(run / "model.safetensors"), load_file(expected)
    assert mine.keys() == theirs.keys()
    exact = runpy.run_path(str(STORED.parent / "make_format_0_1.py"))["arithmetic"]() == recorded["arithmetic"]
    for name, tensor in theirs.items():
        same = torch.equal(mine[name], tensor) if exact else torch.allclose(mine[name], tensor, atol=1e-5)
        assert same, name


def assert_same_answers(run: Path, before: list[dict[str, str]]) -> None:
    after = rows(run / "predictions.csv")
    assert [{**row, "confidence": ""} for row in after] == [{**row, "confidence": ""} for row in before]
    for mine, theirs in zip(after, before, strict=True):
        assert float(mine["confidence"]) == pytest.approx(float(theirs["confidence"]), abs=1e-3)


def unfinish(study: Path) -> list[dict[str, str]]:
    """Take away the study's last training, and what was written after it; returns what that training answered."""
    answers = rows(study / LAST_ARM / "predictions.csv")
    shutil.rmtree(study / LAST_ARM)
    for name in ("report.html", "study.json"):
        (study / name).unlink()
    return answers

"""Fixtures for pages: filled reports, photos, metrics, a reader of HTML."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.data.schema import BadFile
from headstart.evaluation.metrics import evaluate
from headstart.reporting.page import Fact
from headstart.workflows.train.page import DataCheck, Mistake, RunReport

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed page: its elements as (tag, attributes), its visible words, and tags not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> out of order")

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "title"):
            self.words += f" {data}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def make_photo(seed: int = 0, size: tuple[int, int] = (90, 120)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_metrics(classes: list[str], photos: int = 240, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), photos)
    weights = np.exp(2 * rng.normal(size=(photos, len(classes))) + 4 * np.eye(len(classes))[labels])
    return evaluate(weights / weights.sum(axis=1, keepdims=True), labels, classes)


def make_run_report(classes: list[str] | None = None, **changes: Any) -> RunReport:
    """A run with something in every section."""
    classes = classes or ["cats", "dogs", "panda"]
    values: dict[str, Any] = {
        "title": "animals · resnet18",
        "answer": "It tells three animals apart.",
        "more": "Scratch is far below.",
        "caveats": ["One run: `headstart compare` says how sure that is."],
        "facts": [Fact("training", "38 s", "2 CPU cores")],
        "command": "headstart train photos --seed 0",
        "classes": classes,
        "metrics": {"val": make_metrics(classes, seed=1), "test": make_metrics(classes)},
        "counts": {"train": [70] * len(classes), "val": [15] * len(classes), "test": []},
        "history": [
            {"epoch": e, "phase": "finetune", "train_loss": 1 / e, "val_loss": 1.2 / e, "val_accuracy": 1 - 0.5 / e}
            for e in range(1, 6)
        ],
        "best_epoch": 4,
        "probe_path": [{"l2": 10.0**k, "val_accuracy": 0.9 - 0.01 * abs(k), "val_loss": 0.3} for k in range(-3, 3)],
        "chosen_l2": 1.0,
        "samples": {label: [make_photo(n) for n in range(3)] for label in classes},
        "mistakes": [Mistake(make_photo(9), classes[0], classes[1], 0.83, f"{classes[0]}/one.jpg")],
        "data_check": DataCheck(
            "3 classes, 300 photos", 300, [BadFile(Path("cats/broken.jpg"), "truncated")], {"CMYK": 2}, ["two twins"]
        ),
        "plan": [("learning rate", "1e-3", "AdamW, new weights")],
        "environment": {"torch": "2.12.1"},
        "contents": {"model.safetensors": "the weights"},
        "usage": [("headstart predict runs/a photo.jpg", "What is on a photo")],
    }
    return RunReport(**{**values, **changes})


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    return Page


@pytest.fixture(scope="session")
def photo() -> Callable[..., np.ndarray]:
    return make_photo


@pytest.fixture(scope="session")
def metrics() -> Callable[..., dict[str, Any]]:
    return make_metrics


@pytest.fixture(scope="session")
def run_report() -> Callable[..., RunReport]:
    return make_run_report

"""Features for experiments on probes. In: photos, a backbone, a size. Out: (features, labels) of train, val and test,
per seed and shots.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.events import Events
from headstart.data.loading import read
from headstart.data.sources.detect import scan
from headstart.inference.device import find_machine
from headstart.training.config import TrainOptions
from headstart.training.preparation import make_backbone, split
from headstart.training.strategies import pooled_features
from headstart.workflows.train.assess import make_context

Splits = tuple[tuple[np.ndarray, np.ndarray], ...]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What these experiments all take: DATA, --weights, --backbone, --seeds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--seeds", type=int, default=8)
    return parser


class Probing:
    """LoadedImages read and a backbone loaded once; splits are drawn per seed."""

    def __init__(self, asked: argparse.Namespace, settings: dict[str, Any]) -> None:
        self.options = TrainOptions(
            asked.data,
            backbone=asked.backbone,
            weights=asked.weights,
            strategy="probe",
            allow_leakage=True,
            settings=settings,
        )
        self.events, self.backbone, self.machine = Events(), make_backbone(self.options), find_machine("auto")
        self.events.warn = lambda sentence: None  # type: ignore[method-assign]
        resize = settings.get("resize", settings["image_size"])
        self.photos = read(scan(asked.data), resize, self.backbone.preprocessing.interpolation, "skip", self.events)
        self.seeds = asked.seeds

    def draws(self, shots: int | None) -> Iterator[tuple[int, Splits]]:
        """(number of classes, (train, val, test)) for each seed."""
        for seed in range(self.seeds):
            prepared = split(
                replace(self.options, seed=seed, shots=shots), self.photos, self.backbone, self.machine, self.events
            )
            task = make_context(prepared, Path("unused"), self.events)
            splits = tuple((pooled_features(task, s), prepared.labels[s]) for s in ("train", "val", "test"))  # type: ignore[arg-type]
            yield len(prepared.dataset.classes), splits

"""How should a probe choose its L2 strength on val? Compares three rules over seeds and shots, on cached features.

    python benchmarks/l2_choice.py DATA --weights FILE [--image-size 224] [--seeds 8]

Prints, per number of shots, the mean test accuracy of: the lowest val loss, ``headstart.train.probe.choose``, and the best strength in hindsight.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.scan import scan
from headstart.device import find_machine
from headstart.options import TrainOptions
from headstart.prepare import make_backbone, read, split
from headstart.train.probe import choose, fit_probe
from headstart.train.strategies import pooled_features
from headstart.training import make_task
from headstart.voice import Voice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=8)
    asked = parser.parse_args()
    options = TrainOptions(asked.data, backbone=asked.backbone, weights=asked.weights, strategy="probe", settings={"image_size": asked.image_size})
    voice, backbone, machine = Voice(quiet=True), make_backbone(options), find_machine("auto")
    photos = read(scan(asked.data), asked.image_size, backbone.preprocessing.interpolation, "skip", voice)
    for shots in (None, 100, 10, 5):
        figures = []
        for seed in range(asked.seeds):
            prepared = split(replace(options, seed=seed, shots=shots), photos, backbone, machine, voice)
            task = make_task(prepared, Path("unused"), voice)
            train, val, test = ((pooled_features(task, s), prepared.labels[s]) for s in ("train", "val", "test"))
            on_val = fit_probe(train, val, len(prepared.image_set.classes)).path
            on_test = np.array([step.val_accuracy for step in fit_probe(train, test, len(prepared.image_set.classes)).path])
            lowest = int(np.argmin([step.val_loss for step in on_val]))
            figures.append((on_test[lowest], on_test[choose(on_val, len(val[1]))], on_test.max()))
        loss, ours, best = np.mean(figures, axis=0)
        print(f"{photos.listing.name} {shots or 'all'} per class: lowest val loss {loss:.4f}   choose {ours:.4f}   hindsight {best:.4f}", flush=True)


if __name__ == "__main__":
    main()

"""Make ``src/headstart/models/starter.safetensors``, float16, from the run of this command::

    headstart train cifar100 --backbone starter --strategy scratch --val 0.02 --epochs 24 --batch-size 128 \\
        --lr 0.003 --set lr_backbone=0.003 --augment light --out starter-run
    python scripts/pack_starter.py starter-run

The run that made the file ended with 0.543 accuracy on CIFAR-100's 10,000 test images (95 % interval 0.533 to 0.552),
after 24 epochs of about a minute on two busy CPU cores. Its images came from a copy of the dataset stored as JPEG, so a
run on the original ends with slightly different weights. It learned from labels and images alone: no other network was
involved.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headstart.inference.classifier import Classifier
from headstart.models.serialization import save_state
from headstart.models.starter import starter_weights


def pack(run: Path, to: Path) -> None:
    """Write the backbone of a run, without its head, in float16: half the size, and no prediction changes."""
    classifier = Classifier.load(run, "cpu")
    weights = classifier.network.backbone.state_dict()
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    kept = {name: classifier.provenance[name] for name in ("headstart", "torch", "data", "strategy", "seed")}
    save_state(to, tensors, {"provenance": kept})


if __name__ == "__main__":
    pack(Path(sys.argv[1]), starter_weights())

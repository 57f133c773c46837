"""Makes the shipped weights. In: the run of the command in README.md. Out: starter.safetensors, float16, beside this
file.

python -m headstart.backbone.starter.pack RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from headstart.classifier import Classifier
from headstart.training.checkpoint import save_state


def pack(run: Path, to: Path) -> None:
    """Write the backbone of a run (without its head) in float16: half the size, and no answer changes."""
    classifier = Classifier.load(run, "cpu")
    tensors = {
        name: t.half() if t.is_floating_point() else t for name, t in classifier.network.backbone.state_dict().items()
    }
    kept = {name: classifier.provenance[name] for name in ("headstart", "torch", "data", "strategy", "seed")}
    save_state(to, tensors, {"provenance": kept})


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    pack(Path(sys.argv[1]), Path(__file__).with_name("starter.safetensors"))

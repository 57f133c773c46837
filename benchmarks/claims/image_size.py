"""Which input size? The same probe at several sizes, and with the border cut off as ImageNet's evaluation does.

    python benchmarks/claims/image_size.py DATA --weights FILE [--seeds 8]

Prints, per size, the mean test accuracy with all photos, 100 and 10 per class, and the seconds of the pass.
"""

from __future__ import annotations

import time

import numpy as np
from probing import Probing, arguments

from headstart.training.linear_probe import fit_probe

SIZES = (
    {"image_size": 128},
    {"image_size": 160},
    {"image_size": 160, "resize": 183},
    {"image_size": 224},
    {"image_size": 224, "resize": 256},
)


def main() -> None:
    asked = arguments(__doc__).parse_args()
    for settings in SIZES:
        began = time.perf_counter()
        probing = Probing(asked, settings)
        figures = {shots: np.mean([_accuracy(draw) for draw in probing.draws(shots)]) for shots in (None, 100, 10)}
        words = "   ".join(f"{shots or 'all'}: {value:.4f}" for shots, value in figures.items())
        print(
            f"{settings['image_size']} px, shorter side {settings.get('resize', settings['image_size'])}: {words} "
            f"  ({time.perf_counter() - began:.0f} s)",
            flush=True,
        )


def _accuracy(draw: tuple[int, tuple[tuple[np.ndarray, np.ndarray], ...]]) -> float:
    classes, (train, val, test) = draw
    probe = fit_probe(train, val, classes)
    answers = (test[0] @ probe.weight.numpy().T + probe.bias.numpy()).argmax(1)
    return float((answers == test[1]).mean())


if __name__ == "__main__":
    main()

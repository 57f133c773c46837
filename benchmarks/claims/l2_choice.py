"""How should a probe choose its L2 strength on val? Compares three rules over seeds and shots, on cached features.

    python benchmarks/claims/l2_choice.py DATA --weights FILE [--image-size 224] [--seeds 8]

Prints, per number of shots, the mean test accuracy of: the lowest val loss, the L2 that a probe chooses, and the best
in hindsight.
"""

from __future__ import annotations

import numpy as np
from probing import Probing, arguments

from headstart.training.linear_probe import choose, fit_probe


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--image-size", type=int, default=224)
    asked = parser.parse_args()
    probing = Probing(asked, {"image_size": asked.image_size})
    for shots in (None, 100, 10, 5):
        figures = []
        for classes, (train, val, test) in probing.draws(shots):
            on_val = fit_probe(train, val, classes).path
            on_test = np.array([step.val_accuracy for step in fit_probe(train, test, classes).path])
            lowest = int(np.argmin([step.val_loss for step in on_val]))
            figures.append((on_test[lowest], on_test[choose(on_val, len(val[1]))], on_test.max()))
        loss, ours, best = np.mean(figures, axis=0)
        print(
            f"{shots or 'all'} per class: lowest val loss {loss:.4f}   choose {ours:.4f}   hindsight {best:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

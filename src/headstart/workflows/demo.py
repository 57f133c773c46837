"""The demo: a comparison of strategies on handwritten digits, with the starter backbone, without a network connection.

``digits.npz`` holds the first 100 digits of each class (8 x 8 grey values of 0-16) of "Optical Recognition of
Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49,
licence CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), as scikit-learn distributes them. They are written out
as a class folder first, so that the demo treats them like photos of the user's own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from headstart.core.arguments import typed
from headstart.core.events import Listener
from headstart.core.files import new_folder
from headstart.core.paths import Place, cache_dir

if TYPE_CHECKING:
    from headstart.workflows.experiment.results import Comparison

SHOTS, SEEDS = (3, 5), 5
"""So few digits that pretraining is seen to help; at ten per class, scratch is nearly as good."""
EPOCHS = 15
"""For every arm that trains: enough for each to level off, and the whole demo within a minute."""
PER_CLASS = 100
"""Digits per class: enough for a test split that separates the arms, few enough to be read in a second."""


@typed
def demo(out: Place | None = None, quiet: bool = False, listener: Listener | None = None) -> Comparison:
    """Compare probe, fine-tuning and scratch on handwritten digits, at 3 and 5 images per class over 5 seeds.

    Args:
        out: a folder for the report, by default ``runs/demo``; an earlier demo there is replaced.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        The comparison, as ``compare`` makes it.

    Raises:
        RunError: the folder exists and holds something else.
    """
    from headstart.workflows.experiment.compare import compare

    return compare(
        demo_digits(), shots=SHOTS, seeds=SEEDS,
        out=out or Path("runs") / "demo", overwrite=True, quiet=quiet, listener=listener, backbone="starter", test=0.6,
        augment="crop", epochs=EPOCHS,
    )  # fmt: skip


def demo_digits() -> Path:
    """A folder of the digits in the cache: photos to try things on without a network connection."""
    return write_digits(cache_dir() / "demo" / "digits")


def write_digits(folder: Path, per_class: int = PER_CLASS) -> Path:
    """The first digits of each class, at most 100, as PNGs in class folders.

    They are dark on white, smoothly enlarged from 8 to 32 px, like a scan of digits.
    """
    done = folder / ".complete"
    if done.exists() and done.read_text(encoding="utf-8") == str(per_class):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        images, labels = file["images"], file["labels"]
    with new_folder(folder) as work:
        for digit in range(10):
            (work / str(digit)).mkdir()
            for number, image in enumerate(images[labels == digit][:per_class]):
                grey = (255 - image * (255 / 16)).round().astype(np.uint8)
                picture = Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC)
                picture.save(work / str(digit) / f"{digit}_{number:03d}.png")
        (work / done.name).write_text(str(per_class), encoding="utf-8")
    return folder

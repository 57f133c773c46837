"""A check of spurious correlations: properties of the files that predict the class.

The network may learn such a shortcut feature instead of the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from headstart.workflows.check.base import Check, Context, Finding

TELLING = 0.2
"""Share of the photos whose class a property of the file predicts, from which it is worth a warning."""
PURE, COMMON = 0.95, 0.75
"""Share of one class among the photos with a value from which the value is said to mean that class; share of a class
among all photos above which that says nothing."""


def _spurious(context: Context) -> Iterator[Finding]:
    if len(context.classes) < 2:
        return
    pixels, photos = context.pixels, context.usable
    properties: dict[str, Callable[[int], str]] = {
        "file type": lambda i: photos[i].path.suffix.lower(),
        "size": lambda i: "{} x {} px".format(*pixels.sizes[i]),
        "colour": lambda i: "gray" if "grayscale" in pixels.remarks[i] else "colour",
    }
    for name, read in properties.items():
        share, value, label = telling([read(i) for i in range(len(photos))], context.labels)
        if share >= TELLING:
            meant = context.classes[label]
            sentence = f"spurious correlation: the {name} {value} nearly always means {meant!r}"
            advice = "The network may learn that instead of what the photos show: save all classes alike."
            yield Finding("warning", sentence, advice)


def telling(values: Sequence[str], labels: np.ndarray) -> tuple[float, str, int]:
    """(share of the photos whose value nearly always means one class, the most common of these values, its class).

    No value can predict a class that most photos belong to; nor can one that fewer than ten photos have.
    """
    names, place = np.unique(np.array(list(values)), return_inverse=True)
    table = np.zeros((len(names), int(labels.max()) + 1), np.int64)
    np.add.at(table, (place, labels), 1)
    photos, meant = table.sum(1), table.argmax(1)
    usual = table.sum(0)[meant] / len(labels)
    pure = (photos >= 10) & (table.max(1) >= PURE * photos) & (usual <= COMMON)
    best = int(np.where(pure, photos, 0).argmax())
    return float(photos[pure].sum() / len(labels)), str(names[best]), int(meant[best])


GIVEAWAY = Check("Spurious correlations", _spurious)

"""The learning curve of a forecast as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.evaluation.learning_curve import Band, LearningCurve, Points
from headstart.reporting.notebook import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 60


def drawn_bands(curve: LearningCurve, measured: Points, bands: Sequence[Band]) -> list[Band]:
    """The band at sizes from the smallest that was measured to the largest of ``bands``."""
    inside = np.geomspace(measured.sizes[0], max(band.photos for band in bands), STEPS)
    return curve.bands(inside, bands[0].level)


def learning_curve(curve: LearningCurve, measured: Points, bands: Sequence[Band]) -> Figure:
    """Accuracy by number of photos: measured, expected, and the band; ``bands`` begins with the photos at hand."""
    drawn = drawn_bands(curve, measured, bands)
    figure = new_figure(6, 3.6)
    axes = figure.subplots()
    photos = [band.photos for band in drawn]
    axes.fill_between(photos, [b.low for b in drawn], [b.high for b in drawn], alpha=0.2, label="band")
    axes.plot(photos, [b.value for b in drawn], label="expected")
    axes.plot(measured.sizes, measured.accuracy, "o", markersize=4, label="measured")
    axes.axvline(bands[0].photos, linestyle="--", linewidth=1, color="grey")
    axes.set(xlabel="photos", ylabel="accuracy", xscale="log")
    axes.legend(loc="lower right")
    return figure

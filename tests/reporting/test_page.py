"""The small things on a page: how figures are written, how photos are put in, what plots do with gaps."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.core.text import plural
from headstart.reporting.images import heat_map, thumbnail
from headstart.reporting.page import interval, p_value, percent, points, prose, render_page
from headstart.reporting.plots import probe_path, training_curves
from headstart.workflows.train.page import render_run


def picture(address: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(address.split(",", 1)[1])))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.97813), "97.8\u202f%"),
        (percent(1.0, 0), "100\u202f%"),
        (percent(None), "–"),
        (interval(0.959, 0.9884), "95.9–98.8\u202f%"),
        (interval(None, None), "one run"),
        (points(0.0312), "+3.1"),
        (points(-0.0312), "−3.1"),
        (points(-0.0001), "0.0"),
        (points(0.0, 0), "0"),
        (p_value(0.0123), "p = 0.012"),
        (p_value(1e-9), "p < 0.001"),
        (p_value(None), ""),
        (plural(1, "photo"), "1 photo"),
        (plural(3000, "photo"), "3,000 photos"),
        (plural(2, "class", "classes"), "2 classes"),
        (prose("run `a --b` <now>"), "run <code>a --b</code> &lt;now&gt;"),
    ],
)
def test_how_figures_are_written(written: str, expected: str) -> None:
    assert written == expected


def test_a_template_that_misses_a_value_fails_loudly() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render_page("workflows/train/run.html.j2")


@pytest.mark.parametrize(("size", "expected"), [((300, 600), (128, 64)), ((40, 30), (30, 40))])
def test_thumbnails_shrink_and_never_grow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    found = picture(thumbnail(np.full((*size, 3), 200, dtype=np.uint8)))
    assert found.format == "JPEG"
    assert found.size == expected
    assert np.abs(np.asarray(found).astype(int) - 200).max() <= 3


def test_a_heat_map_has_one_pixel_per_cell_and_shows_a_single_mistake() -> None:
    pixels = np.asarray(picture(heat_map([[99, 1], [0, 0]])))
    assert pixels.shape == (2, 2, 4)
    assert pixels[..., 3].tolist() == [[254, 26], [0, 0]]  # opacity: 255 times the square root of the share
    assert pixels[0, 0, 2] > pixels[0, 0, 0]  # blue where right
    assert pixels[0, 1, 0] > pixels[0, 1, 2]  # red where wrong


def test_gaps_in_a_history_are_gaps_and_a_measure_nobody_took_has_no_plot() -> None:
    history = [{"epoch": 1, "val_loss": None, "train_loss": 1.0}, {"epoch": 2, "val_loss": 0.5, "train_loss": math.inf}]
    plots = training_curves(history, best_epoch=2)  # type: ignore[arg-type]
    assert [plot.heading for plot in plots] == ["Loss"]
    assert [key.label for key in plots[0].key] == ["train", "validation", "kept"]
    assert training_curves([]) == []


def test_without_a_best_epoch_nothing_is_marked() -> None:
    plots = training_curves([{"val_loss": 1.0}, {"val_loss": 0.5}])
    assert [key.label for key in plots[0].key] == ["validation"]


def test_phases_are_named_where_there_are_several() -> None:
    def row(epoch: int, phase: str) -> dict[str, Any]:
        return {"epoch": epoch, "phase": phase, "val_loss": 1.0 / epoch}

    two = training_curves([row(1, "head"), row(2, "head"), row(1, "whole"), row(2, "whole")])[0].svg  # type: ignore[list-item]
    one = training_curves([row(1, "head"), row(2, "head")])[0].svg  # type: ignore[list-item]
    assert (two.count(">head<"), two.count(">whole<")) == (1, 1)
    assert ">head<" not in one


def test_the_grid_of_a_probe_may_begin_at_zero_and_marks_what_was_chosen() -> None:
    rows = [{"l2": 1e-5, "val_accuracy": np.float32(0.8)}, {"l2": 0.0, "val_accuracy": np.float32(0.7)}]
    (plot,) = probe_path(rows, chosen_l2=1e-5)  # type: ignore[arg-type]
    assert [key.label for key in plot.key] == ["validation", "chosen: 1e-5"]
    assert plot.svg.index(">0<") < plot.svg.index(">1e-5<")


def test_the_same_report_gives_the_same_page(run_report: Callable[..., Any]) -> None:
    assert render_run(run_report()) == render_run(run_report())

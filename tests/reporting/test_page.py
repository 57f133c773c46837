"""The small things on a page: how figures are written, how photos are put in, what plots do with gaps."""

from __future__ import annotations

import base64
import dataclasses
import math
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
from PIL import Image

from headstart.core.text import plural
from headstart.reporting.images import heat_map, thumbnail
from headstart.reporting.page import Fact, interval, p_value, percent, points, prose, render_page
from headstart.reporting.plots import Key, probe_path, standalone, training_curves
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


PAYLOAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\n\x1b[31m\u202e$x \\frac{$ 写😀"


def test_text_from_outside_is_text_in_every_section(run_report: Callable[..., Any], read_page: Any) -> None:
    report = run_report(
        [PAYLOAD, "dog"], title=PAYLOAD, answer=PAYLOAD, more=PAYLOAD, caveats=[PAYLOAD], command=PAYLOAD,
        plan=[(PAYLOAD, PAYLOAD, PAYLOAD)], environment={PAYLOAD: PAYLOAD}, usage=[(PAYLOAD, PAYLOAD)],
        contents={PAYLOAD: PAYLOAD}, facts=[Fact(PAYLOAD, PAYLOAD, PAYLOAD)],
    )  # fmt: skip
    text = render_run(report)
    page = read_page(text)
    assert not page.problems
    assert not page.all("script")
    assert page.all("img")
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert page.words.count(r"<script>alert(1)</script>") > 10
    assert r"\x1b[31m\u202e$x \frac{$ 写😀" in page.words


def test_a_page_may_load_and_run_nothing(run_report: Callable[..., Any], read_page: Any) -> None:
    page = read_page(render_run(run_report()))
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.elements}


def test_dollars_and_letters_that_the_font_lacks_are_drawn_as_they_are() -> None:
    history = [{"epoch": e, "phase": f"{PAYLOAD}{e}", "val_loss": 0.5} for e in (1, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (plot,) = training_curves(history)
    assert r"\x1b[31m\u202e$x \frac{$ 写😀1" in plot.svg
    minidom.parseString(standalone(dataclasses.replace(plot, heading=PAYLOAD, key=(Key(PAYLOAD, "muted"),))))

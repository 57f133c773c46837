"""The page of a study: every figure in its place, published beside ours, and its plots as pictures for documents."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from headstart.core.text import duration
from headstart.reporting.page import Fact
from headstart.workflows.experiment.report import expectation, page_pictures, render_experiment
from headstart.workflows.experiment.rows import (
    ArmRow,
    Curve,
    DifferenceRow,
    ExperimentReport,
    Sweep,
    TextBlock,
)

Make = Callable[..., Any]

SECTIONS = ["figures", "differences", "curves", "sweeps", "texts", "photos", "notes", "reproduce"]
SHOTS = ["1", "5", "10", "20", "100"]
HOSTILE = '<b>"&$\\frac{$\n\x1b\u202e'


def rows_of(arm: str, means: list[float]) -> list[ArmRow]:
    """An arm swept over shots: three seeds around each mean."""
    return [
        ArmRow(
            arm,
            m,
            [m - 0.01, m, m + 0.01],
            m - 0.025,
            m + 0.025,
            "95 % for the expected accuracy, 3 seeds",
            point=point,
        )
        for point, m in zip(SHOTS, means, strict=True)
    ]


def swept(
    arm: str, points: list[str], mean: list[float], low: list[float] | None = None, high: list[float] | None = None
) -> list[ArmRow]:
    """The rows of an arm; of three seeds where an interval is given."""
    ends = zip(low, high, strict=True) if low and high else [(None, None)] * len(mean)
    found = zip(points, mean, ends, strict=True)
    return [ArmRow(arm, m, [m] * 3 if low else [m], *interval, point=point) for point, m, interval in found]


@pytest.fixture
def study(photo: Make) -> Make:
    """``study(**changes)``: a study with something in every section."""

    def make(**changes: Any) -> ExperimentReport:
        whole = [
            ArmRow("probe", 0.9, [0.9], 0.88, 0.92, "Wilson", published=0.85, seconds=41.2, judged=1500),
            ArmRow("scratch", 0.65, [0.65], 0.62, 0.68, "Wilson", expected=(0.7, 0.8), judged=1500, note="Use `L2`."),
        ]
        counts = {"only_first": 380, "only_second": 5, "verdict": "probe is better", "p_holm": 2e-9}
        difference = DifferenceRow("probe", "scratch", 0.25, 0.22, 0.28, 1e-9, "bootstrap", "photos", **counts)
        scratch = Curve("scratch", [1, 2, 3], [3, 2, 1], [3, 2, 2.5], [0.4, 0.6, 0.7], [0.4, 0.6, 0.65])
        values: dict[str, Any] = {
            "title": "animals", "answer": "Features are worth 25 points.", "command": "headstart study animals",
            "rows": whole, "more": "It trains `resnet18`.", "facts": [Fact("photos", "900")],
            "differences": [difference],
            "curves": [scratch, Curve("probe", [1], val_accuracy=[0.9], level=True)],
            "sweeps": [Sweep("shots", "By photos", "photos per class", [swept("probe", ["10", "1"], [0.8, 0.5])])],
            "samples": {"cat": [photo(1)]}, "texts": [TextBlock("Report", "a  b")],
            "notes": ["One seed."], "environment": {"torch": "2.12.1"},
        }  # fmt: skip
        return ExperimentReport(**{**values, **changes})

    return make


def places(text: str, mark: str) -> list[float]:
    return [float(place) for place in re.findall(rf'class="{mark}" style="left: ([\d.]+)%', text)]


def section(text: str, name: str) -> str:
    return text[text.index(f'<section id="{name}"') :].split("</section>", 1)[0]


def drawn(svg: str) -> list[list[tuple[float, float]]]:
    """The lines of arms: the points of each, as shares of the way from the first line's first to its last."""
    paths = re.findall(r'<path d="([^"]+)" clip-path[^>]+stroke: var\(--series', svg)
    lines = [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in paths]
    (x0, y0), *_, (x1, y1) = lines[0]
    return [[((x - x0) / (x1 - x0), (y0 - y) / (y0 - y1)) for x, y in line] for line in lines]


def test_every_section_is_there_once_and_nothing_is_loaded(study: Make, read_page: Make) -> None:
    text = render_experiment(study())
    page = read_page(text)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in SECTIONS]
    assert page.problems == []
    assert len(page.ids()) == len(set(page.ids()))
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= {"http://www.w3.org/1999/xlink"}
    assert not page.all("script")
    assert not re.search(r"\b(?:nan|None|inf)\b", text)


def test_a_study_of_nothing_is_still_a_page(read_page: Make) -> None:
    page = read_page(render_experiment(ExperimentReport("a", "b", "c", [])))
    assert [a["id"] for a in page.all("section")] == ["reproduce"]
    assert page_pictures(ExperimentReport("a", "b", "c", [])) == {}


def test_hostile_names_stay_text_on_the_page_and_in_pictures(study: Make, read_page: Make) -> None:
    line = swept(HOSTILE, [HOSTILE, "b"], [0.5, 0.6])
    row = ArmRow(HOSTILE, 0.5, [0.5], images=HOSTILE, setting=HOSTILE, note=HOSTILE, published_words=HOSTILE)
    report = study(
        answer=HOSTILE, more=HOSTILE, rows=[row], texts=[TextBlock(HOSTILE, HOSTILE)],
        differences=[DifferenceRow(HOSTILE, "b", 0.1, None, None, None, HOSTILE, "seeds", HOSTILE, HOSTILE)],
        curves=[Curve(HOSTILE, [1, 2], val_accuracy=[0.1, 0.2])],
        sweeps=[Sweep("../x", HOSTILE, HOSTILE, [line], [(HOSTILE, 0.7)]), Sweep("x", "again", "", [line])],
    )  # fmt: skip
    text = render_experiment(report)
    assert read_page(text).problems == []
    assert '<b>"' not in text
    pictures = page_pictures(report)
    assert list(pictures) == ["accuracy-per-epoch", "sweep-x", "sweep-x-2"]
    for svg in pictures.values():
        ElementTree.fromstring(svg)
    assert not [char for char in text + "".join(pictures.values()) if char in "\x1b\u202e"]


def test_every_picture_has_a_file_name_of_its_own(study: Make) -> None:
    points = ["../a/b", "..\\a/b", "timm/x", "A", "a", "x" * 300, "\n"]
    curves = [Curve("probe", [1, 2], val_accuracy=[0.1, 0.2], point=point) for point in points]
    names = list(page_pictures(study(curves=curves, sweeps=[])))
    assert len({name.casefold() for name in names}) == len(points)
    for name in names:
        assert not set(name) & set("/\\\n:")
        assert len(name.encode()) <= 120


def test_dots_bands_and_published_marks_stand_on_one_scale(study: Make) -> None:
    found = section(render_experiment(study()), "figures")
    # The axis runs from 60 % to 100 %: all from 62 % to 92 %, in at most four round steps.
    assert places(found, "dot") == pytest.approx([75.0, 12.5])
    assert places(found, "range") == pytest.approx([70.0, 5.0])
    assert places(found, "published") == pytest.approx([62.5])
    assert places(found, "seed") == []
    for told in ("90.0\u202f%", "88.0–92.0\u202f%", "85.0\u202f%", "41 s", "1,500", "<code>L2</code>"):
        assert told in found
    assert found.count("below what is expected (70–80\u202f%)") == 1
    assert "<h2>Published beside ours</h2>" in found


def test_one_seed_is_called_one_run_and_several_show_each(study: Make) -> None:
    assert section(render_experiment(study()), "figures").count("<small>one run, ") == 2
    bare = section(render_experiment(study(rows=[ArmRow("probe", 0.9, [0.9])])), "figures")
    assert "<small>one run</small>" in bare
    assert places(bare, "range") == []
    assert "<h2>Accuracy, arm by arm</h2>" in bare
    several = section(render_experiment(study(rows=rows_of("probe", [0.1, 0.2, 0.3, 0.4, 0.5])[:2])), "figures")
    assert "one run" not in several.lower()
    assert len(places(several, "seed")) == 6


def test_a_long_sweep_waits_behind_a_click_but_what_is_published_does_not(study: Make) -> None:
    swept = rows_of("swept", [0.1, 0.2, 0.3, 0.4, 0.5])
    swept[2] = ArmRow("swept", 0.3, [0.3], point="10", published_words="over 90 %")
    found = section(render_experiment(study(rows=[ArmRow("probe", 0.9, [0.9]), *swept])), "figures")
    first, behind = found.split('<details class="swept">')
    assert re.findall(r'class="arm"><span>([^<]+)<', first) == ["probe", "swept · 10"]
    assert re.findall(r'class="arm"><span>([^<]+)<', behind) == SHOTS
    assert "5 points, 10.0\u202f% at 1, 50.0\u202f% at 100" in behind
    assert "over 90 %" in first
    assert places(found, "published") == []
    alone = section(render_experiment(study(rows=rows_of("swept", [0.1, 0.2, 0.3, 0.4, 0.5]))), "figures")
    assert '<details class="swept" open>' in alone
    assert alone.count("<table") == 2  # the arm's, and that of every seed


def test_a_difference_tells_its_test_in_words(study: Make) -> None:
    unclear = DifferenceRow("a", "b", 0.01, 0.005, 0.03, 0.04, "", "seeds", "flowers", "10", p_holm=0.08)
    found = section(render_experiment(study(differences=[*study().differences, unclear])), "differences")
    assert "probe is better (p &lt; 0.001) · of 1,500 photos, 380 correct only by probe, 5 only by scratch" in found
    assert "+22.0 to +28.0" in found
    assert (found.count('class="line"'), found.count('class="line unclear"')) == (1, 1)
    assert "<h3>flowers · photos per class: 10</h3>" in found
    assert "p = 0.08 · over seeds" in found  # corrected, and so not called better
    assert "Holm’s correction for 2 differences" in found
    assert places(found, "dot") == pytest.approx([100 * 0.25 / 0.3, 100 * 0.01 / 0.3], abs=1e-3)  # 0 to +30


def test_what_intervals_are_of_is_told_once(study: Make) -> None:
    method = "95 % for the expected difference, 3 seeds"
    gaps = [DifferenceRow("a", b, 0.1, 0.05, 0.15, 0.01, method, "seeds and photos", p_holm=0.02) for b in "bc"]
    text = render_experiment(study(differences=gaps, rows=rows_of("a", [0.5, 0.6, 0.7, 0.8, 0.9])))
    assert text.count(method.replace(" %", "\u202f%")) == 1
    assert text.count("Expected: on new photos, of networks trained on training sets of this size drawn anew") == 1
    assert "Expected: on" not in render_experiment(study())  # one run each: over photos


def test_curves_show_validation_training_and_level_arms(study: Make) -> None:
    accuracy, loss = section(render_experiment(study()), "curves").split("<figure>")[1:]
    keys = [("2", "solid", "scratch"), ("1", "dashed", "probe")]
    assert re.findall(r'series-(\d)\)"><i class="(\w+)"></i>(\w+)', accuracy) == keys
    assert '<i class="dashed"></i>training' in loss
    assert "probe" not in loss
    train, val, level = drawn(accuracy)  # training runs from 40 to 70 %
    assert [y for _, y in train] == pytest.approx([0, 2 / 3, 1], abs=1e-4)
    assert [y for _, y in val] == pytest.approx([0, 2 / 3, 5 / 6], abs=1e-4)
    assert [y for _, y in level] == pytest.approx([5 / 3, 5 / 3], abs=1e-4)


def test_a_gap_in_a_curve_is_a_gap_and_a_band_needs_several_seeds(study: Make) -> None:
    gap = Curve("a", [1, 2, 3], val_accuracy=[0.5, math.nan, 0.7])
    band = Curve("a", [1, 2], (), (), (), [0.5, 0.6], [0.4, 0.5], [0.6, 0.7])
    found = [page_pictures(study(curves=[curve], sweeps=[])) for curve in (gap, band)]
    assert [list(pictures) for pictures in found] == [["accuracy-per-epoch"]] * 2
    assert ["opacity: 0.16" in pictures["accuracy-per-epoch"] for pictures in found] == [False, True]
    assert "A band reaches from the lowest to the highest seed" in render_experiment(study(curves=[band]))
    assert 'id="curves"' not in render_experiment(study(curves=[Curve("a", [1], val_loss=[math.nan])]))


@pytest.mark.parametrize(
    ("points", "x"),
    [("1 10 1000", [0, 1 / 3, 1]), ("conv1 layer1 layer2", [0, 0.5, 1]), ("0 10 100", [0, 0.5, 1])],
)
def test_numbers_stand_on_a_logarithmic_axis_and_names_evenly(study: Make, points: str, x: list[float]) -> None:
    line = swept("probe", points.split(), [0.5, 0.6, 0.8])
    found = section(render_experiment(study(sweeps=[Sweep("k", "h", "axis", [line])])), "sweeps")
    svg = found[found.index("<svg") : found.index("</svg>")]
    assert [place for place, _ in drawn(svg)[0]] == pytest.approx(x, abs=1e-4)
    assert [place for _, place in drawn(svg)[0]] == pytest.approx([0, 1 / 3, 1], abs=1e-4)
    assert all(f">{point}<" in svg for point in points.split())


def test_the_table_beside_a_sweep_holds_the_plotted_figures_in_order(study: Make) -> None:
    lines = [swept("probe", ["10", "1"], [0.8, 0.5], [0.7, 0.4], [0.9, 0.6]), swept("scratch", ["10"], [0.3])]
    sweep = Sweep("shots", "By photos", "photos", lines, [("scratch-all", 0.95)])
    rows = [ArmRow(arm, 0.9, [0.9]) for arm in ("probe", "scratch", "scratch-all")]
    found = section(render_experiment(study(rows=rows, sweeps=[sweep])), "sweeps")
    cells = re.findall(r'<th scope="row">([^<]+)</th>|<td class="figure"[^>]*>([^<]+)', found)
    told = [(a or b).replace("\u202f", "") for a, b in cells]
    assert told == ["1", "50.0%", "–", "10", "80.0%", "30.0%", "scratch-all", "95.0%"]
    assert "<small>70.0–90.0\u202f%</small>" in found
    assert re.findall(r'--(series-\d)\)"><i class="dashed"></i>scratch-all', found) == ["series-3"]


def test_pictures_stand_alone(study: Make) -> None:
    pictures = page_pictures(study())
    assert list(pictures) == ["accuracy-per-epoch", "loss-per-epoch", "sweep-shots"]
    for svg in pictures.values():
        root = ElementTree.fromstring(svg)
        assert float(root.get("width", "")) > float(root.get("height", "")) > 0
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert 'fill="#ffffff"' in svg
        assert "var(" not in svg
        assert "nan" not in svg
    assert ">scratch</text>" in pictures["loss-per-epoch"]  # the key is in the picture
    assert 'stroke="#c7600a"' in pictures["loss-per-epoch"]  # series 2, as in the light scheme of the page
    assert render_experiment(study()) == render_experiment(study())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (duration(3.14), "3.1 s"), (duration(38), "38 s"), (duration(310), "5.2 min"),
        (duration(598), "10 min"), (duration(9000), "2.5 h"), (duration(400_000), "111 h"),
        (expectation(ArmRow("a", 0.95, [], expected=(0.9, 0.97))), ""),
        (expectation(ArmRow("a", 0.98, [], expected=(0.905, 0.97))), "above what is expected (90.5–97.0\u202f%)"),
    ],
)  # fmt: skip
def test_how_times_and_expectations_are_written(written: str, expected: str) -> None:
    assert written == expected


# -- the page of a comparison: the same, point by point --


@pytest.fixture
def comparison(study: Make) -> Make:
    """Three arms at 5 and 10 photos per class, over three seeds."""

    def make(**changes: Any) -> ExperimentReport:
        rows, differences, curves = [], [], []
        for point, best in (("5", 0.8), ("10", 0.9)):
            for arm, less in (("finetune", 0.0), ("probe", 0.1), ("scratch", 0.3)):
                mean = best - less
                rows.append(
                    ArmRow(arm, mean, [mean - 0.01, mean, mean + 0.01], mean - 0.025, mean + 0.025, point=point)
                )
                epochs = [1] if arm == "probe" else [1, 2, 3]
                values, level = [mean] * len(epochs), arm == "probe"
                curves.append(Curve(arm, epochs, (), (), (), values, values, values, level=level, point=point))
            differences += [
                DifferenceRow("finetune", "scratch", 0.3, 0.25, 0.35, 0.0004, "Student t", "seeds", point=point),
                DifferenceRow("finetune", "probe", 0.1, -0.02, 0.22, 0.08, "Student t", "seeds", point=point),
            ]
        values = {
            "kind": "comparison", "split": "test", "points": {"5": "5 per class", "10": "10 per class"}, "rows": rows,
            "differences": differences, "curves": curves, "sweeps": [], "texts": [],
        }  # fmt: skip
        return study(**{**values, **changes})

    return make


def test_a_comparison_is_shown_point_by_point(comparison: Make, read_page: Make) -> None:
    text = render_experiment(comparison())
    page = read_page(text)
    assert [a["id"] for a in page.all("section")] == [
        "figures",
        "differences",
        "curves",
        "photos",
        "notes",
        "reproduce",
    ]
    assert page.problems == []
    assert len(page.ids()) == len(set(page.ids()))
    found = section(text, "figures")
    assert "<h2>Test accuracy, arm by arm</h2>" in found
    assert re.findall(r'rowgroup">([^<]+)<|class="arm"><span>([^<]+)<', found) == [
        (head, arm)
        for point in ("5 per class", "10 per class")
        for head, arm in ((point, ""), ("", "finetune"), ("", "probe"), ("", "scratch"))
    ]
    # One axis for all points, from 40 % to 100 %.
    assert places(found, "dot") == pytest.approx(
        [100 * (m - 0.4) / 0.6 for m in (0.8, 0.7, 0.5, 0.9, 0.8, 0.6)], abs=1e-3
    )
    assert len(places(found, "seed")) == 18
    assert "<h3>10 per class</h3>" in section(text, "differences")


def test_a_comparison_has_a_plot_per_point_on_one_axis(comparison: Make) -> None:
    found = section(render_experiment(comparison()), "curves")
    five, ten = found.split("<figure>")[1:]
    assert "5 per class: accuracy" in five
    assert re.findall(r'series-(\d)\)"><i class="(\w+)"></i>(\w+)', ten) == [
        ("1", "solid", "finetune"), ("2", "dashed", "probe"), ("3", "solid", "scratch"),
    ]  # fmt: skip
    ticks = [re.findall(r">(\d+)\s?%<", plot) for plot in (five, ten)]
    assert ticks[0] == ticks[1] != []


def test_every_seed_is_listed(comparison: Make) -> None:
    found = section(render_experiment(comparison()), "figures").split("Every seed")[1]
    cells = re.findall(r'<th scope="row">([^<]+)</th>|<td class="figure">([^<]+)<', found)
    assert [(a or b).replace("\u202f", "") for a, b in cells][:5] == [
        "finetune · 5 per class", "80.0%", "79.0%", "80.0%", "81.0%",
    ]  # fmt: skip

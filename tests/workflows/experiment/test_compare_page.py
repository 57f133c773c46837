"""The comparison page: arms, differences and curves in their places, and honest about one run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from headstart.workflows.experiment.compare_page import render_compare
from headstart.workflows.experiment.compare_rows import ArmRow, DifferenceRow

Make = Callable[..., Any]


def test_sections_escape_and_structure(read_page: Make, compare_report: Make) -> None:
    text = render_compare(compare_report(answer="<b>bold</b>", notes=["<i>"]))
    page = read_page(text)
    assert [a["id"] for a in page.all("section")] == [
        "accuracy",
        "differences",
        "curves",
        "photos",
        "notes",
        "reproduce",
    ]
    assert page.problems == []
    assert len(page.ids()) == len(set(page.ids()))
    assert "&lt;b&gt;bold" in text
    assert "<li>&lt;i&gt;</li>" in text


def test_every_arm_has_its_dot_its_seeds_and_its_band_on_one_scale(compare_report: Make) -> None:
    text = render_compare(compare_report())
    section = text[text.index('id="accuracy"') : text.index('id="differences"')]
    dots = [float(place) for place in re.findall(r'class="dot" style="left: ([\d.]+)%', section)]
    # The axis runs from 40 % to 100 %: the bounds, 47.5 % and 92.5 %, in at most five round steps.
    assert dots == pytest.approx([100 * (mean - 0.4) / 0.6 for mean in (0.8, 0.7, 0.5, 0.9, 0.8, 0.6)], abs=1e-3)
    assert section.count('class="seed"') == 18
    assert section.count('class="range"') == 6
    assert "87.5–92.5\u202f%" in section


def test_an_arm_keeps_its_colour_in_rows_and_curves(compare_report: Make) -> None:
    text = render_compare(compare_report())
    for number, arm in enumerate(("finetune", "probe", "scratch"), start=1):
        assert set(re.findall(rf'class="name" style="--colour: var\(--series-(\d)\)">{arm}<', text)) == {str(number)}
        assert set(re.findall(rf'--colour: var\(--series-(\d)\)"><i class="\w+"></i>{arm}<', text)) == {str(number)}


def test_a_difference_whose_interval_holds_zero_is_shown_as_unclear(compare_report: Make) -> None:
    text = render_compare(compare_report())
    section = text[text.index('id="differences"') : text.index('id="curves"')]
    assert section.count('class="line unclear"') == 2
    assert section.count('class="line"') == 2
    assert "+30.0" in section
    assert "−2.0 to +22.0" in section
    assert "p &lt; 0.001" in section


def test_one_run_per_arm_is_said_and_has_no_band(compare_report: Make) -> None:
    text = render_compare(
        compare_report(
            rows=[ArmRow("", "probe", 0.9, [0.9]), ArmRow("", "scratch", 0.6, [0.6])],
            differences=[DifferenceRow("", "probe", "scratch", 0.3)],
            curves=[],
        )
    )
    assert "One run per arm" in text
    assert 'class="range"' not in text
    assert 'class="line unclear"' in text
    assert text.count("<small>one run</small>") == 3


def test_the_split_is_named(compare_report: Make) -> None:
    assert "Validation accuracy, arm by arm" in render_compare(compare_report(split="val"))
    assert "Test accuracy, arm by arm" in render_compare(compare_report())


def test_groups_have_a_curve_plot_each_and_an_arm_without_epochs_a_level_line(compare_report: Make) -> None:
    text = render_compare(compare_report())
    assert len(re.findall(r"<svg", text)) == 2
    assert len(re.findall(r'<i class="dashed"></i>probe', text)) == 2
    assert len(re.findall(r'<i class="solid"></i>finetune', text)) == 2


def test_a_comparison_without_rows_is_still_a_page(read_page: Make, compare_report: Make) -> None:
    page = read_page(render_compare(compare_report(rows=[], differences=[], curves=[], samples={}, notes=[])))
    assert [a["id"] for a in page.all("section")] == ["reproduce"]
    assert page.problems == []

"""The run page: complete, self-contained, escaped, well-formed; and still a page where parts are missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.data.schema import BadFile
from headstart.reporting.svg import COLOURS
from headstart.workflows.train.page import DataCheck, Mistake, RunReport, render_run

Make = Callable[..., Any]

SECTIONS = ["curves", "confusion", "classes", "mistakes", "photos", "calibration", "data", "plan", "use", "reproduce"]


@pytest.fixture(scope="module")
def text(run_report: Make) -> str:
    return render_run(run_report())


def test_every_section_is_there_once_and_the_menu_leads_to_it(text: str, read_page: Make) -> None:
    page = read_page(text)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in SECTIONS]
    assert page.problems == []


def test_the_page_loads_nothing(text: str, read_page: Make) -> None:
    page = read_page(text)
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not page.all("script")
    assert not page.all("link")
    outside = re.findall(r"https?://[^\s\"'<>)]+", text)
    assert set(outside) <= {"http://www.w3.org/1999/xlink"}  # a namespace, which nothing fetches
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text


def test_the_figures_on_the_page_are_those_of_the_metrics(text: str, read_page: Make, run_report: Make) -> None:
    report = run_report()
    found = report.metrics["test"]
    assert found is not None
    words = read_page(text).words
    accuracy = found["accuracy"]
    assert f"{100 * accuracy['value']:.1f}\u202f%" in words
    assert f"{100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f}\u202f%" in words
    assert "240 test photos" in words
    assert "guessing 33\u202f%" in words
    cells = re.findall(r'<td class="(?:right|wrong)[^"]*"[^>]*>(\d+)</td>', text)
    assert [int(cell) for cell in cells] == [count for row in found["confusion"] for count in row]
    assert f"{100 * found['calibration']['ece']:.1f}\u202f%" in words
    for row in found["report"]["classes"]:
        assert f"{100 * row['f1']:.1f}\u202f%" in words


def test_what_was_found_planned_and_made_is_told(text: str, read_page: Make) -> None:
    words = read_page(text).words
    for told in (
        "It tells three animals apart.",
        "Scratch is far below.",
        "cats/broken.jpg",
        "truncated",
        "two twins",
        "AdamW, new weights",
        "headstart train photos --seed 0",
        "headstart predict runs/a photo.jpg",
        "model.safetensors",
        "2.12.1",
        "cats/one.jpg",
        "83\u202f%",
        "38 s",
    ):
        assert told in words
    assert "<code>headstart compare</code>" in text


def test_ids_are_unique_and_references_meet_them(text: str, read_page: Make) -> None:
    ids = read_page(text).ids()
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert wanted <= set(ids)


def test_plots_take_their_colours_from_the_scheme_and_keep_their_text(text: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 5  # accuracy and loss over L2, accuracy and loss over epochs, reliability
    for plot in plots:
        assert "<text" in plot
        assert re.findall(r"#[0-9a-f]{6}\b", plot) == []
        assert 'role="img" aria-label="' in plot
    known = set(re.findall(r"^ *(?:--[\w-]+: [^;]+; *)+$", text, re.MULTILINE))
    defined = set(re.findall(r"--([\w-]+):", " ".join(known)))
    assert set(COLOURS) <= defined


def test_light_and_dark_define_the_same_colours(text: str) -> None:
    light, dark = (
        re.search(r":root \{(.*?)\}", text, re.DOTALL),
        re.search(r"dark\) \{\s+:root \{(.*?)\}", text, re.DOTALL),
    )
    assert light is not None
    assert dark is not None
    names = [set(re.findall(r"--([\w-]+):", scheme.group(1))) for scheme in (light, dark)]
    assert names[0] - {"sans", "mono"} == names[1]
    assert '<meta name="viewport" content="width=device-width' in text


def test_words_from_outside_cannot_become_markup(read_page: Make, photo: Make, run_report: Make) -> None:
    evil = '<script>alert("1")</script>&'
    report = run_report(
        classes=[evil, "dogs"],
        answer=evil,
        title=evil,
        command=evil,
        more=f"`{evil}`",
        history=[{"epoch": 1, "phase": evil, "val_loss": 1.0}, {"epoch": 2, "phase": "b", "val_loss": 0.5}],
        mistakes=[Mistake(photo(), evil, "dogs", 0.9, f'a/"{evil}.jpg')],
        data_check=DataCheck(evil, 3, [BadFile(Path(evil), evil)], {evil: 1}, [evil]),
    )
    text = render_run(report)
    assert "<script" not in text
    assert read_page(text).problems == []
    assert text.count("alert(") > 8


def test_a_page_with_nothing_but_an_answer(read_page: Make) -> None:
    page = read_page(render_run(RunReport(title="t", answer="Nothing was measured.", command="c", classes=["a", "b"])))
    assert [a["id"] for a in page.all("section")] == ["reproduce"]
    assert page.problems == []
    assert "Nothing was measured." in page.words


def test_without_a_test_split_the_page_tells_of_validation(read_page: Make, metrics: Make, run_report: Make) -> None:
    found = metrics(["a", "b"], 50)
    words = read_page(render_run(run_report(["a", "b"], metrics={"val": found, "test": None}))).words
    assert "50 validation photos" in words
    assert "test photos" not in words


def test_a_perfect_run_has_no_confused_pairs_and_no_mistakes(read_page: Make, metrics: Make, run_report: Make) -> None:
    perfect = metrics(["a", "b"], 40) | {"confusion": [[20, 0], [0, 20]]}
    text = render_run(run_report(["a", "b"], metrics={"test": perfect}, mistakes=[]))
    assert "No test photo was misclassified." in read_page(text).words
    assert 'id="mistakes"' not in text


def test_many_classes_become_a_heat_map_and_a_short_table_with_the_rest_behind_a_click(
    read_page: Make, metrics: Make, run_report: Make
) -> None:
    classes = [f"breed {n}" for n in range(60)]
    text = render_run(run_report(classes, metrics={"test": metrics(classes, 900)}))
    page = read_page(text)
    assert 'src="data:image/png;base64,' in text
    assert not re.search(r'<table class="matrix', text)
    assert "35 classes more" in page.words
    assert all(f">{name}</th>" in text for name in classes)
    assert "… and 12 classes more." in page.words
    assert "top-5 accuracy" in page.words
    assert page.problems == []


def test_names_to_show_replace_labels_everywhere(read_page: Make, run_report: Make) -> None:
    report = run_report(["n01", "n02"], names={"n01": "Shih-Tzu", "n02": "Beagle"})
    words = read_page(render_run(report)).words
    assert "Shih-Tzu" in words
    assert "n02" not in words
    assert re.findall(r"\bn01\b", words.replace("n01/one.jpg", "")) == []


def test_a_file_of_many_photos_stays_small_enough_to_send(photo: Make, run_report: Make) -> None:
    large = photo(3, (1200, 1600))
    report = run_report(samples={"cats": [large] * 8, "dogs": [large] * 8}, mistakes=[])
    assert len(render_run(report)) < 1_000_000

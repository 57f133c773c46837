"""What a notebook shows: HTML, frames and figures say what the objects hold."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.files import write_rows
from headstart.errors import OptionError
from headstart.reporting.notebook import read_frame
from headstart.workflows.predict import probability_columns

pandas = pytest.importorskip("pandas")


def test_photos_show_themselves(
    photos: Path, bad_files: Callable[[Path], dict[str, str | None]], tmp_path: Path
) -> None:
    found = hs.photos(photos)
    assert found.counts == {"cat": 12, "dog": 12, "owl": 12}
    assert "36 photos" in repr(found)
    html = found._repr_html_()
    assert html.count("<img") == 18
    assert html.index("cat (12)") < html.index("dog (12)") < html.index("owl (12)")
    table = found.frame()
    assert list(table.columns) == ["path", "label", "split"]
    assert table.label.value_counts().to_dict() == found.counts
    bad_files(tmp_path / "odd" / "one")
    bad_files(tmp_path / "odd" / "two")
    assert "<img" in hs.photos(tmp_path / "odd")._repr_html_()  # bad files do not stop it
    assert "left out" not in repr(found)
    (tmp_path / "t.csv").write_text(
        f"path,label\n{photos}/cat/cat_00.png,cat\nnone.png,cat\n{photos}/dog/dog_00.png,dog\n"
    )
    some = hs.photos(tmp_path / "t.csv")
    assert "1 file left out: none.png" in repr(some)
    assert "1 file left out: none.png" in some._repr_html_()


def test_a_run_shows_its_answer_and_its_curves(probe_run: Path) -> None:
    run = hs.open_run(probe_run)
    html = run._repr_html_()
    assert f"{run.metrics['test']['accuracy']['value']:.4f}" in html
    assert html.count("<svg") == 2
    assert len(run.predictions()) == 12
    assert set(run.history().strategy) == {"probe"}
    axes = run.figure().axes
    assert [a.get_ylabel() for a in axes] == ["accuracy", "loss"]
    assert len(axes[0].lines[-1].get_xdata()) == len(run.history())


def test_a_run_of_epochs_has_a_line_per_split(photos: Path, weights: Path, tmp_path: Path) -> None:
    run = hs.train(
        photos, out=tmp_path / "run", backbone="starter", weights=weights, strategy="finetune", epochs=2, quiet=True
    )
    axes = run.figure().axes
    assert [len(a.lines) for a in axes] == [2, 2]
    assert list(axes[0].lines[1].get_ydata()) == pytest.approx(list(run.history().val_accuracy))
    assert run._repr_html_().count("<svg") == 2


def test_predictions_are_a_stream_a_gallery_and_a_frame(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    names = [*sorted(photos.rglob("*.png"))[:4], tmp_path / "bad.png"]
    table = hs.predict(probe_run, names).frame()
    assert list(table.columns) == ["path", "label", "confidence", "problem", "unknown", "distance", "cat", "dog", "owl"]
    assert table.problem.notna().tolist() == [False] * 4 + [True]
    assert table[["cat", "dog", "owl"]].iloc[:4].sum(axis=1).tolist() == pytest.approx([1] * 4)
    found = hs.predict(probe_run, names)
    html = found._repr_html_()
    assert html.count("<img") == 4
    assert "not an image" in html
    assert [one.label for one in found] == [*table.label[:4], None]  # shown, they are still there


def test_a_comparison_shows_its_table(photos: Path, weights: Path, tmp_path: Path) -> None:
    found = hs.compare(
        photos, arms=["probe"], seeds=2, out=tmp_path / "c", quiet=True, backbone="starter", weights=weights
    )
    assert found.answer.replace("<", "&lt;")[:20] in found._repr_html_()
    assert found.frame().arm.tolist() == ["probe"]


def test_names_are_escaped(tmp_path: Path, draw_photo: Any) -> None:
    import numpy as np

    for label in ("<b>one", "two"):
        for i in range(2):
            draw_photo(tmp_path / "odd" / label / f"{i}.png", 0, np.random.default_rng(i))
    assert "<b>one" not in hs.photos(tmp_path / "odd")._repr_html_()


def test_without_pandas_it_is_told(probe_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pandas"):
        hs.open_run(probe_run).predictions()


PAYLOAD = "<script>alert(1)</script>'\" onerror=x\n\x1b[31m\u202e"


def test_names_are_text_in_every_display(
    photos: Path, probe_run: Path, tmp_path: Path, read_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    label = PAYLOAD.replace("/", "-")
    shutil.copytree(photos / "cat", tmp_path / label / label)
    shutil.copytree(photos / "dog", tmp_path / label / "dog")
    (tmp_path / label / label / "cat_00.png").rename(tmp_path / label / label / f"{label}.png")
    found = hs.photos(tmp_path / label)
    run = hs.open_run(probe_run)
    run.metrics["test"]["photos"] = PAYLOAD
    run.metrics["test"]["report"]["classes"][0]["label"] = PAYLOAD
    monkeypatch.setattr(run, "plan", dataclasses.replace(run.plan, strategy=PAYLOAD))
    shown = [found, hs.predict(probe_run, [tmp_path / label / label]), run]
    for one in shown:
        text = one._repr_html_()
        page = read_page(text)
        assert not page.all("script")
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert not [char for char in text if char in "\x1b\u202e"]
        assert r"\n\x1b[31m\u202e" in page.words
    assert "\x1b" not in repr(found)


def test_frames_hold_names_as_they_are(tmp_path: Path) -> None:
    rows = [("=1", "NA"), ("'=1", "null"), ("caf\udce9", ""), ("a\r", "b")]
    write_rows(tmp_path / "a.csv", ("path", "label"), rows)
    found = read_frame(tmp_path / "a.csv")
    assert found.path.tolist() == [path for path, _ in rows]
    assert found.label.fillna("").tolist() == [label for _, label in rows]


LOOKALIKES = ("None", "NA", "nan", "null", "001", "1e5", "True")


@pytest.mark.parametrize("labels", [LOOKALIKES[:4], LOOKALIKES[4:7], ("10", "2")])
def test_labels_that_look_like_something_else_stay_text(tmp_path: Path, labels: tuple[str, ...]) -> None:
    rows = [[f"{n}.jpg", "test", label, label, "0.5"] for n, label in enumerate(labels)]
    write_rows(tmp_path / "predictions.csv", ("path", "split", "label", "predicted", "confidence"), rows)
    found = read_frame(tmp_path / "predictions.csv")
    assert found.label.tolist() == found.predicted.tolist() == list(labels)
    assert found.confidence.tolist() == [0.5] * len(labels)


def test_classes_with_the_names_of_columns_have_columns_of_their_own(
    class_folder: Callable[..., Path], weights: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    data = class_folder(classes=("problem", "None", "p(problem)"), per_class=8)
    run = hs.train(data, out=tmp_path / "run", backbone="starter", weights=weights, strategy="probe", quiet=True)
    classes = run.classifier.classes
    assert set(run.predictions().label) == set(classes)
    found = hs.predict(run, data).frame()
    own = ["None", "p(problem)", "p(p(problem))"]
    assert list(found.columns) == ["path", "label", "confidence", "problem", "unknown", "distance", *own]
    assert found.problem.isna().all()
    assert set(found.label) <= set(classes)
    assert found[own].sum(axis=1).tolist() == pytest.approx([1] * 24)
    lines = list(csv.reader(io.StringIO(cli("predict", run.path, data, "--csv").out)))
    assert lines[0] == ["path", "label", "confidence", *own, "problem", "unknown", "distance"]
    assert {line[1] for line in lines[1:]} <= set(classes)


@pytest.mark.parametrize("name", ["path", "label", "confidence", "problem", "unknown", "distance", "labels"])
def test_a_column_is_renamed_only_where_it_clashes(name: str) -> None:
    assert probability_columns(["cat", name, "file", "split"]) == ("cat", f"p({name})", "file", "split")
    assert probability_columns([name, f"p({name})"]) == (f"p(p({name}))", f"p({name})")

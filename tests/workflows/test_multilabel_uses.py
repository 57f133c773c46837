"""What else is done with a run of several labels: export, explain, check, serve, embed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import said_by
from helpers.several import draw_several, joined_table

import headstart as hs
from headstart.cli.app import main
from headstart.evaluation.multilabel import MultiLabel
from headstart.workflows.export.export import LabelParity, compare
from headstart.workflows.export.formats import EXPORTERS


@pytest.fixture
def own_run(several_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, which may be written to."""
    shutil.copytree(several_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("form", "int8"),
    [(form, int8) for form in EXPORTERS.names() for int8 in (False, True)
     if form != "web" and (not int8 or EXPORTERS.get(form).quantise)],
)  # fmt: skip
def test_an_exported_file_gives_each_label_its_probability(own_run: Path, form: Any, int8: bool) -> None:
    exporter = EXPORTERS.get(form)
    for package in (*exporter.needs, *(exporter.int8_needs if int8 else ())):
        pytest.importorskip(package)
    made = hs.export(own_run, format=form, int8=int8, quiet=True)
    assert made.parity.photos > 0
    assert made.parity.same >= (0.95 if int8 else 1.0) * made.parity.photos
    assert "the same labels as the classifier" in made.text
    if made.int8 is not None:
        assert made.int8["after"]["bytes"] < made.int8["before"]["bytes"]
        assert made.int8["after"]["accuracy"] == pytest.approx(made.int8["before"]["accuracy"], abs=0.05)
    facts = json.loads(exporter.about(made.path).read_text(encoding="utf-8"))
    assert facts["labels"] == json.loads((own_run / "model.json").read_text(encoding="utf-8"))["labels"]
    assert "labels.thresholds or more" in facts["output"]


def test_parity_is_of_labels_and_forgives_what_lies_at_a_threshold() -> None:
    objective = MultiLabel((0.5, 0.3))
    wanted = np.array([[0.6, 0.1], [0.501, 0.9], [0.2, 0.8]])
    found = compare(wanted, np.array([[0.6, 0.1], [0.499, 0.9], [0.2, 0.8]]), 1.0, objective)
    assert isinstance(found, LabelParity)
    assert (found.same, found.undecided, found.good) == (2, 1, True)
    far = compare(wanted, np.array([[0.6, 0.1], [0.4, 0.9], [0.2, 0.8]]), 1.0, objective)
    assert (far.same, far.undecided, far.good) == (2, 0, False)


def test_explain_draws_the_most_probable_label_or_the_one_asked_for(own_run: Path, several_run: Path) -> None:
    photos = sorted((several_run.parent / "photos").iterdir())[:4]
    found = hs.explain(own_run, photos, quiet=True, neighbours=1)
    for one in found.photos:
        best = int(np.argmax(one.prediction.probabilities))
        assert one.label == ("cat", "dog", "owl")[best] or one.label in (one.prediction.labels or ())
    assert "no label" in found.page.read_text(encoding="utf-8")
    assert found.summary["photos"][0]["labels"] == list(found.photos[0].prediction.labels or ())
    asked = hs.explain(own_run, photos[:1], label="owl", overwrite=True, quiet=True, neighbours=0)
    assert asked.photos[0].label == "owl"


def test_a_server_answers_with_a_list(several_run: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    from headstart.serving.limits import Limits
    from headstart.serving.server import application

    photos = sorted((several_run.parent / "photos").iterdir())[:5]
    wanted = list(hs.predict(several_run, photos))
    app = application(several_run, device="cpu", limits=Limits())
    with testclient.TestClient(app, base_url="http://localhost") as client:
        sent = [("files", (photo.name, photo.read_bytes())) for photo in photos]
        found = client.post("/predict", files=sent).json()["predictions"]
        about, counted = client.get("/model").json(), client.get("/metrics").text
    assert [one["labels"] for one in found] == [list(one.labels or ()) for one in wanted]
    assert [one["label"] for one in found] == [one.label for one in wanted]
    assert found[0]["confidence"] == pytest.approx(wanted[0].confidence, abs=1e-4)
    assert about["labels"]["name"] == "multilabel"
    assert about["figures"]["test"]["headline"] == "mean average precision"
    assert about["figures"]["test"]["map"]["value"] > 0
    given = sum("cat" in (one.labels or ()) for one in wanted)
    assert f'headstart_photos_total{{label="cat"}} {given:.1f}' in counted


def test_check_counts_each_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = draw_several(tmp_path, 40)
    shutil.copy(tmp_path / rows[1][0], tmp_path / "photos" / "again.png")
    other = [label for label in ("cat", "dog", "owl") if label not in rows[1][1]] or ["cat"]
    rows = [*rows, ("photos/again.png", other)]
    rows = [(name, [*labels, "yak"] if i < 2 else labels) for i, (name, labels) in enumerate(rows)]
    table, page = joined_table(tmp_path / "some.csv", rows), tmp_path / "page.html"
    words = ["headstart", "check", str(table), "--labels", "multi", "--backbone", "starter", "--out", str(page)]
    monkeypatch.setattr("sys.argv", [*words, "--fix", str(tmp_path / "clean.csv")])
    code, said, told = said_by(main, capsys)
    assert code == 1
    assert "'yak' has 2" in said
    assert "different labels" in said
    assert "labels are not checked: photos have any number of them" in said
    assert "--labels multi" in told
    cleaned = hs.check(tmp_path / "clean.csv", labels="multi", out=tmp_path / "2.html", quick=True, quiet=True)
    kept = {photo.label for photo in cleaned.photos.manifest.photos}
    assert "" in kept
    assert any("|" in label for label in kept)
    assert len(cleaned.photos.manifest.photos) == 39  # without the two duplicates


def test_the_backbone_of_such_a_run_serves_others(
    own_run: Path, tmp_path: Path, class_folder: Callable[..., Path]
) -> None:
    folder = class_folder(per_class=8)
    found = hs.embed(folder, run=own_run, out=tmp_path / "features.npy", quiet=True)
    assert len(found.features) == 16
    run = hs.train(folder, out=tmp_path / "other", from_run=own_run, strategy="probe", quiet=True)
    assert run.classifier.objective.name == "multiclass"

"""The classifier on disk and at work."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.core.files import write_text
from headstart.errors import RunError, WeightsError
from headstart.inference.classifier import Classifier, load_backbone
from headstart.inference.model_files import read_description


@pytest.fixture
def copied(probe_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(probe_run, tmp_path / "run"))


def test_loaded_it_computes_the_same_bits(copied: Path, tmp_path: Path) -> None:
    first = Classifier.load(copied, "cpu")
    first.save(tmp_path / "again")
    second = Classifier.load(tmp_path / "again", "cpu")
    photos = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(first.logits(photos), second.logits(photos))
    assert second.classes == first.classes == ("cat", "dog", "owl")
    assert second.preprocessing == first.preprocessing
    assert second.provenance == first.provenance


def test_answers_are_those_that_training_reported(probe_run: Path, photos: Path) -> None:
    with (probe_run / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    answers = list(Classifier.load(probe_run, "cpu").predict([photos / row["path"] for row in rows]))
    assert len(rows) >= 6
    for row, answer in zip(rows, answers, strict=True):
        assert answer.label == row["predicted"]
        assert answer.confidence == pytest.approx(float(row["confidence"]), abs=1e-5)
        assert sum(answer.probabilities) == pytest.approx(1)
        assert answer.problem is None


def test_an_answer_does_not_depend_on_its_neighbours(probe_run: Path, photos: Path) -> None:
    classifier = Classifier.load(probe_run, "cpu")
    paths = sorted(photos.rglob("*.png"))
    together = list(classifier.predict(paths))
    assert [a.path for a in together] == paths
    assert next(iter(classifier.predict([paths[20]]))) == together[20]


def test_bad_photos_are_named_and_the_others_answered(
    probe_run: Path, tmp_path: Path, bad_files: Callable[[Path], dict[str, str | None]]
) -> None:
    expected = bad_files(tmp_path / "bad")
    answers = Classifier.load(probe_run, "cpu").predict([tmp_path / "bad" / name for name in expected])
    for (name, reason), answer in zip(expected.items(), answers, strict=True):
        assert answer.path.name == name
        assert (answer.label is None) == (reason is not None), name
        assert (reason or "") in (answer.problem or ""), name


def test_no_photos_no_answers(probe_run: Path) -> None:
    assert list(Classifier.load(probe_run, "cpu").predict([])) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.json", None, "holds no model"),
        ("model.json", b"{", "cannot be read"),
        ("model.json", b"[]", "not a description"),
        ("model.json", b"\xff\xfe", "cannot be read"),
        ("model.safetensors", None, "cannot be read"),
        ("model.safetensors", b"", "cannot be read"),
    ],
)
def test_what_is_no_model_is_refused(copied: Path, name: str, content: bytes | None, words: str) -> None:
    (copied / name).unlink()
    if content is not None:
        (copied / name).write_bytes(content)
    with pytest.raises(RunError, match=words):
        Classifier.load(copied, "cpu")


def test_loading_never_runs_code(copied: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    (copied / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError):
        Classifier.load(copied, "cpu")
    torch.save(Bomb(), copied / "model.safetensors")
    with pytest.raises(RunError):
        Classifier.load(copied, "cpu")
    assert not (tmp_path / "exploded").exists()


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_newer_format_is_refused(copied: Path) -> None:
    edit(copied / "model.json", format=99)
    with pytest.raises(RunError, match="newer"):
        Classifier.load(copied, "cpu")


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    edit(copied / "model.json", classes=["cat", "dog"])
    with pytest.raises(RunError, match="does not fit"):
        Classifier.load(copied, "cpu")


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(RunError) as caught:
        read_description(tmp_path)
    assert "hs.resume(" in caught.value.hint


def test_the_backbone_of_a_run_brings_its_preprocessing(copied: Path) -> None:
    described = json.loads((copied / "model.json").read_text(encoding="utf-8"))
    edit(copied / "model.json", preprocessing={**described["preprocessing"], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]})
    backbone = load_backbone(copied)
    assert backbone.preprocessing.mean == (0.1, 0.2, 0.3)
    assert backbone.preprocessing.std == (1, 2, 3)
    assert "run" in backbone.source
    with pytest.raises(WeightsError, match="`from_run="):
        load_backbone(copied / "nowhere")


def test_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir() if p.is_file()] == [("a.txt", "old")]

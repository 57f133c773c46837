"""Many photos into Parquet files: the same rows as ``predict`` and ``embed``, resumed, refused, counted."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core import extras
from headstart.core.events import Events
from headstart.core.executor import LocalExecutor
from headstart.data.pictures import Encoded
from headstart.errors import DataError, Interrupted, OptionError, RunError
from headstart.evaluation.multilabel import MultiLabel
from headstart.inference.classifier import Classifier
from headstart.inference.device import Machine, find_machine
from headstart.workflows.shards import many
from headstart.workflows.shards import parts as parts_module
from headstart.workflows.shards.parts import Kind, Part, PartWorker
from headstart.workflows.shards.request import request_of

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install pyarrow")
Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the parts that are computed."""
    numbers: list[int] = []
    real = PartWorker.__call__

    def counted(self: PartWorker, part: Any) -> Any:
        numbers.append(part.number)
        return real(self, part)

    monkeypatch.setattr(PartWorker, "__call__", counted)
    return numbers


def test_predictions_are_those_of_predict(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    found = hs.predict_shards(probe_run, photos, tmp_path / "out", part=10, coverage=0.9, quiet=True)
    assert (found.photos, found.parts, found.unread, found.computed) == (36, 4, 0, 36)
    assert [file.name for file in found.files] == [f"part-{i:06d}.parquet" for i in range(4)]
    frame, plain = found.frame(), hs.predict(probe_run, photos, coverage=0.9).frame()
    assert list(frame.path) == list(plain.path)
    assert list(frame.label) == list(plain.label)
    assert [tuple(labels) for labels in frame.labels] == list(plain.labels)
    for name in ("cat", "dog", "owl"):
        assert np.allclose(frame[name], plain[name], atol=1e-6)
    assert sum(found.counts.values()) == 36
    assert found.counts == plain.label.value_counts().to_dict()


def test_features_are_those_of_embed(probe_run: Path, class_folder: Any, tmp_path: Path) -> None:
    photos = class_folder()
    (photos / "cat" / "cat_001.png").write_bytes(b"no picture")
    found = hs.embed_shards(photos, tmp_path / "out", run=probe_run, part=5, quiet=True)
    plain = hs.embed(photos, run=probe_run, quiet=True)
    frame = found.frame()
    assert (found.photos, found.unread, len(frame)) == (12, 1, 12)
    assert list(frame.path[frame.problem.isna()]) == list(plain.names)
    assert np.allclose(np.stack(frame.features[frame.problem.isna()].tolist()), plain.features, atol=1e-5)
    (bad,) = frame[frame.problem.notna()].itertuples()
    assert bad.path.endswith("cat_001.png")
    assert bad.features is None
    assert "not an image" in bad.problem


def test_a_backbone_has_one_plan_for_all_parts(photos: Path, weights: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": "starter", "weights": weights, "precision": "float32", "quiet": True}
    found = hs.embed_shards(photos, tmp_path / "out", part=20, **options)
    plain = hs.embed(photos, **options)
    assert np.allclose(np.stack(found.frame().features.tolist()), plain.features, atol=1e-5)


def test_what_is_missing_or_damaged_is_computed_again(
    probe_run: Path, photos: Path, tmp_path: Path, parts: list[int]
) -> None:
    asked: dict[str, Any] = {"part": 10, "quiet": True}
    whole = hs.predict_shards(probe_run, photos, tmp_path / "out", **asked).frame()
    (tmp_path / "out" / "part-000001.parquet").unlink()
    (tmp_path / "out" / "part-000003.parquet").write_bytes(b"PAR1 half of a file")
    parts.clear()
    again = hs.predict_shards(probe_run, photos, tmp_path / "out", **asked)
    assert parts == [1, 3]
    assert again.computed == 16
    assert again.frame().equals(whole)


def test_ctrl_c_loses_no_whole_part(
    probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PartWorker.__call__

    def stopped(self: PartWorker, part: Any) -> Any:
        if part.number == 2:
            raise KeyboardInterrupt
        return real(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(PartWorker, "__call__", stopped)
        with pytest.raises(Interrupted, match="20 of 36 photos are done"):
            hs.predict_shards(probe_run, photos, tmp_path / "out", part=10, quiet=True)
    assert hs.predict_shards(probe_run, photos, tmp_path / "out", part=10, quiet=True).computed == 16


def test_a_folder_of_other_work_is_refused(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"out": tmp_path / "out", "part": 10, "quiet": True}
    hs.predict_shards(probe_run, photos, **asked)
    with pytest.raises(RunError, match="is of other work: coverage"):
        hs.predict_shards(probe_run, photos, coverage=0.9, **asked)
    with pytest.raises(RunError, match="is of other work: kind"):
        hs.embed_shards(photos, run=probe_run, **asked)
    with pytest.raises(RunError, match="is of other work: photos"):
        hs.predict_shards(probe_run, photos / "cat", **asked)
    anew = hs.predict_shards(probe_run, photos / "cat", overwrite=True, **asked)
    assert (anew.photos, len(anew.files)) == (12, 2)  # no file of the earlier work stays
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(RunError, match="holds something else"):
        hs.predict_shards(probe_run, photos, tmp_path / "other", quiet=True)


def test_pictures_in_memory_are_told_by_their_content(probe_run: Path, tmp_path: Path) -> None:
    """All of them are called image 1, image 2 and so on."""
    dark, light = ([np.full((40, 40, 3), level + i, np.uint8) for i in range(3)] for level in (0, 200))
    asked: dict[str, Any] = {"out": tmp_path / "out", "quiet": True}
    hs.predict_shards(probe_run, dark, **asked)
    assert hs.predict_shards(probe_run, dark, **asked).computed == 0
    with pytest.raises(RunError, match="is of other work: photos"):
        hs.predict_shards(probe_run, light, **asked)
    encoded = [Encoded(Path("image 1"), content) for content in (b"one", b"another")]
    worker = PartWorker(Classifier.load(probe_run, "cpu"), "predictions", tmp_path)
    assert request_of(worker, encoded[:1], 1) != request_of(worker, encoded[1:], 1)


def test_the_same_names_in_another_folder_are_other_photos(
    probe_run: Path, class_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folder()
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "photos", tmp_path / name / "photos")
    monkeypatch.chdir(tmp_path / "one")
    asked: dict[str, Any] = {"files": "photos", "out": tmp_path / "out", "quiet": True}
    hs.predict_shards(probe_run, **asked)
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(RunError, match="is of other work: photos"):
        hs.predict_shards(probe_run, **asked)


def test_all_that_an_answer_depends_on_is_in_the_request(probe_run: Path, photos: Path) -> None:
    known = Classifier.load(probe_run, "cpu")
    assert known.certainty is not None
    farther = replace(known.certainty, far=known.certainty.far * 0.9)
    others = [
        replace(known, classes=("a", "b", "c")), replace(known, certainty=farther), replace(known, certainty=None),
        replace(known, objective=MultiLabel((0.5, 0.5, 0.5))), replace(known, objective=MultiLabel((0.5, 0.5, 0.6))),
        replace(known, precision="bf16"), replace(known, preprocessing=known.preprocessing.at(64, 72)),
    ]  # fmt: skip
    paths = sorted(photos.rglob("*.png"))[:2]

    def asked(classifier: Classifier, kind: Kind) -> str:
        return json.dumps(request_of(PartWorker(classifier, kind, photos), paths, 2))

    assert len({asked(one, "predictions") for one in [known, *others]}) == 1 + len(others)
    assert asked(replace(known, provenance={"at": "another time"}), "predictions") == asked(known, "predictions")
    assert len({asked(one, "features") for one in [known, *others]}) == 3  # known, its precision, its preprocessing


def test_a_worker_that_was_sent_finds_its_own_device(
    probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender computes on a device that the other machine may lack."""
    worker = PartWorker(Classifier.load(probe_run, "cpu"), "predictions", tmp_path, None, "auto")
    worker.classifier._machine = Machine(torch.device("meta"), False, "a device of the sender's")
    sent, asked = pickle.loads(pickle.dumps(worker)), list[str]()

    def found(device: str) -> Machine:
        asked.append(device)
        return find_machine("cpu")

    monkeypatch.setattr(parts_module, "find_machine", found)
    paths = tuple(sorted(photos.rglob("*.png"))[:2])
    assert [sent(Part(number, paths)) for number in range(2)] == [2, 2]
    assert asked == ["auto"]
    assert worker.classifier._machine.device.type == "meta"


class OneMachine:
    """A cluster whose only node runs each job at once."""

    slots = 1

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextmanager
    def session(self, device: str, events: Events) -> Iterator[None]:
        yield

    def check(self, paths: Sequence[str], folder: Path) -> None:
        self.seen = list(paths)

    def news(self) -> list[str]:
        return ["The node 10.0.0.9 has joined the Ray cluster."]

    def submit(self, work: Any, job: Any, /) -> Future[Any]:
        return LocalExecutor().submit(work, job)


def test_a_cluster_is_watched_and_sees_some_folders(
    probe_run: Path, class_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    cluster, photos = OneMachine(), class_folder()
    monkeypatch.setattr(many, "FOLDERS", 1)
    assert len({path.parent for path in photos.rglob("*.png")}) > 1
    hs.predict_shards(probe_run, photos, tmp_path / "out", executor=cluster, quiet=True, listener=heard.append)
    assert len(cluster.seen) == 1
    assert "The node 10.0.0.9 has joined the Ray cluster." in [getattr(event, "text", "") for event in heard]


@pytest.mark.parametrize("number", [1, 5, 6, 9, 10, 11, 14, 15])
def test_of_many_folders_at_most_so_many_are_looked_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "FOLDERS", 5)
    photos = [Path(f"/folder-{i}/photo.png") for i in range(number)]
    seen = many.Many(PartWorker(None, "predictions", Path()), photos, 2, LocalExecutor(), Events())._folders()  # type: ignore[arg-type]
    assert min(number, 3) <= len(seen) <= 5


def test_a_pool_of_pythons_own_computes_parts(probe_run: Path, photos: Path, tmp_path: Path, parts: list[int]) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = hs.predict_shards(probe_run, photos, tmp_path / "out", part=10, executor=pool, quiet=True)
    assert (found.computed, parts) == (36, [0, 1, 2, 3])


def test_mistakes_are_told_first(
    probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        hs.predict_shards(probe_run, tmp_path / "empty", tmp_path / "out", quiet=True)
    with pytest.raises(OptionError, match="`part=0` must be at least 1"):
        hs.predict_shards(probe_run, photos, tmp_path / "out", part=0, quiet=True)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="Writing Parquet files needs pyarrow"):
        hs.embed_shards(photos, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


# -- the command line --


def test_predict_into_a_folder(cli: Cli, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    answer = cli("predict", probe_run, photos, "--out", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert (said["photos"], said["parts"], said["unreadable"]) == (36, 1, 0)
    again = cli("predict", probe_run, photos, "--out", tmp_path / "out")
    assert "36 photos in 1 Parquet file" in again.out
    assert "0 photos computed" in again.out


def test_embed_into_a_folder(cli: Cli, probe_run: Path, class_folder: Any, tmp_path: Path) -> None:
    photos = class_folder()
    (photos / "dog" / "dog_000.png").write_bytes(b"")
    answer = cli("embed", photos, "--run", probe_run, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "1 photo cannot be read" in answer.out + answer.err
    assert len(parquet.read_table(tmp_path / "out" / "part-000000.parquet")) == 12


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--executor", "ray"), "writes Parquet files into a folder"),
        (("--executor", "ray", "--out", "x.csv"), "writes Parquet files into a folder"),
        (("--out", "x", "--jsonl"), "does not go with a folder"),
        (("--out", "x", "--sort-into", "y"), "--sort-into does not go with a folder"),
        (("--out", "x", "--executor", "rey"), "There is no executor 'rey'"),
    ],
)
def test_what_does_not_go_together(
    cli: Cli, refused: Refused, probe_run: Path, photos: Path, tmp_path: Path, words: Any, told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    refused(cli("predict", probe_run, photos, *words), told)
    assert not list(tmp_path.glob("x*"))


def test_without_ray_the_command_says_what_to_install(
    cli: Cli, refused: Refused, probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # type: ignore[arg-type]
    refused(cli("predict", probe_run, photos, "--out", tmp_path / "x", "--executor", "ray"), "headstart[ray]")

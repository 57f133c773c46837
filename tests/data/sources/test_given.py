"""Labelled photos in memory give what the same photos on disk give, and last as long as they are needed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.paths import cache_dir
from headstart.data.decode import decode
from headstart.data.schema import AS_FOUND, ReadOptions
from headstart.data.sources.detect import scan
from headstart.data.sources.given import on_disk
from headstart.data.sources.in_memory import rows_of, text_of
from headstart.errors import DataError, HeadstartError, OptionError

pandas = pytest.importorskip("pandas")
LABELS = ("001", "NA", "True", "None")


@pytest.fixture
def files(tmp_path: Path, draw_photo: Callable[..., Path]) -> dict[Path, str]:
    """Eight photos of each of four classes with awkward names, and their labels."""
    rng = np.random.default_rng(1)
    return {
        draw_photo(tmp_path / "set" / label / f"{k}.png", index, rng): label
        for index, label in enumerate(LABELS)
        for k in range(8)
    }


class Image_:  # noqa: N801 - data sets tell features by the names of their types
    """A stand-in for ``datasets.Image``."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


Image_.__name__ = "Image"


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class FakeDataset:
    """As ``datasets.Dataset``: features, columns, rows, ``cast_column``."""

    def __init__(self, rows: list[dict[str, Any]], features: dict[str, Any]) -> None:
        self.rows, self.features, self.column_names = rows, features, list(features)

    def cast_column(self, name: str, feature: Any) -> FakeDataset:
        return FakeDataset(self.rows, {**self.features, name: feature})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            raw = row["image"]
            decoded = self.features["image"].decode
            yield {**row, "image": Image.open(io.BytesIO(raw)) if decoded else {"bytes": raw, "path": None}}


def dataset(files: dict[Path, str]) -> FakeDataset:
    rows = [{"image": p.read_bytes(), "label": LABELS.index(label)} for p, label in files.items()]
    return FakeDataset(rows, {"image": Image_(), "label": ClassLabel(list(LABELS))})


def arrays(files: dict[Path, str]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in files]


FORMS: dict[str, Callable[[dict[Path, str]], Any]] = {
    "paths": lambda files: ([str(path) for path in files], list(files.values())),
    "generators": lambda files: (iter(files), iter(files.values())),
    "arrays": lambda files: (np.stack(arrays(files)), np.array(list(files.values()))),
    "tensors": lambda files: (torch.from_numpy(np.stack(arrays(files))).permute(0, 3, 1, 2), list(files.values())),
    "images": lambda files: (list(map(Image.open, files)), list(files.values())),
    "bytes": lambda files: ([path.read_bytes() for path in files], list(files.values())),
    "frame of paths": lambda files: pandas.DataFrame({"path": list(map(str, files)), "label": list(files.values())}),
    "frame of images": lambda files: pandas.DataFrame(
        {"what": list(files.values()), "picture": list(map(Image.open, files))}
    ),
    "data set": dataset,
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_and_pixels_are_those_of_the_files(form: str, files: dict[Path, str]) -> None:
    place, options = on_disk(FORMS[form](files), AS_FOUND)
    found = scan(place, options=options)
    expected = sorted((label, decode(path).pixels.tobytes()) for path, label in files.items())
    assert sorted((photo.label, decode(photo.path).pixels.tobytes()) for photo in found.photos) == expected
    assert not found.skipped
    if form in ("bytes", "data set"):  # not even encoded again
        assert sorted(p.path.read_bytes() for p in found.photos) == sorted(path.read_bytes() for path in files)
    assert on_disk(FORMS[form](files), AS_FOUND)[0] == place  # of the same content, the same place
    other = {path: LABELS[(LABELS.index(label) + 1) % 4] for path, label in files.items()}
    assert on_disk(FORMS[form](other), AS_FOUND)[0] != place


@pytest.mark.slow
@pytest.mark.parametrize("form", ["arrays", "frame of paths", "data set"])
def test_a_training_is_that_of_the_folder(
    form: str, files: dict[Path, str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: Any = {"backbone": "starter", "weights": weights, "strategy": "probe", "quiet": True, "precision": "float32"}
    plain = hs.train("set", out="plain", **asked)
    run = hs.train(FORMS[form](files), out="run", **asked)
    assert run.classifier.classes == plain.classifier.classes == tuple(LABELS[i] for i in (0, 1, 3, 2))
    assert set(run.predictions().label) == set(LABELS)
    shutil.rmtree(cache_dir())  # the run has its photos
    maps = hs.explain(run, next(iter(files)), neighbours=3, quiet=True)
    assert maps.photos[0].neighbours[0].label == files[next(iter(files))]
    assert hs.forecast(run, more=[5], quiet=True).photos
    shutil.rmtree(cache_dir())
    again = hs.train(FORMS[form](files), out="run", overwrite=True, **asked)
    assert [row["val_loss"] for _, row in again.history().iterrows()] == [
        row["val_loss"] for _, row in run.history().iterrows()
    ]
    data = json.loads((run.path / "request.json").read_text(encoding="utf-8"))["options"]["data"]
    with pytest.raises(OptionError, match="would be replaced") if form != "frame of paths" else _nothing():
        hs.train(data, out="run", overwrite=True, **asked)


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...
    def __exit__(self, *about: object) -> None: ...


KILLED = """
import os, sys, numpy as np, headstart as hs
from headstart.core.events import EpochEnd
def stop(event):
    if isinstance(event, EpochEnd):
        os._exit(9)
data = np.load(sys.argv[1])
hs.train((data["x"], data["y"]), out="run", backbone="starter", weights=sys.argv[2], strategy="finetune", epochs=3,
         precision="float32", quiet=True, listener=stop)
"""


@pytest.mark.slow
def test_a_killed_training_of_arrays_is_resumed_without_them(
    files: dict[Path, str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=np.stack(arrays(files)), y=np.array(list(files.values())))
    done = subprocess.run([sys.executable, "-c", KILLED, "data.npz", str(weights)], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    shutil.rmtree(cache_dir())
    resumed = hs.resume("run", quiet=True)
    asked: Any = {"backbone": "starter", "weights": weights, "strategy": "finetune", "epochs": 3, "quiet": True}
    whole = hs.train((arrays(files), list(files.values())), out="whole", precision="float32", **asked)
    first, second = (run.classifier.network.state_dict() for run in (resumed, whole))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_other_functions_take_them_too(files: dict[Path, str], tmp_path: Path, probe_run: Path, photos: Path) -> None:
    pair = FORMS["arrays"](files)
    found = hs.check(pair, quick=True, quiet=True, out=tmp_path / "page.html", fix=tmp_path / "clean.csv")
    assert found.fit
    shutil.rmtree(cache_dir())
    assert len(scan(str(tmp_path / "clean.csv")).photos) == 32  # the list names files that last
    assert hs.photos(pair).counts == dict.fromkeys(("001", "NA", "None", "True"), 8)
    owned = {p: p.parent.name for p in sorted(photos.rglob("*.png"))}
    frame = pandas.DataFrame({"file": [os.path.relpath(p, photos) for p in owned], "kind": list(owned.values())})
    told = hs.evaluate(probe_run, frame, path_column="file", label_column="kind", images=photos, quiet=True)
    assert told["accuracy"] == hs.evaluate(probe_run, photos, quiet=True)["accuracy"]
    assert hs.evaluate(probe_run, (arrays(owned), list(owned.values())), quiet=True)["accuracy"] == told["accuracy"]


def test_parts_of_a_data_set_are_splits(files: dict[Path, str]) -> None:
    some = list(files.items())
    parts = {"train": dataset(dict(some[::2])), "validation": dataset(dict(some[1::2]))}
    place, options = on_disk(parts, AS_FOUND)
    assert {photo.split for photo in scan(place, options=options).photos} == {"train", "val"}


def test_cells_that_are_empty_are_left_out_and_named(files: dict[Path, str]) -> None:
    frame = FORMS["frame of paths"](files)
    frame.loc[3, "label"] = None
    frame.loc[5, "path"] = float("nan")
    place, options = on_disk(frame, AS_FOUND)
    found = scan(place, options=options)
    assert len(found.photos) == 30
    assert sorted(bad.reason for bad in found.skipped) == [
        "line 4 of `data`: no label", "line 6 of `data`: no path",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["a.jpg", "b.jpg"], "is no labelled photos"), (("a.jpg", "b.jpg"), "its images are no list"),
        ((["a.jpg"], "cat"), "its labels are no list"), ((["a.jpg"], ["cat", "dog"]), "1 images and 2 labels"),
        ((["a.jpg"], ["cat"], 3), "a tuple of 3"), ((["a.jpg"], [None]), "label 1 is missing"),
        ((["a.jpg"], [float("nan")]), "label 1 is missing"), ((["a.jpg"], [["cat", "dog"]]), "not one class"),
        ((["a.jpg", 3], ["cat", "dog"]), "item 2 is of the type int"), (([], []), "has no photos"),
        ((np.zeros((2, 8, 8, 3)) - 1, [0, 1]), "beyond 0 and 1"), (np.zeros((4, 8, 8, 3), np.uint8), "no labelled"),
        ({"train": 3}, "is no labelled photos"), (pandas.DataFrame({"x": [1], "y": [2]}), "no column 'path'"),
        (pandas.DataFrame([["a.jpg", "cat"]], columns=["x", "x"]), "two columns of one name: x"),
        (b"photos", "is no labelled photos"), ("", "`data` is empty"), (None, "`data=None` is not a path|no labelled"),
    ],
)  # fmt: skip
def test_what_is_no_labelled_photos_is_said_before_a_folder_is_made(
    data: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeadstartError, match=words) as caught:
        hs.train(data, out="run", backbone="starter", quiet=True)
    assert "Traceback" not in str(caught.value)
    assert set(os.listdir(tmp_path)) <= {"own-cache"}
    assert not list((tmp_path / "own-cache").rglob("given-*")) or "beyond" not in words


def test_messages_name_no_file_that_the_caller_never_made(files: dict[Path, str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        hs.train((list(files), ["a"] * len(files)), backbone="starter", out=tmp_path / "run", quiet=True)
    assert error.value.problem.startswith("`data` has one class only ('a')")
    assert error.value.hint == ""
    frame = pandas.DataFrame({"file": list(map(str, files)), "kind": list(files.values())})
    notes = scan(on_disk(frame, AS_FOUND, "data")[0]).notes
    assert notes
    assert not [note for note in notes if "photos.jsonl" in note or str(cache_dir()) in note]


def test_whole_numbers_stay_so_beside_an_empty_cell(files: dict[Path, str]) -> None:
    frame = pandas.DataFrame({"path": list(map(str, files)), "label": [number % 3 for number in range(len(files))]})
    frame.loc[0, "label"] = None
    assert frame.label.dtype == float
    assert {photo.label for photo in scan(on_disk(frame, AS_FOUND)[0]).photos} == {"0", "1", "2"}


def test_columns_that_are_asked_for(files: dict[Path, str]) -> None:
    two = pandas.DataFrame(
        {"a": list(map(Image.open, files)), "b": list(map(Image.open, files)), "label": [*files.values()]}
    )
    with pytest.raises(OptionError, match="several columns of pictures: a, b"):
        on_disk(two, AS_FOUND)
    place, options = on_disk(two, ReadOptions(path_column="b"))
    assert options.path_column == "b"
    assert len(scan(place, options=options).photos) == 32
    with pytest.raises((OptionError, DataError), match="no column 'c'"):
        hs.photos(two.drop(columns=["a", "b"]), path_column="c")


def test_a_generator_may_fill_one_array_anew(files: dict[Path, str]) -> None:
    """As ``cv2.VideoCapture.read(buffer)`` does: each picture is the one of its turn, not the last."""

    def camera() -> Iterator[np.ndarray]:
        buffer = np.zeros_like(arrays(files)[0])
        for pixels in arrays(files):
            buffer[:] = pixels
            yield buffer

    labels = list(files.values())
    wanted, found = (
        [photo.open().read() for photo in hs.photos((images, labels)).manifest.photos]
        for images in (arrays(files), camera())
    )
    assert found == wanted


def test_sets_of_labels_are_lists_of_them(files: dict[Path, str]) -> None:
    several = [["b", "a"], ["a"], []] * 4
    frames = [
        pandas.DataFrame({"path": list(map(str, files))[:12], "label": [kind(one) for one in several]})
        for kind in (list, set, frozenset)
    ]
    tables = [rows_of(frame, "data", several=True) for frame in frames]
    texts = [[text_of(row[1]) for row in table.rows] for table in tables if table]
    assert [[sorted(json.loads(text)) for text in one] for one in texts] == [[["a", "b"], ["a"], []] * 4] * 3


@pytest.fixture
def hub_set(files: dict[Path, str]) -> Any:
    """A data set as the package ``datasets`` has it; its last label is -1, which is none."""
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    numbers = [LABELS.index(label) for label in files.values()]
    rows = {"image": list(map(str, files)), "label": [*numbers[:-1], -1], "tags": [[n, 0] for n in numbers]}
    names = datasets.ClassLabel(names=list(LABELS))
    features = datasets.Features(image=datasets.Image(), label=names, tags=datasets.Sequence(names))
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("form", ["numpy", "torch", "arrow", "pandas", "transform"])
def test_a_format_of_a_data_set_changes_nothing(hub_set: Any, form: str) -> None:
    plain = hub_set.remove_columns("tags")
    wanted = Counter(photo.label for photo in hs.photos(plain).manifest.photos)
    assert set(wanted) == set(LABELS)
    if form == "transform":
        shown = plain.with_transform(lambda b: {**b, "image": [one.convert("RGB") for one in b["image"]]})
    else:
        shown = plain.with_format(form)
    assert Counter(photo.label for photo in hs.photos(shown).manifest.photos) == wanted


def test_lists_of_class_numbers_get_their_names(hub_set: Any) -> None:
    found = rows_of(hub_set.remove_columns("label"), "data", several=True)
    assert found is not None
    assert found.labels == "tags"
    assert next(iter(found.rows))[1] == [LABELS[0], LABELS[0]]

"""``pack``: shards hold what the photos' own form holds, and training on either ends with the same weights; it goes on
where it was stopped, and replaces nothing that it did not write.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import said_by
from helpers.shards import Bucket, seen, web_shards
from safetensors.numpy import load_file

import headstart as hs
from headstart.cli.app import main
from headstart.core.array_store import RowStore
from headstart.data.schema import BadFile, Photo, ReadOptions
from headstart.data.sources.detect import scan
from headstart.errors import DownloadError, OptionError, RunError
from headstart.workflows.packing import packing, shard_files

pytest.importorskip("pyarrow")
FORMS = ("webdataset", "parquet")


def trained(data: object, out: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict, list, dict]:
    """(weights, splits, features) of a probe, with a cache of its own: nothing is shared but the photos."""
    monkeypatch.setenv("HEADSTART_CACHE", str(out.with_name(f"{out.name}-cache")))
    how = {"backbone": "starter", "weights": str(weights), "strategy": "probe", "settings": {"precision": "float32"}}
    run = hs.train(data, out=out, quiet=True, **how)
    with (run.path / "splits.csv").open(encoding="utf-8") as file:
        splits = sorted(tuple(row.items()) for row in csv.DictReader(file))
    (folder,) = Path(f"{out}-cache", "rows").glob("features-*")
    rows = RowStore(folder.name, "float32")
    features = {digest: rows.row(digest) for digest in rows._rows}
    return load_file(run.path / "model.safetensors"), splits, features


def assert_same(one: tuple[dict, list, dict], other: tuple[dict, list, dict]) -> None:
    assert one[1] == other[1]
    for mine, theirs in ((one[0], other[0]), (one[2], other[2])):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    assert len(one[2]) == 36


@pytest.mark.slow
def test_every_form_trains_the_same(
    photos: Path, weights: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(photos, tmp_path / "folder", weights, monkeypatch)
    for form in FORMS:
        hs.pack(photos, tmp_path / form, format=form, quiet=True)
        assert_same(trained(tmp_path / form, tmp_path / f"run-{form}", weights, monkeypatch), expected)
    hs.pack(photos, f"{bucket.address}/shards", quiet=True)
    assert_same(trained(f"{bucket.address}/shards", tmp_path / "s3", weights, monkeypatch), expected)
    web_shards(photos, tmp_path / "web")
    assert_same(
        trained(tmp_path / "web" / "photos-{000..003}.tar", tmp_path / "run-web", weights, monkeypatch), expected
    )


@pytest.mark.parametrize("form", FORMS)
def test_splits_and_groups_and_names_are_kept(form: str, photos: Path, tmp_path: Path) -> None:
    lines = ["path,label,split,group"]
    for number, photo in enumerate(sorted(photos.rglob("*.png"))):
        lines.append(f"{photo},{photo.parent.name},{('train', 'val', 'test')[number % 3]},g{number // 4}")
    (tmp_path / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    made = hs.pack(tmp_path / "table.csv", tmp_path / "out", format=form, quiet=True)
    assert {one.file.partition("-")[0] for one in made.shards} == {"train", "val", "test"}
    before, after = scan(tmp_path / "table.csv"), scan(tmp_path / "out")
    assert [(p.label, p.split, p.group) for p in before.photos] == [(p.label, p.split, p.group) for p in after.photos]
    assert [p.open().read() for p in before.photos] == [p.open().read() for p in after.photos]


@pytest.mark.parametrize("form", FORMS)
def test_several_labels_are_kept(form: str, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:8]
    labels = ("cat|dog", "dog", "", "owl|cat", "owl", "cat", "cat", "dog")
    rows = "".join(f"{file},{label}\n" for file, label in zip(files, labels, strict=True))
    (tmp_path / "table.csv").write_text("path,label\n" + rows, encoding="utf-8")
    hs.pack(tmp_path / "table.csv", tmp_path / "out", format=form, labels="multi", quiet=True)
    places, options = (tmp_path / "table.csv", tmp_path / "out"), ReadOptions(labels="multi")
    before, after = (scan(place, for_training=False, options=options).photos for place in places)
    assert [p.label for p in before] == [p.label for p in after]


@pytest.mark.parametrize("form", FORMS)
def test_flat_and_odd_names_are_kept(form: str, tmp_path: Path, draw_photo: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dög"):
        for i in range(4):
            draw_photo(tmp_path / "flat" / f"{label}.{i}.png", 0, rng)
    hs.pack(tmp_path / "flat", tmp_path / "out", format=form, quiet=True)
    assert seen(scan(tmp_path / "out")) == seen(scan(tmp_path / "flat"))


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_packing_goes_on(
    form: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MB", 10_000)
    whole = hs.pack(photos, tmp_path / "whole", format=form, shard_mb=2, quiet=True)
    assert len(whole.shards) > 3
    add, written = shard_files.WRITERS[form].add, []

    def failing(self: object, photo: shard_files.Packed) -> None:
        written.append(photo.name)
        if len(written) == 20:
            raise KeyboardInterrupt
        add(self, photo)

    monkeypatch.setattr(shard_files.WRITERS[form], "add", failing)
    with pytest.raises(KeyboardInterrupt):
        hs.pack(photos, tmp_path / "out", format=form, shard_mb=2, quiet=True)
    there = {p.name for p in (tmp_path / "out").iterdir()}
    assert there == {"pack.json", *(one.file for one in whole.shards[: len(there) - 1])}
    assert len(there) > 2
    hs.pack(photos, tmp_path / "out", format=form, shard_mb=2, quiet=True)
    assert len(written) < 20 + 36  # what was whole was not read again
    files = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == files


def test_a_finished_packing_is_not_done_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = hs.pack(photos, tmp_path / "out", quiet=True)
    before = (tmp_path / "out" / made.shards[0].file).stat().st_mtime_ns
    assert hs.pack(photos, tmp_path / "out", quiet=True).shards == made.shards
    assert (tmp_path / "out" / made.shards[0].file).stat().st_mtime_ns == before
    (tmp_path / "out" / made.shards[0].file).write_bytes(b"cut off")
    hs.pack(photos, tmp_path / "out", quiet=True)
    assert seen(scan(tmp_path / "out")) == seen(scan(photos))


def test_photos_that_have_changed_are_packed_again(class_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = class_folder()
    hs.pack(folder, tmp_path / "out", quiet=True)
    changed, other = sorted(folder.rglob("*.png"))[:2]
    changed.write_bytes(other.read_bytes())
    with pytest.raises(OptionError, match="have changed"):
        hs.pack(folder, tmp_path / "out", quiet=True)
    hs.pack(folder, tmp_path / "out", overwrite=True, quiet=True)
    assert seen(scan(tmp_path / "out")) == seen(scan(folder))


def test_no_shard_of_a_stopped_packing_stays_among_those_of_another(
    photos: Path, class_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MB", 10_000)
    whole = hs.pack(photos, tmp_path / "out", shard_mb=2, quiet=True)
    (tmp_path / "out" / whole.shards[0].file).unlink()
    write = packing._Packing._write

    def once(self: packing._Packing, name: str, *more: Any) -> packing.Shard:
        return write(self, name, *more) if name == whole.shards[0].file else pytest.fail("stopped")

    monkeypatch.setattr(packing._Packing, "_write", once)
    with pytest.raises(pytest.fail.Exception):
        hs.pack(photos, tmp_path / "out", shard_mb=2, quiet=True)
    monkeypatch.undo()
    other = class_folder()
    hs.pack(other, tmp_path / "out", overwrite=True, quiet=True)
    assert seen(scan(tmp_path / "out")) == seen(scan(other))


def test_other_files_are_not_replaced(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(OptionError, match="holds files"):
            hs.pack(photos, out, overwrite=overwrite, quiet=True)
    (out / "mine.txt").unlink()
    hs.pack(photos, out, quiet=True)
    with pytest.raises(OptionError, match="other photos"):
        hs.pack(photos, out, format="parquet", quiet=True)
    hs.pack(photos, out, format="parquet", overwrite=True, quiet=True)
    assert {p.suffix for p in out.iterdir()} == {".parquet", ".json", ".txt"}
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="is a file"):
        hs.pack(photos, tmp_path / "file", quiet=True)
    with pytest.raises(OptionError, match="shard_mb"):
        hs.pack(photos, tmp_path / "new", shard_mb=0, quiet=True)


def test_a_damaged_state_is_told(photos: Path, tmp_path: Path) -> None:
    hs.pack(photos, tmp_path / "out", quiet=True)
    for content in ("{", '{"digest": 1}', '{"digest": "x", "shards": [{}]}'):
        (tmp_path / "out" / "pack.json").write_text(content, encoding="utf-8")
        with pytest.raises(RunError, match=r"pack\.json[^$]*Delete it, or choose another place"):
            hs.pack(photos, tmp_path / "out", quiet=True)


def test_files_that_cannot_be_read_are_named(
    class_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = class_folder()
    (folder / "cat" / "cat_000.png").unlink()
    (folder / "cat" / "cat_000.png").mkdir()
    (folder / "dog" / "lost.png").symlink_to(tmp_path / "nothing.png")
    lost = folder / "cat" / "cat_001.png"
    read = packing.read_file
    monkeypatch.setattr(packing, "read_file", lambda photo: read(Photo(tmp_path, "") if photo.path == lost else photo))
    made = hs.pack(folder, tmp_path / "out", quiet=True)
    assert made.photos == 10
    assert [(bad.path, "cannot be read" in bad.reason) for bad in made.bad] == [(lost, True)]
    assert made.summary["bad"] == [{"path": str(lost), "reason": made.bad[0].reason}]
    assert "1 photo left out" in made.text
    assert hs.pack(folder, tmp_path / "out", quiet=True).bad == (BadFile(lost, "cannot be read"),)
    assert {p.path.name for p in scan(tmp_path / "out").photos} == {
        p.name for p in folder.rglob("*.png") if p.is_file()
    } - {lost.name}


def test_a_store_that_stops_answering_stops_the_packing(
    bucket: Bucket, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MB", 10_000)
    from headstart.workflows.packing.places import Bucket as Target

    put = Target.writing
    asked = []

    def writing(self: Target, name: str):
        asked.append(name)
        if len(asked) == 3:
            raise DownloadError("the store is gone")
        return put(self, name)

    monkeypatch.setattr(Target, "writing", writing)
    with pytest.raises(DownloadError):
        hs.pack(photos, f"{bucket.address}/out", shard_mb=2, quiet=True)
    made = hs.pack(photos, f"{bucket.address}/out", shard_mb=2, quiet=True)
    assert asked.count(made.shards[0].file) == 1
    assert seen(scan(f"{bucket.address}/out")) == seen(scan(photos))


def test_the_command(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["headstart", "pack", str(photos), "out", "--json", "--shard-mb", "1"])
    code, out, _ = said_by(main, capsys)
    told = json.loads(out)
    assert (code, told["photos"], told["classes"]) == (0, 36, ["cat", "dog", "owl"])
    monkeypatch.setattr(sys, "argv", ["headstart", "pack", str(photos), "out", "--format", "parquet"])
    code, _, said = said_by(main, capsys)
    assert code == 2
    assert "--overwrite" in said


def test_the_next_command_reads_several_labels(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    rows = "".join(f"{file},cat|dog\n" for file in sorted(photos.rglob("*.png"))[:4])
    (tmp_path / "table.csv").write_text("file,kinds\n" + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked = ["table.csv", "out", "--labels", "multi", "--path-column", "file", "--label-column", "kinds"]
    monkeypatch.setattr(sys, "argv", ["headstart", "pack", *asked])
    code, _, said = said_by(main, capsys)
    assert code == 0
    assert "next: headstart train out --labels multi\n" in said


def test_shards_are_the_same_bytes_wherever_the_photos_are(photos: Path, tmp_path: Path) -> None:
    hs.pack(photos, tmp_path / "one", quiet=True)
    hs.pack(tmp_path / "one", tmp_path / "two", quiet=True)
    one, two = ((tmp_path / place / "photos-000000.tar").read_bytes() for place in ("one", "two"))
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()


def test_other_tools_read_the_shards(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wds = pytest.importorskip("webdataset")
    hs.pack(photos, tmp_path / "tar", quiet=True)
    files = str(tmp_path / "tar" / "photos-000000.tar")
    samples = list(wds.WebDataset(files, shardshuffle=False).decode("pil").to_tuple("png", "cls", "json"))
    assert [label for _, label, _ in samples] == [0] * 12 + [1] * 12 + [2] * 12
    assert samples[0][0].size == (48, 40)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    hs.pack(photos, tmp_path / "parquet", format="parquet", quiet=True)
    files = str(tmp_path / "parquet" / "photos-000000.parquet")
    found = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == ["cat", "dog", "owl"]
    assert found[20]["image"].size == (48, 40)

"""Shards that are read in place: the photos, labels and splits of the folder that they were made of; damage and hostile
files end in one message.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.shards import FORMS, arrow_folder, members, parquet_file, seen, tar, web_shards

from headstart.core.array_store import RowStore
from headstart.data.filenames import shown, split_in_name
from headstart.data.images import where_is
from headstart.data.schema import AS_FOUND, ReadOptions
from headstart.data.sources import columns, stored, tar_shards
from headstart.data.sources.addresses import expanded
from headstart.data.sources.columns import StoredPhotos
from headstart.data.sources.detect import scan
from headstart.errors import DataError, OptionError

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("form", FORMS)
def test_shards_have_the_photos_of_the_folder(form: str, photos: Path, tmp_path: Path) -> None:
    found = scan(FORMS[form](photos, tmp_path / "shards"))
    assert found.source == "stored"
    assert seen(found) == seen(scan(photos))


@pytest.mark.parametrize("pattern", ["photos-{000..003}.tar", "photos-*.tar", "photos-00{0,1,2,3}.tar"])
def test_a_pattern_names_shards(pattern: str, photos: Path, tmp_path: Path) -> None:
    web_shards(photos, tmp_path / "shards")
    assert seen(scan(tmp_path / "shards" / pattern)) == seen(scan(photos))


def test_one_tar_with_labels_is_read_in_place_and_one_without_is_unpacked(photos: Path, tmp_path: Path) -> None:
    assert scan(web_shards(photos, tmp_path / "a", 100) / "photos-000.tar").source == "stored"
    assert scan(web_shards(photos, tmp_path / "b", 100, "") / "photos-000.tar").source == "archive"


def test_names_of_ranges() -> None:
    assert expanded("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expanded("{x,y}/{0..1}") == ["x/0", "x/1", "y/0", "y/1"]
    for wrong in ("{5..1}", "{0..999999999}", "{0..999}{0..999}"):
        with pytest.raises(DataError):
            expanded(wrong)


def test_a_shard_of_a_pattern_that_is_missing_is_named(photos: Path, tmp_path: Path) -> None:
    web_shards(photos, tmp_path / "shards")
    with pytest.raises(DataError, match=r"photos-004\.tar"):
        scan(tmp_path / "shards" / "photos-{000..004}.tar")


@pytest.mark.parametrize("place", ["{split}-000.tar", "{split}/000.tar", "photos-{split}-000.tar"])
def test_splits_are_those_of_the_names_of_shards(place: str, class_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = class_folder(splits=("train", "test"))
    for split in ("train", "test"):
        made = web_shards(folder / split, tmp_path / "made" / split, 100) / "photos-000.tar"
        to = tmp_path / "shards" / place.format(split=split)
        to.parent.mkdir(parents=True, exist_ok=True)
        made.rename(to)
    found = scan(tmp_path / "shards")
    assert {p.split for p in found.photos} == {"train", "test"}
    assert len({p.path for p in found.photos}) == len(found.photos) == 24
    expected = sorted((p.label, p.split, p.open().read()) for p in scan(folder).photos)
    assert sorted((p.label, p.split, p.open().read()) for p in found.photos) == expected


SPLITS_OF_NAMES = [
    (("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001-0a1b2c3d"), ("train", "train", "test")),
    (("train-000", "extra-000"), ("train", "train")),
    (("photos", "test"), ("train", "test")),
    (("photos", "test-photos"), ("train", "test")),
    (("photos", "our-test-run"), (None, None)),
    (("cat-0", "dev-board-0"), (None, None)),
    (("flowers_train", "flowers_test"), ("train", "test")),
]


@pytest.mark.parametrize(("names", "splits"), SPLITS_OF_NAMES)
@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_names_of_shards_that_say_a_split(
    form: str, names: tuple[str, ...], splits: tuple[str | None, ...], class_folder: Callable[..., Path], tmp_path: Path
) -> None:
    for seed, name in enumerate(names):
        folder, to = class_folder(f"photos-{seed}", seed=seed), tmp_path / "shards" / f"{name}.{form}"
        if form == "tar":
            tar(to, {f"{p.parent.name}/{p.name}": p.read_bytes() for p in members(folder)})
        else:
            parquet_file(folder, to)
    found = scan(tmp_path / "shards")
    of_shards = [(p.where.partition(".")[0], p.split) for p in found.photos]  # type: ignore[attr-defined]
    seen_in = {name: {split for shard, split in of_shards if shard == name} for name in names}
    assert seen_in == {name: {split} for name, split in zip(names, splits, strict=True)}
    unused = scan(tmp_path / "shards", options=replace(AS_FOUND, split_column="none"))
    assert {p.split for p in unused.photos} == {None}
    assert len(found.notes) == (any(split_in_name(name) for name in names) and not all(map(split_in_name, names)))


def test_the_name_of_one_file_says_no_split(photos: Path, tmp_path: Path) -> None:
    found = scan(parquet_file(photos, tmp_path / "test-photos.parquet"))
    assert {p.split for p in found.photos} == {None}


def test_a_shard_is_indexed_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = web_shards(photos, tmp_path / "shards")
    first = seen(scan(shards))
    kept = tar_shards.index
    monkeypatch.setattr(tar_shards, "index", lambda *_: pytest.fail("read again"))
    assert seen(scan(shards)) == first
    monkeypatch.setattr(tar_shards, "index", kept)
    tar(shards / "photos-003.tar", {"owl/new.png": b"new", "owl/new.json": b'{"label": "owl"}'})
    assert len(scan(shards).photos) == 31


def test_the_cache_is_opened_once_for_all_shards(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, opened = web_shards(photos, tmp_path / "shards"), []
    monkeypatch.setattr(stored, "RowStore", lambda *args: opened.append(args) or RowStore(*args))
    scan(shards)
    assert len(opened) == 1


def test_photos_are_columns_and_not_objects(photos: Path, tmp_path: Path) -> None:
    found = scan(web_shards(photos, tmp_path / "shards"))
    assert isinstance(found.photos, StoredPhotos)
    assert found.photos[-1] == found.photos[35]
    assert [p.path for p in found.photos[::7]] == [p.path for p in list(found.photos)[::7]]
    some = found.photos.table
    again = columns.Columns.from_bytes(some.to_bytes())
    assert [again.name(i) for i in range(36)] == [some.name(i) for i in range(36)]
    assert np.array_equal(again.at, some.at)


def test_a_message_names_the_shard_of_a_photo(photos: Path, tmp_path: Path) -> None:
    first = scan(web_shards(photos, tmp_path / "shards")).photos[0]
    assert where_is(first) == "photos-000.tar: cat/cat_00.png"


def test_a_key_of_the_json_is_chosen_by_label_column(tmp_path: Path) -> None:
    files = {}
    for i in range(8):
        files[f"{i}.png"] = b"x"
        files[f"{i}.json"] = json.dumps({"label": "a", "kind": i % 2, "split": "val", "group": f"g{i // 2}"}).encode()
    shard = tar(tmp_path / "s" / "0.tar", files).parent
    found = scan(shard, for_training=False, options=ReadOptions(label_column="kind", split_column="none"))
    assert [(p.label, p.split, p.group) for p in found.photos[:3]] == [
        ("0", None, "g0"),
        ("1", None, "g0"),
        ("0", None, "g1"),
    ]
    assert {p.split for p in scan(shard, for_training=False).photos} == {"val"}


def test_several_labels(tmp_path: Path) -> None:
    files = {}
    for i, labels in enumerate((["cat", "dog"], ["cat"], [], "dog")):
        files |= {f"{i}.png": b"x", f"{i}.json": json.dumps({"label": labels}).encode()}
    found = scan(tar(tmp_path / "s" / "0.tar", files).parent, for_training=False, options=ReadOptions(labels="multi"))
    assert [p.label for p in found.photos] == ["cat|dog", "cat", "", "dog"]


def test_names_of_several_shards_that_are_the_same(tmp_path: Path) -> None:
    for shard in ("a", "b"):
        tar(tmp_path / "s" / f"{shard}.tar", {"1.png": shard.encode(), "1.cls": shard.encode()})
    found = scan(tmp_path / "s")
    assert [(shown(p.path, found.root), p.open().read()) for p in found.photos] == [
        ("a/1.png", b"a"),
        ("b/1.png", b"b"),
    ]


def test_pictures_of_one_sample(tmp_path: Path) -> None:
    files = {"1.png": b"photo", "1.mask.png": b"mask", "1.cls": b"a", "2.jpg": b"other", "2.cls": b"b"}
    found = scan(tar(tmp_path / "s" / "0.tar", files).parent)
    assert [p.open().read() for p in found.photos] == [b"photo", b"other"]
    tar(tmp_path / "s" / "0.tar", {"1.png": b"x", "1.jpg": b"y", "1.cls": b"a"})
    with pytest.raises(DataError, match="2 pictures"):
        scan(tmp_path / "s")


def _refused(match: str, files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=match):
        scan(tar(tmp_path / "s" / "0.tar", files).parent)


def test_labels_that_are_not_clear_are_refused(tmp_path: Path) -> None:
    captions = {f"{i}.{kind}": f"a cat number {i}".encode() for i in range(50) for kind in ("png", "txt")}
    _refused("captions", captions, tmp_path)
    mixed = {"1.png": b"x", "1.cls": b"a", "2.png": b"y", "2.json": b'{"label": "b"}'}
    _refused("different places", mixed, tmp_path)
    _refused("has a label", {"1.png": b"x", "1.json": b"{}"}, tmp_path)
    _refused("not JSON", {"1.png": b"x", "1.json": b"{"}, tmp_path)
    _refused("holds no photos", {"1.npy": b"x"}, tmp_path)
    (tmp_path / "s" / "classes.txt").write_text("only one\n", encoding="utf-8")
    _refused("has no name", {"1.png": b"x", "1.cls": b"1", "2.png": b"x", "2.cls": b"0"}, tmp_path)


def test_photos_without_a_label_are_named(tmp_path: Path) -> None:
    files = {"1.png": b"x", "1.cls": b"a", "2.png": b"y", "2.cls": b"b", "3.png": b"z", "3.json": b"{}"}
    found = scan(tar(tmp_path / "s" / "0.tar", files).parent)
    assert len(found.photos) == 2
    assert [(bad.path.name, bad.reason) for bad in found.skipped] == [("3.png", "no label")]


@pytest.mark.parametrize("name", ["../1.png", "/etc/1.png", "a/../../1.png", "C:/1.png"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    _refused("outside", {name: b"x", "1.cls": b"a"}, tmp_path)
    _refused("outside", {"1.png": b"x", "1.json": json.dumps({"label": "a", "path": name}).encode()}, tmp_path)


def test_hostile_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "s"
    place.mkdir()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        with tarfile.open(place / "0.tar", "w") as out:
            info = tarfile.TarInfo("1.png")
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
        with pytest.raises(DataError, match="no photos"):
            scan(place)
    whole = tar(
        place / "0.tar", {"1.png": b"x" * 5000, "1.cls": b"a", "2.png": b"y" * 5000, "2.cls": b"b"}
    ).read_bytes()
    for cut in (600, 3000, 6000):
        (place / "0.tar").write_bytes(whole[:cut])
        with pytest.raises(DataError):
            scan(place)
    (place / "0.tar").write_bytes(os.urandom(5000))
    with pytest.raises(DataError, match="no tar that can be read in place"):
        scan(place)
    monkeypatch.setattr(tar_shards, "MAX_SIDECAR", 100)
    _refused("too many for a label", {"1.png": b"x", "1.json": b" " * 200}, tmp_path)
    monkeypatch.setattr(tar_shards, "MAX_FILES", 2)
    _refused("more than 2 files", {"1.png": b"x", "1.cls": b"a", "2.png": b"x"}, tmp_path)


@pytest.mark.parametrize("data", ["photos-{000..003}.tar", "photos-00[0-3].tar", "photos-000.tar"])
def test_classes_are_named_beside_the_shards_that_a_pattern_names(data: str, photos: Path, tmp_path: Path) -> None:
    web_shards(photos, tmp_path / "s", 36 if data == "photos-000.tar" else 10, "cls")
    assert seen(scan(tmp_path / "s" / data)) == seen(scan(photos))


def test_photos_that_are_left_out_leave_columns(photos: Path, tmp_path: Path) -> None:
    shards = web_shards(photos, tmp_path / "s")
    found = scan(shards, options=ReadOptions(ignore=("owl",)))
    assert isinstance(scan(shards).photos, StoredPhotos)
    assert isinstance(found.photos, StoredPhotos)
    assert seen(found) == [row for row in seen(scan(photos)) if row[1] != "owl"]


def test_a_photo_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tar(tmp_path / "s" / "0.tar", {"1.png": b"x" * 500, "1.cls": b"a", "2.png": b"y", "2.cls": b"b"}).parent
    monkeypatch.setattr(columns, "MAX_BYTES", 100)
    large, small = scan(shard).photos
    with pytest.raises(OSError, match="too large"):
        large.open()
    assert small.open().read() == b"y"


def test_compressed_shards_are_refused(photos: Path, tmp_path: Path) -> None:
    import gzip

    shards = web_shards(photos, tmp_path / "s", 100)
    (shards / "photos-000.tar").write_bytes(gzip.compress((shards / "photos-000.tar").read_bytes()))
    with pytest.raises(DataError, match="not compressed"):
        scan(shards)


def test_columns_of_parquet(photos: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    images = [p.read_bytes() for p in members(photos)]
    labels = [p.parent.name for p in members(photos)]
    plain = {"jpg": images, "species": labels, "part": ["train" if i % 3 else "test" for i in range(36)]}
    parquet.write_table(pa.table(plain), tmp_path / "plain.parquet")
    options = ReadOptions(label_column="species", split_column="part")
    found = scan(tmp_path / "plain.parquet", options=options)
    assert [p.label for p in sorted(found.photos, key=lambda p: p.at)] == labels  # type: ignore[attr-defined]
    assert {p.split for p in found.photos} == {"train", "test"}
    with pytest.raises(DataError, match="has a label"):
        scan(tmp_path / "plain.parquet")
    with pytest.raises(OptionError, match="label_column"):
        scan(tmp_path / "plain.parquet", options=ReadOptions(label_column="kind"))
    parquet.write_table(pa.table({**plain, "other": images}), tmp_path / "plain.parquet")
    with pytest.raises(OptionError, match="path_column"):
        scan(tmp_path / "plain.parquet", options=ReadOptions(path_column="kind"))


def test_parquet_without_names_gets_numbers(photos: Path, tmp_path: Path) -> None:
    found = scan(parquet_file(photos, tmp_path / "data.parquet", paths=False))
    assert shown(found.photos[0].path, found.root) == "cat/00000000"
    assert [row[1:] for row in seen(found)] == [row[1:] for row in seen(scan(photos))]


def test_a_parquet_table_of_paths_is_still_a_table(photos: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = {"path": [str(p) for p in members(photos)], "label": [p.parent.name for p in members(photos)]}
    parquet.write_table(pa.table(rows), tmp_path / "table.parquet")
    assert scan(tmp_path / "table.parquet").source == "table"


def test_bytes_that_are_no_photos_make_no_photos(photos: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    files = members(photos)
    rows = {"path": [str(p) for p in files], "label": [p.parent.name for p in files]}
    digests = [bytes([i]) * 5 for i in range(len(files))]
    parquet.write_table(pa.table({**rows, "digest": digests}), tmp_path / "table.parquet")
    assert scan(tmp_path / "table.parquet").source == "table"
    encoded = [None, *(p.read_bytes() for p in files[1:])]  # of a name that says nothing, and one is missing
    parquet.write_table(pa.table({"label": rows["label"], "content": encoded}), tmp_path / "photos.parquet")
    assert len(scan(tmp_path / "photos.parquet").photos) == len(files)
    both = {"label": rows["label"], "content": encoded, "digest": digests}
    parquet.write_table(pa.table(both), tmp_path / "both.parquet")
    assert len(scan(tmp_path / "both.parquet", options=ReadOptions(path_column="content")).photos) == len(files)


def test_damaged_parquet_and_arrow(photos: Path, tmp_path: Path) -> None:
    file = parquet_file(photos, tmp_path / "p" / "data.parquet")
    whole = file.read_bytes()
    for content in (whole[:1000], whole[:-10], b"PAR1" + bytes(100) + b"PAR1"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"data\.parquet"):
            scan(file)
    arrow = next(arrow_folder(photos, tmp_path / "a").glob("*.arrow"))
    whole = arrow.read_bytes()
    at = whole.index(photos.joinpath("cat", "cat_00.png").read_bytes()[:200])
    spoilt = bytearray(whole)
    spoilt[at - 64 : at] = b"\xff" * 64  # the offsets of a batch are before its images
    for content in (whole[:500], bytes(spoilt)):
        arrow.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            scan(arrow.parent)


def test_a_row_group_that_would_fill_the_memory(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.data.sources import parquet_shards

    found = scan(parquet_file(photos, tmp_path / "data.parquet"))
    monkeypatch.setattr(parquet_shards, "LARGEST_GROUP", 1000)
    with pytest.raises(DataError, match="row group 0"):
        found.photos[0].open()


def test_row_groups_in_memory_are_bounded(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.data.sources import parquet_shards

    monkeypatch.setattr(parquet_shards, "KEPT", 1)
    found = scan(parquet_file(photos, tmp_path / "data.parquet"))
    assert seen(found) == seen(scan(photos))
    reader: Any = found.photos[0]
    assert len(reader.reader.groups._kept) == 2


def test_data_sets_that_hugging_face_writes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    files = members(photos)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])})
    columns = {"image": [str(p) for p in files], "label": [("cat", "dog", "owl").index(p.parent.name) for p in files]}
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(tmp_path / "disk")
    assert seen(scan(tmp_path / "disk")) == seen(scan(photos))
    datasets.load_from_disk(tmp_path / "disk").to_parquet(tmp_path / "data.parquet")
    assert seen(scan(tmp_path / "data.parquet")) == seen(scan(photos))
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "parts")
    found = scan(tmp_path / "parts")
    assert {p.split for p in found.photos} == {"train", "test"}
    assert len({p.path for p in found.photos}) == 72


def test_other_arrow_files_are_no_photos(photos: Path, tmp_path: Path) -> None:
    folder = arrow_folder(photos, tmp_path / "a")
    data = folder / "data-00000-of-00001.arrow"
    (folder / "cache-0123456789abcdef.arrow").write_bytes(data.read_bytes())
    assert seen(scan(folder)) == seen(scan(photos))
    (folder / "other.arrow").write_bytes(data.read_bytes())
    state = folder / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": data.name}]}), encoding="utf-8")
    assert seen(scan(folder)) == seen(scan(photos))
    state.write_text(json.dumps({"_data_files": [{"filename": "data-1.arrow"}]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"names files that are not there: data-1\.arrow"):
        scan(folder)
    state.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"state\.json cannot be read[^$]*Copy or save the set again"):
        scan(folder)


@pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
def test_class_folders_with_such_a_file_are_class_folders(name: str, class_folder: Callable[..., Path]) -> None:
    folder = class_folder()
    (folder / name).write_text("{}", encoding="utf-8")
    found = scan(folder)
    assert (found.source, len(found.photos)) == ("folder", 12)


def test_a_data_set_without_files_is_told_with_an_example(photos: Path, tmp_path: Path) -> None:
    folder = arrow_folder(photos, tmp_path / "a")
    (folder / "data-00000-of-00001.arrow").rename(folder / "cache-0.arrow")
    with pytest.raises(DataError, match=r"`photos-\{000\.\.099\}\.tar`"):
        scan(folder)


def test_nothing_is_unpickled(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("a pickle was read"))
    files = {"1.png": b"x", "1.cls": b"a", "1.pkl": b"\x80\x04.", "2.png": b"x", "2.cls": b"b", "2.pyd": b"\x80\x04."}
    assert len(scan(tar(tmp_path / "s" / "0.tar", files).parent).photos) == 2
    assert seen(scan(arrow_folder(photos, tmp_path / "a"))) == seen(scan(photos))


def test_the_index_in_the_cache_may_be_lost(photos: Path, tmp_path: Path) -> None:
    shards = web_shards(photos, tmp_path / "shards")
    scan(shards)
    for file in RowStore(f"shards-v{stored.FORMAT}", "uint8").folder.glob("*.values"):
        file.write_bytes(bytes(file.stat().st_size))
    assert seen(scan(shards)) == seen(scan(photos))


def test_a_folder_of_photos_beside_shards_stays_a_folder(photos: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(photos, tmp_path / "both")
    (tmp_path / "both" / "more.tar").write_bytes(io.BytesIO().getvalue())
    assert scan(tmp_path / "both").source == "folder"

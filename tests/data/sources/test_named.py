"""Named sets: the user's folder, the cache, or the public home (a local server here)."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.core import download
from headstart.core.paths import cache_dir
from headstart.data.decode import decode
from headstart.data.sources import named
from headstart.data.sources.detect import scan
from headstart.errors import DataError, DownloadError


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setenv("HEADSTART_MIRROR", "http://127.0.0.1:1")


def publish(monkeypatch, name, data):
    """Let ``download`` find ``data`` as the archive of a named set, its checksum with it."""
    known = named.NAMED[name]
    edition = named.NamedSet(known.url, (hashlib.md5(data).hexdigest(),), known.folders)
    monkeypatch.setitem(named.NAMED, name, edition)

    def fetched(url, to, **options):
        assert url == known.url
        assert options["md5"] == edition.md5
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        return to

    monkeypatch.setattr(named, "download", fetched)


def tar_gz(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return out.getvalue()


def records(labels, label_bytes):
    """CIFAR records: pixel (x, y) of photo n is (n, x, y)."""
    y, x = np.mgrid[0:32, 0:32].astype(np.uint8)
    out = b""
    for n, label in enumerate(labels):
        out += bytes([7] * (label_bytes - 1) + [label])
        out += np.stack([np.full_like(x, n), x, y]).tobytes()
    return out


@pytest.mark.parametrize(("name", "label_bytes"), [("cifar10", 1), ("cifar100", 2)])
def test_cifar_is_written_out_as_class_folders(monkeypatch, name, label_bytes):
    names = b"cat\ndog\n\n"
    files = {"c/batches.meta.txt": names}
    if label_bytes == 2:
        files = {"c/fine_label_names.txt": names, "c/coarse_label_names.txt": b"x\n"}
    files |= {"c/data_batch_2.bin": records([1, 1], label_bytes), "c/data_batch_1.bin": records([0, 1, 0], label_bytes)}
    files |= {"c/test_batch.bin": records([1, 0], label_bytes), "c/readme.html": b"hello"}
    publish(monkeypatch, name, tar_gz(files))
    found = scan(name)
    assert found.name == name
    assert found.layout == f"named set {name}: split folders (train, test)"
    assert Counter((p.split, p.label) for p in found.photos) == {
        ("train", "cat"): 2, ("train", "dog"): 3, ("test", "cat"): 1, ("test", "dog"): 1,
    }  # fmt: skip
    pixels = decode(cache_dir() / "data" / name / "train" / "cat" / "00002.png").pixels
    assert pixels[3, 5].tolist() == [2, 5, 3]
    assert [p.name for p in (cache_dir() / "data").iterdir()] == [name]
    monkeypatch.setattr(named, "download", lambda *_, **__: pytest.fail("fetched again"))
    assert len(scan(name).photos) == 7


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8bnonsense", tar_gz({"a/x.bin": b"1"}), tar_gz({"batches.meta.txt": b"a\n", "t.bin": b"123"})],
    # An archive holds the second it was made in: as a name it would differ between processes that share the tests.
    ids=["no-archive", "no-names", "short-data"],
)
def test_a_damaged_cifar_leaves_nothing(monkeypatch, data):
    publish(monkeypatch, "cifar10", data)
    with pytest.raises(DataError, match="damaged"):
        scan("cifar10")
    assert not (cache_dir() / "data" / "cifar10").exists()
    assert not list((cache_dir() / "data").glob(".writing*"))


def test_imagewoof_is_unpacked(monkeypatch, class_folder):
    root = class_folder("imagewoof2-160", ("n02086240", "n02087394"), splits=("train", "val"), per_class=2)
    packed = shutil.make_archive(str(root), "gztar", root.parent, root.name)
    publish(monkeypatch, "imagewoof160", Path(packed).read_bytes())
    found = scan("imagewoof")
    assert found.name == "imagewoof160"
    assert Counter(p.split for p in found.photos) == {"train": 4, "val": 4}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("cifar10", "cifar10"),
        ("imagewoof2-160", "imagewoof"),
        ("imagewoof160", "imagewoof"),
        ("imagewoof", "imagewoof160"),
        ("imagenette2-320", "imagenette320"),
        ("CIFAR10", "CIFAR10"),
        ("my-own", "my-own"),
    ],
)
def test_headstart_data_comes_first(class_folder, monkeypatch, tmp_path, folder, name):
    class_folder(f"sets/{folder}", per_class=2)
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path / "sets"))
    found = scan(name)
    assert found.root == tmp_path / "sets" / folder
    assert len(found.photos) == 4
    assert any(str(found.root) in note for note in found.notes)


def test_a_local_folder_wins_over_the_named_set_and_it_is_said(class_folder, monkeypatch, tmp_path):
    class_folder("cifar10", per_class=2)
    monkeypatch.chdir(tmp_path)
    found = scan("cifar10")
    assert found.root == tmp_path / "cifar10"
    assert any("not the named set" in note for note in found.notes)


def test_without_a_network_it_is_said_what_to_do(offline):
    with pytest.raises(DownloadError, match=r"no connection(.|\n)*HEADSTART_DATA"):
        scan("cifar100")


def test_names_are_no_paths(monkeypatch, tmp_path, class_folder):
    class_folder("outside", per_class=1)
    (tmp_path / "sets").mkdir()
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path / "sets"))
    for name in ("../outside", "..", "sets/../../outside"):
        assert not named.NamedSource().accepts(name)


def test_labels_in_words():
    assert named.display_name("n02086240") == "Shih-Tzu"
    assert named.display_name("n03888257") == "parachute"
    assert named.display_name("cat") == "cat"

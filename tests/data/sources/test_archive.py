"""Archives: unpacked once and whole, or refused; nothing ever lands outside the cache."""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from headstart.core.paths import cache_dir
from headstart.data.sources import archive
from headstart.data.sources.detect import scan
from headstart.errors import DataError


@pytest.fixture
def photos(class_folder):
    return class_folder(per_class=3)


def pack(folder, to, wrapped=False):
    kind = {"zip": "zip", "tar": "tar", "gz": "gztar", "tgz": "gztar", "bz2": "bztar", "xz": "xztar"}[
        to.rpartition(".")[2]
    ]
    base = folder.parent / "packed"
    made = shutil.make_archive(str(base), kind, folder.parent if wrapped else folder, folder.name if wrapped else None)
    return shutil.move(made, folder.parent / to)


def tar_of(path, *members):
    with tarfile.open(path, "w") as out:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            info.linkname = "/etc/passwd"
            out.addfile(info, io.BytesIO(data))
    return path


def left_behind():
    return [p for p in cache_dir().rglob("*") if p.is_file() and p.suffix not in (".lock", ".use")]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_archives_of_class_folders(photos, name, wrapped):
    found = scan(pack(photos, name, wrapped))
    assert found.layout == "archive of class folders"
    assert found.name == "a"
    assert Counter(p.label for p in found.photos) == {"cat": 3, "dog": 3}
    assert all(p.path.is_file() and p.path.is_relative_to(cache_dir()) for p in found.photos)


def test_an_archive_is_unpacked_once_per_content(photos, monkeypatch):
    packed = pack(photos, "a.zip")
    first = scan(packed)
    shutil.copy(packed, photos.parent / "b.zip")
    monkeypatch.setattr(archive, "_extract", lambda *_: pytest.fail("unpacked again"))
    assert [p.path for p in scan(photos.parent / "b.zip").photos] == [p.path for p in first.photos]


@pytest.mark.parametrize("lost", [".headstart.json", "cat/cat_001.png", "cat"])
def test_what_is_no_longer_whole_is_unpacked_again(photos, lost):
    packed = pack(photos, "a.zip")
    target, _ = archive.unpack(packed)
    shutil.rmtree(target / lost) if (target / lost).is_dir() else (target / lost).unlink()
    assert len(scan(packed).photos) == 6


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "cat/../../evil.png", "C:/evil.png", "..\\evil.png", "\\evil.png"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("cat/1.png", b"x")
        info = zipfile.ZipInfo("x")
        info.filename = name  # as it stands: the constructor would clean it
        out.writestr(info, b"evil")
    tar = tar_of(tmp_path / "a.tar", ("cat/1.png", tarfile.REGTYPE, b"x"), (name, tarfile.REGTYPE, b"evil"))
    for packed in (tmp_path / "a.zip", tar):
        with pytest.raises(DataError, match="outside its folder"):
            scan(packed)
    assert left_behind() == []
    assert list(tmp_path.rglob("evil.png")) == []


def test_links_and_devices_are_never_made(tmp_path, photos):
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        for label in ("cat", "dog"):
            out.add(photos / label, label)
        for name, kind in (
            ("cat/link.png", tarfile.SYMTYPE),
            ("cat/hard.png", tarfile.LNKTYPE),
            ("cat/p.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../../secret.png"
            out.addfile(info)
    found = scan(tmp_path / "a.tar")
    assert len(found.photos) == 6
    note = (
        "3 members of a.tar left out (links and devices are not unpacked): 'cat/link.png', 'cat/hard.png', 'cat/p.png'"
    )
    assert note in found.notes
    assert scan(tmp_path / "a.tar").notes == found.notes
    with zipfile.ZipFile(pack(photos, "b.zip"), "a") as out:
        info = zipfile.ZipInfo("cat/link.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    assert len(scan(photos.parent / "b.zip").photos) == 6


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    zeros = bytes(32 << 20)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("cat/1.png", zeros)
    else:
        with tarfile.open(tmp_path / "a.tgz", "w:gz") as out:
            info = tarfile.TarInfo("cat/1.png")
            info.size = len(zeros)
            out.addfile(info, io.BytesIO(zeros))
    with pytest.raises(DataError, match="would unpack to more than"):
        scan(tmp_path / f"a.{kind}")
    assert left_behind() == []


def test_a_header_that_understates_the_size_is_found_out_while_writing(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("cat/1.png", bytes(1 << 20))
    monkeypatch.setattr(archive, "SMALL", 1000)
    budget = archive.Budget(tmp_path / "a.zip", tmp_path)
    for _ in range(100):
        budget.spend(1000)
    with pytest.raises(DataError, match="would unpack to more than"):
        budget.spend(1 << 20)


def test_too_many_files(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 5)
    with pytest.raises(DataError, match="more than 5 files"):
        scan(pack(photos, "a.zip"))


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_damaged_archives(photos, name):
    packed = pack(photos, name)
    data = Path(packed).read_bytes()
    Path(packed).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged"):
        scan(packed)
    assert left_behind() == []


def test_archives_that_cannot_be_read(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match="Unpack it"):
        scan(tmp_path / "a.rar")
    (tmp_path / "a.zip").write_bytes(b"no zip at all")
    with pytest.raises(DataError, match="damaged or no archive"):
        scan(tmp_path / "a.zip")


def test_a_locked_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("cat/1.png", b"x")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="password"):
        scan(tmp_path / "a.zip")


def test_a_table_in_an_archive_cannot_name_other_files(photos, tmp_path):
    secret = tmp_path / "secret.png"
    shutil.copy(photos / "cat" / "cat_000.png", secret)
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    lines = [f"{secret},cat"]
    for path in photos.rglob("*.png"):
        shutil.copy(path, images / path.name)
        lines.append(f"images/{path.name},{path.name[:3]}")
    (tmp_path / "set" / "labels.csv").write_text("path,label\n" + "\n".join(lines))
    found = scan(pack(tmp_path / "set", "set.zip"))
    assert len(found.photos) == 6
    assert [bad.reason for bad in found.skipped] == ["line 2 of labels.csv: its path leads out of the archive"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_what_is_unpacked_has_the_mode_that_the_umask_gives(photos):
    packed, before = pack(photos, "a.zip"), os.umask(0o022)
    try:
        found = scan(packed)
    finally:
        os.umask(before)
    assert {oct(p.stat().st_mode & 0o777) for p in [found.root, *found.root.rglob("*")]} == {"0o755", "0o644"}

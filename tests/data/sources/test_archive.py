"""Archives: unpacked once and whole, or refused; nothing ever lands outside the cache."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
from helpers.archives import BAD, HARMLESS, LEFT_OUT, PNG, with_byte, zipped

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


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("kind", BAD)
def test_an_archive_that_no_careful_program_wrote_is_refused_and_leaves_nothing(tmp_path, monkeypatch, kind, suffix):
    monkeypatch.setattr(archive, "SMALL", 1 << 22)
    (tmp_path / f"a{suffix}").write_bytes(BAD[kind])
    with pytest.raises(DataError) as error:
        scan(tmp_path / f"a{suffix}")
    assert len(error.value.problem) < 600
    assert "\n" not in error.value.problem
    assert ("outside its folder" in error.value.problem) == kind.startswith("outside")
    assert left_behind() == []
    assert {p.name for p in tmp_path.iterdir()} <= {f"a{suffix}", "own-cache"}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_a_member_that_cannot_be_unpacked_is_named_and_the_others_are(tmp_path, kind):
    data, count, reason = LEFT_OUT[kind]
    (tmp_path / "a.zip").write_bytes(data)
    for name in ("a.zip", "b.zip"):  # the second time from the cache, under another name
        if name == "b.zip":
            (tmp_path / "a.zip").rename(tmp_path / "b.zip")
        found = scan(tmp_path / name)
        assert len(found.photos) == 4
        (note,) = found.notes
        assert note.startswith(f"{count} member{'s' * (count > 1)} of {name} left out (")
        assert reason in note
        assert len(note) < 400
    assert not any(p.is_symlink() for p in cache_dir().rglob("*"))
    assert next(cache_dir().rglob("cat/0.png")).read_bytes() == PNG


@pytest.mark.parametrize("kind", HARMLESS)
def test_odd_archives_are_read(tmp_path, kind):
    data, count = HARMLESS[kind]
    (tmp_path / "a.tar").write_bytes(data)
    assert len(scan(tmp_path / "a.tar").photos) == count


def test_names_are_utf_8_where_a_zip_does_not_say_what_they_are(tmp_path):
    data = zipped(("写真/1.png", PNG))
    central = data.rindex(b"PK\x01\x02")
    local = data.rindex(b"PK\x03\x04", 0, central)
    (tmp_path / "a.zip").write_bytes(with_byte(with_byte(data, local + 7, 0), central + 9, 0))
    assert "写真" in {p.label for p in scan(tmp_path / "a.zip").photos}


def test_names_that_one_file_system_does_not_tell_apart_are_named(tmp_path, monkeypatch):
    """As on macOS and Windows, where the folder ``Cat`` is there once ``cat`` is."""
    mkdir, made = Path.mkdir, set()

    def without_case(self, *args, **kwargs):
        if ".writing-" in str(self) and self.as_posix().casefold() in made:
            raise FileExistsError(17, "File exists")
        made.add(self.as_posix().casefold())
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", without_case)
    (tmp_path / "a.zip").write_bytes(zipped(("Cat/1.png", PNG)))
    found = scan(tmp_path / "a.zip")
    assert len(found.photos) == 4
    assert any("'Cat/1.png'" in note for note in found.notes)


def test_an_archive_larger_than_the_free_disk_is_refused_before_it_is_full(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage._replace(free=200))
    (tmp_path / "a.zip").write_bytes(zipped(("cat/9.png", bytes(500))))
    with pytest.raises(DataError, match=r"more than 190 bytes, and 200 are free on the disk"):
        scan(tmp_path / "a.zip")
    assert left_behind() == []


def test_a_disk_that_is_full_all_the_same_is_said(tmp_path, monkeypatch, photos):
    packed = pack(photos, "a.zip")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Budget, "spend", full)
    with pytest.raises(DataError, match="the disk is full"):
        scan(packed)
    assert left_behind() == []


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


# -- names, links and what lies inside --


def renamed(data, old, new, flags=0):
    """A zip in whose headers a name has other bytes, of the same number, and no flag for UTF-8."""
    assert len(old) == len(new)
    data = bytearray(data.replace(old, new))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            data[place + at : place + at + 2] = flags.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("stored", "label", "guessed"),
    [
        ("Käfer".encode(), "Käfer", False),
        ("Ka\u0308fer".encode(), "Käfer", False),
        ("🐱".encode(), "🐱", False),
        ("Käfer".encode("cp437"), "Käfer", True),
        ("кот".encode("cp866"), "¬«Γ", True),
        ("猫".encode("cp932"), "öL", True),
    ],
)
def test_names_in_a_zip_are_utf_8_where_they_can_be(tmp_path, stored, label, guessed):
    blank = b"x" * len(stored)
    data = renamed(zipped((f"{blank.decode()}/1.png", PNG)), blank, stored)
    (tmp_path / "a.zip").write_bytes(data)
    for _ in range(2):  # the second time from the cache
        found = scan(tmp_path / "a.zip")
        assert label in {photo.label for photo in found.photos}
        assert [f"'{label}/1.png'" in note for note in found.notes if "encoding" in note] == [True] * guessed


def test_a_name_in_the_unicode_extra_field_counts(tmp_path):
    raw = "кот/1.png".encode("cp866")
    text = "кот/1.png".encode()
    info = zipfile.ZipInfo("x" * len(raw))
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(text), 1, zlib.crc32(raw)) + text
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as out:
        out.writestr(info, PNG)
        out.writestr("dog/1.png", PNG)
    (tmp_path / "a.zip").write_bytes(renamed((tmp_path / "b.zip").read_bytes(), b"x" * len(raw), raw))
    found = scan(tmp_path / "a.zip")
    assert {photo.label for photo in found.photos} == {"кот", "dog"}
    assert found.notes == ()


def test_an_unknown_compression_is_said_to_be_one(tmp_path):
    data = bytearray(zipped())
    place = -1
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:
        data[place + 10] = 9
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"compressed in a way that cannot be read here \(Deflate64\)") as error:
        scan(tmp_path / "a.zip")
    assert "Unpack it" in error.value.hint


def linked(path, *links, kind=tarfile.LNKTYPE):
    with tarfile.open(path, "w") as out:
        for name in ("cat/0.png", "dog/0.png"):
            info = tarfile.TarInfo(name)
            info.size = len(PNG)
            out.addfile(info, io.BytesIO(PNG))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            out.addfile(info)
    return path


def test_a_hard_link_in_a_tar_is_the_file_that_it_links_to(tmp_path):
    found = scan(linked(tmp_path / "a.tar", ("cat/1.png", "cat/0.png"), ("dog/1.png", "./cat/1.png")))
    assert Counter(photo.label for photo in found.photos) == {"cat": 2, "dog": 2}
    assert {photo.path.read_bytes() for photo in found.photos} == {PNG}
    assert not any(photo.path.is_symlink() or photo.path.stat().st_nlink > 1 for photo in found.photos)
    assert found.notes == ()


@pytest.mark.parametrize("target", ["cat/9.png", "cat", "cat/1.png", "/etc/passwd", "../secret.png", "."])
def test_a_hard_link_to_no_file_of_the_tar_is_left_out(tmp_path, target):
    found = scan(linked(tmp_path / "a.tar", ("cat/1.png", target)))
    assert len(found.photos) == 2
    assert found.notes == ("1 member of a.tar left out (links and devices are not unpacked): 'cat/1.png'",)


def test_what_was_left_out_is_told_with_an_error(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        for label in ("cat", "dog"):
            info = tarfile.TarInfo(f"{label}/0.png")
            info.type, info.linkname = tarfile.SYMTYPE, "../all/0.png"
            out.addfile(info)
    with pytest.raises(DataError, match=r"2 members of a\.tar left out"):
        scan(tmp_path / "a.tar")


@pytest.mark.parametrize("packed", [True, False])
def test_archives_inside_are_named(tmp_path, packed):
    folder = tmp_path / "set"
    folder.mkdir()
    for label in ("cat", "dog"):
        (folder / f"{label}.zip").write_bytes(zipped())
    (folder / "sampleSubmission.csv").write_text("id,label\n1,0\n")
    with pytest.raises(DataError, match=r"archives inside are not opened: cat\.zip, dog\.zip"):
        scan(pack(folder, "set.zip") if packed else folder)

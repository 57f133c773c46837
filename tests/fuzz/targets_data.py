"""What reads the user's data and the cache, driven with any bytes: it returns a result or raises HeadstartError, and
writes nothing where it should not.

``TARGETS``: name → ``drive(data, folder)``, in an empty folder; ``CORPUS``: name → seeds, one of each finding.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from helpers.archives import BAD, HARMLESS, LEFT_OUT, PNG
from helpers.shards import arrow_folder, parquet_file, web_shards

from headstart.core import array_store, cached_folders
from headstart.core.array_store import RowStore
from headstart.data.sources import archive
from headstart.data.sources.archive import ArchiveSource
from headstart.data.sources.folder import folder_manifest
from headstart.data.sources.stored import StoredSource
from headstart.data.sources.table import read_table
from headstart.errors import HeadstartError

ROWS = {"a": np.arange(300, dtype=np.float32), "b": np.float32([[1, 2], [3, 4]]), "c": np.zeros((0, 3), np.float32)}


@contextmanager
def _only(folder: Path, *written: str) -> Iterator[None]:
    """Nothing but these may be new in the folder; the cache is in it."""
    before = set(os.listdir(folder))
    with patch.dict(os.environ, {"HEADSTART_CACHE": str(folder / "cache")}):
        yield
    cached_folders._release()
    assert set(os.listdir(folder)) <= before | {*written, "cache"}
    assert not list((folder / "cache").rglob(".writing-*"))
    shutil.rmtree(folder / "cache", ignore_errors=True)


def drive_table(data: bytes, folder: Path) -> None:
    """A CSV beside some photos, alone and as part of an archive."""
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PNG)
    table = folder / "list.csv"
    with _only(folder, "list.csv"):
        table.write_bytes(data)
        for within in (None, folder):
            with suppress(HeadstartError):
                for photo in read_table(table, within).photos:
                    assert photo.path.is_file()
                    assert photo.label.encode()
                    assert len(photo.label.splitlines()) == 1
                    assert not within or photo.path.resolve().is_relative_to(folder.resolve())
    table.unlink()


def drive_json(data: bytes, folder: Path) -> None:
    """A JSON file, and a folder with it as its only table."""
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PNG)
    for name in ("list.json", "metadata.jsonl", "list.txt"):
        with _only(folder, name):
            (folder / name).write_bytes(data)
            with suppress(HeadstartError):
                assert all(photo.path.is_file() for photo in read_table(folder / name).photos)
            with suppress(HeadstartError):
                assert all(photo.path.is_file() for photo in folder_manifest(folder, folder).photos)
        (folder / name).unlink()


def drive_archive(data: bytes, folder: Path) -> None:
    """A zip or tar of anything."""
    path = folder / "a.zip"
    with _only(folder, path.name), patch.object(archive, "SMALL", 1 << 22), suppress(HeadstartError):
        path.write_bytes(data)
        if ArchiveSource().accepts(str(path)):
            for photo in ArchiveSource().manifest(str(path)).photos:
                assert photo.path.resolve().is_relative_to((folder / "cache").resolve())
                assert photo.path.is_file()
    path.unlink()


@cache
def _photo_shards() -> dict[str, bytes]:
    """One shard of two photos, of each form."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        folder = Path(place)
        for label in ("cat", "dog"):
            (folder / "photos" / label).mkdir(parents=True)
            (folder / "photos" / label / "1.png").write_bytes(PNG)
        tar = web_shards(folder / "photos", folder / "tar") / "photos-000.tar"
        table = parquet_file(folder / "photos", folder / "data.parquet")
        arrow = next(arrow_folder(folder / "photos", folder / "arrow").glob("*.arrow"))
        return {file.suffix: file.read_bytes() for file in (tar, table, arrow)}


def drive_shards(data: bytes, folder: Path) -> None:
    """A shard of each form with these bytes."""
    for suffix in (".tar", ".parquet", ".arrow"):
        home = folder / "shards"
        with _only(folder, "shards"), suppress(HeadstartError):
            home.mkdir()
            (home / f"0{suffix}").write_bytes(data)
            (home / "state.json").write_text("{}", encoding="utf-8")
            if StoredSource().accepts(str(home)):
                for photo in StoredSource().manifest(str(home)).photos:
                    assert len(photo.label.splitlines()) == 1
                    assert photo.path.resolve().is_relative_to(home.resolve())
                    with suppress(OSError):
                        photo.open().read()
        shutil.rmtree(home)


@cache
def _shard() -> tuple[bytes, bytes]:
    """The index and the values of a shard of ``ROWS``."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        store = RowStore("k", "float32", Path(place))
        with store.writing() as writer:
            for digest, row in ROWS.items():
                writer.add(digest, row, {"of": digest})
        (index,) = store.folder.glob("*.index")
        return index.read_bytes(), index.with_suffix(".values").read_bytes()


def drive_cache(data: bytes, folder: Path) -> None:
    """A store with a damaged file. The first byte says which and how: changed in places, cut, replaced, or replaced and
    given a valid checksum.
    """
    how, rest = (data[0] if data else 0), data[1:]
    files = list(_shard())
    which, way = how % 2, how // 2 % 4
    if way == 0:
        changed = bytearray(files[which])
        for at in range(0, len(rest) - 2, 3):
            changed[int.from_bytes(rest[at : at + 2], "big") % len(changed)] ^= rest[at + 2]
        files[which] = bytes(changed)
    elif way == 1:
        files[which] = files[which][: int.from_bytes(rest[:2], "big") % (len(files[which]) + 1)]
    else:
        files[which] = rest if way == 2 or which else array_store._seal(rest) + rest
    home = folder / "cache" / "k"
    with _only(folder):
        home.mkdir(parents=True)
        for suffix, content in zip((".index", ".values"), files, strict=True):
            (home / f"{'0' * 32}{suffix}").write_bytes(content)
        store = RowStore("k", "float32", home.parent)
        whole = files == list(_shard())
        for digest, row in ROWS.items():
            found = store.get(digest)
            # A forged index may describe the values in another way; all other damage is noticed.
            assert found is None or (way == 3 and not which) or np.array_equal(found, row)
            assert not whole or found is not None
        with store.writing() as writer:
            for i in store.missing(list(ROWS)):
                writer.add(list(ROWS)[i], list(ROWS.values())[i])
        assert not store.missing(list(ROWS))
        assert not RowStore("k", "float32", home.parent).missing(list(ROWS)) or not whole


_HEAD = b"path,label\n"
_TABLES = [
    b"", b"\xff\xfe", b"\xef\xbb\xbf" + _HEAD, _HEAD + b"a.png,x\nb.png,y\n", _HEAD + b"a.png,caf\xe9\nb.png,caf\xe8\n",
    _HEAD + b"a.png,a\x81\nb.png,a\x8d\n", _HEAD + b"a.png,'=1\nb.png,''=1\n", _HEAD + b'"a.png,x\nb.png,y\n',
    _HEAD + b"a\0b.png,x\n" * 1 + b"a.png,x\nb.png,y\n", _HEAD + b"x" * 5000 + b",x\na.png,x\nb.png,y\n",
    _HEAD + b"../" * 2000 + b"a.png,x\na.png,x\nb.png,y\n", b"path,label,split\na.png,x,train\nb.png,y,tset\n",
    _HEAD + b"a.png,\x1b[31mx\nb.png, \n", "path\tlabel\na.png\tx\nb.png\ty\n".encode("utf-16"),
    "path,label\na.png,\ud800\n".encode("utf-16-le", "surrogatepass"), _HEAD + b"a.png,x\r\rb.png,y\r",
    b"path,label\x00\n",
    _HEAD + b"a.png," + b"y" * 140000 + b"\n", _HEAD + b"\x00\n", b'path,label\n"a.png","x\ny"\nb.png,y\n',
]  # fmt: skip
_TABLES += [
    b"%2f,x\n/,y\n", _HEAD + b"/,x\n%2f,y\n",
    b"sep=;\npath;label\na.png;x\n", b"# x\n" + _HEAD + b"#,\na.png,x\n", b"a.png,x\nb.png,y\n",
    b"id,a,b\na,1,0\nb,0,1\n",
    b"path,label,is_valid\na.png,x,1\nb.png,y,0\n", b"path,label,fold\na.png,x,1\nb.png,y,0\n", b"sep=\n", b"#\n#",
    _HEAD + b"file:///a.png,x\nhttp://[a.png,y\n", _HEAD + b"%00.png,x\n", _HEAD + b"a.png,['x'\nb.png,\"['x', \"\n",
    "path,label\na.png,x\n".encode("utf-16-le"), _HEAD + b"a.png," + b"[" * 9000 + b"]\n",
]  # fmt: skip
_JSONS = [
    b"%2f,x",
    b"", b"[]", b"{}", b"null", b'{"a.png": "x", "b.png": "y"}', b'[{"path": "a.png", "label": "x"}]', b"[" * 9000,
    b'{"path": "a.png", "label": "x"}\n{"path": "b.png", "label": ["x", "y"]}', b'{"path": ["a.png"], "label": ["x"]}',
    b'{"a.png": {"regions": {}, "filename": 1}}', b'{"images": [], "annotations": []}',
    b'[{"path": {}, "label": 1e999}]',
    b'{"a": [{"path": "a.png", "label": null}]}', b'"\\ud800"', b'{"\\ud800": "\\ud800", "a.png": "\\udfff"}',
    b"a.png 0\nb.png 1\n",
    b'{"path": "a.png", "label": ' + b"9" * 5000 + b"}",
]  # fmt: skip
_SHARDS = [
    b"", b"\0\0\x10\1", b"\0\0\x30\xff", b"\1\0\0\1", b"\1\4\xb0\x40", b"\2\0\0", b"\2\1\0", b"\3\0\0", b"\3\0\4",
    b"\4PK\3\4", b"\4", b"\5", b"\5" + bytes(1216), b"\6", b"\6PK\5\6" + bytes(18), b"\6\x93NUMPY\1\0", b"\6\x80\4N.",
]  # fmt: skip


def mutated(seed: bytes, edits: list[tuple[int, bytes]], end: int | None) -> bytes:
    """A seed with bytes replaced, and cut."""
    data = bytearray(seed)
    for at, new in edits:
        at %= max(len(data), 1)
        data[at : at + len(new)] = new
    return bytes(data[:end])


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "table": drive_table,
    "json": drive_json,
    "archive": drive_archive,
    "cache": drive_cache,
    "shards": drive_shards,
}
CORPUS: dict[str, list[bytes]] = {
    "table": _TABLES,
    "json": _JSONS,
    "archive": [*BAD.values(), *(data for data, *_ in (*LEFT_OUT.values(), *HARMLESS.values()))],
    # The last: a negative length in an Arrow file, by which Arrow aborted the process.
    "shards": [
        *_photo_shards().values(),
        mutated(_photo_shards()[".arrow"], [(719, b"\x92"), (804, b"\x9d\xcc")], None),
    ],
    "cache": [*_SHARDS, b"\x06" + _shard()[0][array_store._SEAL :], b"\x04" + _shard()[0], b"\x05" + _shard()[1]],
}

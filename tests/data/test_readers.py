"""Photos that processes read are those that threads read; whatever a decoder does costs one photo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.data import images, readers
from headstart.data.images import CRASHED, DecodedImages, PhotoRead, read_photos, stream_photos
from headstart.data.schema import Photo


@pytest.fixture
def many(draw_photo: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """70 photos, of which one is no photo, one is missing and two are the same."""
    rng = np.random.default_rng(0)
    made = [draw_photo(tmp_path / f"{i:03}.png", i % 5, rng) for i in range(70)]
    made[10].write_bytes(b"no photo")
    made[11].unlink()
    made[12].write_bytes(made[13].read_bytes())
    return made


@pytest.fixture
def by_processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two cores and few photos are enough; how many photos each pool was asked for."""
    asked: list[int] = []
    real = readers.read_by_processes

    def watched(*given: Any) -> Any:
        asked.append(1)
        return real(*given)

    monkeypatch.setattr(readers, "MANY_CORES", 1)
    monkeypatch.setattr(readers, "MANY_PHOTOS", 20)
    monkeypatch.setattr(readers, "read_by_processes", watched)
    return asked


def same(a: DecodedImages, b: DecodedImages) -> None:
    for name in ("digests", "problems", "sizes", "remarks"):
        assert getattr(a, name) == getattr(b, name)
    for i, digest in enumerate(a.digests):
        if digest is not None:
            assert np.array_equal(a.row(i), b.row(i))


@pytest.mark.parametrize("kind", [Path, lambda path: Photo(path, "cat", "train", "g")])
def test_processes_read_what_threads_read(
    many: list[Path], by_processes: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Callable[..., Any]
) -> None:
    monkeypatch.setattr(images, "SHARD", 32)  # of which the later ones are read by the same processes
    photos, counted = [kind(path) for path in many], []
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "one"))
    found = read_photos(photos, 24, progress=lambda done, total: counted.append((done, total)))
    assert by_processes == [1]
    assert counted == [(i, 70) for i in range(1, 71)]
    monkeypatch.setattr(readers, "MANY_PHOTOS", 1000)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "other"))
    same(found, read_photos(photos, 24))
    assert by_processes == [1]
    assert found.problems[10] is not None
    assert found.problems[11] is not None
    assert found.digests[12] == found.digests[13]


def test_what_is_cached_is_hashed_here(many: list[Path], by_processes: list[int]) -> None:
    first = read_photos(many, 24)
    same(first, read_photos(many, 24))
    assert by_processes == [1]


def test_a_photo_that_crashes_its_decoder_costs_itself_alone(many: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real = readers._Pool.ask

    def deadly(self: Any, paths: list[bytes]) -> Any:
        """A path of no bytes ends the process that is sent it."""
        return real(self, [b"\0" if os.fsdecode(path) == str(many[21]) else path for path in paths])

    monkeypatch.setattr(readers._Pool, "ask", deadly)
    how = {"resize": 24, "interpolation": "bilinear", "with_pixels": True, "ranges": None, "measure": False}
    chunks = iter([many[:3], many[20:23], many[30:32]])
    found = list(readers.read_by_processes(chunks, how, PhotoRead, pytest.fail, PhotoRead(None, CRASHED)))
    assert [len(chunk) for chunk in found] == [3, 3, 2]
    problems = [one.problem for chunk in found for one in chunk]
    assert problems == [None, None, None, None, CRASHED, None, None, None]


@pytest.mark.parametrize("python", ["/bin/false", "/no/such/python"])
def test_where_no_process_starts_photos_are_read_here(
    many: list[Path], by_processes: list[int], monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(readers.sys, "executable", python)
    reads = list(stream_photos(many, 24))
    assert by_processes == [1]
    assert [read.problem for read in reads] == [read.problem for read in map_of(many)]
    assert sum(read.problem is None for read in reads) == 68


def map_of(photos: list[Path]) -> list[PhotoRead]:
    return [images.read_one(photo, (), 24, "bilinear", True) for photo in photos]


def test_photos_of_a_callers_own_kind_are_read_here(many: list[Path], by_processes: list[int]) -> None:
    class Own(Photo):
        pass

    reads = list(stream_photos([Own(path, "cat") for path in many], 24))
    assert len(reads) == 70
    assert by_processes == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, 12), ({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "40"}, 12), ({"OMP_NUM_THREADS": "3,2"}, 12),
        ({"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "4"}, 3), ({"LOCAL_WORLD_SIZE": "99"}, 1),
    ],
)  # fmt: skip
def test_cores_that_are_this_processs(given: dict[str, str], found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert readers.cores() == found


def test_photos_of_several_kinds_are_read_here(many: list[Path], by_processes: list[int]) -> None:
    class Own(Photo):
        pass

    assert len(list(stream_photos([*many, Own(many[0], "cat")], 24))) == 71
    assert by_processes == []


def test_processes_end_where_nobody_asks_on(many: list[Path], by_processes: list[int]) -> None:
    pools: list[readers._Pool] = []
    real = readers._Pool.__enter__

    def entered(self: readers._Pool) -> readers._Pool:
        pools.append(self)
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers._Pool, "__enter__", entered)
        reads = stream_photos(many, 24)
        next(reads)
        reads.close()  # type: ignore[attr-defined]
    assert pools[0].every
    assert all(process.poll() is not None for process in pools[0].every)

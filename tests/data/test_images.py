"""Photos read once: order, digests, reasons, and pixels that are the same with and without the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import images as module
from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode
from headstart.data.images import CHUNK, centre, read_photos, stream_photos
from headstart.data.loading import usual_side
from headstart.data.schema import Manifest, Photo


@pytest.fixture
def drawn(tmp_path: Path, draw_photo: Callable[..., Path]) -> list[Path]:
    rng = np.random.default_rng(0)
    return [draw_photo(tmp_path / f"{i}.png", i, rng, (40 + i, 30)) for i in range(5)]


def no_decoding(*_: object, **__: object) -> None:
    raise AssertionError("decoded again")


def test_facts_and_pixels_of_each_photo(drawn: list[Path]) -> None:
    found = read_photos(drawn, 16)
    assert found.digests == [hashlib.blake2b(p.read_bytes(), digest_size=16).hexdigest() for p in drawn]
    assert found.sizes == [(40 + i, 30) for i in range(5)]
    assert found.problems == [None] * 5
    for i, path in enumerate(drawn):
        assert np.array_equal(found.row(i), decode(path, 16).pixels)
        assert min(found.row(i).shape[:2]) == 16


def test_a_second_reading_decodes_nothing(drawn: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_photos(drawn, 16)
    monkeypatch.setattr(module, "decode", no_decoding)
    again = read_photos(drawn, 16)
    assert (again.sizes, again.digests, again.remarks) == (before.sizes, before.digests, before.remarks)
    assert np.array_equal(again.row(3), before.row(3))


def test_another_size_or_content_is_decoded_anew(drawn: list[Path], draw_photo: Callable[..., Path]) -> None:
    before = read_photos(drawn, 16)
    assert min(read_photos(drawn, 20).row(0).shape[:2]) == 20
    draw_photo(drawn[0], 4, np.random.default_rng(9))
    after = read_photos(drawn, 16)
    assert after.digests[0] != before.digests[0]
    assert not np.array_equal(centre(after.row(0), 16), centre(before.row(0), 16))


def test_what_does_not_fit_the_cache_is_decoded_each_time(drawn: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read_photos(drawn, 16)
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0")
    found = read_photos(drawn, 16)
    assert found.store is None
    assert all(np.array_equal(found.row(i), kept.row(i)) for i in range(5))


def test_order_holds_over_many_chunks_and_copies(drawn: list[Path]) -> None:
    paths = [drawn[i % 5] for i in range(3 * CHUNK + 7)]
    seen: list[int] = []
    found = read_photos(paths, 16, progress=lambda done, total: seen.append(done))
    assert list(found.digests) == [found.digests[i % 5] for i in range(len(paths))]
    assert seen == list(range(1, len(paths) + 1))


@pytest.mark.parametrize("cached", [True, False])
def test_bad_files_are_named_with_reasons(
    tmp_path: Path, bad_files: Callable[[Path], dict[str, str | None]], monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_GB", "20" if cached else "0")
    expected = bad_files(tmp_path / "bad")
    paths = [tmp_path / "bad" / name for name in expected]
    for _ in range(2):  # the second time from the cache
        found = read_photos(paths, 16)
        for name, digest, problem in zip(expected, found.digests, found.problems, strict=True):
            assert (digest is None) == (problem is not None) == (expected[name] is not None), name
            assert (expected[name] or "") in (problem or ""), (name, problem)


def test_a_file_that_vanished_is_a_problem_not_an_end(drawn: list[Path]) -> None:
    found = read_photos([*drawn, drawn[0].with_name("gone.png")], 16)
    assert found.digests[-1] is None
    assert "No such file" in str(found.problems[-1])


def test_take_keeps_rows_with_their_facts(drawn: list[Path]) -> None:
    found = read_photos(drawn, 16)
    few = found.take([4, 1])
    assert len(few) == 2
    assert few.sizes == [found.sizes[4], found.sizes[1]]
    assert np.array_equal(few.row(0), found.row(4))


def test_streamed_photos_carry_their_pixels_unless_told_not_to(drawn: list[Path]) -> None:
    reads = list(stream_photos(drawn, 16))
    assert all(np.array_equal(r.pixels, decode(p, 16).pixels) for r, p in zip(reads, drawn, strict=True))
    assert all(r.pixels is None and r.digest for r in stream_photos(drawn, 16, with_pixels=False))


def test_centre_is_the_middle() -> None:
    row = np.arange(5 * 9).reshape(5, 9, 1)
    assert centre(row, 3)[..., 0].tolist() == [[12, 13, 14], [21, 22, 23], [30, 31, 32]]


def test_the_usual_side_is_sampled_evenly_and_skips_the_unreadable(tmp_path: Path) -> None:
    for i in range(10):
        Image.new("RGB", (40, 8 + i)).save(tmp_path / f"{i}.png")
    (tmp_path / "5.png").write_bytes(b"")
    photos = Manifest(tmp_path, "drawn", "", tuple(Photo(tmp_path / f"{i}.png", "a") for i in range(10)))
    assert usual_side(photos, at_most=2) == 8
    assert usual_side(photos) == 12


@pytest.mark.parametrize("first", ["a.png", "a.jpg"])
def test_what_a_name_adds_is_told_of_that_name_only_cached_or_not(drawn: list[Path], first: str) -> None:
    names = {"a.png": (), "a.jpg": ("PNG named .jpg",)}
    paths = [drawn[0].with_name(name) for name in sorted(names, key=lambda name: name != first)]
    for path in paths:
        path.write_bytes(drawn[0].read_bytes())
    for some in (paths[:1], paths, paths[1:]):
        assert read_photos(some, 16).remarks == [names[path.name] for path in some]


def test_a_problem_of_the_moment_does_not_stay(drawn: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def too_little_memory(*_: object, **__: object) -> None:
        raise BadPhoto("too large for the memory at hand")

    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", too_little_memory)
        assert set(read_photos(drawn, 16).problems) == {"too large for the memory at hand"}
    assert read_photos(drawn, 16).problems == [None] * 5


@pytest.mark.parametrize("damage", ["values", "index", "a value"])
def test_pixels_that_were_damaged_in_the_cache_are_decoded_again_and_it_is_told(
    drawn: list[Path], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    before = read_photos(drawn, 16)
    assert before.store is not None
    (path,) = before.store.folder.glob("*.index" if damage == "index" else "*.values")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[:-1] if damage == "values" else content)
    for told in (True, False):
        caplog.clear()
        again = read_photos(drawn, 16)
        assert (again.sizes, again.digests, again.remarks) == (before.sizes, before.digests, before.remarks)
        for i, photo in enumerate(drawn):
            assert np.array_equal(again.row(i), decode(photo, 16).pixels)
        assert len(caplog.records) == told


def test_a_cold_and_a_warm_cache_tell_the_same(
    tmp_path: Path, bad_files: Callable[[Path], dict[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_files(tmp_path / "bad")
    paths = sorted((tmp_path / "bad").iterdir())
    cold, warm = read_photos(paths, 16), read_photos(paths, 16)
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0")
    none = read_photos(paths, 16)
    for other in (warm, none):
        for fact in ("digests", "problems", "sizes", "remarks"):
            assert getattr(cold, fact) == getattr(other, fact), fact

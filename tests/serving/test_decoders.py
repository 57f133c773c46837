"""A file that hangs or crashes a decoder costs one process; no other upload waits for it, or is mixed up with it."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import deep, hostile
from helpers.loops import run_apart

from headstart.core.ranges import Ranges
from headstart.data.decode import decode
from headstart.data.images import centre
from headstart.models.preprocessing import Preprocessing
from headstart.serving.decoders import Decoders
from headstart.serving.limits import Limits, Refused
from headstart.serving.uploads import Upload

HOW = Preprocessing(image_size=32, resize=36)
SLOW = hostile.scan_bomb(450, (2900, 2900))
"""Two seconds of work; within the bounds of a server that takes ``MANY`` pixels."""
MANY = 250_000_000


def using(work: Callable[[Decoders], Awaitable[Any]], **limits: Any) -> Any:
    async def run() -> Any:
        decoders = Decoders(HOW, Limits(**limits))
        await decoders.start()
        try:
            return await work(decoders)
        finally:
            await decoders.stop()

    return run_apart(run())


def test_photos_are_those_of_decode(photo_bytes: Callable[..., bytes]) -> None:
    uploads = [Upload(f"{n}.png", photo_bytes((40 + n, 50), seed=n)) for n in range(20)]

    async def all_of(decoders: Decoders) -> list[Any]:
        return await asyncio.gather(*map(decoders.decode, uploads))

    for upload, found in zip(uploads, using(all_of), strict=True):
        np.testing.assert_array_equal(found, centre(decode(upload.content, 36).pixels, 32))


def test_deep_photos_are_read_by_the_ranges_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = Ranges(integers=(0, 4095))
    monkeypatch.setattr(sys.modules[__name__], "HOW", replace(HOW, ranges=ranges))
    values = deep.picture().astype(np.uint16) * 16
    for content in (deep.png(values, 2), deep.saved(values[..., 0], "TIFF")):
        found = using(lambda decoders, content=content: decoders.decode(Upload("a", content)))
        np.testing.assert_array_equal(found, centre(decode(content, 36, ranges=ranges).pixels, 32))
        assert found.max() > 200


def test_heic_photos_are_read_within_the_bounds_of_the_process() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: pip install 'headstart[heic]'")
    out = io.BytesIO()
    heif.encode("RGB", (2400, 1800), bytes(2400 * 1800 * 3), out, quality=50)
    found = using(lambda decoders: decoders.decode(Upload("a.heic", out.getvalue())))
    assert np.asarray(found).shape == (32, 32, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows measures no processor time of a process")
def test_a_slow_photo_is_given_up_and_others_do_not_wait(photo_bytes: Callable[..., bytes]) -> None:
    """Four slow ones, one after the other in their lane; an ordinary photo overtakes them, and its pixels are right."""
    ordinary = Upload("a.png", photo_bytes())
    order = []

    async def both(decoders: Decoders) -> list[Any]:
        async def named(upload: Upload) -> Any:
            found = await decoders.decode(upload)
            order.append(upload.name)
            return found

        slow = [asyncio.create_task(named(Upload(f"slow{n}.jpg", SLOW))) for n in range(4)]
        await asyncio.sleep(0.2)
        good = await named(ordinary)
        again = [await task for task in slow]
        return [good, await named(ordinary), *again]

    good, after, *slow = using(both, decode_seconds=0.5, pixels=MANY)
    assert order[0] == "a.png"
    assert slow == ["takes more than 0.5 s to decode"] * 4
    np.testing.assert_array_equal(good, after)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jpg", hostile.scan_bomb(5000), "5,005 scans"),
        ("a.png", hostile.png(7700, 7700, 8, 6), "534 MB to decode, above 250 MB"),
        ("a.png", hostile.png(9000, 9000), "too large: 9000 x 9000 px, above 60 million pixels"),
        ("a.qoi", hostile.qoi(50, 50), "not an image"),
        ("a.pbm", hostile.plain_pbm(50, 50), "not an image"),
        ("a.ico", hostile.icon(50, 50), "not an image"),
        ("a.webp", hostile.webp_canvas(1 << 24, 1 << 24), "decompression bomb"),
    ],
    ids=["scans", "bytes", "pixels", "qoi", "pbm", "ico", "webp"],  # contents are too long for an environment variable
)
def test_what_is_refused_says_why(name: str, content: bytes, words: str) -> None:
    assert words in using(lambda decoders: decoders.decode(Upload(name, content)))


def test_a_decoder_that_dies_is_replaced(photo_bytes: Callable[..., bytes]) -> None:
    upload = Upload("a.png", photo_bytes())

    async def killed(decoders: Decoders) -> list[Any]:
        slow = asyncio.create_task(decoders.decode(Upload("slow.jpg", SLOW)))
        await asyncio.sleep(1)
        for lane in (decoders.quick, decoders.costly):
            for worker in lane.workers:
                worker.process.kill()
        found = [await decoders.decode(upload) for _ in range(6)]
        return [await slow, *found]

    slow, *found = using(killed, pixels=MANY)
    assert slow == "its decoder crashed, or ran out of memory"
    assert isinstance(found[-1], np.ndarray)


def test_a_request_that_goes_leaves_no_photo_behind(photo_bytes: Callable[..., bytes]) -> None:
    """The process that a cancelled request used does not answer the next one with its photo."""
    mine, other = Upload("a.png", photo_bytes(seed=1)), Upload("b.png", photo_bytes(seed=2))

    async def cancelled(decoders: Decoders) -> Any:
        for _ in range(3):
            task = asyncio.create_task(decoders.decode(other))
            await asyncio.sleep(0.001)
            task.cancel()
        return [await decoders.decode(mine) for _ in range(4)]

    for found in using(cancelled):
        np.testing.assert_array_equal(found, centre(decode(mine.content, 36).pixels, 32))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the processor's time there")
def test_a_busy_machine_is_no_reason_to_refuse_a_photo(
    photo_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the clock says counts only where nothing comes for very long, and then the photo may be sent again."""
    upload = Upload("a.png", photo_bytes())

    async def stopped(decoders: Decoders) -> Any:
        for one in decoders.quick.workers:
            await one.ready()
            one.process.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(
            1.0, lambda: [one.process.send_signal(signal.SIGCONT) for one in decoders.quick.workers]
        )
        return await decoders.decode(upload)

    assert np.asarray(using(stopped, decode_seconds=0.4)).shape == (32, 32, 3)
    monkeypatch.setattr("headstart.serving.decoders.PATIENCE_S", 0.3)
    with pytest.raises(Refused, match=r"a\.png was not decoded in 0\.4 s") as error:
        using(stopped, decode_seconds=0.4)
    assert error.value.status == 429

"""No file costs more than its header says it may; what is refused is named, and costs nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import hostile
from PIL import Image

from headstart.data import bounds as limits
from headstart.data.bounds import BadPhoto, Bounds, TooCostly, peak_memory, read_file
from headstart.data.decode import decode

BOMBS = {
    "scans.jpg": (hostile.scan_bomb(5000), "5,005 scans"),
    "slow-scans.jpg": (hostile.scan_bomb(450, (4000, 4000)), "too slow to decode: 45"),
    "qoi.qoi": (hostile.qoi(9000, 9000), "slow to read"),
    "text.pbm": (hostile.plain_pbm(1500, 1500), "slow to read"),
    "depth.ppm": (hostile.ppm_of_other_depth(1500, 1500), "slow to read"),
    "run-lengths.bmp": (hostile.rle_bmp(9000, 9000), "slow to read"),
    "icon.ico": (hostile.icon(9000, 9000), "not an image"),
    "canvas.webp": (hostile.webp_canvas(1 << 24, 1 << 24), "decompression bomb"),
    "empty.webp": (hostile.webp_canvas(16000, 16000), "damaged"),
    "wide.png": (hostile.png(60_000, 6_000), "decompression bomb"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_and_not_decoded(name: str) -> None:
    content, words = BOMBS[name]
    began = time.perf_counter()
    with pytest.raises(BadPhoto, match=words):
        decode(content, 32)
    assert time.perf_counter() - began < 5  # minutes without the bounds; the time itself is not what is tested


def test_what_is_usual_is_below_the_bounds() -> None:
    for content in (hostile.scan_bomb(20, (64, 48)), hostile.qoi(60, 50), hostile.plain_pbm(60, 50)):
        assert decode(content, 32).pixels.shape[2] == 3


PEAK = """
import resource, sys
from headstart.data.decode import decode
content = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(content, 224)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is that of Linux")
@pytest.mark.parametrize(
    "content",
    [
        hostile.png(7700, 7700, 16), hostile.png(5000, 5000, 8, 6), hostile.png(5000, 5000, 8, 2),
        hostile.scan_bomb(3, (5000, 5000)),
    ],
    ids=["deep", "alpha", "rgb", "progressive"],
)  # fmt: skip
def test_the_estimate_of_memory_holds(content: bytes, tmp_path: Path) -> None:
    """Peak memory beside the estimate: never much above it, or a bound on it would bound nothing."""
    (tmp_path / "photo").write_bytes(content)
    found = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path / "photo")], capture_output=True, text=True)
    estimate = peak_memory(Image.open(io.BytesIO(content)), content, 224)
    assert int(found.stdout) < 1.3 * estimate + 20e6, (int(found.stdout) / 1e6, estimate / 1e6)


def test_memory_and_formats_can_be_bounded() -> None:
    with pytest.raises(TooCostly, match="75 MB to decode, above 50 MB"):
        decode(hostile.png(5000, 5000, 16), 32, bounds=Bounds(memory=50_000_000))
    with pytest.raises(BadPhoto, match=r"not an image|damaged"):
        decode(hostile.qoi(60, 50), 32, bounds=Bounds(formats=frozenset({"PNG"})))


def test_sixteen_bits_in_strips_are_those_of_the_whole() -> None:
    """More rows than one strip holds, beside the scale computed at once in float64."""
    values = np.random.default_rng(0).integers(0, 65536, (1500, 1400)).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    np.testing.assert_array_equal(decode(out.getvalue()).pixels[..., 0], np.rint(values.astype(float) / 257))


def test_a_file_larger_than_memory_is_named_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(limits.MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(BadPhoto, match="too large: a file of"):
        read_file(tmp_path / "huge.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadPhoto, match="not a regular file"):
        decode(tmp_path / "pipe.jpg", 32)

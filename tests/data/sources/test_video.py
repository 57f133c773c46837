"""Frames of a video: the ones at the times asked for, and why there are none."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.sources import video
from headstart.data.sources.video import frames

Cli = Callable[..., Any]
Refused = Callable[..., None]
SECONDS, RATE = 5, 4


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five seconds of 64 x 48 px, whose grey says the number of the frame; a key frame each second and a half."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'headstart[video]'")
    path = tmp_path / "größe.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 6
        for i in range(SECONDS * RATE):
            grey = np.full((48, 64, 3), 20 + 10 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("every", [1.0, 0.5, 1.7, 60.0])
def test_each_frame_is_the_one_at_its_time(clip: Path, every: float) -> None:
    found = frames(clip, every)
    assert [one.seconds for one in found] == [round(i * every, 3) for i in range(len(found))]
    assert found[-1].seconds < SECONDS <= found[-1].seconds + every
    for one in found:
        with one.open() as file:
            pixels = np.asarray(Image.open(file))
        number = int(np.ceil(one.seconds * RATE - 1e-6))
        assert pixels.shape == (48, 64, 3)
        assert abs(pixels.mean() - (20 + 10 * number)) < 4


@pytest.mark.parametrize(("matrix", "turned"), [((0, 1, -1, 0), -90), ((-1, 0, 0, -1), 180), ((0, -1, 1, 0), 90)])
def test_a_frame_stands_as_players_show_it(clip: Path, matrix: tuple[int, ...], turned: int) -> None:
    """Phones store the picture as the sensor lies, and its rotation beside it: in the track header of an MP4."""
    import av

    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stored = np.zeros((48, 64, 3), np.uint8)
        stored[:16, :, 1] = 255  # the upper third
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, "rgb24")))
        container.mux(stream.encode())
    content = bytearray(clip.read_bytes())
    place = content.index(b"tkhd") + 44  # of version 0: after flags, times, id, duration, layer, volume
    a, b, c, d = (n << 16 for n in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    clip.write_bytes(content)
    (one,) = frames(clip, 60)
    with one.open() as file:
        shown = np.asarray(Image.open(file)).astype(int)
    assert np.abs(shown - np.rot90(stored, turned // 90)).mean() < 8


def test_predict_reads_them(cli: Cli, refused: Refused, probe_run: Path, clip: Path, tmp_path: Path) -> None:
    answer = cli("predict", probe_run, clip, "--every", "2s", "--jsonl", "--sort-into", tmp_path / "s")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["path"] for row in rows] == [f"{clip} {second} s" for second in (0, 2, 4)]
    assert {p.name for p in (tmp_path / "s").rglob("*.png")} == {f"größe-{second}s.png" for second in (0, 2, 4)}
    refused(cli("predict", probe_run, clip, "--every", "soon"), "--every soon")
    refused(cli("predict", probe_run, clip, "--every", "0"), "--every 0")


def test_what_is_no_video_is_named(cli: Cli, probe_run: Path, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "list.mp4").write_text("#EXTM3U\nhttp://localhost/x.ts\n")
    (tmp_path / "cut.mkv").write_bytes(clip.read_bytes()[:200])
    answer = cli("predict", probe_run, tmp_path / "list.mp4", tmp_path / "cut.mkv")
    assert answer.code == 2
    assert answer.err.count("not a video that can be read") == 2


def test_a_video_of_endless_frames_is_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MOST", 10)
    (one,) = frames(clip, 0.25)
    assert "20 frames" in one.problem
    monkeypatch.setattr(video, "LARGEST", 100)
    assert "too many" in frames(clip, 1)[0].problem


def test_without_pyav_it_says_what_to_install(
    cli: Cli, probe_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"\0")
    answer = cli("predict", probe_run, tmp_path / "a.mp4")
    assert answer.code == 2
    assert 'pip install "headstart[video]"' in answer.err

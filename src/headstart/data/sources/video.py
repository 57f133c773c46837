"""Frames of a video file, for prediction. In: a file and a distance in seconds. Out: images that are decoded when they
are opened; nothing is kept in memory. Needs PyAV (``pip install "headstart[video]"``).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from headstart.core.files import open_regular

FORMATS = {
    ".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi",
}  # fmt: skip
"""Suffix → how FFmpeg is to read the file. It is not asked to find out: some of its formats are lists of addresses."""
MOST = 100_000
"""Frames of one file."""
LARGEST = 8192 * 8192
"""Pixels of a frame."""


class VideoProblem(OSError):  # noqa: N818 - its text is the reason
    """Why a video, or a frame of it, cannot be read."""


@dataclass(frozen=True)
class Frame:
    """The frame that is shown ``seconds`` after the beginning. ``problem``: why there is none."""

    path: Path
    seconds: float
    problem: str = ""

    @property
    def written(self) -> str:
        """What it is called in results: ``clip.mp4 12.5 s``."""
        return str(self.path) if self.problem else f"{self.path} {self.seconds:g} s"

    @property
    def name(self) -> str:
        """The name of a file that would hold it."""
        return f"{self.path.stem}-{self.seconds:g}s.png"

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The frame as PNG. Raises OSError where it cannot be read."""
        if self.problem:
            raise VideoProblem(self.problem)
        out = io.BytesIO()
        with _opened(self.path) as (container, stream):
            _picture(container, stream, self.seconds).save(out, "png", compress_level=1)
        out.seek(0)
        return out


def frames(path: Path, every: float) -> list[Frame]:
    """The frames of a video, ``every`` so many seconds from its beginning; one with a problem where there is none."""
    try:
        with _opened(path) as (container, stream):
            length = _seconds(container, stream)
    except OSError as error:
        return [Frame(path, 0, error.strerror or str(error))]
    count = max(1, math.ceil(length / every - 1e-6))
    if count > MOST:
        return [Frame(path, 0, f"{count:,} frames, {MOST:,} at most: take fewer (every)")]
    return [Frame(path, round(i * every, 3)) for i in range(count)]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of pictures. Raises OSError."""
    try:
        import av
    except ImportError:
        raise VideoProblem('a video: pip install "headstart[video]" to read its frames') from None
    av.logging.set_level(av.logging.PANIC)
    try:
        # An open file, not a name: FFmpeg would take some names for addresses.
        with open_regular(path) as file, av.open(file, format=FORMATS[path.suffix.lower()]) as container:
            if not container.streams.video:
                raise VideoProblem("a video without pictures")
            stream = container.streams.video[0]
            if stream.width * stream.height > LARGEST:
                raise VideoProblem(f"{stream.width} x {stream.height} pixels are too many")
            yield container, stream
    except (av.FFmpegError, ValueError) as error:
        raise VideoProblem(f"not a video that can be read ({type(error).__name__})") from None


def _seconds(container: Any, stream: Any) -> float:
    """The length. Raises OSError where the file does not say it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        raise VideoProblem("a video that does not say how long it is")
    return float(container.duration) / 1e6


def _picture(container: Any, stream: Any, seconds: float) -> Any:
    """The first frame at or after a time, the last one where there is none. Raises OSError."""
    base, found = float(stream.time_base or 1), None
    start = (stream.start_time or 0) * base
    container.seek(round((start + seconds) / base), stream=stream, backward=True)
    for frame in container.decode(stream):
        found = frame
        if frame.time is None or frame.time - start >= seconds - 1e-6:
            break
    if found is None:
        raise VideoProblem(f"no frame at {seconds:g} s")
    turned = round(found.rotation / 90) % 4  # counter-clockwise, as players turn it
    return found.to_image().rotate(90 * turned, expand=True)

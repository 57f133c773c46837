"""What a request may cost, and ``Refused``: an error response, with its HTTP status and a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What requests may cost.

    ``file_mb``, ``request_mb``: of uploads; ``memory_mb``: of all uploads in progress. ``pixels``: of a photo, by its
    header; ``decode_mb``, ``decode_seconds``: what decoding one may take. ``files``: of a request; ``requests``: in
    progress at a time; ``waiting``: photos that wait for the network. ``seconds``: for an upload to arrive, and again
    for its response; ``head_seconds``: for a request's head, and between requests. ``connections``: open at a time.
    """

    file_mb: float = 30.0
    request_mb: float = 100.0
    memory_mb: float = 200.0
    pixels: int = 60_000_000
    decode_mb: float = 250.0
    decode_seconds: float = 5.0
    files: int = 64
    requests: int = 256
    waiting: int = 512
    seconds: float = 30.0
    head_seconds: float = 10.0
    connections: int = 1000


class Refused(Exception):  # noqa: N818 - a response, not an error of the server's
    """``status``: of HTTP; ``sentence``: what is wrong and what to do; ``files``: a problem per file, where there are
    several.
    """

    def __init__(self, status: int, sentence: str, files: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.files = status, sentence, files or {}


def too_busy(what: str) -> Refused:
    """429, to which the app adds Retry-After."""
    return Refused(429, f"Too busy: {what}. Try again in a second.")

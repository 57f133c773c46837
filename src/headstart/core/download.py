"""Fetch files from the network: complete and verified, or a clear error.

The bytes go to ``NAME.part``, which a later call goes on from; only a verified file gets its name. Processes that want
the same file wait for each other. ``HEADSTART_MIRROR`` (``http://host:port/folder``) replaces scheme and host of every
URL: a mirror behind a firewall, or a test.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from headstart._version import __version__
from headstart.core.events import OnProgress
from headstart.errors import DownloadError

ATTEMPTS = 3
BACKOFF_S = 0.5
TIMEOUT_S = 30.0
CHUNK = 1 << 18
# ConnectionError and the like are what reading an answer raises when the line breaks in the middle of it.
_TRANSIENT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


@dataclass(frozen=True)
class Checksum:
    """What the bytes must be: the SHA-256, or its first digits, and one of the MD5 sums (editions of a file)."""

    sha256: str = ""
    md5: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.md5)

    def holds(self, path: Path) -> bool:
        """Whether the file's bytes are the promised ones (always, where nothing is promised)."""
        found = _digests(path, ["sha256"] * bool(self.sha256) + ["md5"] * bool(self.md5)) if self else {}
        return found.get("sha256", "").startswith(self.sha256.lower()) and (not self.md5 or found["md5"] in self.md5)


def download(
    url: str,
    to: Path,
    *,
    sha256: str = "",
    md5: tuple[str, ...] = (),
    progress: OnProgress | None = None,
    hint: str = "",
) -> Path:
    """The file at ``url``, verified, at ``to``; a verified file that lies there already is not fetched again.

    Args:
        url: its http(s) address.
        to: where to put it.
        sha256: its checksum, or the first digits of it.
        md5: its checksum, or those of several editions.
        progress: called with the bytes that are there, and all of them.
        hint: what people can do where there is no network.

    Raises:
        DownloadError: it cannot be fetched or written, or is not what the checksum promises.
    """
    checksum = Checksum(sha256, md5)
    source = mirrored(url)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with _one_process_at_a_time(to):
            if not (to.is_file() and checksum.holds(to)):
                _fetch_verified(source, to, checksum, progress, hint)
    except OSError as error:
        raise _disk_error(error, to) from error
    return to


def mirrored(url: str) -> str:
    """``url`` with ``HEADSTART_MIRROR`` (where set) for its scheme and host; only http and https are fetched."""
    mirror = os.environ.get("HEADSTART_MIRROR", "").rstrip("/")
    if mirror:
        parts = urlsplit(url)
        url = mirror + parts.path + (f"?{parts.query}" if parts.query else "")
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(
            f"{url} is not an http(s) address", "HEADSTART_MIRROR must look like http://host:port/folder."
        )
    return url


def _fetch_verified(url: str, to: Path, checksum: Checksum, progress: OnProgress | None, hint: str) -> None:
    """Fetch to the part file, check it, give it its name; once more from nothing where an old part did not fit."""
    part = to.with_name(to.name + ".part")
    if not checksum:
        # Nothing could tell whether two halves belong to one file, so halves are not joined.
        part.unlink(missing_ok=True)
    resumed = part.is_file()
    _fetch_with_retries(url, part, progress, hint)
    if not checksum.holds(part) and resumed:
        part.unlink()
        _fetch_with_retries(url, part, progress, hint)
    if not checksum.holds(part):
        size = part.stat().st_size
        part.unlink()
        raise DownloadError(
            f"{url} sent {size:,} bytes that are not the promised file (its checksum differs); they were deleted",
            "A proxy may have answered in its place, or its home changed: try again later, or fetch it by hand. "
            + hint,
        )
    os.replace(part, to)


def _fetch_with_retries(url: str, part: Path, progress: OnProgress | None, hint: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch(url, part, progress)
        except urllib.error.HTTPError as error:
            if attempt == ATTEMPTS or (error.code < 500 and error.code not in (408, 429)):
                raise DownloadError(f"{url} answered {error.code} ({error.reason})", hint) from error
        except _TRANSIENT as error:
            if attempt == ATTEMPTS:
                raise DownloadError(
                    f"no connection to {urlsplit(url).netloc} for {url} ({_words(error)})", hint
                ) from error
        time.sleep(BACKOFF_S * 3 ** (attempt - 1))


def _fetch(url: str, part: Path, progress: OnProgress | None) -> None:
    """One request, going on from what the part file holds; a server that ignores ranges starts it anew."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"headstart/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if _full_size(error.headers) != have:
            part.unlink()
            _fetch(url, part, progress)
        return  # 416 with as many bytes as there are: the part is the whole file
    with answer, open(part, "ab" if answer.status == 206 else "wb") as out:
        _copy(answer, out, have if answer.status == 206 else 0, progress)


def _copy(answer: http.client.HTTPResponse, out: IO[bytes], done: int, progress: OnProgress | None) -> None:
    length = answer.headers.get("Content-Length")
    total = done + int(length) if length and length.isdigit() else None
    while chunk := answer.read(CHUNK):
        out.write(chunk)
        done += len(chunk)
        if progress:
            progress(done, total or done + 1)  # the server may not say how many there will be
    if total is not None and done < total:
        # http.client ends quietly when the other side hangs up early.
        raise ConnectionError(f"the connection closed after {done:,} of {total:,} bytes")


def _full_size(headers: Message) -> int | None:
    """The size that a 416 answer tells: ``Content-Range: bytes */1234``."""
    size = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


@contextmanager
def _one_process_at_a_time(to: Path) -> Iterator[None]:
    """An operating-system lock beside the file: let go even when its holder is killed, so no lock is ever stale."""
    from filelock import FileLock

    with FileLock(to.with_name(to.name + ".lock")):
        yield


def _digests(path: Path, kinds: list[str]) -> dict[str, str]:
    """Hex digests of the given kinds in one pass; MD5 guards against damage, not against malice."""
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            for each in sums.values():
                each.update(chunk)
    return {kind: each.hexdigest() for kind, each in sums.items()}


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _disk_error(error: OSError, to: Path) -> DownloadError:
    if error.errno == errno.ENOSPC:
        return DownloadError(
            f"the disk is full: {to} could not be written", "Make room and run the same command: it goes on from there."
        )
    return DownloadError(
        f"{to} could not be written ({error.strerror or error})", "Set HEADSTART_CACHE to a folder you can write to."
    )

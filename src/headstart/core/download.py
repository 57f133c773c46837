"""Fetch files from the network: complete and verified, or a clear error.

The bytes go to ``NAME.part``, which a later call resumes; only a verified file gets its name. Processes that want the
same file wait for each other. ``HEADSTART_MIRROR`` (``http://host:port/folder``) replaces scheme and host of every URL:
for a mirror behind a firewall, or a test.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import time
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from headstart._version import __version__
from headstart.core.events import OnProgress
from headstart.core.text import brief
from headstart.errors import DownloadError

ATTEMPTS = 3
BACKOFF_S = 0.5
TIMEOUT_S = 30.0
CHUNK = 1 << 18
STALL_S, STALL_BYTES = 60.0, 60_000
"""A server that sends less in that time is given up; ``TIMEOUT_S`` is for one that sends nothing at all."""
MOST_BYTES = 200 << 30
# Reading a response raises ConnectionError and the like when the connection breaks.
_TRANSIENT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


def download(
    url: str,
    to: Path,
    *,
    sha256: str = "",
    md5: tuple[str, ...] = (),
    at_most: int = MOST_BYTES,
    progress: OnProgress | None = None,
    hint: str = "",
) -> Path:
    """Download ``url`` to ``to`` and verify it; a verified file that is there already is not fetched again.

    Args:
        url: an http(s) address.
        to: the file to write.
        sha256: its checksum, or the first digits of it.
        md5: the checksums of its editions; MD5 guards against damage, not against malice.
        at_most: the most bytes that it may have.
        progress: called with the bytes fetched and the total.
        hint: what users can do without a network.

    Raises:
        DownloadError: it cannot be fetched or written, is larger than ``at_most``, or its checksum differs.
    """
    from filelock import FileLock

    source = mirrored(url)
    checksums = {"sha256": (sha256.lower(),) if sha256 else (), "md5": md5}
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        # An operating-system lock is released even when its holder is killed, so no lock is ever stale.
        with FileLock(to.with_name(to.name + ".lock")):
            if not (to.is_file() and _matches(to, checksums)):
                _fetch_verified(source, to, checksums, at_most, progress, hint)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DownloadError(
                f"the disk is full: {to} could not be written", "Make room and run the same command: it resumes."
            ) from error
        raise DownloadError(
            f"{to} could not be written ({error.strerror or error})",
            "Set HEADSTART_CACHE to a folder you can write to.",
        ) from error
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


def _matches(path: Path, checksums: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the file has one of the expected checksums (or first digits) of each kind."""
    for kind, expected in checksums.items():
        if expected:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()
            if not found.startswith(expected):
                return False
    return True


def _fetch_verified(
    url: str,
    to: Path,
    checksums: Mapping[str, tuple[str, ...]],
    at_most: int,
    progress: OnProgress | None,
    hint: str,
) -> None:
    """Fetch to the part file, verify and rename it; start again once where an old part did not fit."""
    part = to.with_name(to.name + ".part")
    if not any(checksums.values()):
        # Without a checksum nothing shows whether two parts belong to one file, so they are not joined.
        part.unlink(missing_ok=True)
    for _ in range(2 if part.is_file() else 1):
        _fetch_with_retries(url, part, at_most, progress, hint)
        if _matches(part, checksums):
            os.replace(part, to)
            return
        size = part.stat().st_size
        part.unlink()
    raise DownloadError(
        f"{url} sent {size:,} bytes whose checksum differs from the expected one; they were deleted",
        f"A proxy may have answered instead, or the file was changed: try again later, or fetch it by hand. {hint}",
    )


def _fetch_with_retries(url: str, part: Path, at_most: int, progress: OnProgress | None, hint: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch(url, part, at_most, progress)
        except _TooLargeError:
            part.unlink(missing_ok=True)
            raise DownloadError(f"{url} sends more than {at_most:,} bytes; they were deleted", hint) from None
        except urllib.error.HTTPError as error:
            if attempt == ATTEMPTS or (error.code < 500 and error.code not in (408, 429)):
                raise DownloadError(f"{url} answered {error.code} ({brief(error.reason)})", hint) from error
        except _TRANSIENT as error:
            if attempt == ATTEMPTS:
                reason = getattr(error, "reason", error)
                words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
                raise DownloadError(f"no connection to {urlsplit(url).netloc} for {url} ({words})", hint) from error
        time.sleep(BACKOFF_S * 3 ** (attempt - 1))


class _TooLargeError(Exception):
    """More bytes than may be."""


def _fetch(url: str, part: Path, at_most: int, progress: OnProgress | None) -> None:
    """One request that resumes the part file; where the server ignores ranges, the file starts again."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"headstart/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        # A 416 response has the size ("Content-Range: bytes */1234"): if the part has it, the part is whole.
        if (error.headers.get("Content-Range") or "").rpartition("/")[2] != str(have):
            part.unlink()
            _fetch(url, part, at_most, progress)
        return
    resumed = response.status == 206
    with response, open(part, "ab" if resumed else "wb") as out:
        _copy(response, out, have if resumed else 0, at_most, progress)


def _copy(
    response: http.client.HTTPResponse, out: IO[bytes], done: int, at_most: int, progress: OnProgress | None
) -> None:
    length = response.headers.get("Content-Length")
    total = done + int(length) if length and length.isdigit() else None
    if total is not None and total > at_most:
        raise _TooLargeError
    since, before = time.monotonic(), done
    while chunk := response.read1(CHUNK):  # what has arrived: ``read`` would wait for a whole chunk
        out.write(chunk)
        done += len(chunk)
        if done > at_most:  # a server may send without an end, and without a length
            raise _TooLargeError
        if time.monotonic() - since > STALL_S:
            if done - before < STALL_BYTES:
                raise TimeoutError(f"fewer than {STALL_BYTES:,} bytes in {STALL_S:g} s")
            since, before = time.monotonic(), done
        if progress:
            progress(done, total or done + 1)  # the server may not send the size
    if total is not None and done < total:
        # http.client raises nothing when the server closes the connection early.
        raise ConnectionError(f"the connection closed after {done:,} of {total:,} bytes")

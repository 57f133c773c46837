"""From a multipart request to files in memory. Nothing is written to disk, and no client decides how much memory is
used: bytes are counted as they come, of a request and of all requests together.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from headstart.serving.limits import Limits, Refused, too_busy

# It logs a line for each form that is not valid, and the client has been told.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
FIELD = "files"
MB = 1_000_000
TRIM = 50 * MB
"""After so many bytes of uploads, freed memory is given back to the system: glibc alone would keep most of it."""


class Upload(NamedTuple):
    """A file as it was sent; ``name`` is the client's, and is only ever sent back."""

    name: str
    content: bytes


class Memory:
    """Counts the bytes of all uploads in progress, in the event loop's thread alone."""

    def __init__(self, limit: float) -> None:
        self.limit, self.used, self.freed = limit, 0, 0

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], int]]:
        """Yields ``take(count)``, which returns the sum of what was taken; the block's end releases it."""
        held = 0

        def take(count: int) -> int:
            nonlocal held
            if self.used + count > self.limit:
                raise too_busy("too many uploads at a time")
            self.used, held = self.used + count, held + count
            return held

        try:
            yield take
        finally:
            self.used -= held
            self.freed += held
            if self.freed > TRIM:
                self.freed = 0
                _trim()


def _trim() -> None:
    with suppress(OSError, AttributeError, TypeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)


class _InMemory(MultiPartParser):
    """Starlette's parser without its limit of a megabyte, above which it writes to disk."""

    spool_max_size = 1 << 40

    def on_headers_finished(self) -> None:
        """A name in the form ``filename*=utf-8''K%C3%A4fer.jpg`` alone (RFC 5987) makes a file as well."""
        value = self._current_part.content_disposition or b""
        _, options = parse_options_header(value)
        if b"filename" not in options and b"filename*" in value:
            message = Message()
            message["content-disposition"] = value.decode("latin-1")
            safe = (message.get_filename() or "photo").translate({ord(each): "_" for each in '"\\\r\n'})
            self._current_part.content_disposition = value + f'; filename="{safe}"'.encode(errors="replace")
        super().on_headers_finished()


async def read_uploads(request: Request, limits: Limits, take: Callable[[int], int]) -> list[Upload]:
    """The files of a request; ``take`` counts bytes (see ``Memory.hold``). Raises Refused (400, 413, 415, 422, 429)."""
    too_large = Refused(413, f"A request may have {limits.request_mb:g} MB.")
    not_valid = Refused(400, "The request is not valid multipart/form-data.")
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind.lower() != b"multipart/form-data":
        raise Refused(415, f"Send photos as multipart/form-data, in the field {FIELD!r}.")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limits.request_mb * MB:
        raise too_large

    async def body() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            if take(len(chunk)) > limits.request_mb * MB:
                raise too_large
            yield chunk

    try:
        # The boundary alone: a charset of the client's choice would decode names in odd ways, or fail.
        boundary = parameters[b"boundary"].decode("latin-1")
        headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})
        parser = _InMemory(headers, body(), max_files=limits.files, max_fields=limits.files)
        return await _files((await parser.parse()).multi_items(), limits)
    except MultiPartException as error:
        if "Too many" in error.message:
            raise Refused(413, f"At most {limits.files} files in a request.") from None
        raise not_valid from None
    except (FormParserError, ValueError, KeyError, LookupError, UnicodeError):  # odd boundaries, headers and charsets
        raise not_valid from None
    except ClientDisconnect:
        raise Refused(400, "The connection ended before the upload did.") from None


async def _files(items: list[tuple[str, str | UploadFile]], limits: Limits) -> list[Upload]:
    found = []
    for field, value in items:
        if field != FIELD or isinstance(value, str):
            raise Refused(422, f"Photos are files in the field {FIELD!r}; {field[:40]!r} is something else.")
        name, content = _short(value.filename or "photo"), await value.read()
        if len(content) > limits.file_mb * MB:
            raise Refused(413, f"A photo may have {limits.file_mb:g} MB; {name} has more.")
        found.append(Upload(name, content))
    if not found:
        raise Refused(422, f"There is no photo in the field {FIELD!r}.")
    return found


def _short(name: str, most: int = 200) -> str:
    """A file's name with its suffix, of at most ``most`` characters."""
    stem, suffix = os.path.splitext(name)
    return name if len(name) <= most else f"{stem[: most - len(suffix[:16])]}{suffix[:16]}"

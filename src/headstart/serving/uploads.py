"""From a multipart request to files in memory.

Nothing is written to disk, and no client decides how much memory is used: bytes are counted as they come, of a request
and of all requests together.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from headstart.serving.limits import Limits, Refused, too_busy

FIELD = "files"
MB = 1_000_000


class Upload(NamedTuple):
    """A file as it was sent; ``name`` is what the client calls it, and is only ever given back."""

    name: str
    content: bytes


class Memory:
    """Bytes of all uploads that are at work. One thread, the event loop's, counts."""

    def __init__(self, limit: float) -> None:
        self.limit, self.used = limit, 0

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], int]]:
        """Gives ``take(count)``, which returns the sum of what was taken; all of it is given back at the end."""
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


class _InMemory(MultiPartParser):
    """Starlette's parser puts files above a megabyte on disk: not this one."""

    spool_max_size = 1 << 40


async def read_uploads(request: Request, limits: Limits, take: Callable[[int], int]) -> list[Upload]:
    """The files of a request; ``take`` counts bytes (see ``Memory.hold``). Raises Refused (400, 413, 415, 422, 429)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refused(415, f"Send photos as multipart/form-data, in the field {FIELD!r}.")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limits.request_mb * MB:
        raise _too_large(limits)
    try:
        body = _counted(request, limits, take)
        parser = _InMemory(request.headers, body, max_files=limits.files, max_fields=limits.files)
        form = await parser.parse()
        return await _files(form.multi_items(), limits)
    except MultiPartException as error:
        if "Too many" in error.message:
            raise Refused(413, f"At most {limits.files} files in a request.") from None
        raise _not_valid() from None
    except (FormParserError, ValueError, KeyError, LookupError, UnicodeError):  # odd boundaries, headers and charsets
        raise _not_valid() from None
    except ClientDisconnect:
        raise Refused(400, "The connection ended before the upload did.") from None


async def _counted(request: Request, limits: Limits, take: Callable[[int], int]) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        if take(len(chunk)) > limits.request_mb * MB:
            raise _too_large(limits)
        yield chunk


async def _files(items: list[tuple[str, str | UploadFile]], limits: Limits) -> list[Upload]:
    found = []
    for field, value in items:
        if field != FIELD or isinstance(value, str):
            raise Refused(422, f"Photos are files in the field {FIELD!r}; {field[:40]!r} is something else.")
        content = await value.read()
        if len(content) > limits.file_mb * MB:
            raise Refused(413, f"A photo may have {limits.file_mb:g} MB; {_short(value.filename)} has more.")
        found.append(Upload(_short(value.filename), content))
    if not found:
        raise Refused(422, f"There is no photo in the field {FIELD!r}.")
    return found


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"A request may have {limits.request_mb:g} MB.")


def _not_valid() -> Refused:
    return Refused(400, "The request is not valid multipart/form-data.")


def _short(name: str | None) -> str:
    return (name or "photo")[:200]

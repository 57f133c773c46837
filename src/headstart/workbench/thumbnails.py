"""Thumbnails: made once per photo, in processes whose memory and time are bounded, and kept in the project."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from PIL import Image

from headstart.errors import DataError
from headstart.models.preprocessing import Preprocessing
from headstart.serving.decoders import Decoders
from headstart.serving.limits import Limits
from headstart.serving.uploads import Upload
from headstart.workbench.reading import read_photo

SIDE = 192
"""px, of a square."""
QUALITY = 80
_OPENING = threading.Lock()


class Thumbnails:
    """Thumbnails of all open projects. ``start`` and ``stop`` run in the server's event loop, as ``get`` does."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        how = Preprocessing(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.decoders = Decoders(how, limits)
        self.started: asyncio.Task[None] | None = None
        self.making: dict[tuple[str, int], asyncio.Task[bytes | str]] = {}

    async def stop(self) -> None:
        if self.started is not None:
            await self.started
            await self.decoders.stop()

    async def get(self, project: Path, number: int, path: Path) -> bytes | str:
        """The thumbnail of a photo as a JPEG, or the reason why it has none."""
        stamp = await asyncio.to_thread(stamp_of, path)
        if (kept := await asyncio.to_thread(_kept, project, number, stamp)) is not None:
            return kept
        key = (str(project), number)
        if key not in self.making:  # two tabs, one decoding
            self.making[key] = asyncio.create_task(self._make(project, number, path, stamp))
            self.making[key].add_done_callback(lambda _: self.making.pop(key, None))
        return await asyncio.shield(self.making[key])

    async def decode(self, name: str, content: bytes) -> bytes | str:
        """The thumbnail of a file's content, or why it cannot be decoded."""
        if self.started is None:  # with the first photo: the first page needs none
            self.started = asyncio.create_task(self.decoders.start())
        await self.started
        found = await self.decoders.decode(Upload(name, content))
        return found if isinstance(found, str) else _jpeg(found)

    async def _make(self, project: Path, number: int, path: Path, stamp: str) -> bytes | str:
        try:
            content = await asyncio.to_thread(read_photo, path, self.limits.file_mb)
        except DataError as error:
            return error.problem
        made = await self.decode(path.name, content)
        if isinstance(made, bytes):
            with suppress(sqlite3.Error, OSError):  # a full disk, say: it is made again
                await asyncio.to_thread(keep, project, number, stamp, made)
        return made


def stamp_of(path: Path) -> str:
    """The time and size of a file, by which a thumbnail is known to be of it."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"


def _jpeg(pixels: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)  # type: ignore[arg-type]
    return out.getvalue()


def _open(project: Path) -> sqlite3.Connection:
    with _OPENING:  # two that make the file at a time would meet a locked one
        return _opened(project)


def _opened(project: Path) -> sqlite3.Connection:
    db = sqlite3.connect(project / ".studio" / "thumbnails.sqlite", timeout=20, isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=off")  # what is lost is made again
    db.execute("create table if not exists thumbnails (photo integer primary key, stamp text, jpeg blob not null)")
    return db


def _kept(project: Path, number: int, stamp: str) -> bytes | None:
    with closing(_open(project)) as db:
        found = db.execute("select jpeg from thumbnails where photo = ? and stamp = ?", (number, stamp)).fetchone()
        return None if found is None else bytes(found[0])


def keep(project: Path, number: int, stamp: str, jpeg: bytes) -> None:
    """Keep a thumbnail."""
    with closing(_open(project)) as db:
        db.execute("insert or replace into thumbnails values (?, ?, ?)", (number, stamp, jpeg))

"""A file that is read in parts, as a stream to read and seek in."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any


class Blocks(io.RawIOBase):
    """A file of ``size`` bytes, of which ``part(start, length)`` gives any part."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        self.part, self.size, self.at = part, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence] + offset
        if self.at < 0:
            raise OSError(errno.EINVAL, "a negative offset")
        return self.at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size - self.at)
        if wanted <= 0:
            return 0
        found = self.part(self.at, wanted)
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)

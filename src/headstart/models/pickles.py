"""Checkpoints that PyTorch's reader must not be given: it runs no code in them, but may crash or fill the memory."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

from headstart.errors import WeightsError

GROWTH = 4
"""How many times its size a file may unpack to: PyTorch does not compress."""
LARGEST = 64 << 20
"""Bytes of a checkpoint's list of tensors; 200 of them per tensor are usual."""
MOST_TUPLES = 100_000
"""Tuples in it, of which a tensor has four: to hash tuples nested more deeply overflows the stack of the process."""
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_STREAMS = 5
"""Pickles at the start of a file of PyTorch's first format; raw numbers follow."""


class _Bounded:
    """A file as ``pickletools`` reads it. A text may claim any length, for which Python would set memory aside."""

    def __init__(self, file: BinaryIO) -> None:
        self.tell, self._file = file.tell, file

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, LARGEST))

    def readline(self) -> bytes:
        return self._file.readline(LARGEST)


def check_pickle(path: Path) -> None:
    """Raise WeightsError for a checkpoint (zip, or PyTorch's first format) that must not be read.

    A file that is neither passes: the reader says what is wrong with it.
    """
    with path.open("rb") as file:
        try:
            if file.read(4) != b"PK\x03\x04":  # as PyTorch decides it
                _check_stream(path, file, _STREAMS)
                return
            with zipfile.ZipFile(file) as packed:
                members = packed.infolist()
                if sum(member.file_size for member in members) > GROWTH * path.stat().st_size + (1 << 20):
                    raise _refused(path, "it unpacks to many times its size")
                for member in members:
                    if member.filename.endswith(".pkl"):
                        if member.file_size > LARGEST:
                            raise _refused(path, "its list of tensors is larger than any")
                        _check_stream(path, io.BytesIO(packed.read(member)), 1)
        except (zipfile.BadZipFile, ValueError, IndexError, EOFError, OSError, NotImplementedError, RuntimeError):
            return  # damaged: the reader says so


def _check_stream(path: Path, file: BinaryIO, streams: int) -> None:
    file.seek(0)
    tuples = 0
    for _ in range(streams):
        for operation, _, place in pickletools.genops(cast(BinaryIO, _Bounded(file))):
            tuples += operation.name in _TUPLES
            if tuples > MOST_TUPLES or (place or 0) > LARGEST:
                raise _refused(path, "its list of tensors is larger than any")


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(f"weights file {path} is refused: {why}", "Fetch it again, or save it as safetensors.")

"""Read a pickled checkpoint with PyTorch's restricted reader. It runs no code, but a file may be made to crash it or to
fill the memory: such a file is not given to it.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from headstart.core.text import listed
from headstart.errors import WeightsError

GROWTH = 4
"""How many times its size a file may unpack to: PyTorch does not compress."""
LARGEST = 64 << 20
"""Bytes of a checkpoint's list of tensors; 200 of them per tensor are usual."""
MOST_TUPLES = 100_000
"""Tuples in it, of which a tensor has four: to hash tuples nested more deeply overflows the stack of the process."""
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_VALUES = frozenset(
    "numpy.dtype numpy.ndarray numpy.core.multiarray.scalar numpy.core.multiarray._reconstruct"
    " numpy._core.multiarray.scalar numpy._core.multiarray._reconstruct _codecs.encode datetime.datetime datetime.date"
    " datetime.time datetime.timedelta datetime.timezone collections.deque collections.defaultdict".split()
)
"""What makes plain values, beside the classes that have capitals."""
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


class Inert:
    """Stands for an object of another class in a checkpoint, such as the settings of a training, whose weights are
    beside it: the class is not even imported.
    """

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Any arguments."""

    def __setstate__(self, state: Any) -> None:
        """Forgets what the object held."""


def read_pickle(path: Path) -> tuple[Any, list[str]]:
    """What the file holds, and the classes for which ``Inert`` stands in it. Raises WeightsError."""
    check_pickle(path)
    classes = _classes(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([(Inert, name) for name in classes]):
            warnings.simplefilter("ignore")  # of TorchScript, which is refused
            return torch.load(path, map_location="cpu", weights_only=True), classes
    except Exception as error:  # noqa: BLE001 - damaged bytes lead the reader anywhere (struct.error, TypeError, ...)
        reason = str(error)
    # torch raises one error for "holds more than tensors" and for "not a pickle": only the first names a global.
    if "GLOBAL" in reason or "TorchScript" in reason or "SETITEM" in reason:
        raise code_refused(path, classes, "TorchScript" in reason)
    with path.open("rb") as file:
        page = file.read(64).lstrip()[:1] == b"<"
    what = "is a web page, not a checkpoint" if page else "is damaged, cut short, or not a PyTorch checkpoint"
    raise WeightsError(f"weights file {path} {what}", "Fetch it again: .safetensors, .pth and .pt files are read.")


def code_refused(path: Path, classes: list[str], script: bool = False) -> WeightsError:
    """The error for a file whose weights are within objects of these classes, or that is TorchScript."""
    made = f"torch.load({str(path)!r}, weights_only=False)"
    how = f"torch.save({made}['state_dict'], 'w.pth'); of a whole model, torch.save({made}.state_dict(), 'w.pth')"
    if script:
        how = f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'w.pth')"
    held = f" ({listed(classes, 3)})" if classes else ""
    problem = f"weights file {path} is refused: to read it, Python code from inside it would have to run{held}"
    return WeightsError(problem, f"If you trust it, save only its tensors: {how}.")


def _classes(path: Path) -> list[str]:
    """The classes in the file that PyTorch's reader does not know, without functions: these are refused."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - damage, which the reader names, or an older format
        return []
    return sorted(name for name in names if name in _VALUES or name.rpartition(".")[2][:1].isupper())


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

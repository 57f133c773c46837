"""Pictures in memory (PIL images, NumPy arrays, PyTorch tensors, the bytes of a file) as images that are read like
files: the same decoder, the same bounds.

Numbers are colours by their type alone: ``uint8`` from 0 to 255; floats from 0 (black) to 1 (white), as torchvision and
matplotlib have them. Anything else is refused, such as floats to 255, or normalised by a mean: what it means, only its
maker knows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any, Literal

import numpy as np
from PIL import Image

from headstart.core.arguments import class_named
from headstart.core.text import brief
from headstart.data.bounds import MAX_BYTES
from headstart.errors import OptionError, option

_FORMATS = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "PNG"),
    **dict.fromkeys(("I", "F", "CMYK", "LAB"), "TIFF"),
}
"""The lossless format for each of Pillow's modes; the others become RGB."""
_TENSOR = class_named("torch", "Tensor")
_LOADING = Lock()  # of images that Pillow has not read yet, one of which may be given twice
HINT = (
    "Pictures are PIL images, the bytes of a file, and arrays [height, width, 3] or tensors [3, height, width], RGB: "
    "uint8, or floats from 0 to 1."
)
_FLOATS = frozenset("float16 float32 float64 bfloat16".split())


@dataclass(frozen=True)
class Picture:
    """A picture in memory; ``path``: what its prediction calls it."""

    path: Path
    image: Image.Image = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """It, encoded without loss. Raises OSError where Pillow cannot read it (any more)."""
        return io.BytesIO(self.encoded(0))

    def encoded(self, compression: int) -> bytes:
        """A file of it, without loss; ``compression``: of a PNG, from 0 to 9. Raises OSError."""
        out = io.BytesIO()
        try:
            with _LOADING:
                self.image.load()
            image = self.image if self.image.mode in _FORMATS else self.image.convert("RGB")
            image.save(out, _FORMATS[image.mode], compress_level=compression, exif=self.image.getexif())
        except Exception as error:  # noqa: BLE001 - what Pillow's plugins raise
            raise OSError(brief(error)) from None
        return out.getvalue()


@dataclass(frozen=True)
class Encoded:
    """A file in memory; ``path``: what its prediction calls it."""

    path: Path
    data: bytes = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The bytes."""
        return io.BytesIO(self.data)

    def encoded(self, compression: int) -> bytes:
        """The bytes, as they are."""
        return self.data


def is_picture(value: Any) -> bool:
    """Whether it is a picture by its type."""
    return (
        isinstance(value, Image.Image | bytes | bytearray | memoryview)
        or _is_tensor(value)
        or (hasattr(value, "read") and not isinstance(value, type))
        or (isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind in "uifb")
    )


def pictures(value: Any, argument: str) -> Iterator[Picture | Encoded] | None:
    """One picture, or those of an array [n, height, width, 3] or a tensor [n, 3, height, width]; None for anything that
    is none. Raises OptionError.
    """
    if not is_picture(value):
        return None
    several = list(value) if getattr(value, "ndim", 3) == 4 else [value]
    return (picture(one, n, argument) for n, one in enumerate(several, 1))


def picture(value: Any, number: int, argument: str, copy: bool = False) -> Picture | Encoded:
    """The picture that is the ``number``-th of an argument. ``copy``: it may change after this call. Raises
    OptionError for anything else.
    """
    path = Path(f"image {number}")
    if isinstance(value, Image.Image):
        named = getattr(value, "filename", "")
        return Picture(Path(named) if isinstance(named, str) and named else path, value.copy() if copy else value)
    if isinstance(value, bytes | bytearray | memoryview):
        return Encoded(path, bytes(value))
    if hasattr(value, "read") and not isinstance(value, type):
        return _of_file(value, path, number, argument)
    if not is_picture(value):
        kind = type(value).__name__
        problem = f"{option(argument)}: item {number} is of the type {kind}, neither a path nor a picture."
        raise OptionError(problem, HINT, option=argument)
    pixels = _pixels(value)
    if pixels is None:
        what = f"{option(argument)}: item {number} is an array [{', '.join(map(str, value.shape))}] of {value.dtype}"
        beyond = " with values beyond 0 and 1" if str(value.dtype).removeprefix("torch.") in _FLOATS else ""
        raise OptionError(f"{what}{beyond}.", HINT, option=argument)
    return Picture(path, Image.fromarray(np.array(pixels) if copy else np.ascontiguousarray(pixels)))


def lasting(value: Any) -> Any:
    """A picture that nothing changes later, where the caller may use its memory again; anything else as it is."""
    if isinstance(value, Image.Image | np.ndarray):
        return value.copy()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value.clone() if _is_tensor(value) else value


def _of_file(value: Any, path: Path, number: int, argument: str) -> Encoded:
    """What is left to read of an open file, now: it may be closed before a photo's turn comes."""
    try:
        data = value.read(MAX_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{option(argument)}: item {number} cannot be read: {brief(error)}.", option=argument
        ) from None
    if not isinstance(data, bytes | bytearray):
        problem = f"{option(argument)}: item {number} is a file that gives {type(data).__name__}, not bytes."
        raise OptionError(problem, "Open it with `open(path, 'rb')`.", option=argument)
    named = getattr(value, "name", "")
    return Encoded(Path(named) if isinstance(named, str) and named else path, bytes(data))


def _pixels(value: Any) -> np.ndarray | None:
    """An array or a tensor as uint8 [h, w] or [h, w, 3 or 4]; None where it is no picture."""
    channels_first = _is_tensor(value) and value.ndim == 3
    shape = (*value.shape[1:], value.shape[0]) if channels_first else tuple(value.shape)
    if 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))):
        return None
    kind = str(value.dtype).removeprefix("torch.")
    if kind != "uint8" and kind not in _FLOATS:
        return None
    if _is_tensor(value):
        value = value.detach().cpu()
        value = (value if kind == "uint8" else value.double()).numpy()
    pixels = value.transpose(1, 2, 0) if channels_first else value
    pixels = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    if kind == "uint8":
        return np.asarray(pixels)
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is neither
        return None
    return np.asarray(np.rint(pixels.astype(np.float64) * 255).astype(np.uint8))


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of PyTorch, which need not be imported for that."""
    return isinstance(value, _TENSOR)

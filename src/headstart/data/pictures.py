"""Pictures in memory (PIL images, NumPy arrays, PyTorch tensors) as images that are read like files: the same decoder,
the same bounds.
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

from headstart.core.text import brief
from headstart.errors import OptionError, option

_FORMATS = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "PNG"),
    **dict.fromkeys(("I", "F", "CMYK", "YCbCr", "LAB"), "TIFF"),
}
"""The lossless format for each of Pillow's modes; the others become RGB."""
_LOADING = Lock()  # of images that Pillow has not read yet, one of which may be given twice
_HINT = "Pictures are PIL images, arrays [height, width, 3] or tensors [3, height, width] of uint8, RGB."


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
        out = io.BytesIO()
        try:
            with _LOADING:
                self.image.load()
            image = self.image if self.image.mode in _FORMATS else self.image.convert("RGB")
            image.save(out, _FORMATS[image.mode], compress_level=0, exif=self.image.getexif())
        except Exception as error:  # noqa: BLE001 - what Pillow's plugins raise
            raise OSError(brief(error)) from None
        out.seek(0)
        return out


def is_picture(value: Any) -> bool:
    """Whether it is a picture by its type."""
    return (
        isinstance(value, Image.Image)
        or _is_tensor(value)
        or (isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind in "uifb")
    )


def pictures(value: Any, argument: str) -> Iterator[Picture] | None:
    """One picture, or those of an array [n, height, width, 3] or a tensor [n, 3, height, width]; None for anything that
    is none. Raises OptionError.
    """
    if not is_picture(value):
        return None
    several = list(value) if getattr(value, "ndim", 3) == 4 else [value]
    return (picture(one, n, argument) for n, one in enumerate(several, 1))


def picture(value: Any, number: int, argument: str, copy: bool = False) -> Picture:
    """The picture that is the ``number``-th of an argument. ``copy``: it may change after this call. Raises
    OptionError for anything else.
    """
    path = Path(f"image {number}")
    if isinstance(value, Image.Image):
        named = getattr(value, "filename", "")
        return Picture(Path(named) if isinstance(named, str) and named else path, value.copy() if copy else value)
    if not is_picture(value):
        kind = type(value).__name__
        problem = f"{option(argument)}: item {number} is of the type {kind}, neither a path nor a picture."
        hint = (
            "Read it first: `PIL.Image.open(io.BytesIO(data))`." if hasattr(value, "read") or kind == "bytes" else _HINT
        )
        raise OptionError(problem, hint, option=argument)
    channels_first = _is_tensor(value) and value.ndim == 3
    shape = (*value.shape[1:], value.shape[0]) if channels_first else tuple(value.shape)
    if (
        str(value.dtype) not in ("uint8", "torch.uint8")
        or 0 in shape
        or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))
    ):
        what = f"{option(argument)}: item {number} is an array [{', '.join(map(str, value.shape))}] of {value.dtype}."
        raise OptionError(what, _HINT, option=argument)
    pixels = value.detach().cpu().numpy() if _is_tensor(value) else value
    pixels = pixels.transpose(1, 2, 0) if channels_first else pixels
    pixels = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    return Picture(path, Image.fromarray(np.array(pixels) if copy else np.ascontiguousarray(pixels)))


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of PyTorch, which need not be imported for that."""
    return (type(value).__module__, type(value).__name__) == ("torch", "Tensor")

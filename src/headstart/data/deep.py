"""Photos of more than 8 bits: one range of values per dataset becomes black to white.

A camera of 12 bits fills a sixteenth of a 16-bit file, and other programs keep 8-bit pictures in 32-bit integers and
floats. The range of the type would make them nearly black; a range per photo would make a dark photo bright. So the
range is that of the dataset's largest value: 255, 1023, 4095, 16383 or 65535, and of floats 1. Where the values fill
less than a quarter of that (a thermal camera), or are negative (computed tomography), it is the dataset's own range.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from headstart.core.ranges import Ranges

_LITTLE = sys.byteorder == "little"
LOW_BYTES = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBA", "RGBX", "R", "G", "B", "A")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if _LITTLE else "L"))
} | {"LA;16B": "RGBA"}
"""Pillow's name of the bytes of which it reads the high ones, and the name that makes it read the low ones."""
_SAMPLED = 250_000
"""Values of a photo that its range is measured on, about."""
_FEW = 16
"""Different values below which a photo says little about the range: a mask, or a photo without a picture."""
_NODATA = (-9999.0, -99999.0, -32768.0, -32767.0)
"""What programs for maps write where nothing was measured."""
_NODATA_TAG, _WHITE_IS_ZERO = 42113, 0
_STEPS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_ROWS = 1_000_000
"""Values that are converted at a time: in float64 a whole picture would take eight times its size."""


class Extent(NamedTuple):
    """The range of the values of one photo, without what is no measurement; ``kind``: a field of ``Ranges``;
    ``levels``: how many different values it has, as far as measured.
    """

    kind: str
    low: float
    high: float
    levels: int


def is_deep_grey(image: Image.Image) -> bool:
    """Whether Pillow keeps more than 8 bits of it."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def has_low_bytes(image: Image.Image) -> bool:
    """Whether it has 16 bits per channel, of which Pillow reads the high bytes, and can be made to read the low ones.
    It cannot where libtiff reads planes: that chooses the bytes itself.
    """
    apart = getattr(image, "_planar_configuration", 1) == 2 and getattr(image, "use_load_libtiff", False)
    return not apart and raw_mode(image) in LOW_BYTES


def raw_mode(image: Image.Image) -> str:
    """Pillow's name of how the file stores a pixel; empty where it does not say."""
    tiles = getattr(image, "tile", ())
    args = tiles[0][3] if tiles else ""
    name = args[0] if isinstance(args, tuple) and args else args
    return name if isinstance(name, str) else ""


def read_as(image: Any, names: Mapping[str, str]) -> None:
    """Make ``image``, which is not loaded yet, read its pixels under other raw modes."""
    changed = []
    for kind, box, at, args in image.tile:
        args = (names[args[0]], *args[1:]) if isinstance(args, tuple) else names[args]
        changed.append(ImageFile._Tile(kind, box, at, args))
    image.tile = changed


class Deep:
    """The values of a deep photo, which is loaded; ``low``: for colour, the same photo with its low bytes; ``both``:
    whether these are its high bytes too, as of PNG's grey with alpha.
    """

    def __init__(self, image: Image.Image, low: Image.Image | None = None, both: bool = False) -> None:
        self.image, self.low, self.both = image, low, both
        tags: Any = getattr(image, "tag_v2", {})
        self.inverted = low is None and tags.get(262) == _WHITE_IS_ZERO
        unsigned = low is None and image.mode == "I" and image.format == "TIFF"
        self.unsigned = unsigned and tags.get(258, (0,))[0] == 32 and tags.get(339, (1,))[0] == 1
        self.nodata = _number(tags.get(_NODATA_TAG))
        self.kind = "floats" if image.mode == "F" else "integers"

    def strips(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, values [rows, w] or [rows, w, 3])."""
        width, height = self.image.size
        step = max(1, _ROWS // width)
        for top in range(0, height, step):
            box = (0, top, width, min(height, top + step))
            values = np.asarray(self.image.crop(box))
            if self.low is not None:
                low = np.asarray(self.low.crop(box))
                if self.both:
                    values = (low[..., :1].astype(np.uint16) << 8 | low[..., 1:2]).repeat(3, axis=2)
                else:
                    values = values[..., :3].astype(np.uint16) << 8 | low[..., :3]
            yield top, values.view(np.uint32) if self.unsigned else values

    def extent(self) -> Extent | None:
        """The range of its values; None where it has no finite one."""
        step = int(max(1.0, (self.image.width * self.image.height / _SAMPLED) ** 0.5))
        parts = [v[(-top) % step :: step, ::step].ravel() for top, v in self.strips()]
        found = np.concatenate(parts).astype(np.float64)
        found = found[np.isfinite(found) & (np.abs(found) < 1e30)]
        values, counts = np.unique(found, return_counts=True)
        for nothing in (*_NODATA, *([] if self.nodata is None else [self.nodata])):
            measured = values != nothing
            values, counts = values[measured], counts[measured]
        values = _without_strays(values, counts)
        return Extent(self.kind, float(values[0]), float(values[-1]), len(values)) if len(values) else None

    def eight_bits(self, range: tuple[float, float] | None) -> tuple[np.ndarray, str]:
        """uint8 of the same shape, and a note; None: see ``Ranges``."""
        if range is None:
            range, note = self._usual_range()
        else:
            note = f"values {range[0]:g} to {range[1]:g}"
        low, high = range
        width, height = self.image.size
        shape = (height, width) if self.low is None else (height, width, 3)
        scaled = np.empty(shape, np.uint8)
        table = None
        for top, values in self.strips():
            if values.dtype == np.uint16:
                table = _scaled(np.arange(65536), low, high) if table is None else table
                scaled[top : top + len(values)] = table[values]
            else:
                scaled[top : top + len(values)] = _scaled(values, low, high)
        return (255 - scaled if self.inverted else scaled), note

    def _usual_range(self) -> tuple[tuple[float, float], str]:
        """Of a photo alone: 16 bits; of floats within 0 and 1, fractions; of what exceeds both, its own range."""
        if self.image.mode.startswith("I;16"):
            return (0.0, 65535.0), ""
        ends = [(v.min(), v.max()) for _, whole in self.strips() if (v := whole[np.isfinite(whole)]).size]
        low, high = (float(min(e[0] for e in ends)), float(max(e[1] for e in ends))) if ends else (0.0, 1.0)
        if self.kind == "floats" and low >= 0 and high <= 1:
            return (0.0, 1.0), "32-bit float"
        if low >= 0 and high <= 65535:
            return (0.0, 65535.0), "32-bit float" if self.kind == "floats" else "16-bit"
        return (low, high), "32-bit: scaled by its own range"


def chosen(extents: Iterable[Extent]) -> Ranges | None:
    """The ranges of a dataset's deep photos; None where they are the usual ones."""
    found = {}
    every = list(extents)
    for kind in Ranges._fields:
        some = [e for e in every if e.kind == kind]
        some = [e for e in some if e.levels >= _FEW] or some
        if some:
            found[kind] = _range(min(e.low for e in some), max(e.high for e in some), kind == "floats")
    if found.get("integers") == (0.0, 65535.0):
        del found["integers"]
    return Ranges(**found) if any(found.values()) else None


def _range(low: float, high: float, floats: bool) -> tuple[float, float] | None:
    usual: Sequence[tuple[float, float]] = [(0.0, step) for step in _STEPS]
    if floats:  # interpolation overshoots a little
        usual = [(0.0, 1.0), (-1.0, 1.0), *usual]
    below, above = (0.02, 0.05) if floats else (0.0, 0.0)
    for black, white in usual:
        if low >= black - below * white and high <= white * (1 + above):
            if high - low >= (white - black) / 4:
                return black, white
            break
    return (low, high) if high > low else None


def _without_strays(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ascending values without those that a gap wider than the range of all others sets apart, if they are one value
    (what stands for "not measured") or hardly any (pixels of a camera that do not work).
    """
    while len(values) > _FEW:
        gap = int(np.diff(values).argmax()) + 1
        width, few = values[gap] - values[gap - 1], counts.sum() / 1000
        for kept, lost in ((slice(gap), slice(gap, None)), (slice(gap, None), slice(gap))):
            inside = values[kept]
            hardly_any = len(values[lost]) == 1 or counts[lost].sum() <= few
            if hardly_any and len(inside) >= _FEW and width > inside[-1] - inside[0]:
                values, counts = inside, counts[kept]
                break
        else:
            break
    return values


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    with np.errstate(all="ignore"):  # values that are not finite are no fault: below they become black or white
        found = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.asarray(np.rint(np.nan_to_num(found, nan=0.0)).clip(0, 255).astype(np.uint8))


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None

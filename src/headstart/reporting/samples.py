"""A few photos of each class, for the sample grid of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.filenames import natural_key
from headstart.data.images import DecodedImages, centre
from headstart.reporting.page import photo

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages

SHOWN = 48
"""Classes of which a page shows photos."""
EACH = 4
"""Photos of each class, where a page shows several."""


def sample_rows(samples: Mapping[str, Sequence[np.ndarray]], names: Mapping[str, str]) -> dict[str, Any] | None:
    """A row of photos per class for up to 12 classes; one photo each, in one grid, for more; None for no photos.
    Classes without photos are counted as left out.
    """
    filled = [(names.get(label, label), photos) for label, photos in samples.items() if len(photos)][:SHOWN]
    if not filled:
        return None
    many = len(filled) > 12
    most = 1 if many else 8
    rows = [{"name": name, "photos": [photo(one) for one in photos[:most]]} for name, photos in filled]
    return {"many": many, "rows": rows, "left_out": len(samples) - len(rows)}


def samples_by_class(photos: LoadedImages) -> dict[str, list[np.ndarray]]:
    """A few photos of each class, before they are split; of many classes those that come first, of the others none."""
    by_class: dict[str, list[int]] = {}
    for i, one in enumerate(photos.manifest.photos):
        if photos.pixels.digests[i] is not None:
            by_class.setdefault(one.label, []).append(i)
    chosen = {}
    for number, label in enumerate(sorted(by_class, key=natural_key)):
        members = by_class[label] if number < SHOWN else []
        spread = dict.fromkeys(np.linspace(0, len(members) - 1, EACH).astype(int).tolist()) if members else ()
        chosen[label] = [picture(photos.pixels, members[j], photos.pixels.resize) for j in spread]
    return chosen


def picture(pixels: DecodedImages, i: int, size: int) -> np.ndarray:
    """The central crop of photo i, which is what the network is given: uint8 [size, size, 3]."""
    return np.ascontiguousarray(centre(pixels.picture(i), size))

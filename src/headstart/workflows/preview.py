"""``photos``: find labelled photos and show them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.filenames import natural_key
from headstart.data.schema import Manifest
from headstart.data.sources.detect import scan
from headstart.reporting.notebook import MOST, frame, photo_tile

if TYPE_CHECKING:
    from pandas import DataFrame


PER_CLASS = 6


@dataclass(frozen=True)
class Photos:
    """Labelled photos as they were found; in a notebook, a grid of them."""

    manifest: Manifest

    @property
    def counts(self) -> dict[str, int]:
        """Photos per class, in natural order."""
        found: dict[str, int] = {}
        for photo in self.manifest.photos:
            found[photo.label] = found.get(photo.label, 0) + 1
        return dict(sorted(found.items(), key=lambda pair: natural_key(pair[0])))

    def frame(self) -> DataFrame:
        """A row per photo: path, label, split (where the data has splits)."""
        return frame({"path": str(p.path), "label": p.label, "split": p.split} for p in self.manifest.photos)

    def __repr__(self) -> str:
        return f"{self.manifest.name}: {len(self.manifest.photos)} photos, {self.manifest.layout}, {self.counts}"

    def _repr_html_(self) -> str:
        parts = [
            f"<p><b>{escape(self.manifest.name)}</b>: {len(self.manifest.photos)} photos, {self.manifest.layout}</p>"
        ]
        for label, number in list(self.counts.items())[:MOST]:
            mine = [p.path for p in self.manifest.photos if p.label == label]
            spread = [mine[int(i)] for i in np.linspace(0, len(mine) - 1, min(PER_CLASS, len(mine)))]
            pictures = "".join(photo_tile(path) for path in spread)
            parts.append(f"<p style='margin:0'>{escape(label)} ({number})</p><div>{pictures}</div>")
        return "".join(parts)


def photos(data: str | Path) -> Photos:
    """Find labelled photos and show them, without training.

    Args:
        data: as for ``train``.

    Returns:
        The photos as they were found; a notebook shows some of each class.

    Raises:
        DataError: no photos there.
    """
    return Photos(scan(data, for_training=False))

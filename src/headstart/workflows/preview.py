"""``photos``: find labelled photos and show them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.text import listed, plural, printable
from headstart.data.filenames import natural_key
from headstart.data.readable import by_cause
from headstart.data.schema import Manifest
from headstart.data.sources.detect import scan
from headstart.data.sources.given import Data
from headstart.reporting.notebook import MOST, frame, html, photo_tile
from headstart.training.config import DataOptions, TrainOptions

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Photos:
    """Labelled photos, as a grid in a notebook."""

    manifest: Manifest

    @property
    def counts(self) -> dict[str, int]:
        """Photos per class, in natural order."""
        found = Counter(photo.label for photo in self.manifest.photos)
        return {label: found[label] for label in sorted(found, key=natural_key)}

    @property
    def left_out(self) -> str:
        """How many files beside the photos are left out, and why; empty where there are none."""
        found = self.manifest
        reasons = listed(by_cause(found.skipped, found.root), 3, "; ")
        return f"{plural(len(found.skipped), 'file')} left out: {reasons}" if found.skipped else ""

    def frame(self) -> DataFrame:
        """A row per photo: path, label, split (where the data has splits)."""
        return frame({"path": str(p.path), "label": p.label, "split": p.split} for p in self.manifest.photos)

    def __repr__(self) -> str:
        found = self.manifest
        more = f"; {self.left_out}" if found.skipped else ""
        return printable(f"{found.name}: {len(found.photos)} photos, {found.layout}, {self.counts}{more}")

    def _repr_html_(self) -> str:
        found = self.manifest
        parts = [f"<p><b>{html(found.name)}</b>: {len(found.photos)} photos, {html(found.layout)}</p>"]
        parts += [f"<p>{html(one)}</p>" for one in (self.left_out, *found.notes) if one]
        for label, number in list(self.counts.items())[:MOST]:
            own = [photo for photo in found.photos if photo.label == label]
            tiles = "".join(photo_tile(own[int(i)]) for i in np.linspace(0, number - 1, min(6, number)))
            parts.append(f"<p style='margin:0'>{html(label)} ({number})</p><div>{tiles}</div>")
        return "".join(parts)


@typed
def photos(data: Data, **options: Unpack[DataOptions]) -> Photos:
    """Find labelled photos and show them, without training.

    Args:
        data: as for ``train``.
        **options: see ``headstart.training.config.DataOptions``: what is left out of the data, how a table is read.

    Returns:
        The photos; a notebook shows some of each class.

    Raises:
        DataError: no photos there.
    """
    asked = TrainOptions.gather(data, None, options, "photos")
    return Photos(scan(asked.data, for_training=False, options=asked.read_options))

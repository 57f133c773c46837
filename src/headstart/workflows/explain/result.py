"""The result of ``explain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.inference.classifier import Prediction


@dataclass(frozen=True)
class Neighbour:
    """A training photo: ``similarity`` is the cosine similarity of the two photos' features; ``picture`` uint8
    [S, S, 3], as the network sees it.
    """

    shown: str
    label: str
    similarity: float
    picture: np.ndarray


@dataclass(frozen=True)
class Explained:
    """One photo: ``label`` is the class that the map is for; ``photo`` and ``overlay`` uint8 [S, S, 3]; ``heat``
    float32 [S, S] in [0, 1]; ``image``: the PNG of the overlay.
    """

    prediction: Prediction
    label: str
    photo: np.ndarray = field(repr=False)
    heat: np.ndarray = field(repr=False)
    overlay: np.ndarray = field(repr=False)
    neighbours: tuple[Neighbour, ...] = ()
    image: Path | None = None


@dataclass(frozen=True)
class Explanation:
    """All photos of a call; ``page``: the HTML of all; ``bad``: photos that could not be read, with reasons."""

    photos: tuple[Explained, ...]
    page: Path
    bad: dict[str, str]

    def _repr_html_(self) -> str:
        from headstart.reporting.images import thumbnail
        from headstart.reporting.notebook import html

        pictures = (f"<img src='{thumbnail(one.overlay, 192)}' title='{html(one.label)}'>" for one in self.photos)
        return f"<div>{' '.join(pictures)}</div><p>{html(self.page)}</p>"

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        photos = [
            {
                "path": one.prediction.name,
                "label": one.prediction.label,
                **({} if one.prediction.labels is None else {"labels": list(one.prediction.labels)}),
                "confidence": one.prediction.confidence,
                "unknown": one.prediction.unknown,
                "explained": one.label,
                "image": str(one.image),
                "nearest": [
                    {"path": n.shown, "label": n.label, "similarity": round(n.similarity, 4)} for n in one.neighbours
                ],
            }
            for one in self.photos
        ]
        return {"page": str(self.page), "photos": photos, "bad": self.bad}

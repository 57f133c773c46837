"""Predictions and saliency maps of uploads, and the description of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.text import numbered
from headstart.inference.answers import Answer
from headstart.inference.classifier import Classifier
from headstart.inference.saliency import Explainer, has_maps
from headstart.reporting.images import overlay, png
from headstart.runs.figures import short_figures
from headstart.serving.batching import LENGTHS, Batcher
from headstart.serving.decoders import Decoders
from headstart.serving.figures import Figures
from headstart.serving.limits import Limits, Refused, too_busy
from headstart.serving.uploads import Memory, Upload

TURN = 4
"""Photos of a request that are decoded at a time: other requests get their turn between them."""


class Service:
    """One classifier behind a server."""

    def __init__(self, run: Path, classifier: Classifier, limits: Limits) -> None:
        self.run, self.classifier, self.limits = run, classifier, limits
        self.figures, self.memory = (
            Figures(classifier.classes, classifier.certainty, lambda p: classifier.decided(p).labels),
            Memory(limits.memory_mb * 1e6),
        )
        self.batcher = Batcher(
            lambda photos: classifier.answers(classifier.features(photos)), limits.waiting, self.figures.batch.observe
        )
        self.decoders = Decoders(classifier.preprocessing, limits)
        self.drawer = ThreadPoolExecutor(1, thread_name_prefix="headstart-explain")
        self.at_work, self.drawing = 0, 0
        self.explainer: Explainer | None = None
        self.about = self._about()

    async def start(self) -> None:
        """Prepare the network and the decoders before the first request."""
        size = self.classifier.preprocessing.image_size
        await self.decoders.start()
        await asyncio.to_thread(self.classifier.prepare_for, LENGTHS[-1] * 1000)
        await asyncio.to_thread(self.batcher.start, np.zeros((size, size, 3), np.uint8))

    async def stop(self) -> None:
        """Finish the photos that wait, then end."""
        await asyncio.to_thread(self.batcher.stop)
        await self.decoders.stop()
        self.drawer.shutdown(wait=False, cancel_futures=True)

    async def predict(self, uploads: Sequence[Upload]) -> list[Answer]:
        """A prediction per upload. Raises Refused (422, 429)."""
        photos = await self._decoded(uploads)
        predictions = await asyncio.gather(*map(asyncio.wrap_future, self.batcher.submit(photos)))
        for one in predictions:
            self.figures.count(one)
        return predictions

    async def _decoded(self, uploads: Sequence[Upload]) -> list[np.ndarray]:
        """Each upload as the network sees it. Raises Refused (422) that names all bad ones."""
        turn = asyncio.Semaphore(TURN)

        async def decoded(upload: Upload) -> np.ndarray | str:
            async with turn:
                return await self.decoders.decode(upload)

        found = await asyncio.gather(*map(decoded, uploads))
        bad: dict[str, str] = {}
        for upload, photo in zip(uploads, found, strict=True):
            if isinstance(photo, str):
                bad[numbered(upload.name, bad)] = photo
        if bad:
            name, reason = next(iter(bad.items()))
            raise Refused(422, f"{name} cannot be read as a photo: {reason}.", bad)
        return [photo for photo in found if not isinstance(photo, str)]

    @property
    def explains(self) -> bool:
        return has_maps(self.classifier)

    async def overlay(self, upload: Upload, label: str | None) -> bytes:
        """A PNG: the photo as the network sees it, with the saliency map of a class (the predicted one by default).
        Raises Refused: 422 for a bad photo or an unknown label, 429, or 501 where the network has no maps.
        """
        if not self.explains:
            raise Refused(501, "This network ends in no feature maps, so it has no saliency map.")
        if label is not None and label not in self.classifier.classes:
            raise Refused(422, f"There is no class {label[:60]!r} in this model.")
        if self.drawing >= 16:
            raise too_busy("explanations are waiting")
        self.drawing += 1
        try:
            (photo,) = await self._decoded([upload])
            return await asyncio.get_running_loop().run_in_executor(self.drawer, self._draw, photo, label)
        finally:
            self.drawing -= 1

    def _draw(self, photo: np.ndarray, label: str | None) -> bytes:
        if self.explainer is None:
            self.explainer = Explainer(self.classifier)
        wanted = None if label is None else [self.classifier.classes.index(label)]
        return png(overlay(photo, self.explainer.maps(photo[None], wanted)[0]))

    def _about(self) -> dict[str, Any]:
        """Classes, figures and provenance, as GET /model gives them."""
        described = self.classifier.public_description()
        return {
            "name": self.run.resolve().name,
            "figures": short_figures(self.run),
            **{
                name: described[name]
                for name in ("classes", "labels", "preprocessing", "architecture", "provenance")
                if name in described
            },
            "explains": self.explains,
            "limits": {name: getattr(self.limits, name) for name in ("file_mb", "files", "pixels")},
        }

"""Predictions for photos that are shown to the model, in a process of their own that keeps the last model loaded."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError

NEAREST = 6
_loaded: dict[str, Any] = {}
"""In the process: the last model's classifier and explainer, by "model", "classifier" and "explainer"."""


class Trier:
    """The process, started when it is first needed."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    async def ask(self, run: Path, photo: bytes, explain: str | None, near: Sequence[str]) -> dict[str, Any]:
        """See ``answer``. A process that died is started again, once."""
        for _ in range(2):
            if self.pool is None:
                self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self.pool, answer, str(run), photo, explain, list(near)
                )
            except BrokenProcessPool:
                self.stop()
        return {"error": "The process that predicts has crashed.", "hint": "Is there enough memory?"}

    def stop(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


def answer(run: str, photo: bytes, explain: str | None, near: Sequence[str]) -> dict[str, Any]:
    """{"label", "confidence", "probabilities", "unknown", "distance"} of one photo; with ``explain``, a class or "" for
    the predicted one, also "map": a data: URL of the photo with its saliency map; with paths in ``near``, the "nearest"
    of them, [{"path", "similarity"}]. Else {"error", "hint"}.
    """
    try:
        classifier = _classifier(run)
        import headstart as hs
        from headstart.inference.classifier import path_of

        (found,) = hs.predict(classifier, [photo])
        if found.problem:
            return {"error": found.problem, "hint": ""}
        told: dict[str, Any] = {
            "label": found.label, "confidence": found.confidence, "unknown": found.unknown, "distance": found.distance,
            "probabilities": dict(zip(classifier.classes, map(float, found.probabilities), strict=True)),
        }  # fmt: skip
        if explain is not None:
            told["map"] = _map(classifier, photo, explain or str(found.label))
        if near:
            matches = hs.search(photo, list(near), run=classifier, most=NEAREST, quiet=True)
            told["nearest"] = [
                {"path": str(path_of(match.photo)), "similarity": match.similarity}
                for match in matches.nearest if match.photo
            ]  # fmt: skip
        return told
    except HeadstartError as error:
        return {"error": error.problem, "hint": error.hint}


def _classifier(run: str) -> Any:
    from headstart.inference.classifier import Classifier

    model = (run, _written(Path(run) / "model.safetensors"))
    if _loaded.get("model") != model:  # training on each change puts another model into the same folder
        _loaded.clear()
        _loaded.update(model=model, classifier=Classifier.load(run))
    return _loaded["classifier"]


def _written(file: Path) -> int:
    """When a file was written, ns; 0 where it is not there, which loading it will say."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _map(classifier: Any, photo: bytes, label: str) -> str | None:
    from headstart.data.decode import decode
    from headstart.data.images import centre
    from headstart.inference.saliency import Explainer, has_maps
    from headstart.reporting.images import overlay, png

    if not has_maps(classifier) or label not in classifier.classes:
        return None
    if "explainer" not in _loaded:
        _loaded["explainer"] = Explainer(classifier)
    how = classifier.preprocessing
    pixels = centre(decode(photo, how.resize, how.interpolation, "photo", ranges=how.ranges).pixels, how.image_size)
    maps = _loaded["explainer"].maps(pixels[None], [classifier.classes.index(label)])
    return f"data:image/png;base64,{base64.b64encode(png(overlay(pixels, maps[0]))).decode()}"

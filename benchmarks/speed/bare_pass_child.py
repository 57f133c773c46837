"""The processes that are timed by ``pass``, and as the bare pass by others. In: a network, a way to run it, photos.
Out: seconds, and how far the outputs are from float32's.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from child import serve
from net import BATCH, batches, make


def way(asked: dict[str, Any]) -> dict[str, Any]:
    """One way to run a network over photos that are decoded already. float32 writes its outputs to ``reference``, the
    others compare theirs with them.
    """
    paths, size = [Path(p) for p in asked["photos"]], asked["size"]
    photos = list(batches(paths, size))
    forward, classifier, ready = make(asked["way"], asked["network"], asked["weights"], size)
    for batch in photos[:2]:
        forward(batch)
    began = time.perf_counter()
    rows = [forward(batch) for batch in photos]
    seconds = time.perf_counter() - began
    features = torch.cat([row.float() for row in rows])[: len(paths)]
    figures = {"seconds": seconds, "ready": ready, "rate": len(photos) * BATCH / seconds, "photos": len(paths)}
    if asked["way"] == "float32":
        np.save(asked["reference"], features.numpy())
    wanted = torch.from_numpy(np.load(asked["reference"]))
    return {**figures, "image_size": photos[0].shape[1], **_against(wanted, features, classifier)}


def _against(wanted: torch.Tensor, features: torch.Tensor, classifier: torch.nn.Linear) -> dict[str, float]:
    """Median relative error of a photo's features, and the share of photos with the same ImageNet class."""
    errors = (features - wanted).norm(dim=1) / wanted.norm(dim=1)
    with torch.no_grad():
        same = classifier(features).argmax(1) == classifier(wanted).argmax(1)
    return {"error": statistics.median(errors.tolist()), "agree": same.double().mean().item()}


def bare(asked: dict[str, Any]) -> dict[str, Any]:
    """The least that has to be done with photos: decode in threads while the network, ready before the clock starts,
    works on what is decoded.
    """
    paths, size = sorted(p for p in Path(asked["data"]).rglob("*") if p.is_file()), asked["size"]
    forward, _, ready = make(asked["way"], asked["network"], asked["weights"], size)
    began = time.perf_counter()
    rows = [forward(batch) for batch in batches(paths, size)]
    seconds = time.perf_counter() - began
    features = torch.cat([row.float() for row in rows])[: len(paths)]
    if not bool(features.isfinite().all()):
        raise SystemExit("the bare pass gave features that are not finite")
    return {"seconds": seconds, "ready": ready, "photos": len(features), "rate": len(features) / seconds}


if __name__ == "__main__":
    serve({"way": way, "bare": bare})

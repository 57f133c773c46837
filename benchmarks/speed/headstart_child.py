"""headstart, timed with its imports left out. In: a training, photos to name, or features for a head. Out: seconds, and
what was measured: photos, size, weights, accuracy.
"""

from __future__ import annotations

import csv
import json
import pkgutil
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from child import peak_mb, serve

LATER = ("timm", "torch.fx.experimental.optimization", "lightning.fabric", "matplotlib.figure", "sklearn.metrics")
"""What headstart imports where it is needed."""


def import_all() -> None:
    """Import every module of headstart, and what they import later."""
    import headstart

    for found in pkgutil.walk_packages(headstart.__path__, "headstart."):
        if not found.name.endswith("__main__"):
            import_module(found.name)
    for name in (*LATER, "scipy.stats", "jinja2"):
        import_module(name)
    for name in ("openvino", "openvino.frontend.pytorch.ts_decoder", "openvino.preprocess"):
        try:
            import_module(name)
        except ImportError:
            break


def train(asked: dict[str, Any]) -> dict[str, Any]:
    """``headstart.train`` from photos to report."""
    import_all()
    import headstart

    began = time.perf_counter()
    run = headstart.train(asked["data"], out=asked["out"], quiet=True, **asked["options"])
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **_found(run.path, asked.get("judge", "test"))}


def _found(path: Path, judge: str) -> dict[str, Any]:
    """What a run folder says of its training; ``judge``: the split that all contestants are judged on."""
    from photos import names_digest

    metrics, plan = _json(path / "metrics.json"), _json(path / "plan.json")
    judged = [row for row in _rows(path / "predictions.csv") if row["split"] == judge]
    names = ["/".join(Path(row["path"]).parts[-2:]) for row in judged]
    epochs = [row for row in _rows(path / "history.csv") if row["epoch"]]
    return {
        "accuracy": sum(row["label"] == row["predicted"] for row in judged) / max(1, len(judged)),
        "judged": len(judged),
        "judged_digest": names_digest(names),
        "photos": dict(Counter(row["split"] for row in _rows(path / "splits.csv"))),
        "image_size": plan["image_size"],
        "batch_size": plan["batch_size"],
        "engine": plan.get("engine"),
        "precision": plan["precision"],
        "strategy": metrics["training"]["strategy"],
        "decision": metrics["training"]["decision"],
        "weights": _json(path / "model.json")["provenance"]["backbone"]["source"],
        "epochs": [{"seconds": float(row["seconds"]), "accuracy": float(row["val_accuracy"])} for row in epochs],
    }


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def predict(asked: dict[str, Any]) -> dict[str, Any]:
    """``headstart.predict`` over a folder."""
    import_all()
    import headstart

    began = time.perf_counter()
    found = Counter(p.label is not None for p in headstart.predict(asked["run"], [asked["data"]]))
    return {"seconds": time.perf_counter() - began, "photos": found[True], "unread": found[False]}


def head(asked: dict[str, Any]) -> dict[str, Any]:
    """The L2 grid of a probe alone, on features around a random centre per class."""
    import numpy as np

    from headstart.training.linear_probe import fit_probe

    photos, width, classes = asked["size"]
    random = np.random.default_rng(0)
    centres = random.standard_normal((classes, width), dtype=np.float32)
    noise = np.float32(8 * (width / 2048) ** 0.5)  # classes overlap a little, as those of photos do

    def features(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels, rows = np.arange(count) % classes, np.empty((count, width), np.float32)
        for start in range(0, count, 4096):  # in parts: the peak should be that of the fit
            few = labels[start : start + 4096]
            rows[start : start + 4096] = centres[few] + noise * random.standard_normal((len(few), width), np.float32)
        return rows, labels

    train, val = features(photos), features(max(classes, photos // 10))
    before, began = peak_mb(), time.perf_counter()
    probe = fit_probe(train, val, classes)
    seconds = time.perf_counter() - began
    assert probe.weight.shape == (classes, width)
    chosen = next(step for step in probe.path if step.l2 == probe.l2)
    return {
        "seconds": seconds,
        "strengths": len(probe.path),
        "l2": probe.l2,
        "accuracy": chosen.val_accuracy,
        "before_mb": before,
    }


if __name__ == "__main__":
    serve({"train": train, "predict": predict, "head": head})

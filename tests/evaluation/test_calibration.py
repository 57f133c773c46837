"""The temperature: fitted well, kept in the head, and its calibration error that of an independent reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss as sklearn_log_loss

import headstart as hs
from headstart.evaluation.calibration import before_scaling, temperature
from headstart.models.network import softmax


def drawn(count: int, truth: float, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * 2
    chances = softmax(logits / truth).cumsum(1)
    return logits, (chances < rng.random((count, 1))).sum(1).clip(max=classes - 1)


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_one_that_labels_were_drawn_with(truth: float) -> None:
    logits, labels = drawn(20_000, truth)
    assert temperature(torch.from_numpy(logits), torch.from_numpy(labels)) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("photos", [6, 60])
def test_the_temperature_is_the_lowest_of_its_cost(photos: int) -> None:
    """With few photos the prior decides, with many the labels."""
    logits, labels = drawn(photos, 0.3)

    def cost(t: float) -> float:
        return photos * sklearn_log_loss(labels, softmax(logits / np.exp(t)), labels=range(4)) + t * t / 2

    best = minimize_scalar(cost, bounds=(-4, 4), method="bounded").x
    found = temperature(torch.from_numpy(logits), torch.from_numpy(labels))
    assert np.log(found) == pytest.approx(best, abs=0.011)  # half a step of the finer grid


def test_few_photos_all_right_do_not_ask_for_certainty() -> None:
    logits, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([0, 1])
    assert 0.2 < temperature(logits, labels) < 1


def test_the_error_before_is_that_of_the_raw_logits() -> None:
    logits, labels = drawn(500, 1.0)
    told = before_scaling((logits / 2.5).astype(np.float32), labels, 2.5)
    p = softmax(logits)
    sure, right = p.max(1), p.argmax(1) == labels
    places = [np.flatnonzero((sure > low / 15) & (sure <= (low + 1) / 15)) for low in range(15)]
    ece = sum(len(i) / 500 * abs(right[i].mean() - sure[i].mean()) for i in places if len(i))
    assert told["ece"] == pytest.approx(ece, abs=1e-6)
    assert told["log_loss"] == pytest.approx(sklearn_log_loss(labels, p), abs=1e-6)
    assert sum(b["count"] for b in told["bins"]) == 500


@pytest.mark.parametrize(
    ("strategy", "head"), [("probe", "linear"), ("probe", "mlp:8"), ("finetune", "linear"), ("lp-ft", "linear")]
)
def test_every_strategy_is_scaled_and_says_by_how_much(
    photos: Path, weights: Path, tmp_path: Path, strategy: str, head: str
) -> None:
    run = hs.train(
        photos, out=tmp_path / "run", quiet=True, backbone="starter", weights=str(weights), strategy=strategy,
        head=head, settings={"epochs": 2, "batch_size": 8, "precision": "float32"},
    )  # fmt: skip
    said = run.metrics["training"]["temperature"]
    assert said != 1
    assert json.loads((run.path / "model.json").read_text(encoding="utf-8"))["provenance"]["temperature"] == said
    answers = [p for p in hs.predict(run.path, [photos]) if p.label]
    own = {row.path: row for row in run.predictions().itertuples() if row.split == "val"}
    mine = [p for p in answers if p.path.relative_to(photos).as_posix() in own]
    rows = np.log([p.probabilities for p in mine])
    labels = np.array([run.classifier.classes.index(p.path.parent.name) for p in mine])
    closed_form = strategy == "probe" and head == "linear"
    if not closed_form:  # whose temperature is fitted on photos of train too, where val is small
        # Refitted on the raw logits, log p · T but for a constant per photo, it is found again.
        assert temperature(torch.from_numpy(rows * said), torch.from_numpy(labels)) == pytest.approx(said, rel=0.03)
    before = run.metrics["val"]["calibration"]["before"]
    if closed_form:  # raw is what the fit gave, not what had been scaled once already
        assert min(abs(run.history().val_loss - before["log_loss"])) < 1e-5
    assert before["log_loss"] == pytest.approx(sklearn_log_loss(labels, softmax(rows * said)), abs=1e-4)
    assert run.metrics["val"]["log_loss"] == pytest.approx(sklearn_log_loss(labels, np.exp(rows)), abs=1e-4)

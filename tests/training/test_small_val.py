"""Where val is small, the photos of train count beside it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from headstart.training import cross_validation
from headstart.training.cross_validation import FEW_VAL, folds_beside
from headstart.training.linear_probe import Probe, fit_probe

UNEVEN = (26, 9, 7)


def draw(counts: tuple[int, ...], seed: int, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(seed).normal(size=(len(labels), means.shape[1]))
    return (means[labels] + noise).astype(np.float32), labels


def problem(seed: int, apart: float = 0.45) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Train of uneven classes, val of seven photos, test."""
    means = np.random.default_rng(1000 + seed).normal(size=(3, 50)) * apart
    counts = (UNEVEN, (4, 1, 2), (300, 300, 300))
    train, val, test = (draw(own, 10 * seed + i, means) for i, own in enumerate(counts))
    return train, val, test


def predicted(probe: Probe, features: np.ndarray) -> np.ndarray:
    return np.asarray((features @ probe.weight.numpy().T + probe.bias.numpy()).argmax(1))


def accuracy(probe: Probe, of: tuple[np.ndarray, np.ndarray]) -> float:
    return float((predicted(probe, of[0]) == of[1]).mean())


def test_the_choice_on_seven_uneven_photos_is_mended() -> None:
    gains = []
    for seed in range(12):
        train, val, test = problem(seed)
        folds = folds_beside(train[1], np.arange(len(train[1])), len(val[1]), 0)
        alone, beside = fit_probe(train, val, 3), fit_probe(train, val, 3, folds=folds)
        gains.append(accuracy(beside, test) - accuracy(alone, test))
    assert min(gains) > -0.02
    assert np.mean(gains) > 0.01


@pytest.mark.parametrize("balanced", [False, True])
def test_the_score_is_that_of_scikit_learn_fold_by_fold(balanced: bool) -> None:
    train, val, _ = problem(3)
    x, y = train
    folds = folds_beside(y, np.arange(len(y)), len(val[1]), 0)
    assert folds is not None
    (step,) = fit_probe(train, val, 3, (0.3,), balanced=balanced, folds=folds).path
    weight = (len(y) / (3 * np.bincount(y)))[y] if balanced else np.ones(len(y))
    said, true = [], []
    every = [(np.ones(len(y), dtype=bool), val[0], val[1])]
    every += [(folds != fold, x[folds == fold], y[folds == fold]) for fold in np.unique(folds)]
    for seen, asked, labels in every:
        mean, scale = x[seen].mean(0), x[seen].std(0)
        model = LogisticRegression(C=1 / (0.3 * seen.sum()), tol=1e-10, max_iter=10_000)
        model.fit((x[seen] - mean) / scale, y[seen], sample_weight=weight[seen])
        said += model.predict((asked - mean) / scale).tolist()
        true += labels.tolist()
    assert step.cv_score == pytest.approx(balanced_accuracy_score(true, said))
    assert step.score == step.cv_score


def test_a_class_of_one_photo_says_nothing_of_a_strength() -> None:
    """Its only photo is wrong whatever the strength: it must not count."""
    train, val, _ = problem(0)
    more = (np.concatenate([train[0], train[0][:1]]), np.append(train[1], 3))
    folds = folds_beside(more[1], np.arange(len(more[1])), 7, 0)
    assert folds is not None
    probe = fit_probe(more, val, 4, (0.2,), folds=folds)
    score = probe.path[0].cv_score
    assert score is not None
    found, kept = [], np.arange(len(more[1])) < len(train[1])
    for fold in np.unique(folds):  # the same by hand, the single photo trained on and never asked about
        out = folds == fold
        asked = more[0][out & kept], more[1][out & kept]
        one = fit_probe((more[0][~out], more[1][~out]), asked, 4, (0.2,))
        found += [(a, b) for a, b in zip(asked[1], predicted(one, asked[0]), strict=True)]
    found += list(zip(val[1], predicted(probe, val[0]), strict=True))
    assert score == pytest.approx(balanced_accuracy_score(*zip(*found, strict=True)))


def test_several_labels_count_beside_val_too() -> None:
    train, val, _ = problem(1)
    of_labels = [(x, np.stack([y == 0, y >= 1, y == 2], 1).astype(np.float64)) for x, y in (train, val)]
    folds = folds_beside(of_labels[0][1], np.arange(len(train[1])), 7, 0)
    assert folds is not None
    assert set(folds) == set(range(5))
    path = fit_probe(*of_labels, 3, folds=folds).path
    assert all(step.val_map is not None and step.score == step.cv_score for step in path)
    assert any(step.cv_score != step.val_map for step in path)


def test_folds_are_made_for_a_small_val_alone_and_keep_units_whole() -> None:
    labels, units = np.repeat([0, 1], 20), np.arange(40) // 4
    folds = folds_beside(labels, units, FEW_VAL - 1, 0)
    assert folds is not None
    assert all(len(set(folds[units == unit])) == 1 for unit in range(10))
    assert folds_beside(labels, units, FEW_VAL, 0) is None
    assert folds_beside(labels, np.zeros(40, dtype=int), 5, 0) is None  # one unit: nothing to hold out


def test_of_a_large_train_some_photos_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A given val of few photos beside a large train must not cost five fits of all of it."""
    monkeypatch.setattr(cross_validation, "MOST_BESIDE", 12)
    train, val, _ = problem(4)
    folds = folds_beside(train[1], np.arange(len(train[1])), len(val[1]), 0)
    assert folds is not None
    assert (folds == 0).sum() == pytest.approx(12, abs=1)
    assert set(folds) == {0, cross_validation.NEVER_OUT}
    (step,) = fit_probe(train, val, 3, (0.2,), folds=folds).path
    asked = (train[0][folds == 0], train[1][folds == 0])
    one = fit_probe((train[0][folds != 0], train[1][folds != 0]), asked, 3, (0.2,))
    said = np.concatenate([predicted(fit_probe(train, val, 3, (0.2,)), val[0]), predicted(one, asked[0])])
    assert step.cv_score == pytest.approx(np.mean(said == np.concatenate([val[1], asked[1]])))  # even enough


def test_a_run_says_how_its_strength_was_chosen(probe_run: Path) -> None:
    rows = list(csv.DictReader((probe_run / "history.csv").open()))
    assert rows
    assert all(0 <= float(row["cv_score"]) <= 1 for row in rows)
    page = " ".join((probe_run / "report.html").read_text(encoding="utf-8").split())
    assert "which is small: L2 was chosen by cross-validation on the training set beside it" in page

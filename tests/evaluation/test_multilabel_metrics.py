"""Metrics of any number of labels: those of scikit-learn, the best thresholds, and what the intervals promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    classification_report,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from headstart.errors import TrainingError
from headstart.evaluation.metrics import accuracies, format_report, headline
from headstart.evaluation.multilabel_metrics import (
    UNKNOWN_THRESHOLD,
    average_precisions,
    best_thresholds,
    evaluate_labels,
    mean_average_precision,
)

CLASSES = ("cat", "dog", "owl", "yak")


def drawn(photos: int = 150, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.random((photos, 4)) < (0.5, 0.3, 0.2, 0.1)
    p = 1 / (1 + np.exp(-(rng.normal(size=true.shape) + 2 * true - 1)))
    return (np.round(p, 1) if ties else p), true


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties: bool) -> None:
    p, true = drawn(ties=ties)
    wanted = [average_precision_score(true[:, c], p[:, c]) for c in range(4)]
    assert average_precisions(p, true) == pytest.approx(wanted, abs=1e-12)
    assert mean_average_precision(p, true) == pytest.approx(average_precision_score(true, p, average="macro"))


def test_all_figures_are_those_of_scikit_learn() -> None:
    p, true = drawn()
    thresholds = np.array([0.3, 0.5, 0.45, 0.6])
    predicted, found = p >= thresholds, evaluate_labels(p, true, CLASSES, thresholds)
    assert found["f1_micro"]["value"] == pytest.approx(f1_score(true, predicted, average="micro"))
    assert found["f1_macro"]["value"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(true, predicted))
    assert found["map"]["value"] == pytest.approx(average_precision_score(true, p, average="macro"))
    assert found["log_loss"] == pytest.approx(np.mean([log_loss(true[:, c], p[:, c]) for c in range(4)]))
    wanted = classification_report(true, predicted, target_names=CLASSES, output_dict=True, zero_division=0)
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}
    for row in found["report"]["classes"]:
        assert [row[own] for own in names] == pytest.approx([wanted[row["label"]][theirs] for theirs in names.values()])
    for average in ("micro", "macro", "weighted"):
        theirs = wanted[f"{average} avg"]
        assert [found["report"][average][own] for own in names] == pytest.approx([theirs[n] for n in names.values()])
    assert [row["threshold"] for row in found["report"]["classes"]] == thresholds.tolist()
    for name in ("map", "f1_micro", "f1_macro", "accuracy"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_a_label_that_no_photo_has_counts_only_where_it_is_predicted() -> None:
    p, true = drawn()
    true[:, 3] = False
    low = evaluate_labels(p, true, CLASSES, np.array([0.5, 0.5, 0.5, 1.0]))
    assert low["report"]["classes"][3]["ap"] is None
    assert low["map"]["value"] == pytest.approx(average_precision_score(true[:, :3], p[:, :3], average="macro"))
    wanted = precision_recall_fscore_support(true[:, :3], p[:, :3] >= 0.5, average="macro")[2]
    assert low["f1_macro"]["value"] == pytest.approx(wanted)
    high = evaluate_labels(p, true, CLASSES, np.full(4, 0.5))
    assert high["f1_macro"]["value"] == pytest.approx(3 / 4 * wanted)


def test_without_any_label_micro_f1_sums_up() -> None:
    found = evaluate_labels(np.full((5, 2), 0.1), np.zeros((5, 2)), ("a", "b"), np.full(2, 0.5))
    assert found["map"] is None
    assert headline(found)[0] == "micro F1"
    assert found["accuracy"]["value"] == 1
    assert "mean average precision" not in accuracies(found)


@pytest.mark.parametrize("ties", [False, True])
def test_thresholds_have_the_highest_f1_on_the_photos(ties: bool) -> None:
    p, true = drawn(25, seed=3, ties=ties)
    found = best_thresholds(p, true)
    for c in range(4):
        every = np.append((values := np.unique(p[:, c])), 0) - 1e-9
        best = max(f1_score(true[:, c], p[:, c] >= cut, zero_division=0) for cut in every)
        assert f1_score(true[:, c], p[:, c] >= found[c]) == pytest.approx(best)
        assert found[c] not in values  # between two of them


def test_equal_thresholds_go_to_the_middle_and_unknown_labels_to_a_half() -> None:
    p = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.4]])
    true = np.array([[1, 0], [1, 0], [0, 0]], bool)
    assert best_thresholds(p, true).tolist() == pytest.approx([0.45, UNKNOWN_THRESHOLD])


@pytest.mark.parametrize(
    ("p", "wrong"),
    [
        (np.full((3, 2), np.nan), TrainingError), (np.full((3, 2), 1.5), ValueError),
        (np.full((3, 3), 0.5), ValueError), (np.full((0, 2), 0.5), ValueError),
    ],
)  # fmt: skip
def test_values_that_are_no_probabilities_are_refused(p: np.ndarray, wrong: type[Exception]) -> None:
    with pytest.raises(wrong):
        evaluate_labels(p, np.zeros((len(p), 2)), ("a", "b"), np.full(2, 0.5))


def test_the_report_in_text_has_average_precision_and_threshold() -> None:
    p, true = drawn()
    found = evaluate_labels(p, true, CLASSES, np.full(4, 0.25))
    lines = format_report(found).splitlines()
    assert lines[0].split()[-3:] == ["support", "ap", "threshold"]
    assert lines[1].split()[1] == "cat"
    assert lines[1].split()[-1] == "0.250"
    text = accuracies(found)
    assert text.startswith("mean average precision")
    assert "micro F1" in text
    assert "all labels right" in text


def test_intervals_hold_the_figure_of_all_photos_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred draws of few photos: at 95 %, fewer than 88 hold it with a probability of 0.2 %."""
    monkeypatch.setattr("headstart.evaluation.multilabel_metrics.DRAWS", 200)
    every, has = drawn(20_000, seed=9)
    wanted = mean_average_precision(every, has)
    true_micro = f1_score(has, every >= 0.5, average="micro")
    rng, held = np.random.default_rng(4), np.zeros(2)
    for _ in range(100):
        some = rng.choice(len(every), 120, replace=False)
        found = evaluate_labels(every[some], has[some], CLASSES, np.full(4, 0.5))
        pairs = (("map", wanted), ("f1_micro", true_micro))
        held += [found[name]["low"] <= value <= found[name]["high"] for name, value in pairs]
    assert held.min() >= 88

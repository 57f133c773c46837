"""Metrics against scikit-learn, by hand where it has no say, and what must be refused rather than reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.core.files import write_json
from headstart.errors import TrainingError
from headstart.evaluation.examples import confused_pairs, most_confused
from headstart.evaluation.metrics import (
    DENSE,
    accuracies,
    calibration,
    classification_report,
    confusion_matrix,
    evaluate,
    few_per_class,
    format_report,
    headline,
    uneven,
    worst_first,
)


def outputs(photos: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Random softmax rows that prior_penalty towards random labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, photos)
    logits = rng.normal(size=(photos, classes)) + 1.5 * np.eye(classes)[labels]
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), labels, [f"class {c}" for c in range(classes)]


@pytest.mark.parametrize("classes", [2, 3, 17])
def test_report_and_confusion_agree_with_scikit_learn(classes: int) -> None:
    from sklearn import metrics as theirs

    probabilities, labels, names = outputs(200, classes)
    predicted = probabilities.argmax(axis=1)
    found = evaluate(probabilities, labels, names)
    expected = theirs.classification_report(labels, predicted, output_dict=True, zero_division=0)
    assert found["accuracy"]["value"] == theirs.accuracy_score(labels, predicted)
    assert found["confusion"] == theirs.confusion_matrix(labels, predicted).tolist()
    for c, row in enumerate(found["report"]["classes"]):
        assert row["label"] == names[c]
        assert_same_row(row, expected[str(c)])
    for average in ("macro", "weighted"):
        assert_same_row(found["report"][average], expected[f"{average} avg"])
    micro = theirs.precision_recall_fscore_support(labels, predicted, average="micro")[:3]
    assert tuple(found["report"]["micro"][name] for name in ("precision", "recall", "f1")) == pytest.approx(micro)
    assert found["log_loss"] == pytest.approx(theirs.log_loss(labels, probabilities, labels=range(classes)))


def assert_same_row(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["precision"] == pytest.approx(theirs["precision"])
    assert ours["recall"] == pytest.approx(theirs["recall"])
    assert ours["f1"] == pytest.approx(theirs["f1-score"])
    assert ours["support"] == theirs["support"]


def test_classes_that_do_not_occur_leave_the_averages_alone() -> None:
    from sklearn.metrics import f1_score

    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    report = evaluate(probabilities, np.array([0, 1, 1]), ["a", "b", "absent"])["report"]
    assert report["classes"][2] == {"label": "absent", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert report["macro"]["f1"] == pytest.approx(f1_score([0, 1, 1], [0, 1, 0], average="macro"))


def test_a_class_that_is_only_ever_answered_counts_as_wrong_in_the_macro_average() -> None:
    confusion = np.array([[3, 1], [0, 0]])
    report = classification_report(np.diag(confusion), confusion.sum(1), confusion.sum(0), ["a", "b"])
    assert report["macro"]["f1"] == pytest.approx((2 * 3 / (4 + 3) + 0) / 2)
    assert report["weighted"]["recall"] == pytest.approx(0.75)


@pytest.mark.parametrize("classes", [10, 25])
def test_top5_agrees_with_scikit_learn(classes: int) -> None:
    from sklearn.metrics import top_k_accuracy_score

    probabilities, labels, names = outputs(300, classes, seed=3)
    found = evaluate(probabilities, labels, names)["top5"]
    expected = top_k_accuracy_score(labels, probabilities, k=5, labels=range(classes))
    assert found["value"] == pytest.approx(expected)
    assert found["low"] < found["value"] < found["high"]


def test_top5_is_left_out_where_five_guesses_say_little() -> None:
    probabilities, labels, names = outputs(30, 9)
    assert evaluate(probabilities, labels, names)["top5"] is None


def test_equal_probabilities_count_once_in_class_order() -> None:
    """Uniform rows: only the first five classes may be among the first five, or a constant model would score 100 %."""
    labels = np.arange(20)
    found = evaluate(np.full((20, 20), 0.05), labels, [str(c) for c in labels])
    assert found["top5"]["value"] == 5 / 20
    assert found["accuracy"]["value"] == 1 / 20


def test_calibration_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.6, 1.0])
    found = calibration(confidence, np.array([True, False, True, True, True]), bins=10)
    # (0.9, 1.0]: 3 photos, confidence 2.9/3, accuracy 2/3; (0.5, 0.6]: 2 photos, confidence 0.575, accuracy 1.
    assert [b["count"] for b in found["bins"]] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 3]
    assert found["bins"][9]["confidence"] == pytest.approx(2.9 / 3)
    assert found["bins"][9]["accuracy"] == pytest.approx(2 / 3)
    assert (found["bins"][0]["confidence"], found["bins"][0]["accuracy"]) == (None, None)
    assert found["ece"] == pytest.approx(3 / 5 * (2.9 / 3 - 2 / 3) + 2 / 5 * (1 - 0.575))


def test_a_model_that_knows_its_doubt_has_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 50_000)
    honest = rng.uniform(size=confidence.size) < confidence
    assert calibration(confidence, honest)["ece"] < 0.01
    assert calibration(confidence, rng.uniform(size=confidence.size) < 0.5)["ece"] > 0.2


def test_a_certain_mistake_leaves_the_log_loss_finite() -> None:
    found = evaluate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), ["a", "b"])
    assert 10 < found["log_loss"] < 40


def test_half_precision_probabilities_are_accepted_and_the_result_is_json() -> None:
    probabilities, labels, names = outputs(50, 12)
    found = evaluate(probabilities.astype(np.float16), labels.astype(np.int32), names)
    assert json.loads(json.dumps(found)) == found
    assert sum(sum(row) for row in found["confusion"]) == found["photos"] == 50


def test_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="softmax"):
        evaluate(np.array([[2.0, -1.0], [0.3, 4.0]]), np.array([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match="softmax"):
        evaluate(np.array([[2.0, 1.0]]), np.array([0]), ["a", "b"])


def test_outputs_that_are_not_finite_are_counted_in_a_message_for_people() -> None:
    probabilities = np.array([[np.nan, 1.0], [0.5, 0.5], [np.inf, 0.0]])
    with pytest.raises(TrainingError, match="2 of 3 photos") as caught:
        evaluate(probabilities, np.array([0, 1, 0]), ["a", "b"])
    assert "`precision=float32`" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((2, 3), [0, 1]), ((3, 2), [0, 1]), ((0, 2), []), ((2, 2), [0, 2]), ((2, 2), [-1, 0])],
    ids=["classes", "photos", "none", "label too large", "label below zero"],
)
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        evaluate(np.full(shape, 1 / shape[1]), np.array(labels, dtype=int), ["a", "b"])


def test_the_text_report_has_the_published_rows_columns_and_figures() -> None:
    """The published dogs-vs-cats report, from its confusion matrix: 2300 + 2300 photos, in scikit-learn's order."""
    confusion = np.array([[2285, 15], [64, 2236]])
    counts = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    text = format_report({"report": classification_report(*counts, ["Cat", "Dog"])})
    rows = [line.split() for line in text.splitlines()]
    assert rows == [
        ["Label", "precision", "recall", "f1-score", "support"],
        ["0", "Cat", "0.973", "0.993", "0.983", "2300"],
        ["1", "Dog", "0.993", "0.972", "0.983", "2300"],
        ["micro", "avg", "0.983", "0.983", "0.983", "4600"],
        ["macro", "avg", "0.983", "0.983", "0.983", "4600"],
        ["weighted", "avg", "0.983", "0.983", "0.983", "4600"],
    ]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_text_report_can_show_other_names() -> None:
    probabilities, labels, names = outputs(40, 2)
    text = format_report(evaluate(probabilities, labels, names), ["Shih-Tzu", "Beagle"])
    assert "Shih-Tzu" in text
    assert names[0] not in text


# -- uneven classes, and many --


def certain(labels: list[int], predicted: list[int], classes: int) -> dict[str, Any]:
    return evaluate(np.eye(classes)[predicted], np.array(labels), [f"class {c}" for c in range(classes)])


def test_balanced_accuracy_is_scikit_learns_and_leads_where_classes_are_uneven() -> None:
    from sklearn.metrics import balanced_accuracy_score

    labels, predicted = [0] * 90 + [1] * 10, [0] * 97 + [1] * 3
    found = certain(labels, predicted, 2)
    assert found["accuracy"]["value"] == 0.93
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert headline(found) == ("balanced accuracy", found["balanced_accuracy"])
    assert accuracies(found).startswith("balanced accuracy 0.650 (95 % interval ")
    assert ",\n  accuracy 0.930 (95 % interval " in accuracies(found)


def test_accuracy_leads_where_they_are_even_and_in_files_of_older_versions() -> None:
    found = certain([0] * 20 + [1] * 10, [0] * 30, 2)
    assert headline(found)[0] == "accuracy"
    assert accuracies(found).startswith("accuracy 0.667")
    older = {name: value for name, value in found.items() if name not in {"headline", "balanced_accuracy"}}
    assert headline(older) == ("accuracy", found["accuracy"])
    assert "balanced" not in accuracies(older)


@pytest.mark.parametrize(
    ("counts", "answer"), [((29, 10), False), ((30, 10), True), ((30, 0, 20), False), ((0, 0), False)]
)
def test_three_photos_to_one_are_uneven_and_a_class_without_photos_says_nothing(
    counts: tuple[int, ...], answer: bool
) -> None:
    assert uneven(np.array(counts)) is answer


def test_many_classes_have_their_most_confused_pairs_instead_of_a_matrix() -> None:
    probabilities, labels, names = outputs(3000, DENSE + 50)
    found = evaluate(probabilities, labels, names)
    assert found["confusion"] is None
    matrix = confusion_matrix(labels, probabilities.argmax(1), len(names)).tolist()
    ours = [(pair.true, pair.predicted, pair.photos) for pair in confused_pairs(found, 20)]
    theirs = [(pair.true, pair.predicted, pair.photos) for pair in most_confused(matrix, 10**6)]
    assert len(ours) == 20
    assert set(ours) <= set(theirs)
    assert [n for *_, n in ours] == [n for *_, n in theirs[:20]]
    assert "confused" not in evaluate(*outputs(200, 3))


def test_1200_classes_fit_into_less_than_a_megabyte(tmp_path: Path) -> None:
    probabilities, labels, names = outputs(6000, 1200)
    found = evaluate(probabilities, labels, names)
    write_json(tmp_path / "metrics.json", {"val": found, "test": found})
    assert (tmp_path / "metrics.json").stat().st_size < 1_000_000


def test_of_many_classes_the_text_shows_the_worst_and_counts_the_others() -> None:
    probabilities, labels, names = outputs(3000, 60)
    found = evaluate(probabilities, labels, names)
    lines = format_report(found).splitlines()
    assert len(lines) == 1 + 10 + 1 + 3
    assert "50 more" in lines[11]
    f1 = [row["f1"] for row in found["report"]["classes"]]
    assert [line.split()[0] for line in lines[1:11]] == [str(c) for c in worst_first(found["report"]["classes"])[:10]]
    assert max(f1[int(line.split()[0])] for line in lines[1:11]) <= sorted(f1)[10]
    assert len(format_report(evaluate(*outputs(300, 40))).splitlines()) == 1 + 40 + 3


def test_classes_of_a_photo_or_two_are_said_to_mean_nothing_by_themselves() -> None:
    assert few_per_class(certain([0] * 4 + [1] * 4 + [2] * 50, [0] * 58, 3)).startswith(
        "2 of 3 classes have fewer than 5"
    )
    assert few_per_class(certain([0] * 4 + [1] * 5, [0] * 9, 2)) == ""

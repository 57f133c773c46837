"""Checks of label errors and outliers, from the features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from headstart.core.text import listed, plural, quoted
from headstart.data.stratify import linked
from headstart.evaluation.label_errors import posterior
from headstart.models.network import softmax
from headstart.training.cross_validation import FOLDS, assign_folds, cross_validate
from headstart.training.strengths import USUAL_L2
from headstart.workflows.check.base import Check, Context, Finding
from headstart.workflows.check.duplicates import duplicates_in

NEIGHBOUR = 30
"""Outliers can come in small clusters, so the distance to the 30th neighbour counts."""
OUTLYING = 3.5
"""Outlier score from which a photo is reported (benchmarks/claims/check.py)."""
WRONG = 0.5
"""Probability of a label error above which a photo is reported: the label is more probably wrong than right."""
CHUNK = 1024


@dataclass(frozen=True)
class LabelIssues:
    """``probabilities`` [N, C] by probes that were not fitted on the photo; ``wrong`` [N]: the probability that its
    label is wrong; ``better`` [N]: its most probable other class; ``outlier_score`` [N]: its distance from the others
    in standard deviations, plus 1 - p(its label); ``judged``: the classes with enough pictures.
    """

    probabilities: np.ndarray
    wrong: np.ndarray
    better: np.ndarray
    outlier_score: np.ndarray
    judged: tuple[int, ...] = ()

    @property
    def suspect(self) -> np.ndarray:
        """Whether each label is probably wrong [N]."""
        return self.wrong > WRONG

    @property
    def outliers(self) -> np.ndarray:
        """Which photos are outliers [N]."""
        return self.outlier_score > OUTLYING


def find_label_issues(features: np.ndarray, labels: np.ndarray, classes: int, units: list[int]) -> LabelIssues:
    """Out-of-fold probabilities of all labels, and what follows from them.

    Args:
        features: [N, D].
        labels: [N].
        classes: their number.
        units: a number per photo, equal for duplicates, which are never on both sides of a fold; see ``enough_units``.
    """
    folds = assign_folds([str(label) for label in labels], units, seed=0)
    logits = cross_validate(features, labels, classes, folds, (USUAL_L2,), tolerance=1e-3).logits[0]
    probabilities = softmax(logits)
    # Probes that are not significantly better than always predicting the largest class say nothing about labels.
    share = np.bincount(labels).max() / len(labels)
    noise = np.sqrt(share * (1 - share) / len(labels))
    wrong, better = judge(probabilities, labels)
    if (probabilities.argmax(1) == labels).mean() <= share + 2 * noise:
        return LabelIssues(probabilities, np.zeros(len(labels)), better, distances(features))
    # An unusual photo of a class is still classified correctly; an out-of-distribution photo is not, whatever its
    # label.
    doubt = 1 - probabilities[np.arange(len(labels)), labels]
    return LabelIssues(probabilities, wrong, better, distances(features) + doubt)


def enough_units(labels: np.ndarray, units: list[int]) -> bool:
    """Whether probes can be fitted: each class has different pictures in every fold."""
    return all(len({units[i] for i in np.flatnonzero(labels == c)}) >= FOLDS for c in np.unique(labels))


def judge(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability that each label is wrong [N], and the most probable other class [N]."""
    true, own = posterior(probabilities, labels), (np.arange(len(labels)), labels)
    wrong = 1 - true[own]
    true[own] = -1
    return wrong, true.argmax(1)


def distances(features: np.ndarray) -> np.ndarray:
    """The distance of each photo from the others [N]: its distance to the ``NEIGHBOUR`` th nearest, above the median
    and in standard deviations of the upper half.

    Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", here with square roots of the
    features, so that one large feature does not decide alone.
    """
    rows = torch.from_numpy(features)
    rows = torch.nn.functional.normalize(rows.sign() * rows.abs().sqrt())
    k = max(1, min(NEIGHBOUR, len(rows) // 4))
    far = torch.cat([(rows[i : i + CHUNK] @ rows.T).topk(k + 1)[0][:, k] for i in range(0, len(rows), CHUNK)])
    distance = 1 - far.double().numpy()  # the photo itself is the nearest of all
    middle, high = np.quantile(distance, [0.5, 0.9])
    return np.asarray((distance - middle) / max((high - middle) / 1.2816, 1e-9))


def issues_in(context: Context) -> LabelIssues | None:
    """Of the usable photos; those of a class with too few different pictures are not judged. None where fewer than two
    classes have enough.
    """
    if context.features is None:
        return None
    units = linked(len(context.members), context.once(duplicates_in).pairs.tolist())
    labels = context.labels
    judged = np.array(
        [c for c in range(len(context.classes)) if enough_units(labels[labels == c], _of(units, labels, c))]
    )
    if len(judged) < 2:
        return None
    context.events.message("Comparing labels with the predictions of cross-validated probes.")
    places = np.flatnonzero(np.isin(labels, judged))
    own = np.searchsorted(judged, labels[places])
    found = find_label_issues(context.features[places], own, len(judged), [units[i] for i in places])
    probabilities = np.zeros((len(labels), len(context.classes)))
    probabilities[np.ix_(places, judged)] = found.probabilities
    wrong, better, score = np.zeros(len(labels)), labels.copy(), np.zeros(len(labels))
    wrong[places], better[places], score[places] = found.wrong, judged[found.better], found.outlier_score
    return LabelIssues(probabilities, wrong, better, score, tuple(judged.tolist()))


def _of(units: list[int], labels: np.ndarray, c: int) -> list[int]:
    return [units[i] for i in np.flatnonzero(labels == c)]


def _label(context: Context) -> Iterator[Finding]:
    issues = context.once(issues_in)
    reported = np.flatnonzero(issues.suspect & ~issues.outliers) if issues else ()
    if issues and len(reported):
        better, wrong = issues.better, issues.wrong
        cases = context.cases(
            reported, lambda i: f"looks like {context.classes[better[i]]} ({wrong[i]:.2f})", lambda i: wrong[i]
        )
        sentence = plural(len(reported), "likely label error")
        yield Finding("warning", sentence, "Review each: hard photos are among them.", cases)


def _stranger(context: Context) -> Iterator[Finding]:
    issues = context.once(issues_in)
    if issues and issues.outliers.any():
        score, outliers = issues.outlier_score, np.flatnonzero(issues.outliers)
        cases = context.cases(outliers, lambda i: f"outlier score {score[i]:.1f}", lambda i: score[i])
        yield Finding("warning", plural(len(outliers), "outlier"), "Do they belong to this dataset?", cases)


def _unjudged(context: Context) -> Iterator[Finding]:
    if context.several:
        yield Finding("note", "labels are not checked: photos have any number of them")
        return
    issues, classes = context.once(issues_in), len(context.classes)
    if issues is None and classes > 1:
        yield Finding("note", f"labels are not checked: too few classes have {FOLDS} different pictures")
    elif issues and len(issues.judged) < classes:
        few = [quoted(label) for c, label in enumerate(context.classes) if c not in set(issues.judged)]
        which = f"{len(few):,} of {classes:,} classes"
        sentence = f"labels of {which} are not checked: fewer than {FOLDS} different pictures of {listed(few)}"
        yield Finding("note", sentence)


LABEL = Check("Likely label errors", _label, needs_features=True, removes="all", one_class=True)
STRANGER = Check("Outliers", _stranger, needs_features=True, removes="all", one_class=True)
UNJUDGED = Check("Labels that were not checked", _unjudged, needs_features=True)

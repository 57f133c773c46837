"""The photos that a report shows: what the classifier got wrong with most confidence, and what it got right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from headstart.data.filenames import shown
from headstart.evaluation.examples import confident_hits, label_hits, label_mistakes, most_confident
from headstart.evaluation.metrics import judged_on
from headstart.inference.saliency import Explainer, has_maps
from headstart.reporting.images import overlay
from headstart.reporting.samples import picture
from headstart.workflows.train.folds import Judged, of_split
from headstart.workflows.train.page import Mistake

if TYPE_CHECKING:
    from headstart.inference.classifier import Classifier
    from headstart.training.plan import Plan
    from headstart.training.preparation import Prepared
    from headstart.workflows.train.assess import Results

MISTAKES = 12
HITS = 12
NO_LABEL = "no label"


class _Case(NamedTuple):
    """A photo by its place, the class that its map is for, and what is said of it."""

    photo: int
    looked_for: int
    true: str
    predicted: str
    confidence: float


def evidence(
    prepared: Prepared, results: Results, plan: Plan, classifier: Classifier
) -> tuple[list[Mistake], list[Mistake]]:
    """(the most confident mistakes, the most confident correct predictions), on the photos that sum up the run, with
    saliency maps where the network has them; without maps, correct predictions are not shown.
    """
    judged = cast(Judged, judged_on(results.metrics))
    split = of_split(judged)
    probabilities, labels = results.probabilities[judged], prepared.labels[split]
    cases = _of_labels if prepared.dataset.several else _of_classes
    wrong, right = cases(classifier, probabilities, labels)
    chosen = [*wrong, *(right if has_maps(classifier) else [])]
    photos = [picture(prepared.pixels[split], case.photo, plan.image_size) for case in chosen]
    maps: Iterable[np.ndarray | None] = repeat(None, len(chosen))
    if photos and has_maps(classifier):
        maps = Explainer(classifier).maps(np.stack(photos), [case.looked_for for case in chosen])
    members, root = prepared.dataset.split(split), prepared.dataset.root
    found = [
        Mistake(
            photo, case.true, case.predicted, case.confidence, shown(members[case.photo].path, root),
            None if heat is None else overlay(photo, heat),
        )
        for case, photo, heat in zip(chosen, photos, maps, strict=True)
    ]  # fmt: skip
    return found[: len(wrong)], found[len(wrong) :]


Cases = tuple[Sequence[_Case], Sequence[_Case]]


def _of_classes(classifier: Classifier, probabilities: np.ndarray, labels: np.ndarray) -> Cases:
    """(mistakes, correct predictions)."""
    classes = classifier.classes

    def case(i: int) -> _Case:
        best = int(probabilities[i].argmax())
        return _Case(i, best, classes[labels[i]], classes[best], float(probabilities[i, best]))

    wrong, right = most_confident(probabilities, labels, MISTAKES), confident_hits(probabilities, labels, HITS)
    return [*map(case, wrong)], [*map(case, right)]


def _of_labels(classifier: Classifier, probabilities: np.ndarray, targets: np.ndarray) -> Cases:
    """(mistakes, correct predictions) of any number of labels: one label of a photo each. A label that was missed is
    called "not dog".
    """
    classes, predicted, true = classifier.classes, classifier.objective.decide(probabilities), targets > 0

    def wrong(i: int, c: int) -> _Case:
        own = ", ".join(classes[k] for k in np.flatnonzero(true[i])) or NO_LABEL
        if predicted[i, c]:
            return _Case(i, c, own, classes[c], float(probabilities[i, c]))
        return _Case(i, c, own, f"not {classes[c]}", 1 - float(probabilities[i, c]))

    mistakes = label_mistakes(probabilities, predicted, true, MISTAKES)
    hits = label_hits(probabilities, predicted, true, HITS)
    right = [_Case(i, c, classes[c], classes[c], float(probabilities[i, c])) for i, c in hits]
    return [wrong(i, c) for i, c in mistakes], right

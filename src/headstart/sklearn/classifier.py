"""A classifier of photos for scikit-learn: ``fit`` is ``headstart.train``, ``predict`` is ``headstart.predict``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from headstart.core.paths import Place, place
from headstart.data.filenames import clean_label
from headstart.data.schema import DEFAULT_FRACTION, MAX_SEED
from headstart.data.sources.in_memory import text_of
from headstart.errors import DataError, OptionError
from headstart.runs.folder import RunFolder
from headstart.sklearn.photos import PhotosAsInput, merged, one_each, photos_of
from headstart.training.config import DEFAULT_BACKBONE
from headstart.workflows.predict import predict
from headstart.workflows.train.train import train

if TYPE_CHECKING:
    from headstart.inference.classifier import Classifier


class HeadstartClassifier(PhotosAsInput, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transfer learning as an estimator of scikit-learn.

    Args:
        backbone: the pretrained network, as for ``headstart.train``.
        strategy: "probe", "finetune", "partial", "lp-ft", "scratch" or "auto".
        weights: a checkpoint of the backbone in place of a download.
        epochs: passes over the photos; None: by the plan.
        image_size: the input size, px; None: by the plan.
        val: the share of the photos of ``fit`` that settings are chosen on; none of them is held back for a test,
            which is scikit-learn's to do.
        options: any other options of ``headstart.train``: ``{"lr": 0.01, "augment": "crop"}``.
        random_state: an integer, a ``RandomState``, or None for another seed each time.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        folder: where the run goes, with its report; with a number where that exists, as for each fold of a
            cross-validation. None: nowhere, the classifier stays in memory.
        verbose: whether progress and messages are shown.

    Attributes:
        classes_: the labels, sorted, as they were given, without those that ``min_per_class`` leaves out.
        classifier_: the ``headstart.Classifier``.
        metrics_: those of the run, on val.
    """

    def __init__(
        self, backbone: str = DEFAULT_BACKBONE, strategy: str = "auto", *, weights: Place | None = None,
        epochs: int | None = None, image_size: int | None = None, val: float = DEFAULT_FRACTION,
        options: Mapping[str, Any] | None = None, random_state: Any = 0, device: Any = "auto",
        folder: Place | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.backbone, self.strategy, self.weights = backbone, strategy, weights
        self.epochs, self.image_size, self.val, self.options = epochs, image_size, val, options
        self.random_state, self.device, self.folder, self.verbose = random_state, device, folder, verbose

    def fit(self, X: Any, y: Any) -> HeadstartClassifier:
        """Train on photos [n] and their labels [n].

        Raises:
            HeadstartError: as ``headstart.train``. ValueError: labels that are no classes.
        """
        if y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        photos, labels = photos_of(X), column_or_1d(y, warn=True)
        check_classification_targets(labels)
        classes, index = np.unique(labels, return_inverse=True)
        texts = [text_of(label) for label in classes.tolist()]
        names = [clean_label(text) for text in texts]
        if len(set(names)) < len(names):
            raise OptionError(f"y has labels that are written alike: {sorted(names)}.", "Rename one.")
        with tempfile.TemporaryDirectory(prefix="headstart-") as scratch:
            folder = (
                RunFolder.unused(Path(place(self.folder, "folder"))) if self.folder else os.path.join(scratch, "run")
            )
            asked: Any = self._options(str(folder))
            run = train((photos, [texts[i] for i in index]), **asked)
        learned = [name in run.classifier.classes for name in names]  # ``min_per_class`` leaves some out
        self.classes_, self.classifier_, self.metrics_ = classes[learned], run.classifier, run.metrics
        self._names = [name for name, one in zip(names, learned, strict=True) if one]
        if self.folder is None:
            self.classifier_.home = None
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [n, classes], in the order of ``classes_``. Raises DataError for a photo that is unreadable."""
        check_is_fitted(self)
        photos = photos_of(X)
        classifier: Classifier = self.classifier_
        found = list(predict(classifier, photos))
        one_each(len(found), photos)
        for number, one in enumerate(found):
            if one.problem is not None:
                raise DataError(f"X[{number}] ({one.name}) cannot be read: {one.problem}.")
        columns = [classifier.classes.index(name) for name in self._names]
        rows = np.array([one.probabilities for one in found], np.float64).reshape(-1, len(classifier.classes))
        return np.asarray(rows[:, columns])

    def predict(self, X: Any) -> np.ndarray:
        """The label of each photo [n], as it was given to ``fit``. Raises DataError as ``predict_proba``."""
        check_is_fitted(self)
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def _options(self, out: str) -> dict[str, Any]:
        names = ("backbone", "strategy", "weights", "epochs", "image_size", "val", "device")
        own = {name: getattr(self, name) for name in names}
        own |= {"out": out, "test": 0, "quiet": not self.verbose, "seed": _seed(self.random_state)}
        if (self.options or {}).get("labels") == "multi":
            problem = "`options` asks for `labels='multi'`, and this estimator learns one class per photo."
            raise OptionError(problem, "Train with `hs.train(DATA, labels='multi')`.", option="options")
        return merged(own, self.options)


def _seed(state: Any) -> int:
    """The seed of a training."""
    if isinstance(state, np.random.RandomState) or state is None:
        return int(check_random_state(state).randint(MAX_SEED))
    return state  # type: ignore[no-any-return]  # train says what it may be

"""The estimators keep scikit-learn's contract: its own checks without data, and the others with photos for data."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.errors import DataError, HeadstartError, OptionError

sklearn_checks = pytest.importorskip("sklearn.utils.estimator_checks")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError, SkipTestWarning  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import accuracy_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from headstart.sklearn import HeadstartClassifier, PhotoFeatures  # noqa: E402
from headstart.sklearn.photos import photos_of  # noqa: E402

WITHOUT_DATA = (
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
    "check_estimators_unfitted",
)  # fmt: skip
OPTIONS = {"precision": "float32"}


@pytest.fixture
def classifier(weights: Path) -> Any:
    return HeadstartClassifier("starter", "probe", weights=str(weights), options=OPTIONS, device="cpu")


@pytest.fixture
def features(weights: Path) -> Any:
    return PhotoFeatures("starter", weights=str(weights), options=OPTIONS, device="cpu")


def test_a_class_that_is_left_out_is_none_of_the_classes(classifier: Any, X: list[str], y: np.ndarray) -> None:
    labels = y.copy()
    labels[0] = "rare"
    classifier.set_params(options={**OPTIONS, "min_per_class": 2}).fit(X, labels)
    assert classifier.classes_.tolist() == sorted(set(y))
    assert classifier.predict_proba(X[:3]).shape == (3, len(set(y)))
    assert set(classifier.predict(X)) <= set(y)


def test_each_fold_has_a_folder_of_its_own(classifier: Any, X: list[str], y: np.ndarray, tmp_path: Path) -> None:
    cross_val_score(classifier.set_params(folder=tmp_path / "run"), X, y, cv=2, error_score="raise")
    assert {path.name for path in tmp_path.glob("run*")} == {"run", "run-2"}


@pytest.fixture(name="X")
def paths(photos: Path) -> list[str]:
    return [str(path) for path in sorted(photos.rglob("*.png"))]


@pytest.fixture
def y(X: list[str]) -> np.ndarray:
    return np.array([Path(path).parent.name for path in X])


@pytest.mark.parametrize("name", WITHOUT_DATA)
@pytest.mark.parametrize("kind", [HeadstartClassifier, PhotoFeatures])
def test_scikit_learns_own_checks_that_need_no_data(kind: Any, name: str) -> None:
    if name == "check_estimators_unfitted" and kind is PhotoFeatures:
        pytest.skip("of estimators that predict")
    getattr(sklearn_checks, name)(kind.__name__, kind())


@pytest.mark.parametrize("kind", [HeadstartClassifier, PhotoFeatures])
def test_check_estimator_passes_and_says_what_it_skips(kind: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        results = sklearn_checks.check_estimator(kind())
    assert {result["status"] for result in results or ()} <= {"passed"}
    assert any(issubclass(warning.category, SkipTestWarning) for warning in told)


def test_fit_and_predict_are_train_and_predict(
    classifier: Any, X: list[str], y: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = classifier.get_params()
    assert classifier.fit(X, y) is classifier
    assert classifier.get_params() == before
    assert list(classifier.classes_) == ["cat", "dog", "owl"]
    state = dict(classifier.__dict__)
    proba = classifier.predict_proba(X)
    assert classifier.__dict__ == state
    assert proba.shape == (36, 3)
    assert np.allclose(proba.sum(1), 1)
    assert (classifier.predict(X) == classifier.classes_[proba.argmax(1)]).all()
    assert classifier.score(X, y) == accuracy_score(y, classifier.predict(X))
    run = hs.train(
        (X, y), out="run", test=0, val=0.15, backbone="starter", weights=classifier.weights, strategy="probe",
        precision="float32", device="cpu", quiet=True,
    )  # fmt: skip
    assert np.array_equal([p.probabilities for p in run.predict(X)], proba)
    assert sorted(os.listdir(tmp_path)) == ["own-cache", "run"]  # it left nothing itself
    again = clone(classifier).fit(X, y)
    assert np.array_equal(again.predict_proba(X), proba)  # fit is idempotent
    order = np.random.default_rng(0).permutation(36)
    assert np.array_equal(classifier.predict_proba([X[i] for i in order]), proba[order])
    assert np.array_equal(np.concatenate([classifier.predict_proba([one]) for one in X[:5]]), proba[:5])
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), proba)


@pytest.mark.parametrize("labels", [[2, 10, 1], [False, True, True], [1.0, 3.0, 2.0], ["path", "unknown", "NA"]])
def test_labels_come_back_as_they_were_given(classifier: Any, X: list[str], y: np.ndarray, labels: list[Any]) -> None:
    given = np.array([labels[("cat", "dog", "owl").index(one)] for one in y])
    classifier.fit(X, given)
    assert np.array_equal(classifier.classes_, np.unique(given))
    found = classifier.predict(X)
    assert found.dtype == given.dtype
    assert (found == given).mean() > 0.8
    assert np.array_equal(found, classifier.classes_[classifier.predict_proba(X).argmax(1)])


def test_pictures_are_taken_as_paths_are(features: Any, X: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    arrays = np.stack([np.asarray(Image.open(path)) for path in X])
    expected = features.fit(X).transform(X)
    column = pandas.Series(X, name="photo")
    forms = (arrays, list(arrays), np.array(X), np.array(X, object).reshape(-1, 1), column, column.to_frame())
    for form in forms:
        assert np.array_equal(features.transform(form), expected)
    assert expected.shape == (36, len(features.get_feature_names_out()))
    assert np.array_equal(hs.embed(X, backbone="starter", weights=features.weights, quiet=True, **OPTIONS), expected)
    named = features.set_output(transform="pandas").transform(X)
    assert list(named.columns[:2]) == ["photofeatures0", "photofeatures1"]


def test_a_pipeline_is_cross_validated(features: Any, classifier: Any, X: list[str], y: np.ndarray) -> None:
    pipeline = make_pipeline(features, LogisticRegression(max_iter=1000))
    scores = cross_val_score(pipeline, X, y, cv=3, error_score="raise")
    assert scores.shape == (3,)
    assert scores.mean() > 0.6
    assert cross_val_score(classifier, np.array(X), y, cv=2, error_score="raise").mean() > 0.6
    grid = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1]}, cv=2, error_score="raise").fit(X, y)
    assert grid.best_score_ > 0.6


def test_a_runs_backbone_makes_features(probe_run: Path, X: list[str]) -> None:
    made = PhotoFeatures(run=str(probe_run), device="cpu").fit_transform(X)
    assert np.array_equal(made, hs.embed(X, run=probe_run, device="cpu", quiet=True))


def test_a_run_and_another_backbone_do_not_go_together(probe_run: Path, X: list[str]) -> None:
    for more in ({"backbone": "starter"}, {"image_size": 64}, {"weights": "a.pth"}):
        with pytest.raises(OptionError, match=f"takes no `{next(iter(more))}`"):
            PhotoFeatures(run=str(probe_run), **more).fit(X)


def test_a_folder_keeps_the_run(classifier: Any, X: list[str], y: np.ndarray, tmp_path: Path) -> None:
    classifier.set_params(folder=tmp_path / "run").fit(X, y)
    assert hs.open_run(tmp_path / "run", "cpu").classifier.classes == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda X, y: ("photos", y), OptionError, "X is of the type str"),
        (
            lambda X, y: (np.zeros((48, 40, 3), np.uint8), y),
            OptionError,
            r"X is one picture, of the shape \(48, 40, 3\)",
        ),
        (lambda X, y: (X[:5], y), OptionError, "5 images and 36 labels"),
        (lambda X, y: (X, None), ValueError, "requires y to be passed"),
        (lambda X, y: (X, np.linspace(0, 1, 36)), ValueError, "continuous"),
        (lambda X, y: (X, ["cat"] * 36), DataError, "one class only"),
        (lambda X, y: (np.zeros((36, 4)), y), OptionError, r"an array \[4\] of float64"),
        (lambda X, y: (np.zeros((36, 4, 2)) + 300, y), OptionError, "beyond 0 and 1"),
    ],
)
def test_what_cannot_be_learned_is_said(
    classifier: Any, X: list[str], y: np.ndarray, spoil: Callable[..., Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        classifier.fit(*spoil(X, y))


def test_what_is_not_one_photo_each_is_said(
    classifier: Any, features: Any, X: list[str], y: np.ndarray, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    classifier.fit(X, y)
    features.fit(X)
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    for method in (classifier.predict, features.transform):
        with pytest.raises(DataError, match="1 samples, and they are 36 photos"):
            method([str(photos)])
        with pytest.raises(DataError, match=r"bad.jpg.* cannot be read"):
            method([X[0], str(tmp_path / "bad.jpg")])
        with pytest.raises(HeadstartError, match="No such photo"):
            method([str(tmp_path / "none.jpg")])
    with pytest.raises(OptionError, match="sets itself"):
        classifier.set_params(options={"seed": 3}).fit(X, y)
    for name in ("device", "quiet", "backbone"):
        with pytest.raises(OptionError, match=f"'{name}', which the estimator sets itself"):
            PhotoFeatures("starter", options={name: "cpu"}).fit(X)


def test_without_scikit_learn_a_message_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import headstart.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith('headstart.sklearn needs scikit-learn: pip install "headstart[sklearn]"')


def test_three_grey_pictures_are_three_samples() -> None:
    assert len(photos_of(np.zeros((3, 28, 28), np.uint8))) == 3

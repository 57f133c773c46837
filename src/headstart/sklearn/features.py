"""Photos to features for a pipeline of scikit-learn: ``transform`` is ``headstart.embed``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from headstart.core.paths import Place
from headstart.errors import DataError
from headstart.sklearn.photos import one_each, photos_of
from headstart.training.config import DEFAULT_BACKBONE
from headstart.workflows.embed.embed import embed


class PhotoFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Photos [n] to the features [n, D] of a frozen pretrained network. Nothing is learned, and the cache keeps them.

    Args:
        backbone: the pretrained network, as for ``headstart.embed``.
        run: a run, its folder or its classifier, whose backbone is taken instead.
        weights: a checkpoint of the backbone in place of a download.
        image_size: the input size, px; None: from the weights and the photos of a call. Give one where photos of
            different sizes are to be compared.
        options: any other options of ``headstart.embed``: ``{"cut": "layer3"}``.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        verbose: whether progress and messages are shown.
    """

    def __init__(
        self, backbone: str = DEFAULT_BACKBONE, *, run: Any = None, weights: Place | None = None,
        image_size: int | None = None, options: Mapping[str, Any] | None = None, device: Any = "auto",
        verbose: bool = False,
    ) -> None:  # fmt: skip
        self.backbone, self.run, self.weights, self.image_size = backbone, run, weights, image_size
        self.options, self.device, self.verbose = options, device, verbose

    def fit(self, X: Any, y: Any = None) -> PhotoFeatures:
        """Fix the input size by the photos, and count the features. Raises as ``headstart.embed``."""
        made = self._embed(photos_of(X))
        self._n_features_out, self.image_size_ = made.features.shape[1], made.image_size
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features float32 [n, D]. Raises DataError for a photo that cannot be read."""
        check_is_fitted(self)
        return np.asarray(self._embed(photos_of(X), self.image_size_).features)

    def _embed(self, photos: list[Any], image_size: int | None = None) -> Any:
        size = image_size or self.image_size
        own: Any = {"backbone": self.backbone, "weights": self.weights, "image_size": size}
        own = {} if self.run is not None else own
        others: Any = dict(self.options or {})
        made = embed(photos, run=self.run, device=self.device, quiet=not self.verbose, **own, **others)
        if made.bad:
            name, problem = next(iter(made.bad.items()))
            raise DataError(f"{name} cannot be read: {problem}.")
        one_each(len(made), photos)
        return made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.no_validation = True
        return tags

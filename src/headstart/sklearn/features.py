"""Photos to features for a pipeline of scikit-learn: ``transform`` is ``headstart.embed``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from headstart.core.paths import Place
from headstart.errors import DataError
from headstart.sklearn.photos import PhotosAsInput, merged, one_each, photos_of
from headstart.workflows.embed.embed import embed


class PhotoFeatures(PhotosAsInput, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Photos [n] to the features [n, D] of a frozen pretrained network. Nothing is learned, and the cache keeps them.

    Args:
        backbone: the pretrained network, as for ``headstart.embed``; None: resnet18.
        run: a run, its folder or its classifier, whose backbone is taken, at its own size, where no other is named.
        weights: a checkpoint of the backbone in place of a download.
        image_size: the input size, px; None: from the weights and the photos of a call. Give one where photos of
            different sizes are to be compared.
        options: any other options of ``headstart.embed``: ``{"cut": "layer3"}``.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        verbose: whether progress and messages are shown.
    """

    def __init__(
        self, backbone: str | None = None, *, run: Any = None, weights: Place | None = None,
        image_size: int | None = None, options: Mapping[str, Any] | None = None, device: Any = "auto",
        verbose: bool = False,
    ) -> None:  # fmt: skip
        self.backbone, self.run, self.weights, self.image_size = backbone, run, weights, image_size
        self.options, self.device, self.verbose = options, device, verbose

    def fit(self, X: Any, y: Any = None) -> PhotoFeatures:
        """Fix the input size by the photos, and count the features. Raises as ``headstart.embed``."""
        made = self._embed(photos_of(X))
        self._n_features_out = made.features.shape[1]
        self.image_size_ = None if self.run is not None else made.image_size
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features float32 [n, D]. Raises DataError for a photo that cannot be read."""
        check_is_fitted(self)
        return np.asarray(self._embed(photos_of(X), self.image_size_).features)

    def _embed(self, photos: list[Any], image_size: int | None = None) -> Any:
        own = {"backbone": self.backbone, "weights": self.weights, "image_size": image_size or self.image_size}
        own |= {"run": self.run, "device": self.device, "quiet": not self.verbose}
        asked: Any = merged(own, self.options)
        made = embed(photos, **asked)
        if made.bad:
            name, problem = next(iter(made.bad.items()))
            raise DataError(f"{name} cannot be read: {problem}.")
        one_each(len(made), photos)
        return made

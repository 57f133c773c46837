"""What both estimators share. In: X and options as scikit-learn has them. Out: a list of photos, keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from headstart.data.sources.in_memory import is_frame
from headstart.errors import DataError, OptionError


def photos_of(X: Any) -> list[Any]:
    """Paths or pictures, one for each sample; a frame or an array of one column is that column. Raises OptionError."""
    if isinstance(X, str | bytes | os.PathLike | Mapping) or not isinstance(X, Iterable):
        problem = f"X is of the type {type(X).__name__}: it must hold a photo for each sample."
        raise OptionError(problem, "Give a list of paths or of pictures.")
    given: Any = X
    if is_frame(given):
        if len(given.columns) != 1:
            problem = f"X has {len(given.columns)} columns: which holds the photos?"
            raise OptionError(problem, "Give that column alone.")
        given = given[given.columns[0]]
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    shape: tuple[int, ...] = tuple(getattr(given, "shape", ()))
    if kind in ("u", "i", "f") and len(shape) == 3 and shape[2] in (3, 4):
        raise OptionError(f"X is one picture, of the shape {shape}.", "Put it into a list: [X].")
    if getattr(given, "ndim", 1) == 2 and given.shape[1] == 1 and kind in ("O", "U", "T"):
        given = given[:, 0]
    return list(given)


def one_each(found: int, photos: list[Any]) -> None:
    """Raise DataError unless each sample was one photo: a folder, a pattern, a table or an archive is several."""
    if found != len(photos):
        raise DataError(f"X has {len(photos):,} samples, and they are {found:,} photos.", "Name one file for each.")


def merged(own: Mapping[str, Any], others: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of the estimator and those in its ``options``. Raises OptionError for one that it sets itself."""
    if twice := sorted(own.keys() & (others or {}).keys()):
        raise OptionError(f"`options` names {twice[0]!r}, which the estimator sets itself.", option="options")
    return {**own, **(others or {})}


class PhotosAsInput:
    """Tells scikit-learn that X holds photos, not numbers."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of BaseEstimator, which follows
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.no_validation = True
        return tags

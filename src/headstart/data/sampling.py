"""Stratified samples of labelled photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headstart.core.text import listed
from headstart.data.schema import Manifest, Photo
from headstart.data.stratify import quotas, shuffled
from headstart.errors import DataError

LEAST_PER_CLASS = 5
"""Photos of a class that are always taken, where it has them: one per fold."""


def by_label(photos: Sequence[Photo], split: str | None = None) -> dict[str, list[int]]:
    """The places of the photos of each class; with ``split``, of those in that split."""
    found: dict[str, list[int]] = {}
    for i, photo in enumerate(photos):
        if split is None or photo.split == split:
            found.setdefault(photo.label, []).append(i)
    return found


def in_proportion(of_class: Mapping[str, Sequence[int]], size: int, least: int = 1) -> dict[str, int]:
    """How many of each class make a sample of about ``size``: in proportion, but ``least`` where a class has them."""
    shares = quotas(size, [len(members) for members in of_class.values()])
    return {label: max(share, least) for label, share in zip(of_class, shares, strict=True)}


def draw(of_class: Mapping[str, Sequence[int]], most: Mapping[str, int], seed: int, salt: str = "") -> set[int]:
    """At most ``most[label]`` members of each class, the first of one order: a smaller sample lies within a larger.

    Which are taken depends on the seed, the salt and the class alone.
    """
    return {i for label, members in of_class.items() for i in shuffled(members, seed, f"{salt}{label}")[: most[label]]}


def choosable(manifest: Manifest) -> Manifest:
    """The photos that a choice may look at: all but those of a test split that the data brings."""
    return replace(manifest, photos=tuple(photo for photo in manifest.photos if photo.split != "test"))


def sampled(manifest: Manifest, size: int, seed: int) -> Manifest:
    """About ``size`` photos: each class in proportion, but not below ``LEAST_PER_CLASS`` where it has as many; in the
    order of the manifest.

    Raises:
        DataError: fewer than two classes, or a class with a single photo, which cross-validation cannot evaluate.
    """
    of_class = by_label(manifest.photos)
    _check(manifest, of_class)
    most = in_proportion(of_class, min(size, len(manifest.photos)), LEAST_PER_CLASS)
    taken = draw(of_class, most, seed)
    return replace(manifest, photos=tuple(photo for i, photo in enumerate(manifest.photos) if i in taken))


def _check(manifest: Manifest, of_class: Mapping[str, Sequence[int]]) -> None:
    if len(of_class) < 2:
        raise DataError(
            f"{manifest.name} has photos of {len(of_class)} class outside its test split: there is nothing to tell "
            "apart.",
            "Give labelled photos of two classes or more.",
        )
    single = [label for label, members in of_class.items() if len(members) < 2]
    if single:
        raise DataError(
            f"Of {listed(list(map(repr, single)))} there is one photo only: what is learned from it cannot be"
            " evaluated on another.",
            "Give at least two photos of each class.",
        )

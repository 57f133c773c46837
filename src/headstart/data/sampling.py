"""A sample of the photos. In: a manifest, a number, a seed. Out: the manifest restricted to a stratified sample of what
may be chosen by.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from headstart.data.schema import Manifest
from headstart.data.stratify import quotas, shuffled
from headstart.errors import DataError

LEAST_PER_CLASS = 5
"""Photos of a class that are always taken, where it has them: one per fold."""


def choosable(manifest: Manifest) -> Manifest:
    """The photos that a choice may look at: all but those of a test split that the data brings."""
    kept = tuple(photo for photo in manifest.photos if photo.split != "test")
    return replace(manifest, photos=kept)


def sampled(manifest: Manifest, size: int, seed: int) -> Manifest:
    """About ``size`` photos: each class in proportion, but not below ``LEAST_PER_CLASS`` where it has as many; in the
    order of the manifest. Which photos of a class are taken depends on the seed and the class alone.

    Raises:
        DataError: fewer than two classes, or a class with a single photo, which no cross-validation can judge.
    """
    of_class: dict[str, list[int]] = defaultdict(list)
    for i, photo in enumerate(manifest.photos):
        of_class[photo.label].append(i)
    _check(manifest, of_class)
    shares = quotas(min(size, len(manifest.photos)), [len(members) for members in of_class.values()])
    taken = [
        i
        for (label, members), share in zip(of_class.items(), shares, strict=True)
        for i in shuffled(members, seed, label)[: max(share, LEAST_PER_CLASS)]
    ]
    return replace(manifest, photos=tuple(manifest.photos[i] for i in sorted(taken)))


def _check(manifest: Manifest, of_class: dict[str, list[int]]) -> None:
    if len(of_class) < 2:
        raise DataError(
            f"{manifest.name} has photos of {len(of_class)} class outside its test split: there is nothing to tell "
            "apart.",
            "Give labelled photos of two classes or more.",
        )
    single = [label for label, members in of_class.items() if len(members) < 2]
    if single:
        raise DataError(
            f"Of {', '.join(map(repr, single[:5]))}{' …' if len(single) > 5 else ''} there is one photo only: what is "
            "learned from it cannot be judged on another.",
            "Give at least two photos of each class.",
        )

"""K folds of the photos to train on, and in each the division of the others into train and val.

Labels and units in, places of photos out. A draw depends on these and the seed only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.core.text import listed, quoted
from headstart.data.few import with_few
from headstart.data.filenames import natural_key
from headstart.data.schema import Fold, Manifest
from headstart.data.stratify import assign, places
from headstart.errors import DataError, option


def without_val(manifest: Manifest) -> Manifest:
    """The manifest with the photos of its val split in train: folds divide both, and each has a val part of its own."""
    photos = (replace(photo, split="train") if photo.split == "val" else photo for photo in manifest.photos)
    return replace(manifest, photos=tuple(photos))


def draw_folds(labels: Sequence[str], unit: Sequence[int], folds: int, val: float, seed: int) -> tuple[Fold, ...]:
    """Stratified folds, and a stratified val part of the photos outside each; units stay whole in both.

    Args:
        labels: the class of each photo [N].
        unit: photos with the same number stay together [N].
        folds: how many.
        val: the share of the photos outside a fold that choices are made on.
        seed: of the draw.

    Raises:
        DataError: classes with too few photos, all of them named; or groups that leave a part without a class.
    """
    _refuse_few(labels, unit, folds)
    fold_of = assign(labels, unit, [1 / folds] * folds, seed)
    drawn = []
    for fold in range(folds):
        others = [i for i, own in enumerate(fold_of) if own != fold]
        part = assign([labels[i] for i in others], [unit[i] for i in others], [1 - val, val], seed)
        train, chosen_on = ([i for i, own in zip(others, part, strict=True) if own == which] for which in (0, 1))
        for name, members in (("train", train), ("val", chosen_on)):
            if lacking := sorted(set(labels) - {labels[i] for i in members}, key=natural_key):
                raise DataError(
                    f"outside fold {fold + 1} no photo of {listed(list(map(quoted, lacking)))} is left for {name}: its"
                    " groups (or duplicates) cannot be divided",
                    "Add photos of other groups, or train without `folds`.",
                    option="folds",
                )
        drawn.append(Fold(tuple(train), tuple(chosen_on), tuple(i for i, own in enumerate(fold_of) if own == fold)))
    return tuple(drawn)


def _needed(folds: int) -> int:
    """Photos (or groups) of a class that so many folds need: one in each, and two outside each, for train and val."""
    return max(folds, 4 if folds == 2 else 3)


def _refuse_few(labels: Sequence[str], unit: Sequence[int], folds: int) -> None:
    if few := with_few(places(labels), unit, _needed(folds)):
        ways = [*([f"use `folds={few.fewest}`"] if few.fewest >= 3 else []), "add photos"]
        raise few.error(f"{option('folds', folds)}: too few photos", ways, "folds")

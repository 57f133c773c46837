"""Stratified samples of labelled photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headstart.core.events import Events
from headstart.core.text import listed, plural, quoted
from headstart.data.schema import Manifest
from headstart.data.stratify import places, quotas, shuffled
from headstart.errors import DataError


def draw(of_class: Mapping[str, Sequence[int]], most: Mapping[str, int], seed: int, salt: str = "") -> set[int]:
    """At most ``most[label]`` members of each class; a smaller sample is a subset of a larger one.

    The sample of a class depends on the seed, the salt and that class alone.
    """
    return {i for label, members in of_class.items() for i in shuffled(members, seed, f"{salt}{label}")[: most[label]]}


def choosable(manifest: Manifest, events: Events | None = None) -> Manifest:
    """The photos that choices may use: all but those of a given test split, whose number ``events`` are told."""
    kept = tuple(photo for photo in manifest.photos if photo.split != "test")
    if events and (left := len(manifest.photos) - len(kept)):
        events.message(f"{manifest.name}: its {plural(left, 'test photo is', 'test photos are')} not used")
    return replace(manifest, photos=kept)


def sampled(manifest: Manifest, size: int, seed: int) -> Manifest:
    """About ``size`` photos in the order of the manifest: each class in proportion, but five (one per fold) if it has
    them. Raises DataError for fewer than two classes, or a class with one photo.
    """
    of_class = places(photo.label for photo in manifest.photos)
    if len(of_class) < 2:
        raise DataError(
            f"{manifest.name} has photos of {len(of_class)} class outside its test split: there is nothing to tell"
            " apart.",
            "Give labelled photos of two classes or more.",
        )
    if single := [quoted(label) for label, members in of_class.items() if len(members) < 2]:
        raise DataError(
            f"{listed(single)}: one photo only, which cannot both train and test.",
            "Give at least two photos of each class.",
        )
    shares = quotas(min(size, len(manifest.photos)), [len(members) for members in of_class.values()])
    most = {label: max(share, 5) for label, share in zip(of_class, shares, strict=True)}
    taken = draw(of_class, most, seed)
    return replace(manifest, photos=tuple(photo for i, photo in enumerate(manifest.photos) if i in taken))

"""The photos of a study, found and decoded once for all arms that need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.data.schema import Manifest
from headstart.data.stratify import quotas, shuffled
from headstart.errors import DataError, OptionError, did_you_mean
from headstart.workflows.experiment.jobs import Experiment
from headstart.workflows.experiment.recipe import Images, Recipe

if TYPE_CHECKING:
    from headstart.core.events import Events
    from headstart.data.loading import LoadedImages


def assign_paths(recipe: Recipe, given: Mapping[str, str]) -> dict[str, str]:
    """Image set to folder, file or named dataset. ``given`` is the user's mapping; the name "" is the only set of the
    recipe.

    Raises:
        OptionError: a name that the recipe does not have, or a set that is neither given nor can be fetched.
    """
    used = list(dict.fromkeys(arm.images for arm in recipe.arms))
    places = {used[0] if not name and len(used) == 1 else name: path for name, path in given.items()}
    wrong = []
    for name, path in places.items():
        if name not in recipe.images:
            example = f"Image sets of {recipe.name}: {', '.join(recipe.images)} (`data={ {used[0]: path} }`)."
            hint = did_you_mean(name, recipe.images) or example
            given_as = f"`data={ {name: path} }`" if name else f"`data={path!r}`"
            wrong.append(f"{given_as}: {'no image set has that name' if name else 'which set?'} {hint}")
    for name in used:
        images = recipe.images[name]
        if name not in places and images.home is None:
            wrong.append(f"{recipe.name} needs photos of yours: `data={ {name: 'FOLDER'} }`. {images.words}".strip())
        places.setdefault(name, images.home or "")
    if wrong:
        raise OptionError("; ".join(wrong), option="data")
    return {name: places[name] for name in used}


class Library:
    """The photos of an experiment, found and decoded once: by image set, and by image set and size."""

    def __init__(self, experiment: Experiment, events: Events) -> None:
        self.experiment, self.events = experiment, events
        self._manifests: dict[str, Manifest] = {}
        self._photos: dict[tuple[str, int, str], LoadedImages] = {}

    def manifest(self, name: str) -> Manifest:
        """The photos of an image set as the recipe wants them split. Raises DataError, DownloadError."""
        from headstart.data.loading import find_photos

        if name not in self._manifests:
            found = find_photos(self.experiment.places[name], self.events)
            self._manifests[name] = as_wanted(found, self.experiment.recipe.images[name])
        return self._manifests[name]

    def any_size(self, name: str) -> LoadedImages | None:
        """The set's photos at a size that was read before, if one was."""
        return next((photos for key, photos in self._photos.items() if key[0] == name), None)

    def photos(self, name: str, resize: int, interpolation: str) -> LoadedImages:
        """The set's photos at a size, read once. Raises DataError."""
        from headstart.data.loading import read

        key = (name, resize, interpolation)
        if key not in self._photos:
            self._photos[key] = read(self.manifest(name), resize, interpolation, self.experiment.on_bad, self.events)
        return self._photos[key]


def as_wanted(manifest: Manifest, images: Images) -> Manifest:
    """The manifest with the split that is used as the test set named test, and at most ``images.test_photos`` in it:
    always the same ones, of each class in proportion, but at least one. Raises DataError.
    """
    if images.judge_on == "val":
        if any(photo.split == "test" for photo in manifest.photos):
            raise DataError(f"{manifest.name} has a test split: judge_on: val would leave it unused.", "Take it out.")
        photos = tuple(replace(p, split="test") if p.split == "val" else p for p in manifest.photos)
        manifest = replace(manifest, photos=photos)
    by_label: dict[str, list[int]] = {}
    for i, photo in enumerate(manifest.photos):
        if photo.split == "test":
            by_label.setdefault(photo.label, []).append(i)
    if images.test_photos is None or sum(map(len, by_label.values())) <= images.test_photos:
        return manifest
    kept: set[int] = set()
    shares = quotas(images.test_photos, [len(members) for members in by_label.values()])
    for (label, members), share in zip(by_label.items(), shares, strict=True):
        kept.update(shuffled(members, 0, label)[: max(1, share)])
    return replace(manifest, photos=tuple(p for i, p in enumerate(manifest.photos) if p.split != "test" or i in kept))

"""Embedded datasets: readable photos, their classes, and their features by a frozen backbone. ``check``, ``recommend``
and ``forecast`` start from these. A probe trains on the same features, under the same key of the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from headstart.core.events import Events
from headstart.data.filenames import natural_key
from headstart.data.images import DecodedImages
from headstart.data.loading import LoadedImages, find_photos
from headstart.data.schema import Manifest, Photo
from headstart.data.splits import too_alike
from headstart.data.stratify import units
from headstart.inference.device import Machine
from headstart.inference.features import ALL_STAGES, FeatureExtractor
from headstart.inference.runner import FrozenNetwork
from headstart.models.backbone import Backbone
from headstart.models.preprocessing import Preprocessing
from headstart.training.config import TrainOptions
from headstart.training.plan import Plan, check_overrides
from headstart.training.planning import resolve
from headstart.training.preparation import facts_of, read_for


@dataclass(frozen=True)
class EmbeddedDataset:
    """The usable photos of some data, in the order of the manifest.

    ``photos``: all that were found and read; ``members`` [N]: which of them are usable, as indices into the manifest;
    ``labels`` [N]: indices into ``classes``, which are in natural order; ``features`` [N, D] float32.
    """

    photos: LoadedImages
    members: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray
    backbone: Backbone
    preprocessing: Preprocessing
    machine: Machine
    plan: Plan
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.members)

    def photo(self, i: int) -> Photo:
        """Usable photo ``i`` as it was found."""
        return self.photos.manifest.photos[int(self.members[i])]

    @property
    def units(self) -> list[int]:
        """The unit of each photo: photos of one group, duplicates, and near duplicates except in classes that hardly
        have anything else are together.
        """
        every = self.photos.alike
        alike: list[int | None] = [every[int(i)] for i in self.members]
        for c in range(len(self.classes)):
            own = np.flatnonzero(self.labels == c)
            if too_alike(list(Counter(alike[i] for i in own).values())):
                for i in own:
                    alike[i] = None
        return units([self.photo(i).group for i in range(len(self))], self.pixels.digests, alike)

    @property
    def pixels(self) -> DecodedImages:
        """The pixels of the usable photos, in their order."""
        return self.photos.pixels.take(self.members.tolist())


def embed_dataset(options: TrainOptions, events: Events, manifest: Manifest | None = None) -> EmbeddedDataset:
    """Find and read the photos (or those of ``manifest``), and run each once through the backbone, by way of the cache.

    ``options``: as for ``train``; strategy and boundary are not used. Raises DataError, WeightsError, OptionError.
    """
    options = replace(options, strategy="probe", boundary=None)
    check_overrides(options.settings)
    manifest = manifest or find_photos(options.data, events, options=options.read_options)
    photos, backbone, machine = read_for(options, manifest, events)
    return embed_images(photos, backbone, machine, options, events)


def embed_images(
    photos: LoadedImages,
    backbone: Backbone,
    machine: Machine,
    options: TrainOptions,
    events: Events,
    ready: tuple[Plan, FrozenNetwork] | None = None,
) -> EmbeddedDataset:
    """The part of ``embed_dataset`` after reading. ``ready``: a plan for more photos than these, which are a sample of
    them, and the network prepared by that plan.
    """
    members = np.array([i for i, digest in enumerate(photos.pixels.digests) if digest is not None], dtype=np.int64)
    classes, labels = labels_of(photos.manifest.photos[i] for i in members)
    plan = ready[0] if ready else plan_of(photos.manifest, len(members), len(classes), backbone, machine, options)
    seen = backbone.preprocessing.at(plan.image_size, plan.resize, photos.pixels.ranges)
    network = {ALL_STAGES: ready[1]} if ready else {}
    extractor = FeatureExtractor(backbone, seen, machine, plan.precision, plan.engine, network)
    told = partial(events.progress, f"features by {backbone.name}")
    features = extractor.pooled(photos.pixels.take(members.tolist()), told)
    return EmbeddedDataset(photos, members, classes, labels, backbone, seen, machine, plan, features)


def plan_of(
    manifest: Manifest, photos: int, classes: int, backbone: Backbone, machine: Machine, options: TrainOptions
) -> Plan:
    """The plan of a probe that reads so many photos; it decides input size, precision and engine."""
    facts = facts_of(manifest, photos, classes, backbone, machine)
    return resolve(facts, options.seed, None, options.settings)


def labels_of(photos: Iterable[Photo]) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names in natural order, the index of each photo's class)."""
    labels = [photo.label for photo in photos]
    classes = tuple(sorted(set(labels), key=natural_key))
    index = {label: i for i, label in enumerate(classes)}
    return classes, np.array([index[label] for label in labels], dtype=np.int64)

"""Checks: their interface, their input (``Context``), their findings, and the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeVar, cast

import numpy as np

from headstart.core.events import Events
from headstart.core.registry import Registry
from headstart.data.duplicates.fingerprints import Fingerprints, fingerprints
from headstart.data.filenames import natural_key
from headstart.data.images import DecodedImages
from headstart.data.loading import LoadedImages
from headstart.data.schema import Photo
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError
from headstart.training.embeddings import labels_of

T = TypeVar("T")
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: the model or its metrics would be wrong; warning: review it first; note: good to know."""


@dataclass(frozen=True)
class Case:
    """One suspicious photo, or two duplicates. ``photos``: indices into the manifest; ``words``: shown beside their
    paths; ``score``: higher is more certain.
    """

    photos: tuple[int, ...]
    words: str = ""
    score: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One problem. ``sentence``: what is wrong; ``advice``: what to do; ``cases``: the photos concerned, the most
    certain first; ``files``: unusable files with reasons; ``kind``: the check's name.
    """

    severity: Severity
    sentence: str
    advice: str = ""
    cases: tuple[Case, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    kind: str = ""


@dataclass
class Context:
    """The input of checks: the photos, and the features [N, D] of the usable ones if a network computed them.

    ``members`` [N]: the usable photos, as indices into the manifest; everything else here is in their order.
    """

    photos: LoadedImages
    features: np.ndarray | None
    events: Events
    _known: dict[Callable[[Context], Any], Any] = field(default_factory=dict, repr=False)

    @cached_property
    def members(self) -> np.ndarray:
        return np.array([i for i, d in enumerate(self.photos.pixels.digests) if d is not None], dtype=np.int64)

    @cached_property
    def usable(self) -> list[Photo]:
        return [self.photos.manifest.photos[i] for i in self.members]

    @cached_property
    def pixels(self) -> DecodedImages:
        return self.photos.pixels.take(self.members.tolist())

    @cached_property
    def fingerprints(self) -> Fingerprints:
        return fingerprints(self.pixels, partial(self.events.progress, "fingerprints"))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Of any number of labels per photo, these."""
        return tuple(sorted({c for photo in self.usable for c in self.labels_of(photo)}, key=natural_key))

    def labels_of(self, photo: Photo) -> tuple[str, ...]:
        """The classes of a photo: one, or any number of labels."""
        return self.photos.manifest.labels_of(photo)

    @cached_property
    def labels(self) -> np.ndarray:
        """[N], indices into ``classes``, where photos have one each."""
        return labels_of(self.usable)[1]

    @property
    def several(self) -> bool:
        """Whether a photo has any number of labels."""
        return self.photos.manifest.several

    @cached_property
    def problem(self) -> DataError | None:
        """Why training on these classes and splits is impossible, if it is."""
        try:
            check_labels(self.usable, self.photos.manifest.name, self.several)
        except DataError as error:
            return error
        return None

    def once(self, compute: Callable[[Context], T]) -> T:
        """``compute(self)``, computed once and shared by the checks that ask for it."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return cast(T, self._known[compute])

    def cases(
        self, places: Iterable[int], words: Callable[[int], str], score: Callable[[int], float]
    ) -> tuple[Case, ...]:
        """One case for each of these usable photos (by index), the most certain first."""
        found = [Case((int(self.members[i]),), words(i), float(score(i))) for i in places]
        return tuple(sorted(found, key=lambda case: -case.score))


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        heading: of its findings on the page.
        run: returns the findings.
        needs_features: whether it needs features.
        removes: which photos of its cases ``fix`` removes: none, all, or all but one of duplicates.
        one_class: whether it presumes one class per photo, so that it is left out where there may be several labels.
    """

    heading: str
    run: Callable[[Context], Iterable[Finding]]
    needs_features: bool = False
    removes: Literal["none", "all", "duplicates"] = "none"
    one_class: bool = False


_OWN = {
    "classes": ("classes", "groups", "missing", "few", "uneven"),
    "duplicates": ("leakage", "conflict", "near-conflict", "copies"),
    "files": ("unreadable", "tiny", "shape", "blank", "converted", "giveaway"),
    "labels": ("label", "stranger", "unjudged"),
}
CHECKS: Registry[Check] = Registry(
    "check",
    "headstart.checks",
    {k: f"headstart.workflows.check.{m}:{k.upper().replace('-', '_')}" for m, kinds in _OWN.items() for k in kinds},
)
"""By the ``kind`` of their findings, in the display order of findings of equal severity."""


def find(context: Context) -> list[Finding]:
    """The findings of all checks, errors first."""
    every = ((kind, CHECKS.get(kind)) for kind in CHECKS.names())
    possible = ((kind, check) for kind, check in every if context.features is not None or not check.needs_features)
    if context.several:
        possible = ((kind, check) for kind, check in possible if not check.one_class)
    found = [replace(finding, kind=kind) for kind, check in possible for finding in check.run(context)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

"""``search``: the photos nearest to one photo, by the cosine similarity of their features."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.text import joined, plural
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.schema import ImageRef
from headstart.data.sources.unlabelled import Found, find_files, tell_skipped
from headstart.data.stratify import linked, units
from headstart.errors import DataError, OptionError
from headstart.evaluation.ood import unit_rows
from headstart.inference.classifier import Model
from headstart.inference.uses import NEAREST
from headstart.reporting.console import console_events
from headstart.reporting.notebook import frame, html, photo_tile
from headstart.training.config import EmbedOptions
from headstart.workflows.embed.embed import Embedded, embedded, gathered

if TYPE_CHECKING:
    from pandas import DataFrame

SPARE = 40
"""Photos beyond those asked for that are compared for copies, at least."""


@dataclass(frozen=True)
class Match:
    """A photo that was found; ``similarity``: the cosine of the angle between its features and the photo's; ``copies``:
    the names of its duplicates, which are no results of their own.
    """

    name: str
    similarity: float
    copies: tuple[str, ...] = ()
    photo: ImageRef | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Matches:
    """``nearest``: the most similar first; ``copies``: of the photo itself, exact and near; ``searched``: how many
    photos were compared; ``bad``: those that could not be read, with reasons.
    """

    photo: str
    nearest: tuple[Match, ...]
    copies: tuple[str, ...]
    searched: int
    network: str
    bad: dict[str, str]

    def frame(self) -> DataFrame:
        """A row per result as a pandas frame."""
        return frame({"path": m.name, "similarity": m.similarity, "copies": list(m.copies)} for m in self.nearest)

    @property
    def text(self) -> str:
        """The result as lines."""
        lines = [f"{match.similarity:.3f}  {match.name}{_copies(match.copies)}" for match in self.nearest]
        own = [f"the same picture: {name}" for name in self.copies]
        return joined([*own, *lines, f"of {plural(self.searched, 'photo')}, by {self.network}"])

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        nearest = [
            {"path": m.name, "similarity": round(m.similarity, 6), "copies": list(m.copies)} for m in self.nearest
        ]
        return {
            "photo": self.photo, "network": self.network, "searched": self.searched, "copies": list(self.copies),
            "nearest": nearest, "bad": self.bad,
        }  # fmt: skip

    def _repr_html_(self) -> str:
        tiles = (
            photo_tile(match.photo, f"{match.similarity:.3f}<br>{html(Path(match.name).name)}")
            for match in self.nearest if match.photo is not None
        )  # fmt: skip
        return f"<div>{''.join(tiles)}</div>"


def _copies(names: tuple[str, ...]) -> str:
    return f"  (and {plural(len(names), 'copy', 'copies')})" if names else ""


@typed
def search(
    photo: Any,
    within: Any,
    *,
    run: Model | None = None,
    most: int = NEAREST,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[EmbedOptions],
) -> Matches:
    """Find the photos nearest to one photo, by the cosine similarity of their features; duplicates are set aside.

    Args:
        photo: one photo: a path, or a picture in memory.
        within: the photos to search, as the files of ``predict``.
        run: whose backbone computes the features, as for ``predict``; by default the pretrained one that the options
            name.
        most: how many to find.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.EmbedOptions``: the backbone and how it is run; with ``run``, device
            alone.

    Returns:
        The nearest photos with their similarity, and the copies of the photo itself.

    Raises:
        DataError: a photo that cannot be read, or none to search.
        OptionError: an option that is unknown or has no use with a run.
        WeightsError: pretrained weights that are missing or do not fit.
        RunError: no model there.
    """
    if most < 1:
        raise OptionError(f"`most={most}` must be at least 1.", option="most")
    asked = gathered(run, options)
    query = list(find_files(photo, "photo").photos)
    if len(query) != 1:
        raise DataError(f"The photo to search for is {plural(len(query), 'photo')}.", "Name the file of one.")
    found = find_files(within, "within")
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        others = list(found.photos)
        if not others:
            raise DataError("There are no photos to search.", "Give some in `within`.")
        made = embedded(Found([*query, *others]), run, asked, events)
        assert made.pixels is not None
        if made.members[0] != 0:
            name, reason = next(iter(made.bad.items()))
            raise DataError(f"{name} cannot be read: {reason}.", "Give another photo.")
        if len(made.members) == 1:
            first, why = next(iter(made.bad.items()))
            raise DataError("None of the photos to search can be read.", f"The first: {first}: {why}.")
        return _matches(made, [[*query, *others][i] for i in made.members], most, events)


def _matches(made: Embedded, photos: list[ImageRef], most: int, events: Events) -> Matches:
    """The nearest to photo 0 of the others; copies are looked for among a few more than are asked for."""
    rows = unit_rows(made.features)
    similarity = np.clip(rows @ rows[0], -1, 1)
    order = 1 + np.argsort(-similarity[1:], kind="stable")
    near = [0, *order[: 2 * most + SPARE].tolist()]
    assert made.pixels is not None
    some = made.pixels.take(near)
    seen = fingerprints(some, partial(events.progress, "fingerprints"))
    pairs, _ = near_duplicates(seen, some.digests, made.features[near])
    group = units(some.digests, linked(len(near), pairs.tolist()))
    first: dict[int, int] = {}
    copies: dict[int, list[str]] = {group[0]: []}
    for unit, i in zip(group[1:], near[1:], strict=True):
        if unit in copies:
            copies[unit].append(made.names[i])
        else:
            first[i], copies[unit] = unit, []
    nearest = (
        Match(made.names[i], float(similarity[i]), tuple(copies[unit]), photos[i])
        for i, unit in list(first.items())[:most]
    )
    own = tuple(copies[group[0]])
    return Matches(made.names[0], tuple(nearest), own, len(rows) - 1, made.network, dict(made.bad))

"""Rows of a frozen pass that several processes share. In: what each process's cache lacks. Out: which rows it computes,
and afterwards every row in the cache of each.

A row does not depend on the process that computes it, nor on the other rows of its batch: what comes out is bit for bit
what one process would have computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.array_store import RowStore
from headstart.core.world import World

SENT, KEPT = 64, 2048
"""Rows that are sent at a time (maps of a boundary take up to a megabyte each), and that are written as one shard."""


def own_share(missing: Sequence[int], photos: int, world: World) -> list[int]:
    """Of the photos whose rows no process has, those that this one computes: every ``size``-th. With the caches as they
    were when each looked: a row that two lack is computed once.
    """
    nowhere = np.flatnonzero(_lacking(missing, photos, world).all(0))
    return [int(i) for i in nowhere[world.rank :: world.size]]


def exchange_rows(store: RowStore, digests: Sequence[str | None], world: World) -> None:
    """Once each process has computed its share: fill this one's store from those of the others, where it is not theirs
    too. All processes call it.
    """
    world.each(None)  # all have written
    store.refresh()
    lacking = _lacking(store.missing(digests), len(digests), world)
    wanted = np.flatnonzero(lacking.any(0))
    for rank in range(world.size):  # the first that has a row sends it
        sent = wanted[(~lacking[rank, wanted]) & lacking[:rank, wanted].all(0)]
        for start in range(0, len(sent), KEPT):
            _send(store, digests, sent[start : start + KEPT], lacking[world.rank], rank, world)


def _send(
    store: RowStore, digests: Sequence[str | None], places: np.ndarray, lacking: np.ndarray, rank: int, world: World
) -> None:
    """Rows of one process to all; each keeps those that it lacks."""
    with store.writing() as writer:
        for start in range(0, len(places), SENT):
            own = places[start : start + SENT]
            names = [str(digests[i]) for i in own]
            found = world.copy(store.gather(names) if world.rank == rank else None, rank)
            for i, name, row in zip(own, names, found, strict=True):
                if lacking[i]:
                    writer.add(name, row)


def own_photos(photos: int, batch: int, world: World) -> list[int]:
    """The photos of this process, where every ``size``-th batch is its: all batches but the last are full."""
    return [
        i
        for first in range(world.rank * batch, photos, batch * world.size)
        for i in range(first, first + batch)
        if i < photos
    ]


def in_order(rows: np.ndarray, photos: int, batch: int, world: World) -> np.ndarray:
    """The rows [photos, ...] of all, from those that each computed of ``own_photos``. All processes call it."""
    if world.size == 1:
        return rows
    number = np.arange(photos) // batch % world.size
    found = np.empty((photos, *rows.shape[1:]), rows.dtype)
    for rank, own in enumerate(world.gather(rows)):
        found[number == rank] = own
    return found


def _lacking(missing: Sequence[int], photos: int, world: World) -> np.ndarray:
    """Whether each process lacks the row of each photo, bool [size, photos]."""
    own = np.zeros(photos, bool)
    own[list(missing)] = True
    packed = world.gather(np.packbits(own))
    return np.stack([np.unpackbits(bits, count=photos).astype(bool) for bits in packed])

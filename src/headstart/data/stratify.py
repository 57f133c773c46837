"""Seeded, stratified, group-aware assignment of photos to parts.

A *unit* stays together: the photos of one group, the duplicates of one file, or a single photo.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np

K = TypeVar("K", bound=Hashable)


def places(keys: Iterable[K | None]) -> dict[K, list[int]]:
    """The indices at which each key occurs, in the order of first occurrence; None is no key."""
    found: dict[K, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        if key is not None:
            found[key].append(i)
    return found


def places_of(labels: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """The indices of the photos that have each label, in the order of first occurrence; a photo may have any number."""
    found: dict[str, list[int]] = defaultdict(list)
    for i, own in enumerate(labels):
        for label in own:
            found[label].append(i)
    return found


def groups(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Groups of two or more indices with the same key: exact duplicates, where the keys are digests."""
    return [group for group in places(keys).values() if len(group) > 1]


def shuffled(items: Sequence[int], seed: int, salt: str) -> list[int]:
    """``items`` in an order fixed by ``seed`` and ``salt`` (the name of a class: other classes do not change it).

    It sorts uniform draws: numpy keeps the stream of PCG64 stable, but not its shuffle methods.
    """
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(salt.encode())]))
    return [items[i] for i in np.argsort(rng.random(len(items)), kind="stable")]


def quotas(count: int, parts: Sequence[float]) -> list[int]:
    """``count`` divided in proportion to ``parts`` by largest remainder (Hamilton's method).

    Ties go to the earlier part. Every part above 0 gets at least one where ``count`` is enough for all of them.
    """
    total = sum(parts)
    if not total:
        return [0] * len(parts)
    exact = [round(count * part / total, 9) for part in parts]  # rounded: 0.15 * 1000 / 1.0 is slightly below 150
    out = [int(e) for e in exact]
    for s in sorted(range(len(parts)), key=lambda s: (out[s] - exact[s], s))[: count - sum(out)]:
        out[s] += 1
    if count >= sum(part > 0 for part in parts):
        for s, part in enumerate(parts):
            if part > 0 and out[s] == 0:
                out[out.index(max(out))] -= 1
                out[s] = 1
    return out


def units(*keys: Sequence[Hashable | None]) -> list[int]:
    """The unit of each photo: photos that share a value (not None) in any of ``keys``, directly or through others."""
    pairs = [(group[0], i) for values in keys for group in groups(values) for i in group[1:]]
    return linked(len(keys[0]), pairs)


def linked(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The unit of each of ``count`` photos where each pair stays together: the lowest index in it."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(i) for i in range(count)]


def assign(labels: Sequence[str], unit: Sequence[int], parts: Sequence[float], seed: int) -> list[int]:
    """The part (index into ``parts``) of each photo: every class is divided by ``quotas``, as nearly as units allow.

    Units of several photos are placed first, the largest before the smaller, each where it brings the class counts
    closest to their quotas (least squares, relative to the quota; the greedy scheme of Sechidis et al. 2011, "On the
    stratification of multi-label data", for whole units). Single photos then fill each class's quotas in shuffled
    order. The caller has to check whether a part lacks a class.
    """
    members = places(unit)
    wanted = {label: quotas(size, parts) for label, size in sorted(Counter(labels).items())}
    free = {label: [float(q) for q in quota] for label, quota in wanted.items()}
    out = [0] * len(labels)
    several = [u for u, photos in members.items() if len(photos) > 1]
    for u in sorted(shuffled(several, seed, "units"), key=lambda u: -len(members[u])):
        part = _best_part(Counter(labels[i] for i in members[u]), free, wanted)
        for i in members[u]:
            out[i] = part
            free[labels[i]][part] -= 1
    singles = places(label if len(members[u]) == 1 else None for label, u in zip(labels, unit, strict=True))
    for label, photos in singles.items():
        room = [max(left, 0.0) for left in free[label]]
        shares = [int(r) for r in room] if sum(room) == len(photos) else quotas(len(photos), room)
        drawn = (part for part, share in enumerate(shares) for _ in range(share))
        for i, part in zip(shuffled(photos, seed, label), drawn, strict=True):
            out[i] = part
    if several:
        _fill_gaps(out, labels, members.values(), [s for s, p in enumerate(parts) if p > 0])
    return out


def _best_part(counts: Counter[str], free: dict[str, list[float]], wanted: dict[str, list[int]]) -> int:
    """The part in which a unit reduces the squared distance to the quotas most (ties: the one with most room)."""

    def cost(part: int) -> tuple[float, float]:
        distance, room = 0.0, 0.0
        for label, n in counts.items():
            distance += (n * n - 2 * n * free[label][part]) / max(wanted[label][part], 1e-3)
            room += free[label][part]
        return distance, -room

    return min(range(len(next(iter(wanted.values())))), key=cost)


def _fill_gaps(out: list[int], labels: Sequence[str], members: Iterable[list[int]], parts: list[int]) -> None:
    """Give a part that lacks a class the smallest unit of it, from the part with most (which keeps at least one)."""
    holding: dict[str, list[list[int]]] = defaultdict(list)
    for photos in sorted(members, key=lambda p: (len(p), p)):
        for label in dict.fromkeys(labels[i] for i in photos):
            holding[label].append(photos)
    for _, of_class in sorted(holding.items()):
        for part in parts:
            count = Counter(out[photos[0]] for photos in of_class)
            donor, most = max(count.items(), key=lambda item: (item[1], -item[0]))
            if count[part] or most < 2:
                continue
            for i in next(photos for photos in of_class if out[photos[0]] == donor):
                out[i] = part

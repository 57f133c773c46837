"""Seeded, stratified, group-aware assignment of photos to parts.

A *unit* is what must stay together: the photos of one group, the duplicates of one file, or a single photo.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np


def shuffled(items: Sequence[int], seed: int, salt: str) -> list[int]:
    """``items`` in an order fixed by ``seed`` and ``salt`` (a class's name: other classes do not change it).

    Sorting uniform draws uses the stream of PCG64 alone, which numpy keeps stable; its shuffle methods may change
    between versions.
    """
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(salt.encode())]))
    return [items[i] for i in np.argsort(rng.random(len(items)), kind="stable")]


def quotas(count: int, parts: Sequence[float]) -> list[int]:
    """``count`` divided in proportion to ``parts`` by largest remainder (Hamilton's method); ties go to the earlier
    part.

    Every part with a share gets at least one where ``count`` suffices for all of them.
    """
    total = sum(parts)
    if not total:
        return [0] * len(parts)
    # Rounded, so that 0.15 * 1000 / 1.0 does not count as a hair below 150.
    exact = [round(count * part / total, 9) for part in parts]
    out = [int(e) for e in exact]
    by_remainder = sorted(range(len(parts)), key=lambda s: (out[s] - exact[s], s))
    for s in by_remainder[: count - sum(out)]:
        out[s] += 1
    if count >= sum(part > 0 for part in parts):
        for s in range(len(parts)):
            if parts[s] > 0 and out[s] == 0:
                out[out.index(max(out))] -= 1
                out[s] = 1
    return out


def units(*keys: Sequence[Hashable | None]) -> list[int]:
    """The unit of each photo: those that share a value (not None) in any of ``keys``, directly or by way of others."""
    pairs: list[tuple[int, int]] = []
    for values in keys:
        first: dict[Hashable, int] = {}
        pairs += [(first.setdefault(value, i), i) for i, value in enumerate(values) if value is not None]
    return linked(len(keys[0]), pairs)


def linked(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The unit of each of ``count`` photos where each pair stays together: the lowest of the photos in it."""
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
    """The part (index into ``parts``) of each photo: every class divided as ``quotas`` says, as nearly as its units
    allow.

    Units of several photos are placed first, the largest before the smaller, each where it brings the class counts
    closest to their quotas (least squares, relative to the quota; the greedy scheme of Sechidis et al. 2011, "On the
    stratification of multi-label data", for whole units). Single photos then fill each class's quotas in shuffled
    order. Which part a class lacks in the end, the caller has to check.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, u in enumerate(unit):
        members[u].append(i)
    sizes = Counter(labels)
    open_places = {label: [float(q) for q in quotas(sizes[label], parts)] for label in sorted(sizes)}
    wanted = {label: list(places) for label, places in open_places.items()}
    out = [0] * len(labels)
    several = [u for u, photos in members.items() if len(photos) > 1]
    for u in sorted(shuffled(several, seed, "units"), key=lambda u: -len(members[u])):
        counts = Counter(labels[i] for i in members[u])
        part = _best_part(counts, open_places, wanted)
        for i in members[u]:
            out[i] = part
            open_places[labels[i]][part] -= 1
    _fill_with_singles(out, labels, [p[0] for p in members.values() if len(p) == 1], open_places, seed)
    if several:
        _fill_gaps(out, labels, members.values(), [s for s, p in enumerate(parts) if p > 0])
    return out


def _best_part(counts: Counter[str], open_places: dict[str, list[float]], wanted: dict[str, list[float]]) -> int:
    """The part in which a unit lowers the squared distance to the quotas most (ties: the one with most room)."""

    def cost(part: int) -> tuple[float, float]:
        distance, room = 0.0, 0.0
        for label, n in counts.items():
            free = open_places[label][part]
            distance += (n * n - 2 * n * free) / max(wanted[label][part], 1e-3)
            room += free
        return distance, -room

    parts = range(len(next(iter(wanted.values()))))
    return min(parts, key=cost)


def _fill_with_singles(
    out: list[int], labels: Sequence[str], singles: list[int], open_places: dict[str, list[float]], seed: int
) -> None:
    of_label: dict[str, list[int]] = defaultdict(list)
    for i in singles:
        of_label[labels[i]].append(i)
    for label, photos in of_label.items():
        room = [max(places, 0.0) for places in open_places[label]]
        shares = [int(r) for r in room] if sum(room) == len(photos) else quotas(len(photos), room)
        parts = (part for part, share in enumerate(shares) for _ in range(share))
        for i, part in zip(shuffled(photos, seed, label), parts, strict=True):
            out[i] = part


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
            moved = next(photos for photos in of_class if out[photos[0]] == donor)
            for i in moved:
                out[i] = part

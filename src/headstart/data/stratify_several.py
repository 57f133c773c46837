"""Seeded, stratified assignment of photos with any number of labels to parts; units (see ``stratify``) stay whole.

Source: Sechidis, Tsoumakas & Vlahavas (2011), "On the stratification of multi-label data", ECML PKDD: the rarest label
first, each of its photos to the part that lacks it most.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from headstart.data.stratify import places, quotas, shuffled


def assign_several(
    labels: Sequence[Sequence[str]], unit: Sequence[int], parts: Sequence[float], seed: int
) -> list[int]:
    """The part (index into ``parts``) of each photo. The photos of each label, and all photos, are divided in
    proportion to ``parts``, as nearly as units and the labels that occur together allow. A label with as many units as
    there are parts is in each, unless that would take another label's last unit from a part: the caller has to check.
    """
    members = list(places(unit).values())
    held = [Counter(label for i in own for label in labels[i]) for own in members]
    totals = Counter[str]()
    for counts in held:
        totals.update(counts)
    free = {label: [float(q) for q in quotas(size, parts)] for label, size in totals.items()}
    room = [float(q) for q in quotas(len(labels), parts)]
    part_of: dict[int, int] = {}
    holding: dict[str, list[int]] = defaultdict(list)
    for u in sorted(shuffled(range(len(members)), seed, "units"), key=lambda u: -len(members[u])):
        for label in held[u]:
            holding[label].append(u)
    waiting = Counter({label: len(own) for label, own in holding.items()})
    usable = [part for part, share in enumerate(parts) if share > 0]
    while waiting:
        rarest = min(waiting, key=lambda label: (waiting[label], label))
        for u in holding[rarest]:
            if u not in part_of:
                part_of[u] = max(
                    usable, key=lambda part: (free[rarest][part], _wanted(held[u], free, part), room[part])
                )
                _place(held[u], len(members[u]), part_of[u], free, room)
                waiting.subtract(held[u].keys())
        del waiting[rarest]
    for u in sorted(shuffled(range(len(members)), seed, "without"), key=lambda u: -len(members[u])):
        if u not in part_of:  # photos without any label
            part_of[u] = max(usable, key=lambda part: room[part])
            _place(held[u], len(members[u]), part_of[u], free, room)
    _fill_gaps(part_of, held, members, usable)
    out = [0] * len(labels)
    for u, own in enumerate(members):
        for i in own:
            out[i] = part_of[u]
    return out


def _wanted(counts: Counter[str], free: dict[str, list[float]], part: int) -> float:
    """How much of all labels of a unit a part still lacks."""
    return sum(min(n, free[label][part]) for label, n in counts.items())


def _place(counts: Counter[str], photos: int, part: int, free: dict[str, list[float]], room: list[float]) -> None:
    for label, n in counts.items():
        free[label][part] -= n
    room[part] -= photos


def _fill_gaps(part_of: dict[int, int], held: list[Counter[str]], members: list[list[int]], parts: list[int]) -> None:
    """Give a part that lacks a label its smallest unit from the part with most, where no label loses its last one."""
    count: dict[str, Counter[int]] = defaultdict(Counter)
    for u, part in part_of.items():
        for label in held[u]:
            count[label][part] += 1
    for label in sorted(count, key=lambda label: (count[label].total(), label)):
        for part in parts:
            if count[label][part] or count[label].total() < len(parts):
                continue
            able = [
                u for u, here in part_of.items()
                if label in held[u] and all(count[other][here] > 1 for other in held[u])
            ]  # fmt: skip
            if able:
                moved = min(able, key=lambda u: (-count[label][part_of[u]], len(members[u]), u))
                for other in held[moved]:
                    count[other][part_of[moved]] -= 1
                    count[other][part] += 1
                part_of[moved] = part

"""Classes with too few photos to be divided. In: labels, units, how many a class needs. Out: the error to raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.core.text import listed, plural, quoted
from headstart.errors import DataError


@dataclass(frozen=True)
class FewPhotos:
    """``told``: a phrase for each class with fewer units than ``needed``; ``photos``: of these classes; ``fewest``:
    units of the smallest; ``classes``: of the data.
    """

    told: list[str]
    photos: int
    fewest: int
    classes: int
    needed: int

    def error(self, problem: str, ways: Sequence[str], option: str | None = None) -> DataError:
        """The error; ``ways``: what to do, besides leaving the classes out where two others are left."""
        ways = list(ways)
        if self.classes - len(self.told) >= 2:
            who = f"{plural(len(self.told), 'class', 'classes')} ({plural(self.photos, 'photo')})"
            ways.append(f"leave out {who} with `min_per_class={self.needed}`")
        return DataError(
            f"{problem} in {len(self.told):,} of {self.classes:,} classes: {listed(self.told, separator='; ')}",
            f"Each class needs {self.needed} at least: {', or '.join(ways)}.",
            option=option,
        )


def with_few(of_class: Mapping[str, Sequence[int]], unit: Sequence[int], needed: int) -> FewPhotos | None:
    """The classes whose photos, of those with the units ``unit`` [N], are in fewer than ``needed`` of these; None where
    there are none. ``of_class``: the indices of each class's photos.
    """
    told, photos, fewest = [], 0, needed
    for label, members in of_class.items():
        apart = len({unit[i] for i in members})
        if apart < needed:
            undivided = f" in {plural(apart, 'group')} that cannot be divided" if apart < len(members) else ""
            told.append(f"{quoted(label)} has {plural(len(members), 'photo')}{undivided}")
            photos, fewest = photos + len(members), min(fewest, apart)
    return FewPhotos(told, photos, fewest, len(of_class), needed) if told else None

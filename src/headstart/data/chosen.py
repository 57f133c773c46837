"""Some items of a sequence, in an order. In: the sequence and places in it. Out: a sequence that keeps the places
alone: photos of shards are made when they are looked at, and a list of them would be a gigabyte for a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class _Chosen(Sequence[T]):
    def __init__(self, whole: Sequence[T], places: np.ndarray) -> None:
        self.whole, self.places = whole, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: Any) -> Any:
        return chosen(self.whole, self.places[at]) if isinstance(at, slice) else self.whole[int(self.places[at])]


def chosen(whole: Sequence[T], places: Sequence[int] | np.ndarray) -> Sequence[T]:
    """The items at some places: of a list or tuple a list, of any other sequence a view."""
    if isinstance(whole, list | tuple):
        return [whole[i] for i in places]
    indices = np.asarray(places, dtype=np.int64)
    return _Chosen(whole.whole, whole.places[indices]) if isinstance(whole, _Chosen) else _Chosen(whole, indices)

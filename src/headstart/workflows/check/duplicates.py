"""Copies as findings. In: usable photos and the pairs that are one picture. Out: findings: copies across splits, under
two labels, and in one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.text import plural
from headstart.data.duplicates.fingerprints import Fingerprints
from headstart.data.duplicates.pairs import exact_duplicates, near_duplicates
from headstart.data.schema import Photo
from headstart.data.stratify import linked
from headstart.workflows.check.findings import Case, Finding

COPIES = ("leakage", "conflict", "near-conflict", "copies")
"""The kinds of findings about copies."""


@dataclass(frozen=True)
class Duplicates:
    """Pairs [P, 2] of usable photos, by their places among these, with likeness [P]: 1 where the bytes are the same."""

    pairs: np.ndarray
    likeness: np.ndarray
    exact: np.ndarray

    def units(self, count: int) -> list[int]:
        """A number per photo, the same for copies."""
        return linked(count, self.pairs.tolist())


def find_duplicates(seen: Fingerprints, digests: Sequence[str | None], features: np.ndarray | None) -> Duplicates:
    """All copies; of a group with the same bytes each one is paired with the first."""
    same = [(group[0], other) for group in exact_duplicates(digests) for other in group[1:]]
    near, likeness = near_duplicates(seen, digests, features)
    pairs = np.concatenate([np.array(same, dtype=np.int64).reshape(-1, 2), near])
    exact = np.arange(len(pairs)) < len(same)
    return Duplicates(pairs, np.concatenate([np.ones(len(same)), likeness]), exact)


def duplicate_findings(copies: Duplicates, photos: Sequence[Photo], members: np.ndarray) -> list[Finding]:
    """Each pair once, under the worst that can be said of it."""
    kinds: dict[str, list[Case]] = {kind: [] for kind in COPIES}
    for (a, b), likeness, exact in zip(copies.pairs.tolist(), copies.likeness, copies.exact, strict=True):
        one, other = photos[a], photos[b]
        words = "the same file" if exact else f"nearly the same ({likeness:.2f})"
        case = Case((int(members[a]), int(members[b])), words, float(likeness))
        if one.label != other.label:
            kinds["conflict" if exact else "near-conflict"].append(case)
        if one.split != other.split:
            kinds["leakage"].append(case)
        elif one.label == other.label:
            kinds["copies"].append(case)
    return [_finding(kind, cases) for kind, cases in kinds.items() if cases]


def _finding(kind: str, cases: list[Case]) -> Finding:
    number = plural(len(cases), "pair")
    ordered = tuple(sorted(cases, key=lambda case: -case.score))
    if kind == "leakage":
        return Finding(
            kind, "error", f"{number} of one picture in two splits: accuracy would flatter",
            "--fix leaves the one in train out.", ordered,
        )  # fmt: skip
    if kind == "conflict":
        return Finding(
            kind, "error", f"{number} of the same file under two labels", "One of the labels is wrong.", ordered
        )
    if kind == "near-conflict":
        return Finding(
            kind, "warning", f"{number} of nearly the same photo under two labels", "One may be wrong.", ordered
        )
    return Finding(
        kind,
        "note",
        f"{number} of one picture in one class",
        "train keeps them in one split where it draws splits.",
        ordered,
    )

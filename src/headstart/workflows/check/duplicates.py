"""Checks of duplicates: across splits, under two labels, within a class.

Each pair counts under the worst that can be said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.text import plural
from headstart.data.duplicates.fingerprints import Fingerprints
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.stratify import groups, linked
from headstart.workflows.check.base import Case, Check, Context, Finding, Severity


@dataclass(frozen=True)
class Duplicates:
    """Pairs [P, 2] of usable photos, by their places among these, with similarity [P]: 1 where the bytes are the
    same.
    """

    pairs: np.ndarray
    similarity: np.ndarray
    exact: np.ndarray

    def units(self, count: int) -> list[int]:
        """A number per photo, the same for duplicates."""
        return linked(count, self.pairs.tolist())


def duplicates_in(context: Context) -> Duplicates:
    """All duplicates among the usable photos."""
    context.events.message(f"Looking for duplicates among {plural(len(context.members), 'photo')}.")
    return find_duplicates(context.fingerprints, context.pixels.digests, context.features)


def find_duplicates(seen: Fingerprints, digests: Sequence[str | None], features: np.ndarray | None) -> Duplicates:
    """All duplicates; of a group with the same bytes each one is paired with the first."""
    same = [(group[0], other) for group in groups(digests) for other in group[1:]]
    near, similarity = near_duplicates(seen, digests, features)
    pairs = np.concatenate([np.array(same, dtype=np.int64).reshape(-1, 2), near])
    exact = np.arange(len(pairs)) < len(same)
    return Duplicates(pairs, np.concatenate([np.ones(len(same)), similarity]), exact)


def _by_kind(context: Context) -> dict[str, list[Case]]:
    found = context.once(duplicates_in)
    kinds: dict[str, list[Case]] = {"leakage": [], "conflict": [], "near-conflict": [], "copies": []}
    for (a, b), similarity, exact in zip(found.pairs.tolist(), found.similarity, found.exact, strict=True):
        one, other = context.usable[a], context.usable[b]
        words = "the same file" if exact else f"nearly the same ({similarity:.2f})"
        case = Case((int(context.members[a]), int(context.members[b])), words, float(similarity))
        if one.label != other.label:
            kinds["conflict" if exact else "near-conflict"].append(case)
        if one.split != other.split:
            kinds["leakage"].append(case)
        elif one.label == other.label:
            kinds["copies"].append(case)
    return {kind: sorted(cases, key=lambda case: -case.score) for kind, cases in kinds.items()}


def _check(kind: str, heading: str, severity: Severity, said: Callable[[str], str], advice: str) -> Check:
    """``said``: the sentence, of the number of pairs in words."""

    def run(context: Context) -> Iterator[Finding]:
        cases = context.once(_by_kind)[kind]
        if cases:
            yield Finding(severity, said(plural(len(cases), "pair")), advice, tuple(cases))

    return Check(heading, run, removes="duplicates")


LEAKAGE = _check(
    "leakage", "Duplicates across splits", "error",
    lambda pairs: f"{pairs} of duplicates across splits: the accuracy would be too high (test-set leakage)",
    "`fix` removes the one in train.",
)  # fmt: skip
CONFLICT = _check(
    "conflict", "Exact duplicates with different labels", "error",
    lambda pairs: f"{pairs} of exact duplicates with different labels", "One of the labels is wrong.",
)  # fmt: skip
NEAR_CONFLICT = _check(
    "near-conflict", "Near-duplicates with different labels", "warning",
    lambda pairs: f"{pairs} of near-duplicates with different labels", "One of the labels may be wrong.",
)  # fmt: skip
COPIES = _check(
    "copies", "Duplicates within a class", "note",
    lambda pairs: f"{pairs} of duplicates within a class", "Where training draws the splits, it keeps them together.",
)  # fmt: skip

"""Checks of duplicates: across splits, under two labels, within a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from headstart.core.text import plural
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.stratify import groups
from headstart.workflows.check.base import Case, Check, Context, Finding, Severity


class Duplicates(NamedTuple):
    """Pairs [P, 2] of usable photos (by index), their similarity [P], and whether their bytes are equal [P]."""

    pairs: np.ndarray
    similarity: np.ndarray
    exact: np.ndarray


def duplicates_in(context: Context) -> Duplicates:
    """All duplicates among the usable photos; of a group with equal bytes each is paired with the first."""
    context.events.message(f"Looking for duplicates among {plural(len(context.members), 'photo')}.")
    digests = context.pixels.digests
    same = [(group[0], other) for group in groups(digests) for other in group[1:]]
    near, similarity = near_duplicates(context.fingerprints, digests, context.features, context.photos.device)
    pairs = np.concatenate([np.array(same, dtype=np.int64).reshape(-1, 2), near])
    return Duplicates(pairs, np.concatenate([np.ones(len(same)), similarity]), np.arange(len(pairs)) < len(same))


def _by_kind(context: Context) -> dict[str, list[Case]]:
    kinds: dict[str, list[Case]] = {"leakage": [], "conflict": [], "near-conflict": [], "copies": []}
    for (a, b), similarity, exact in zip(*context.once(duplicates_in), strict=True):
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


def _check(kind: str, heading: str, severity: Severity, what: str, advice: str) -> Check:
    def run(context: Context) -> Iterator[Finding]:
        if cases := context.once(_by_kind)[kind]:
            yield Finding(severity, f"{plural(len(cases), 'pair')} of {what}", advice, tuple(cases))

    return Check(heading, run, removes="duplicates")


LEAKAGE = _check(
    "leakage", "Duplicates across splits", "error",
    "duplicates across splits: the accuracy would be too high (test-set leakage)",
    "Training leaves out the one in the earlier split (`leakage='drop'`), and so does the cleaned list.",
)  # fmt: skip
CONFLICT = _check(
    "conflict", "Exact duplicates with different labels", "error",
    "exact duplicates with different labels", "One of the labels is wrong.",
)  # fmt: skip
NEAR_CONFLICT = _check(
    "near-conflict", "Near-duplicates with different labels", "warning",
    "near-duplicates with different labels", "One of the labels may be wrong.",
)  # fmt: skip
COPIES = _check(
    "copies", "Duplicates within a class", "note",
    "duplicates within a class", "Where training draws the splits, it keeps them together.",
)  # fmt: skip

"""Strengths of L2 for probes: the grid, the usual strength, and how a choice among few photos leans towards it."""

from __future__ import annotations

import numpy as np

L2_GRID = tuple(float(v) for v in np.logspace(-3, 2, 11))
"""Strengths tried by default, in half decades: on photos the best is nearly always among them."""
USUAL_L2 = 0.2  # a strength that serves most photo sets; see ``prior_penalty``
USUAL_L2_BALANCED = 2.0
"""Likewise where classes are weighted: what a heavy class of few photos says needs more restraint
(benchmarks/claims/imbalance_l2.py)."""


def prior_penalty(l2: float, usual: float = USUAL_L2) -> float:
    """What a strength has to make up for, in photos: half a one per decade away from the usual strength.

    On few photos most strengths tie; then the usual one is a better choice than the lowest loss, which favours weak
    penalties (benchmarks/claims/l2_choice.py compares the two).
    """
    return 0.5 * abs(float(np.log10(l2 / usual)))

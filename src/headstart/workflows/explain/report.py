"""The page of explanations, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from headstart.core.text import plural
from headstart.reporting.page import photo, render_page

if TYPE_CHECKING:
    from headstart.workflows.explain.result import Explained


SIDE = 224


def render_explained(photos: Sequence[Explained], bad: dict[str, str], run: str) -> str:
    """One self-contained HTML page."""
    report = SimpleNamespace(
        title=run,
        answer=f"Where the network looked in {plural(len(photos), 'photo')}",
        more=(
            "Warm is where evidence for the class lay (Grad-CAM): at the coarse grid of the last feature maps, and"
            " within the part of the photo that the network sees. It shows where, not why."
        ),
        caveats=[],
        facts=[],
    )
    return render_page("workflows/explain/explain.html.j2", report=report, rows=[_row(one) for one in photos], bad=bad)


def _row(one: Explained) -> dict[str, Any]:
    found = one.prediction
    return {
        "photo": photo(one.photo, SIDE),
        "overlay": photo(one.overlay, SIDE),
        "label": found.label,
        "confidence": found.confidence,
        "unknown": found.unknown,
        "explained": one.label,
        "path": found.path.name,
        "neighbours": [
            {**photo(n.picture, 96), "label": n.label, "similarity": n.similarity, "path": n.shown}
            for n in one.neighbours
        ],
    }

"""The sheet of a check. In: what was found. Out: one HTML file with the photos in question side by side."""

from __future__ import annotations

from html import escape
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.report.data import Fact
from headstart.report.page import photo, plural, render_page

if TYPE_CHECKING:
    from headstart.checking.checking import Checked
    from headstart.checking.findings import Case, Finding

SHOWN = 48
"""Cases of a kind with pictures; the rest is in ``--json``."""
SIDE = 128
HEADINGS = {
    "classes": "Classes",
    "few": "Too few photos",
    "leakage": "The same picture in two splits",
    "conflict": "The same file under two labels",
    "near-conflict": "Nearly the same photo under two labels",
    "groups": "Groups in several splits",
    "unjudged": "Labels",
    "missing": "Classes that a split lacks",
    "unreadable": "Files that cannot be used",
    "giveaway": "Files that give the class away",
    "label": "Labels that are probably wrong",
    "stranger": "Photos like no class",
    "blank": "Photos with nothing in them",
    "tiny": "Tiny photos",
    "uneven": "Uneven classes",
    "shape": "Very long photos",
    "copies": "Copies in one class",
    "converted": "Converted while reading",
}


def render_check(found: Checked) -> str:
    """One self-contained HTML page."""
    listing = found.photos.listing
    unreadable = sum(len(f.files) for f in found.findings)
    report = SimpleNamespace(
        title=found.name,
        answer=found.answer + ".",
        more="Nothing was moved or deleted. " + _fixed(found),
        caveats=[],
        facts=[
            Fact("photos", f"{len(listing.photos):,}", listing.layout),
            Fact("classes", f"{len({p.label for p in listing.photos}):,}"),
            Fact("cannot be read", f"{unreadable:,}"),
            *(Fact(f"{word}s", str(sum(f.severity == word for f in found.findings))) for word in ("error", "warning")),
        ],
    )
    return render_page("check.html.j2", report=report, sections=[_section(found, f) for f in found.findings])


def _fixed(found: Checked) -> str:
    if found.cleaned is None:
        return "`headstart check DATA --fix clean.csv` writes a list without the photos that are in the way."
    return f"`{found.cleaned.name}` leaves {plural(found.left_out, 'photo')} out."


def _section(found: Checked, finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.kind,
        "heading": HEADINGS[finding.kind],
        "severity": finding.severity,
        "sentence": finding.sentence,
        "advice": finding.advice,
        "cases": [_case(found, case) for case in finding.cases[:SHOWN]],
        "more": max(0, len(finding.cases) - SHOWN),
        "files": finding.files[:200],
        "more_files": max(0, len(finding.files) - 200),
    }


def _case(found: Checked, case: Case) -> dict[str, Any]:
    return {"words": case.words, "photos": [{**photo(_picture(found, i), SIDE), **found.about(i)} for i in case.photos]}


def _picture(found: Checked, i: int) -> np.ndarray:
    """The whole photo: what was cut off matters here."""
    return found.photos.pixels.row(i)


def sheet_part(found: Checked) -> str:
    """The findings in a notebook, with the first photos of each."""
    rows = [f"<p><b>{escape(found.answer)}</b></p>"]
    for finding in found.findings:
        pictures = [_picture(found, i) for case in finding.cases[:6] for i in case.photos]
        shown = " ".join(f"<img src='{photo(pixels, 96)['src']}'>" for pixels in pictures)
        rows.append(f"<p>{finding.severity}: {escape(finding.sentence)}</p><div>{shown}</div>")
    return "".join(rows)

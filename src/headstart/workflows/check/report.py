"""The page of a check: one HTML file with the photos in question side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from headstart.core.text import plural
from headstart.reporting.command import command_line
from headstart.reporting.page import Fact, photo, render_page
from headstart.workflows.check.base import CHECKS, Case, Finding
from headstart.workflows.check.result import CheckResult

SHOWN = 48
"""Cases of a kind with pictures; the rest is in ``--json``."""
SIDE = 128


def render_check(found: CheckResult) -> str:
    """One self-contained HTML page."""
    manifest = found.photos.manifest
    unreadable = sum(len(f.files) for f in found.findings)
    report = SimpleNamespace(
        title=found.name,
        answer=found.answer + ".",
        more="Nothing was moved or deleted. " + _fixed(found),
        caveats=[],
        facts=[
            Fact("photos", f"{len(manifest.photos):,}", manifest.layout),
            Fact("classes", f"{len({p.label for p in manifest.photos}):,}"),
            Fact("cannot be used", f"{unreadable:,}"),
            *(Fact(f"{word}s", str(sum(f.severity == word for f in found.findings))) for word in ("error", "warning")),
        ],
    )
    return render_page(
        "workflows/check/check.html.j2", report=report, sections=[_section(found, f) for f in found.findings]
    )


def _fixed(found: CheckResult) -> str:
    if found.cleaned is None:
        return f"`{command_line('check', 'DATA', {'fix': 'clean.csv'})}` writes a list without the problem photos."
    return f"`{found.cleaned.name}` leaves {plural(found.left_out, 'photo')} out."


def _section(found: CheckResult, finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.kind,
        "heading": CHECKS.get(finding.kind).heading,
        "severity": finding.severity,
        "sentence": finding.sentence,
        "advice": finding.advice,
        "cases": [_case(found, case) for case in finding.cases[:SHOWN]],
        "more": max(0, len(finding.cases) - SHOWN),
        "files": finding.files[:200],
        "more_files": max(0, len(finding.files) - 200),
    }


def _case(found: CheckResult, case: Case) -> dict[str, Any]:
    return {"words": case.words, "photos": [{**photo(_picture(found, i), SIDE), **found.about(i)} for i in case.photos]}


def _picture(found: CheckResult, i: int) -> np.ndarray:
    """The whole photo: what was cut off matters here."""
    return found.photos.pixels.row(i)

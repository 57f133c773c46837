"""The words of a check. In: nothing. Out: ``Finding``: one kind of trouble with the photos that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: what is trained or measured would be wrong; warning: look at it first; note: good to know."""


@dataclass(frozen=True)
class Case:
    """Photos in question together: a pair of copies, or one photo. ``photos``: indices into the manifest; ``words``:
    what is to be said of them beside their paths; ``score``: how sure, the higher the surer.
    """

    photos: tuple[int, ...]
    words: str = ""
    score: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One kind of trouble. ``kind``: a word for programs; ``sentence``: what is wrong; ``advice``: what to do;
    ``cases``: the photos it concerns, the surest first; ``files``: those that are no usable photos, with reasons.
    """

    kind: str
    severity: Severity
    sentence: str
    advice: str = ""
    cases: tuple[Case, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

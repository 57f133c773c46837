"""The result of ``check``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.text import first_lines, joined, plural
from headstart.data.filenames import shown
from headstart.data.loading import LoadedImages
from headstart.reporting import notebook
from headstart.reporting.notebook import html
from headstart.reporting.page import photo
from headstart.workflows.check.base import SEVERITIES, Finding

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class CheckResult:
    """The findings; ``page``: the HTML file; ``cleaned``: the list that ``fix`` wrote, ``left_out``: how many photos
    are not in it, ``lost``: why it cannot be trained on, if so.
    """

    name: str
    photos: LoadedImages = field(repr=False)
    findings: tuple[Finding, ...]
    page: Path | None = None
    cleaned: Path | None = None
    left_out: int = 0
    lost: str = ""

    @property
    def fit(self) -> bool:
        """Whether nothing would make a model or its metrics wrong."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def readable(self) -> int:
        """The number of photos that can be read, which a training has, too."""
        return len(self.photos.manifest.photos) - len(self.photos.bad)

    @property
    def answer(self) -> str:
        """The findings in one sentence."""
        photos = f"{self.readable:,} photos of {self.name}"
        if not self.findings:
            return f"Nothing is wrong with the {photos}"
        numbers = Counter(finding.severity for finding in self.findings)
        counts = ", ".join(plural(numbers[severity], severity) for severity in SEVERITIES if numbers[severity])
        return f"The {photos} {'can be trained on' if self.fit else 'should not be trained on as they are'}: {counts}"

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        findings = []
        for finding in self.findings:
            cases = [
                {"photos": [self.about(i) for i in case.photos], "words": case.words, "score": round(case.score, 4)}
                for case in finding.cases
            ]
            files = [{"path": path, "reason": reason} for path, reason in finding.files]
            told = {name: getattr(finding, name) for name in ("kind", "severity", "sentence", "advice")}
            findings.append({**told, "cases": cases, "files": files})
        return {
            "data": self.name,
            "photos": self.readable,
            "fit": self.fit,
            "findings": findings,
            "page": str(self.page) if self.page else None,
            "cleaned": str(self.cleaned) if self.cleaned else None,
            "left_out": self.left_out,
            "lost": self.lost,
        }

    def text(self, most: int) -> str:
        """The findings as lines, each with its first ``most`` cases; options as Python writes them."""
        lines = [f"{self.answer}."]
        for finding in self.findings:
            lines += ["", f"{finding.severity:8} {finding.sentence}. {finding.advice}".rstrip()]
            below = []
            for case in finding.cases:
                photos = [self.about(i) for i in case.photos]
                labels = ", ".join(dict.fromkeys(one["label"] for one in photos))
                below.append(f"{' = '.join(one['path'] for one in photos)} ({labels})  {case.words}".rstrip())
            below += [f"{path}: {reason}" for path, reason in finding.files]
            lines += [f"         {line}" for line in first_lines(below, most)]
        lines += ["", f"page: {self.page}"]
        if self.cleaned:
            lines.append(f"cleaned list: {self.cleaned} ({plural(self.left_out, 'photo')} left out)")
        if self.lost:
            lines.append(f"It cannot be trained on: {self.lost}.")
        return joined(lines)

    def about(self, i: int) -> dict[str, Any]:
        """Path, label and split of photo ``i`` of the manifest."""
        manifest = self.photos.manifest
        one = manifest.photos[i]
        return {"path": shown(one.path, manifest.root), "label": one.label, "split": one.split}

    def frame(self) -> DataFrame:
        """One row per photo concerned, as a pandas frame."""
        rows = []
        for finding in self.findings:
            cases = [([self.about(i) for i in case.photos], case.words) for case in finding.cases]
            cases += [([{"path": path, "label": None, "split": None}], reason) for path, reason in finding.files]
            for n, (photos, words) in enumerate(cases):
                told = {"kind": finding.kind, "severity": finding.severity, "case": n}
                rows += [{**told, **one, "words": words} for one in photos]
        return notebook.frame(rows).reindex(columns=["kind", "severity", "case", "path", "label", "split", "words"])

    def _repr_html_(self) -> str:
        rows = [f"<p><b>{html(self.answer)}</b></p>"]
        for finding in self.findings:
            pictures = [self.photos.pixels.picture(i) for case in finding.cases[:6] for i in case.photos]
            images = " ".join(f"<img src='{photo(pixels, 96)['src']}'>" for pixels in pictures)
            rows.append(f"<p>{finding.severity}: {html(finding.sentence)}</p><div>{images}</div>")
        return "".join(rows)

"""What ``check`` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.text import plural
from headstart.data.filenames import shown
from headstart.data.loading import LoadedImages
from headstart.workflows.check.base import SEVERITIES, Case, Finding

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class CheckResult:
    """What a check found; ``page``: the HTML file; ``cleaned``: the list that ``fix`` wrote, ``left_out``: how many
    photos are not in it, ``lost``: why it cannot be trained on, if so.
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
        """Whether nothing would make a training, or its figures, wrong."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def answer(self) -> str:
        """The whole in a sentence."""
        if not self.findings:
            return f"Nothing is wrong with the {len(self.photos.manifest.photos):,} photos of {self.name}"
        of = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        told = ", ".join(plural(number, severity) for severity, number in of.items() if number)
        verdict = "can be trained on" if self.fit else "should not be trained on as they are"
        return f"The {len(self.photos.manifest.photos):,} photos of {self.name} {verdict}: {told}"

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        paths = {"page": self.page, "cleaned": self.cleaned}
        return {
            "data": self.name,
            "photos": len(self.photos.manifest.photos),
            "fit": self.fit,
            "findings": [self._told(finding) for finding in self.findings],
            **{name: str(path) if path else None for name, path in paths.items()},
            "left_out": self.left_out,
            "lost": self.lost,
        }

    def _told(self, finding: Finding) -> dict[str, Any]:
        cases = [
            {"photos": [self.about(i) for i in case.photos], "words": case.words, "score": round(float(case.score), 4)}
            for case in finding.cases
        ]
        files = [{"path": path, "reason": reason} for path, reason in finding.files]
        told = {"kind": finding.kind, "severity": finding.severity, "sentence": finding.sentence}
        return {**told, "advice": finding.advice, "cases": cases, "files": files}

    def text(self, most: int) -> str:
        """The findings as lines, each with its first ``most`` cases; options as Python writes them."""
        lines = [f"{self.answer}."]
        for finding in self.findings:
            lines.append(f"\n{finding.severity:8} {finding.sentence}. {finding.advice}".rstrip())
            told = [self._case_line(case) for case in finding.cases]
            told += [f"{path}: {reason}" for path, reason in finding.files]
            lines += [f"         {line}" for line in told[:most]]
            lines += [f"         … and {len(told) - most:,} more"] if len(told) > most else []
        lines.append(f"\npage: {self.page}")
        if self.cleaned:
            lines.append(f"cleaned list: {self.cleaned} ({plural(self.left_out, 'photo')} left out)")
        if self.lost:
            lines.append(f"It cannot be trained on: {self.lost}.")
        return "\n".join(lines)

    def _case_line(self, case: Case) -> str:
        told = [self.about(i) for i in case.photos]
        labels = dict.fromkeys(one["label"] for one in told)
        return f"{' = '.join(one['path'] for one in told)} ({', '.join(labels)})  {case.words}".rstrip()

    def about(self, i: int) -> dict[str, Any]:
        """Path, label and split of a photo of the manifest."""
        photo = self.photos.manifest.photos[i]
        return {"path": shown(photo.path, self.photos.manifest.root), "label": photo.label, "split": photo.split}

    def frame(self) -> DataFrame:
        """A row per photo in question as a pandas frame."""
        from headstart.reporting.notebook import frame

        return frame(
            {
                **{"kind": f.kind, "severity": f.severity, "case": n},
                **{"path": one["path"], "label": one["label"], "split": one["split"], "words": words},
            }
            for f in self.findings
            for n, (about, words) in enumerate(self._rows(f))
            for one in about
        ).reindex(columns=["kind", "severity", "case", "path", "label", "split", "words"])

    def _rows(self, finding: Finding) -> list[tuple[list[dict[str, Any]], str]]:
        files = [([{"path": path, "label": None, "split": None}], reason) for path, reason in finding.files]
        return [([self.about(i) for i in case.photos], case.words) for case in finding.cases] + files

    def _repr_html_(self) -> str:
        from html import escape

        from headstart.reporting.page import photo

        rows = [f"<p><b>{escape(self.answer)}</b></p>"]
        for finding in self.findings:
            pictures = [self.photos.pixels.row(i) for case in finding.cases[:6] for i in case.photos]
            shown = " ".join(f"<img src='{photo(pixels, 96)['src']}'>" for pixels in pictures)
            rows.append(f"<p>{finding.severity}: {escape(finding.sentence)}</p><div>{shown}</div>")
        return "".join(rows)

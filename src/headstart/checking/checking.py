"""``check``: are these photos fit to learn from. In: data. Out: ``Checked``: findings by severity, a page of the photos
in question, and a cleaned list where one is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.cache import trim
from headstart.checking.copying import copy_findings, find_copies
from headstart.checking.files import class_findings, file_findings, giveaways
from headstart.checking.findings import SEVERITIES, Case, Finding, counted
from headstart.checking.fingerprints import fingerprints
from headstart.checking.fix import left_out_path, write_cleaned
from headstart.checking.labels import Opinion, can_judge, judge_labels
from headstart.classifier import write_text
from headstart.data.names import shown
from headstart.errors import OptionError, RunError, WeightsError
from headstart.options import TrainOptions
from headstart.prepare import Photos, find_photos, read, read_for
from headstart.survey import Survey, labels_of, survey_of
from headstart.training.folds import FOLDS
from headstart.voice import Voice

if TYPE_CHECKING:
    from pandas import DataFrame

QUICK_SIZE = 224
"""Shorter side, px, that photos are read at where no network says which it wants."""


@dataclass(frozen=True)
class Checked:
    """What a check found; ``page``: the HTML sheet; ``cleaned``: the list that ``fix`` wrote, ``left_out``: how many
    photos are not in it, ``lost``: why it cannot be trained on, if so.
    """

    name: str
    photos: Photos = field(repr=False)
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
            return f"Nothing is wrong with the {len(self.photos.listing.photos):,} photos of {self.name}"
        of = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        told = ", ".join(counted(number, severity) for severity, number in of.items() if number)
        verdict = "can be trained on" if self.fit else "should not be trained on as they are"
        return f"The {len(self.photos.listing.photos):,} photos of {self.name} {verdict}: {told}"

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        paths = {"page": self.page, "cleaned": self.cleaned}
        return {
            "data": self.name,
            "photos": len(self.photos.listing.photos),
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
        """The findings as lines, each with its first ``most`` cases."""
        lines = [f"{self.answer}."]
        for finding in self.findings:
            lines.append(f"\n{finding.severity:8} {finding.sentence}. {finding.advice}".rstrip())
            told = [self._case_line(case) for case in finding.cases]
            told += [f"{path}: {reason}" for path, reason in finding.files]
            lines += [f"         {line}" for line in told[:most]]
            lines += [f"         … and {len(told) - most:,} more"] if len(told) > most else []
        lines.append(f"\npage: {self.page}")
        if self.cleaned:
            lines.append(f"cleaned list: {self.cleaned} ({counted(self.left_out, 'photo')} left out)")
        if self.lost:
            lines.append(f"It cannot be trained on: {self.lost}.")
        return "\n".join(lines)

    def _case_line(self, case: Case) -> str:
        told = [self.about(i) for i in case.photos]
        labels = dict.fromkeys(one["label"] for one in told)
        return f"{' = '.join(one['path'] for one in told)} ({', '.join(labels)})  {case.words}".rstrip()

    def about(self, i: int) -> dict[str, Any]:
        """Path, label and split of a photo of the listing."""
        photo = self.photos.listing.photos[i]
        return {"path": shown(photo.path, self.photos.listing.root), "label": photo.label, "split": photo.split}

    def frame(self) -> DataFrame:
        """A row per photo in question as a pandas frame."""
        from headstart.notebook import frame

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
        from headstart.report.check import sheet_part

        return sheet_part(self)


def check(
    data: str | Path,
    *,
    out: str | Path | None = None,
    fix: str | Path | None = None,
    quick: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Checked:
    """Find what is wrong with labelled photos before they are trained on.

    Args:
        data: as for ``train``. out: the page, by default ``runs/<data>-check.html``.
        fix: a CSV to write, without the photos that are in the way; nothing is moved or deleted.
        quick: files, classes and copies only, without a network.
        options: backbone, weights, image_size, device, … as for ``train``.

    Raises:
        DataError: no photos there. OptionError: a file that exists.
    """
    asked = TrainOptions.gather(data, None, {**options, "on_bad": "skip"})
    name = f"{asked.run_name().removesuffix('-auto')}-check{'-quick' if quick else ''}.html"
    page = Path(out) if out else Path("runs") / name
    _refuse(asked.data, Path(out) if out else None, Path(fix) if fix else None, overwrite)
    with Voice(quiet) as voice:
        photos, seen = look(asked, quick, voice)
        found = Checked(photos.listing.name, photos, tuple(judged(photos, seen, voice)))
        if fix:
            left_out, lost = write_cleaned(photos, found.findings, Path(fix))
            found = replace(found, cleaned=Path(fix), left_out=left_out, lost=lost)
        from headstart.report.check import render_check

        found = replace(found, page=page)
        write_text(page, render_check(found))
        with suppress(RunError):
            trim()
    return found


def _refuse(data: str, page: Path | None, fix: Path | None, overwrite: bool) -> None:
    """Raise OptionError for files that would be lost."""
    if fix and os.path.abspath(fix) in (os.path.abspath(data), os.path.abspath(page) if page else ""):
        raise OptionError(
            f"--fix {fix} is the {'data' if page is None or fix != page else 'page'} itself.", "Name another file."
        )
    written = [path for path in (page, fix, left_out_path(fix) if fix else None) if path]
    there = [str(path) for path in written if os.path.exists(path)]
    if there and not overwrite:
        raise OptionError(f"{there[0]} exists.", "Choose another name, or use --overwrite.")


def look(asked: TrainOptions, quick: bool, voice: Voice) -> tuple[Photos, Survey | None]:
    """The photos, and where there is a network for it how it sees them."""
    listing = find_photos(asked.data, voice, for_training=False)
    if quick:
        return read(listing, asked.settings.get("image_size") or QUICK_SIZE, "bilinear", "tell", voice), None
    try:
        photos, backbone, machine = read_for(replace(asked, strategy="probe"), listing, voice, "tell")
    except WeightsError as error:
        if asked.weights or asked.from_run:
            raise
        voice.warn(
            f"{error.problem.rstrip('.')}. Without a backbone labels are not judged, and few cropped copies found."
        )
        return look(asked, True, voice)
    return photos, survey_of(photos, backbone, machine, asked, voice)


def judged(photos: Photos, seen: Survey | None, voice: Voice) -> list[Finding]:
    """All findings, the worst first."""
    members = np.array([i for i, digest in enumerate(photos.pixels.digests) if digest is not None], dtype=np.int64)
    usable = [photos.listing.photos[i] for i in members]
    pixels = photos.pixels.take(members.tolist())
    prints = fingerprints(pixels, lambda done, total: voice.progress("fingerprints", done, total))
    voice.say(f"Looking for copies among {counted(len(members), 'photo')}.")
    copies = find_copies(prints, pixels.digests, seen.features if seen else None)
    found = [
        *class_findings(photos, members),
        *copy_findings(copies, usable, members),
        *file_findings(photos, prints.thumbs, members),
    ]
    classes, labels = labels_of(usable)
    if len(classes) > 1:
        found += giveaways(photos, members, labels, classes)
    if seen and len(classes) > 1:
        unit = copies.units(len(members))
        if can_judge(labels, unit):
            voice.say("Asking probes that did not see them about the labels.")
            opinion = judge_labels(seen.features, labels, len(classes), unit)
            found += opinion_findings(opinion, labels, classes, members)
        else:
            sentence = f"labels are not judged: a class has fewer than {FOLDS} different pictures"
            found.append(Finding("unjudged", "note", sentence))
    order = {severity: n for n, severity in enumerate(SEVERITIES)}
    return sorted(found, key=lambda finding: order[finding.severity])


def opinion_findings(
    opinion: Opinion, labels: np.ndarray, classes: Sequence[str], members: np.ndarray
) -> list[Finding]:
    """Photos like no class, and labels that are probably wrong, as findings."""
    found = []
    strange, best = np.flatnonzero(opinion.strange), opinion.answers
    wrong = np.flatnonzero(opinion.suspect & ~opinion.strange)
    if len(wrong):
        sure = opinion.probabilities[wrong, best[wrong]]
        cases = [
            Case((int(members[i]),), f"looks like {classes[best[i]]} ({p:.2f})", float(p))
            for i, p in sorted(zip(wrong, sure, strict=True), key=lambda pair: -pair[1])
        ]
        sentence = f"{counted(len(wrong), 'label is', 'labels are')} probably wrong"
        found.append(Finding("label", "warning", sentence, "Look at each: hard photos are among them.", tuple(cases)))
    if len(strange):
        far = opinion.strangeness[strange]
        cases = [
            Case((int(members[i]),), f"strangeness {s:.1f}", float(s))
            for i, s in sorted(zip(strange, far, strict=True), key=lambda pair: -pair[1])
        ]
        sentence = f"{counted(len(strange), 'photo looks', 'photos look')} like no class"
        found.append(Finding("stranger", "warning", sentence, "Do they belong here?", tuple(cases)))
    return found

"""``check``: audit a dataset before training, with a page of the findings and, on request, a cleaned list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from headstart.core.array_store import trim
from headstart.core.events import Events, Listener
from headstart.core.files import write_text
from headstart.core.text import counted
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.loading import LoadedImages, find_photos, read
from headstart.errors import OptionError, RunError, WeightsError
from headstart.reporting.console import console_events
from headstart.training.config import CheckOptions, TrainOptions
from headstart.training.cross_validation import FOLDS
from headstart.training.embeddings import EmbeddedDataset, embed_images, labels_of
from headstart.training.preparation import read_for
from headstart.workflows.check.cleaning import left_out_path, write_cleaned
from headstart.workflows.check.duplicates import duplicate_findings, find_duplicates
from headstart.workflows.check.files import class_findings, file_findings, spurious_correlations
from headstart.workflows.check.findings import SEVERITIES, Case, Finding
from headstart.workflows.check.labels import LabelIssues, enough_to_judge, find_label_issues
from headstart.workflows.check.result import CheckResult

QUICK_SIZE = 224
"""Shorter side, px, that photos are read at where no network says which it wants."""


def check(
    data: str | Path,
    *,
    out: str | Path | None = None,
    fix: str | Path | None = None,
    quick: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[CheckOptions],
) -> CheckResult:
    """Audit labelled photos before training: duplicates, label errors, outliers, unreadable files.

    Args:
        data: as for ``train``.
        out: the page; by default ``runs/<data>-check.html``.
        fix: a CSV to write, cleaned; a second one lists the photos that were removed. No file is moved or deleted.
        quick: files, classes and duplicates only, without a network.
        overwrite: replace a page or CSV that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.CheckOptions``: the backbone and how it is run.

    Returns:
        The findings, whether the photos are fit to train on, and the page.

    Raises:
        DataError: no photos there.
        OptionError: a file that exists, or an option that is unknown or cannot be.
    """
    asked = TrainOptions.gather(data, None, options, "check", on_bad="skip")
    name = f"{asked.run_name().removesuffix('-auto')}-check{'-quick' if quick else ''}.html"
    page = Path(out) if out else Path("runs") / name
    _refuse(asked.data, Path(out) if out else None, Path(fix) if fix else None, overwrite)
    with console_events(quiet, listener) as events:
        photos, seen = look(asked, quick, events)
        found = CheckResult(photos.manifest.name, photos, tuple(judged(photos, seen, events)))
        for one in found.findings:
            events.finding(one.kind, one.severity, one.sentence)
        if fix:
            left_out, lost = write_cleaned(photos, found.findings, Path(fix))
            found = replace(found, cleaned=Path(fix), left_out=left_out, lost=lost)
        from headstart.workflows.check.report import render_check

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


def look(asked: TrainOptions, quick: bool, events: Events) -> tuple[LoadedImages, EmbeddedDataset | None]:
    """The photos, and where there is a network for it how it sees them."""
    manifest = find_photos(asked.data, events, for_training=False)
    if quick:
        return read(manifest, asked.settings.get("image_size") or QUICK_SIZE, "bilinear", "tell", events), None
    try:
        photos, backbone, machine = read_for(replace(asked, strategy="probe"), manifest, events, "tell")
    except WeightsError as error:
        if asked.weights or asked.from_run:
            raise
        events.warning(
            f"{error.problem.rstrip('.')}. Without a backbone labels are not judged, and few cropped copies found."
        )
        return look(asked, True, events)
    return photos, embed_images(photos, backbone, machine, asked, events)


def judged(photos: LoadedImages, seen: EmbeddedDataset | None, events: Events) -> list[Finding]:
    """All findings, the worst first."""
    members = np.array([i for i, digest in enumerate(photos.pixels.digests) if digest is not None], dtype=np.int64)
    usable = [photos.manifest.photos[i] for i in members]
    pixels = photos.pixels.take(members.tolist())
    prints = fingerprints(pixels, lambda done, total: events.progress("fingerprints", done, total))
    events.message(f"Looking for copies among {counted(len(members), 'photo')}.")
    copies = find_duplicates(prints, pixels.digests, seen.features if seen else None)
    found = [
        *class_findings(photos, members),
        *duplicate_findings(copies, usable, members),
        *file_findings(photos, prints.thumbs, members),
    ]
    classes, labels = labels_of(usable)
    if len(classes) > 1:
        found += spurious_correlations(photos, members, labels, classes)
    if seen and len(classes) > 1:
        unit = copies.units(len(members))
        if enough_to_judge(labels, unit):
            events.message("Asking probes that did not see them about the labels.")
            opinion = find_label_issues(seen.features, labels, len(classes), unit)
            found += label_findings(opinion, labels, classes, members)
        else:
            sentence = f"labels are not judged: a class has fewer than {FOLDS} different pictures"
            found.append(Finding("unjudged", "note", sentence))
    order = {severity: n for n, severity in enumerate(SEVERITIES)}
    return sorted(found, key=lambda finding: order[finding.severity])


def label_findings(
    opinion: LabelIssues, labels: np.ndarray, classes: Sequence[str], members: np.ndarray
) -> list[Finding]:
    """LoadedImages like no class, and labels that are probably wrong, as findings."""
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
        far = opinion.outlier_score[strange]
        cases = [
            Case((int(members[i]),), f"outlier score {s:.1f}", float(s))
            for i, s in sorted(zip(strange, far, strict=True), key=lambda pair: -pair[1])
        ]
        sentence = f"{counted(len(strange), 'photo looks', 'photos look')} like no class"
        found.append(Finding("stranger", "warning", sentence, "Do they belong here?", tuple(cases)))
    return found

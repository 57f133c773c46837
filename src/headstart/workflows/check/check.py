"""``check``: audit a dataset before training; writes a page of the findings and, on request, a cleaned list."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.eviction import trim
from headstart.core.files import write_text
from headstart.core.paths import Place, check_writable
from headstart.core.text import plural
from headstart.data.loading import LoadedImages, find_photos, read
from headstart.data.sources.given import Data, is_given, keep
from headstart.errors import OptionError, RunError, WeightsError, option
from headstart.inference.device import find_machine
from headstart.reporting.command import command_line
from headstart.reporting.console import console_events
from headstart.reporting.page import Fact, photo, render_page
from headstart.training.config import CheckOptions, TrainOptions
from headstart.training.embeddings import embed_images
from headstart.training.plan import check_overrides
from headstart.training.preparation import read_for
from headstart.workflows.check.base import CHECKS, Context, find
from headstart.workflows.check.cleaning import left_out_path, write_cleaned
from headstart.workflows.check.result import CheckResult

QUICK_SIZE = 224
"""Shorter side, px, that photos are read at where no network needs another."""
PICTURES, FILES = 48, 200
"""Cases and files of a finding that the page shows; ``--json`` lists all."""


@typed
def check(
    data: Data,
    *,
    out: Place | None = None,
    fix: Place | None = None,
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
        The findings, whether the photos can be trained on, and the page.

    Raises:
        DataError: no photos there.
        OptionError: a file that exists, or an unknown or invalid option.
    """
    asked = TrainOptions.gather(data, None, options, "check", on_bad="skip")
    name = f"{asked.run_name().removesuffix('-auto')}-check{'-quick' if quick else ''}.html"
    page = Path(out) if out else Path("runs") / name
    _refuse(asked.data, Path(out) if out else None, Path(fix) if fix else None, overwrite)
    check_writable(page)
    if fix:
        check_writable(Path(fix), "fix")
    check_overrides(asked.settings)
    find_machine(asked.device)
    if fix and is_given(asked.data):  # the list is to name files that last
        asked = replace(asked, data=keep(asked.data, Path(fix).with_name(f"{Path(fix).stem}-photos")))
    with console_events(quiet, listener) as events:
        photos, features = _read(asked, quick, events)
        found = CheckResult(photos.manifest.name, photos, tuple(find(Context(photos, features, events))), page=page)
        for finding in found.findings:
            events.finding(finding.kind, finding.severity, finding.sentence)
        if fix:
            left_out, lost = write_cleaned(photos, found.findings, Path(fix))
            found = replace(found, cleaned=Path(fix), left_out=left_out, lost=lost)
        write_text(page, _page(found))
        with suppress(RunError):
            trim()
    return found


def _refuse(data: str, page: Path | None, fix: Path | None, overwrite: bool) -> None:
    """Raise OptionError for files that would be lost."""
    for what, taken in (("data", data), ("page", page)):
        if fix and taken and os.path.abspath(fix) == os.path.abspath(taken):
            asked = option("fix", repr(str(fix)))
            raise OptionError(f"{asked} is the {what} itself.", "Name another file.", option="fix")
    for path in (page, *((fix, left_out_path(fix)) if fix else ())):
        if path and path.exists() and not overwrite:
            raise OptionError(f"{path} exists.", "Choose another name, or use `overwrite=True`.")


def _read(asked: TrainOptions, quick: bool, events: Events) -> tuple[LoadedImages, np.ndarray | None]:
    """The photos, and features [N, D] of the usable ones if there is a network."""
    manifest = find_photos(asked.data, events, False, asked.read_options)
    if quick:
        return read(manifest, asked.settings.get("image_size") or QUICK_SIZE, "bilinear", "defer", events), None
    try:
        photos, backbone, machine = read_for(replace(asked, strategy="probe"), manifest, events, "defer")
    except WeightsError as error:
        if asked.weights or asked.from_run:
            raise
        events.warning(
            f"{error.problem.rstrip('.')}. Without a backbone labels are not checked, and few cropped duplicates found."
        )
        return _read(asked, True, events)
    return photos, embed_images(photos, backbone, machine, asked, events).features


def _page(found: CheckResult) -> str:
    """One self-contained HTML page with the photos of each finding side by side, uncropped."""
    manifest, severities = found.photos.manifest, Counter(finding.severity for finding in found.findings)
    kept = f"`{command_line('check', 'DATA', {'fix': 'clean.csv'})}` writes a list without the problem photos."
    if found.cleaned:
        kept = f"`{found.cleaned.name}` leaves {plural(found.left_out, 'photo')} out."
    report = {
        "title": found.name,
        "answer": f"{found.answer}.",
        "more": f"Nothing was moved or deleted. {kept}",
        "caveats": [],
        "facts": [
            Fact("photos", f"{found.readable:,}", manifest.layout),
            Fact(
                "labels" if manifest.several else "classes",
                f"{len({c for p in manifest.photos for c in manifest.labels_of(p)}):,}",
            ),
            Fact("cannot be used", f"{sum(len(finding.files) for finding in found.findings):,}"),
            Fact("errors", str(severities["error"])),
            Fact("warnings", str(severities["warning"])),
        ],
    }
    sections = []
    for finding in found.findings:
        cases = [
            (case.words, [{**photo(found.photos.pixels.picture(i), 128), **found.about(i)} for i in case.photos])
            for case in finding.cases[:PICTURES]
        ]
        sections.append((CHECKS.get(finding.kind).heading, finding, cases))
    return render_page("workflows/check/check.html.j2", report=report, sections=sections, most_files=FILES)

"""``check``: audit a dataset before training, with a page of the findings and, on request, a cleaned list."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from headstart.core.array_store import trim
from headstart.core.events import Events, Listener
from headstart.core.files import write_text
from headstart.data.loading import LoadedImages, find_photos, read
from headstart.errors import OptionError, RunError, WeightsError, option
from headstart.reporting.console import console_events
from headstart.training.config import CheckOptions, TrainOptions
from headstart.training.embeddings import embed_images
from headstart.training.preparation import read_for
from headstart.workflows.check.base import Context, find
from headstart.workflows.check.cleaning import left_out_path, write_cleaned
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
        photos, features = look(asked, quick, events)
        found = CheckResult(photos.manifest.name, photos, tuple(find(Context(photos, features, events))), page=page)
        for one in found.findings:
            events.finding(one.kind, one.severity, one.sentence)
        if fix:
            left_out, lost = write_cleaned(photos, found.findings, Path(fix))
            found = replace(found, cleaned=Path(fix), left_out=left_out, lost=lost)
        from headstart.workflows.check.report import render_check

        write_text(page, render_check(found))
        with suppress(RunError):
            trim()
    return found


def _refuse(data: str, page: Path | None, fix: Path | None, overwrite: bool) -> None:
    """Raise OptionError for files that would be lost."""
    if fix and os.path.abspath(fix) in (os.path.abspath(data), os.path.abspath(page) if page else ""):
        what = "data" if page is None or fix != page else "page"
        asked = option("fix", repr(str(fix)))
        raise OptionError(f"{asked} is the {what} itself.", "Name another file.", option="fix")
    written = [path for path in (page, fix, left_out_path(fix) if fix else None) if path]
    there = [str(path) for path in written if os.path.exists(path)]
    if there and not overwrite:
        raise OptionError(f"{there[0]} exists.", "Choose another name, or use `overwrite=True`.")


def look(asked: TrainOptions, quick: bool, events: Events) -> tuple[LoadedImages, np.ndarray | None]:
    """The photos and, where there is a network for it, features [N, D] of the usable ones."""
    manifest = find_photos(asked.data, events, for_training=False)
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
        return look(asked, True, events)
    return photos, embed_images(photos, backbone, machine, asked, events).features

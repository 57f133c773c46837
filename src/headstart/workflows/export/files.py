"""Where an exported file or folder goes: its name, what it may replace, and its move into place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headstart.core.paths import Place, taken
from headstart.core.text import listed
from headstart.errors import OptionError, option
from headstart.inference.classifier import Model
from headstart.runs.folder import inside
from headstart.workflows.export.formats import Exporter


def target(run: Model, form: Exporter, out: Place | None, int8: bool, overwrite: bool) -> Path:
    """The path to write to. Raises OptionError where the name does not fit, or something else is there."""
    stem = "web" if form.holds else "model"
    path = Path(out) if out else inside(run, f"{stem}{'.int8' if int8 else ''}{form.suffix}")
    asked = option("out", repr(str(path)))
    if not form.holds and path.suffix != form.suffix:
        raise OptionError(f"{asked}: a file of format {form.name} ends in {form.suffix}.", "Name it so.", option="out")
    if not path.parent.is_dir():
        raise OptionError(f"{asked}: there is no folder {path.parent}.", "Create it first.", option="out")
    if form.holds:
        _refuse_other_files(form, path)
    if (any(path.iterdir()) if path.is_dir() else path.exists()) and not overwrite:
        raise taken(path)
    return path


def _refuse_other_files(form: Exporter, path: Path) -> None:
    """A folder is replaced whole: a mistyped name must not cost photos. Raises OptionError."""
    if not path.exists():
        return
    asked = option("out", repr(str(path)))
    if not path.is_dir():
        raise OptionError(f"{asked} is a file; format {form.name} writes a folder.", "Name another.", option="out")
    if others := sorted(entry.name for entry in path.iterdir() if entry.name not in form.holds or entry.is_dir()):
        problem = f"{asked} holds what no export wrote ({listed(others, 3)})."
        raise OptionError(problem, "Name a new folder.", option="out")


def move(form: Exporter, source: Path, to: Path) -> None:
    """Rename the files of a model, or its folder."""
    for made, place in zip(form.files(source), form.files(to), strict=True):
        os.replace(made, place)


def put(form: Exporter, draft: Path, path: Path) -> list[Path]:
    """Move a finished draft and its JSON file to ``path``; returns every file."""
    if form.holds and path.is_dir():
        shutil.rmtree(path)
    move(form, draft, path)
    if form.holds:
        return sorted(path.iterdir())
    os.replace(form.about(draft), form.about(path))
    return [*form.files(path), form.about(path)]

"""model.json: read and checked, and its public form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headstart.errors import RunError

FORMAT = 1


def published(described: dict[str, Any]) -> dict[str, Any]:
    """A description without the command, which contains paths of the machine that trained the model."""
    provenance = {name: value for name, value in described["provenance"].items() if name != "command"}
    return {**described, "provenance": provenance}


def read_description(folder: Path) -> dict[str, Any]:
    """model.json of a run folder, checked.

    Raises:
        RunError: there is none, or it is not headstart's.
    """
    path, hint = folder / "model.json", "Name the folder that `hs.train` made."
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (folder / "request.json").exists():
            hint = f"Its training did not end: `hs.resume({str(folder)!r})` continues it."
        raise RunError(f"{folder} holds no model (no model.json).", hint) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.", "Train it again.") from None
    needed = {"format", "classes", "preprocessing", "architecture", "precision", "provenance"}
    if not isinstance(described, dict) or not needed <= described.keys():
        raise RunError(f"{path} is not a description of a headstart model.", hint)
    if (number := described["format"]) > FORMAT:
        problem = f"{path} has format {number}, newer than this headstart reads ({FORMAT})."
        raise RunError(problem, "Update headstart.")
    return described

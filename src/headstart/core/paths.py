"""The cache folder, and paths that are valid from any working directory."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from headstart.errors import OptionError


def cache_dir() -> Path:
    """The cache folder (not created here): ``HEADSTART_CACHE``, else the platform's folder for caches.

    Linux and others: ``$XDG_CACHE_HOME/headstart`` or ``~/.cache/headstart``; macOS: ``~/Library/Caches/headstart``;
    Windows: ``%LOCALAPPDATA%\\headstart\\cache``.
    """
    if chosen := os.environ.get("HEADSTART_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "headstart" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "headstart"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path here.
    return (Path(xdg) if os.path.isabs(xdg) else _home() / ".cache") / "headstart"


def lasting(place: str) -> str:
    """An absolute path for an existing one; anything else, such as the name of a named set, unchanged."""
    return str(Path(place).resolve()) if os.path.exists(place) else place


def refuse_empty(data: str) -> None:
    """Raise OptionError for an empty name of data, which as a path would be the current folder."""
    if not data.strip():
        hint = "Is a variable of the shell not set? A dot (.) is the current folder."
        raise OptionError("DATA is an empty text: it names no photos.", hint)


def _home() -> Path:
    """The user's home; the temporary folder for a service account without one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())

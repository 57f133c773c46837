"""The cache folder of all commands, and paths that hold from any working directory."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder (not created here): ``HEADSTART_CACHE``, else the place that the platform keeps for caches.

    Linux and others: ``$XDG_CACHE_HOME/headstart`` or ``~/.cache/headstart``; macOS: ``~/Library/Caches/headstart``;
    Windows: ``%LOCALAPPDATA%\\headstart\\cache``.
    """
    chosen = os.environ.get("HEADSTART_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "headstart" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "headstart"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path here.
    return (Path(xdg) if os.path.isabs(xdg) else _home() / ".cache") / "headstart"


def lasting(place: str) -> str:
    """A path that still holds from another working directory; what is no path (the name of a named set) as it is."""
    return str(Path(place).resolve()) if os.path.exists(place) else place


def _home() -> Path:
    """The user's home; a service account without one gets the temporary folder, where a cache may live as well."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())

"""The cache folder, and paths that are valid from any working directory."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from headstart.core.text import as_written
from headstart.errors import OptionError, option

Place = str | os.PathLike[str]
"""How a caller names a file or folder. A finished run is its folder."""


def place(given: Any, name: str, shown: str = "") -> str:
    """A path as every function and command takes it: text or ``os.PathLike``, in which a leading ``~`` is the home
    folder. ``shown``: how messages call the argument ``name``, where that is not by its name.

    Raises OptionError for anything else, and for an empty text: it would mean the current folder.
    """
    if not isinstance(given, str | os.PathLike) or not isinstance(text := os.fspath(given), str):
        problem = f"{shown or told(name, given)} is not a path."
        raise OptionError(problem, "Give a text, or a pathlib.Path.", option=name)
    if not text.strip():
        raise OptionError(
            f"{shown or option(name)} is empty: it must name something.",
            "Is a variable of the shell not set? A dot (.) is the current folder.",
            option=name,
        )
    try:
        if b"\0" not in os.fsencode(text):
            return os.path.expanduser(text)
    except UnicodeEncodeError:
        pass
    problem = f"{shown or told(name, text)} holds a character that no name of a file can."
    raise OptionError(problem, "Check the spelling.", option=name)


def taken(path: Path) -> OptionError:
    """The error for an ``out`` that exists and is not to be written over."""
    return OptionError(f"{path} exists.", "Use `overwrite=True`, or choose another name with `out`.", option="out")


def check_writable(path: Path, argument: str = "out") -> None:
    """Ask before long work whether a file can be made there. Raises OptionError."""
    folder = next((one for one in path.absolute().parents if os.path.exists(one)), path.absolute().parent)
    if os.path.isdir(folder) and _takes_files(folder):
        return
    why = "cannot be written to" if os.path.isdir(folder) else "is a file, not a folder"
    raise OptionError(f"{option(argument, repr(str(path)))}: {folder} {why}.", "Choose another place.", option=argument)


def _takes_files(folder: Path) -> bool:
    if sys.platform != "win32":
        return os.access(folder, os.W_OK | os.X_OK)
    probe = folder / f".headstart-{uuid.uuid4().hex}"  # os.access says yes there to every folder
    try:
        probe.open("xb").close()
        probe.unlink()
    except OSError:
        return False
    return True


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


def told(name: str, value: Any) -> str:
    """An argument and its value as a message says them: of an object, its type alone."""
    plain = value is None or (type(value).__module__ == "builtins" and type(value) is not object)
    kind = type(value).__name__
    return option(name, as_written(value)) if plain else f"{option(name)}, of the type {kind},"


def lasting(place: str) -> str:
    """An absolute path for an existing one, and for a pattern of files in an existing folder; anything else, such as
    the name of a named set, unchanged.
    """
    if os.path.exists(place):
        return str(Path(place).resolve())
    folder, name = os.path.split(place)
    if set(name) & set("{*?[") and os.path.isdir(folder or "."):
        return str(Path(folder or ".").resolve() / name)
    return place


def _home() -> Path:
    """The user's home; the temporary folder for a service account without one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())

"""How a process of headstart's own is started: its command, its environment, and apart from this one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any


def command(module: str, *arguments: str) -> list[str]:
    """The command of a module; -P: nothing comes from the working folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, with its paths: it may run from a checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def apart(window: bool = True) -> dict[str, Any]:
    """Arguments of ``Popen`` by which Ctrl-C in the terminal reaches this process alone; without its ``window``, on
    Windows, the child outlives that, too.
    """
    if os.name != "nt":
        return {"start_new_session": True}
    flags = ("CREATE_NEW_PROCESS_GROUP", *(() if window else ("CREATE_NO_WINDOW",)))
    return {"creationflags": sum(getattr(subprocess, name, 0) for name in flags)}

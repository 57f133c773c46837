"""Messages of the core in the words of the command line: ```shots=0``` becomes ``--shots 0``."""

from __future__ import annotations

import re

FLAGS = {"from_run": "--from", "label": "--class"}
"""Options whose flag is not their name."""
_OPTION = re.compile(r"`([a-z_]\w*)(?:=([^`]*))?`")
_CALL = re.compile(r"`(\w+)\(([^`]*)\)`")


def flag(name: str) -> str:
    """``--on-bad`` for ``on_bad``."""
    return FLAGS.get(name) or "--" + name.replace("_", "-")

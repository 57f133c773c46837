"""Command lines that users can copy: in provenance, on pages, and as the next step after a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.shell import positional, shell_word

FLAGS = {
    "from_run": "--from", "within": "--in", "label": "--class", "settings": "--set", "budget_minutes": "--time",
}  # fmt: skip
"""Options whose flag is not their name."""
_UNITS = {"budget_minutes": "m"}
"""Of numbers that are typed with one."""
_REPEATED = {"ignore"}
"""Sequences of names, which may hold commas: an option for each."""


def flag(name: str) -> str:
    """``--on-bad`` for ``on_bad``."""
    return FLAGS.get(name) or "--" + name.replace("_", "-")


def call(function: str, subject: str | Path, options: Mapping[str, Any], objects: Mapping[str, str]) -> str:
    """The same for a call in Python, for what no command line can say: ``objects`` as they are written there."""
    plain = {name: value for name, value in options.items() if name not in objects and value not in (None, False, ())}
    plain |= plain.pop("settings", {})
    given = {**objects, **{name: repr(value) for name, value in plain.items()}}
    return f"hs.{function}({', '.join([repr(str(subject)), *(f'{name}={value}' for name, value in given.items())])})"


def command_line(command: str, subject: str | Path, options: Mapping[str, Any]) -> str:
    """``headstart COMMAND SUBJECT --name value …``, quoted for a shell. ``options``: by their names in Python; None,
    False and empty ones are left out, True is a flag alone, a sequence is one value with commas, and each item of a
    mapping is an option of its own (``--set NAME=VALUE``).
    """
    words = (word for name, value in options.items() for word in option_words(name, value))
    return " ".join(map(shell_word, ["headstart", command, positional(str(subject)), *words]))


def option_words(name: str, value: Any) -> Iterator[str]:
    """The words of one option: ``--shots``, ``5``."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from (flag(name), f"{key}={one}" if key else str(one))
    elif value is True:
        yield flag(name)
    elif name in _REPEATED:
        for one in (value,) if isinstance(value, str) else value or ():
            yield from (flag(name), str(one))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if value:
            yield from (flag(name), ",".join(map(str, value)))
    elif value is not None and value is not False and value != "":
        number = str(value).replace(".", "", 1).isdigit()  # a text has its own unit
        yield from (flag(name), f"{value}{_UNITS.get(name, '') if number else ''}")

"""Messages of the library in the words of the command line: ```shots=0``` becomes ``--shots 0``."""

from __future__ import annotations

import ast
import re

from headstart.core.shell import positional, shell_word
from headstart.reporting.command import flag, option_words
from headstart.training.config import taken_by

COMMANDS: set[str] = set()
OPTIONS: set[str] = set()
"""Names of all commands, and of the parameters of any of them: filled where the commands are made."""
_CODE = re.compile(r"`([^`\n]+)`")
_OPTION = re.compile(r"([a-z]\w*)(?:=(.+))?")
_CALL = re.compile(r"(?:hs\.)?[a-z]\w*\(.*\)|hs\.[a-z]\w*")


def render(text: str) -> str:
    """A text in which options and calls stand in backticks as Python writes them, for a shell: ```overwrite=True``` as
    ``--overwrite``, ```hs.resume('runs/pets')``` as ``headstart train --resume runs/pets``. Other words in backticks
    stay as they are.
    """
    return _CODE.sub(lambda match: _call(match[1]) or _option(match[1]) or match[0], text)


def _option(code: str) -> str:
    """An option as the command line writes it; empty where the code is none."""
    match = _OPTION.fullmatch(code)
    if match is None:
        return ""
    name, value = match[1], match[2]
    if name in OPTIONS:
        words = [flag(name)] if value is None else list(option_words(name, _value(value)))
    elif name in taken_by("train"):  # a setting of the plan without a flag of its own
        words = ["--set", name if value is None else f"{name}={_value(value)}"]
    else:
        return ""
    return " ".join(map(shell_word, words))


def _value(text: str) -> object:
    """The literal, or the text itself: of a name such as DATA, of a path without quotes, of a number."""
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | str | tuple | list | dict) else text


def _call(code: str) -> str:
    """A call of headstart, or a function of its without one, as a command; empty where the code is none."""
    if not _CALL.fullmatch(code):
        return ""
    try:
        call = ast.parse(code if code.endswith(")") else f"{code}()", mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    if not isinstance(call, ast.Call):
        return ""
    name = ast.unparse(call.func).removeprefix("hs.")
    if name not in COMMANDS | {"resume"}:
        return ""
    words = ["train", "--resume"] if name == "resume" else [name]
    for argument in call.args:
        value = _value(ast.unparse(argument))
        words += (positional(str(one)) for one in (value if isinstance(value, list | tuple) else [value]))
    for keyword in call.keywords:
        if keyword.arg:
            words += option_words(keyword.arg, _value(ast.unparse(keyword.value)))
    return " ".join(["headstart", *map(shell_word, words)])

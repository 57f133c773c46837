"""Markdown from a template: text from outside stays text. It cannot end a table's cell, a line or a block of code, and
makes no HTML, link or picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from headstart.core.shell import positional, shell_word
from headstart.core.text import elided, printable

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

LONGEST = 500
"""Characters of one value that a document quotes, at most."""
_SPECIAL = re.compile(r"[\\`*_\[\]{}|~#!$]|(?<=[a-zA-Z]):(?=//)|(?<=www)\.", re.IGNORECASE)
_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_NOT_AS_CODE = re.compile(r"[`|<>&]|^\s|\s$|^$")


def render_markdown(template: str, front_matter: Mapping[str, Any], **shown: Any) -> str:
    """A document with YAML in front. What an expression of the template puts in is escaped, unless it is a number or
    comes from the filters ``code``, ``shell`` and ``python``.
    """
    data = yaml.safe_dump(_plain(front_matter), sort_keys=False, allow_unicode=True, width=10 * LONGEST)
    return f"---\n{data}---\n\n{_compiled(template).render(**shown)}"


@cache
def _compiled(template: str) -> Template:
    """Compiling takes longer than filling in."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, finalize=_escaped
    )
    page.filters |= {
        "f4": "{:.4f}".format, "percent": lambda share, digits=0: f"{share:.{digits}%}", "code": code,
        "shell": lambda text: _raw(shell_word(positional(text))), "python": _python,
    }  # fmt: skip
    return page.from_string(template)


def escape(text: object) -> Markup:
    """Text of one line, without meaning to Markdown."""
    line = elided(printable(text), LONGEST)
    line = re.sub("[<>&]", lambda found: _HTML[found[0]], line)
    return _raw(_SPECIAL.sub(lambda found: f"\\{found[0]}", line))


def code(text: object) -> Markup:
    """Text as code; where it holds what could end the code, or what careless readers take for HTML, as plain text."""
    line = elided(printable(text), LONGEST)
    return escape(line) if _NOT_AS_CODE.search(line) else _raw(f"`{line}`")


def _python(text: str) -> Markup:
    """A string as Python reads it, in double quotes where it holds none."""
    written = repr(text)
    return _raw(f'"{written[1:-1]}"' if written[0] == "'" and '"' not in written else written)


def _escaped(value: Any) -> Any:
    return value if isinstance(value, int | float) or hasattr(value, "__html__") else escape(value)


def _raw(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)


def _plain(value: Any) -> Any:
    """Data whose texts are lines: no reader of front matter can take one for its end."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return elided(printable(value), LONGEST) if isinstance(value, str) else value

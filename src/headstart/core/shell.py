"""Words of a command line, as people paste them into a shell."""

from __future__ import annotations

import re
import shlex
import sys

from headstart.core.text import printable

_PLAIN = re.compile(r"[\w@%+=:,./…-]+")
"""Words that mean the same with and without quotes."""
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}


def positional(word: str) -> str:
    """An argument that is no option: ``./-x`` for a file named ``-x``."""
    return f"./{word}" if word.startswith("-") else word


def shell_word(word: str) -> str:
    """One word of a command, safe to paste: quoted where a shell would read more into it than its letters, and with
    control characters, which a terminal might act on, escaped as bash and zsh read them (``$'a\\nb'``).
    """
    if sys.platform == "win32":
        return _windows_word(printable(word))
    if printable(word) == word:
        return word if _PLAIN.fullmatch(word) else shlex.quote(word)
    return "$'" + "".join(map(_in_dollar_quotes, word)) + "'"


def _windows_word(word: str) -> str:
    """In double quotes, which cmd and PowerShell both know, as the C library reads them; in single ones, for PowerShell
    alone, where it would compute what stands in double ones.
    """
    if _PLAIN.fullmatch(word.replace("\\", "/")) and not set(",@") & set(word):
        return word
    if set("$`") & set(word):
        return "'" + word.replace("'", "''") + "'"
    inside = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return '"' + inside + inside[len(inside.rstrip("\\")) :] + '"'


def _in_dollar_quotes(char: str) -> str:
    if char in _SHORT or printable(char) == char:
        return _SHORT.get(char, char)
    encoded = char.encode(errors="surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)

"""Text from outside (names of files, classes and runs, messages of other libraries) in a form that a terminal, a page
or a log can show: nothing in it moves the cursor, ends the line, hides, or turns the direction of writing. It stands
below ``errors``, whose messages quote such text; everything else imports it from ``core.text``.
"""

from __future__ import annotations

import reprlib
import unicodedata

QUOTED, LONGEST = 120, 2000
"""Characters of a text from outside that a message quotes, and of a whole line of a message, at most."""
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of control and format characters, lone surrogates (bytes of a file name that are not UTF-8), and
separators of lines and paragraphs."""
_VALUES = reprlib.Repr()
_VALUES.maxstring = _VALUES.maxother = 60
_VALUES.maxlevel = 2
_JOINERS = "\u200c\u200d"


def printable(text: object, keep: str = "") -> str:
    """``text`` with each character that is not seen escaped as in a Python string: ``\\n``, ``\\x1b``, ``\\u202e``.
    Joiners within an emoji or a word that needs them stay, and so do the characters of ``keep``.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if _seen(text, i) or char in keep else escaped(char) for i, char in enumerate(text))


def _seen(text: str, i: int) -> bool:
    if text[i] in _JOINERS:  # between two characters of a script or an emoji, where they change how these look
        around = text[i - 1 : i] + text[i + 1 : i + 2]
        return len(around) == 2 and all(char > "\x7f" and unicodedata.category(char)[0] in "LMS" for char in around)
    return unicodedata.category(text[i]) not in _UNSEEN


def escaped(char: str) -> str:
    """A character as a Python string would show it; a byte that is not UTF-8 (``\\udce9`` in names) as that byte."""
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def elided(text: str, most: int = QUOTED) -> str:
    """A long text without its middle: names often differ at their ends."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[len(text) - half :]}"


def quoted(name: str, most: int = QUOTED) -> str:
    """A name in quotes, as a message quotes it: printable, of at most ``most`` characters."""
    return repr(elided(name, most))


def as_written(value: object) -> str:
    """A value of any type as Python writes it, as part of a sentence: a long or deep one is cut."""
    return printable(_VALUES.repr(value))


def line(text: object) -> str:
    """A line of a message: printable, of at most ``LONGEST`` characters."""
    return elided(printable(elided(str(text), 4 * LONGEST)), LONGEST)


def brief(text: object, most: int = QUOTED) -> str:
    """What another library says, as part of a sentence: one printable line of at most ``most`` characters."""
    # Cut first: a message may quote a whole file.
    return elided(printable(" ".join(elided(str(text), 4 * most).split())), most)

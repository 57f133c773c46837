"""Packages that come with an extra of headstart's: what is missing is told before any work."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from headstart.errors import OptionError


def require(asked: str, packages: Sequence[str], extra: str, option: str | None = None, instead: str = "") -> None:
    """Raise OptionError where a package is not installed.

    Args:
        asked: what needs the packages, as a message's first words.
        packages: by their import names.
        extra: the extra of headstart's that brings them, without brackets.
        option: the option that asked for it.
        instead: a sentence on what works without them.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        hint = f'pip install "headstart[{extra}]"' + (f". {instead}" if instead else "")
        raise OptionError(f"{asked} needs {', '.join(missing)}, not installed here.", hint, option=option)

"""A command in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def said_by(command: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command, whose words are in ``sys.argv``."""
    capsys.readouterr()
    code = 0
    try:
        command()
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err

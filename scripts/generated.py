"""Pages that scripts write from the code. In: the page, and the arguments of the command. Out: a file, or whether it is
as the code says (``--check``).
"""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: str, target: Path, arguments: list[str]) -> int:
    """Write the page, or compare it with the file; returns the exit code."""
    if "--check" not in arguments:
        target.write_text(page, encoding="utf-8", newline="\n")
        return 0
    if target.is_file() and target.read_text(encoding="utf-8") == page:
        return 0
    print(f"{target.name} is not what the code says: run make docs.", file=sys.stderr)
    return 1

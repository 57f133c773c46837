"""Puts the address of the repository into what a release carries: pyproject.toml's links and README's relative ones.

``python scripts/set_address.py https://host/owner/name TAG``, in a checkout that is to be built and thrown away. On a
package index there is no repository around the README: a relative link there leads nowhere, and so does a picture.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PLACEHOLDER = "https://headstart.example"
FILES = ("pyproject.toml", "CITATION.cff")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(markdown: str, address: str, tag: str) -> str:
    """The text with its relative links and pictures as addresses of the repository at a tag.

    Args:
        markdown: a page that stands at the repository's root.
        address: of the repository, without a slash at its end.
        tag: the release's tag.
    """

    def put(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        return f"{picture}[{text}]({address}/{'raw' if picture else 'blob'}/{tag}/{target})"

    return _LINK.sub(put, markdown)


def main(arguments: list[str], root: Path = Path(__file__).parents[1]) -> int:
    """Rewrite the files below ``root``; returns the exit code."""
    if len(arguments) != 2 or not re.fullmatch(r"https://[^/\s]+/\S+[^/\s]", arguments[0]):
        print("usage: set_address.py https://host/owner/name TAG", file=sys.stderr)
        return 2
    address, tag = arguments
    for name in FILES:
        path = root / name
        path.write_text(path.read_text(encoding="utf-8").replace(PLACEHOLDER, address), encoding="utf-8", newline="\n")
    readme = root / "README.md"
    readme.write_text(absolute(readme.read_text(encoding="utf-8"), address, tag), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

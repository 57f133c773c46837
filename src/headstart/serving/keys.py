"""API keys: where they are kept, and who must send one.

A key on the command line would be seen in the list of processes, so ``--api-key`` says where it is instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headstart.errors import OptionError

SHORTEST = 16
"""Characters of a key; shorter ones can be guessed."""
HEADER = "X-API-Key"
_VARIABLE = "env:"
_MOST = 64 * 1024  # bytes of a file of keys


def read_keys(source: str) -> tuple[str, ...]:
    """The keys that ``source`` names: ``env:NAME``, or a file. One a line: a new one can be valid beside an old one.

    Raises OptionError, whose message never holds a key, nor ``source``: somebody may have given the key itself.
    """
    keys = [line.strip() for line in _content(source).splitlines() if line.strip()]
    if not keys:
        raise _wrong("names a place that holds no key", "Write a key of random characters there, one a line.")
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise _wrong(f"key {number} has characters that no header can hold", "Use letters, digits, - and _ only.")
        if len(key) < SHORTEST:
            raise _wrong(
                f"key {number} has {len(key)} characters: it must have at least {SHORTEST}",
                "This makes one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
    return tuple(keys)


def _content(source: str) -> str:
    if source.startswith(_VARIABLE):
        content = os.environ.get(source.removeprefix(_VARIABLE))
        if content is None:
            raise _wrong("names a variable of the environment that is not set", "Set it, and export it.")
        return content
    try:
        with Path(source).expanduser().open("rb") as file:
            content_ = file.read(_MOST + 1)
    except (OSError, ValueError):
        raise _wrong(
            "names no file that can be read",
            "It is not the key but the place of it: a file, or env:NAME for a variable of the environment.",
        ) from None
    if len(content_) > _MOST:
        raise _wrong(f"names a file of more than {_MOST // 1024} kB", "It holds one key a line, and nothing else.")
    return content_.decode("utf-8-sig", "replace")


def _wrong(problem: str, hint: str) -> OptionError:
    return OptionError(f"`api_key`: {problem}." if problem.startswith("key ") else f"`api_key` {problem}.", hint,
                       option="api_key")  # fmt: skip


class Locked:
    """ASGI middleware: requests must send one of the ``keys``, except for the paths that are ``free``."""

    def __init__(self, app: ASGIApp, keys: Iterable[str], free: Iterable[str]) -> None:
        self.app, self.hashes, self.free = app, [_hash(key) for key in keys], frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.free or self._opens(Headers(scope=scope)):
            return await self.app(scope, receive, send)
        problem = f"This server wants an API key, in the header {HEADER} or as Authorization: Bearer."
        await JSONResponse({"error": problem}, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _opens(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get(HEADER) or (token.strip() if kind.lower() == "bearer" else "")
        # Hashes have one length, and each is compared: the time that it takes says nothing of the keys.
        found = [compare_digest(_hash(given), hash_) for hash_ in self.hashes]
        return any(found)


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()

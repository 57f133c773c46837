"""Connections: how many there are, how long each may take to send a request, and to fetch the response."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from headstart.serving.limits import Limits

SPARE_FILES = 128
"""Open files that are not connections: the model, the decoders' pipes, libraries."""


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with these limits (uvicorn itself waits for ever for the rest of a request's head)."""
    most = min(limits.connections, raise_open_files(limits.connections + SPARE_FILES) - SPARE_FILES)
    # An upload, its response, and reading the response.
    whole = 2 * limits.seconds + limits.head_seconds

    class Bounded(H11Protocol):
        deadline: asyncio.TimerHandle | None = None
        at_work = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                _drop_one(self.connections)
            self._within(limits.head_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.deadline:
                self.deadline.cancel()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            self._look()

        def on_response_complete(self) -> None:
            self.at_work = False
            self._within(limits.head_seconds)  # for the next request; bytes that trickle in do not prolong it
            super().on_response_complete()
            self._look()

        def _look(self) -> None:
            working = self.cycle is not None and not self.cycle.response_complete
            if working and not self.at_work:
                self._within(whole)
            self.at_work = working

        def _within(self, seconds: float) -> None:
            if self.deadline:
                self.deadline.cancel()
            self.deadline = self.loop.call_later(seconds, self.transport.abort)

        def send_400_response(self, msg: str) -> None:
            body = json.dumps({"error": msg}).encode()
            headers = [
                ("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close"),
                ("X-Content-Type-Options", "nosniff"),
            ]  # fmt: skip
            with suppress(h11.LocalProtocolError):  # a response has begun
                for event in (
                    h11.Response(status_code=400, headers=headers, reason=STATUS_PHRASES[400]),
                    h11.Data(data=body),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

    return Bounded


def _drop_one(connections: set[Any]) -> None:
    """Make room for a new connection: the one that has waited longest without a whole request goes, and where all have
    one, the newest.
    """
    waiting = [c for c in connections if not getattr(c, "at_work", True) and c.deadline is not None]
    newest = next(c for c in connections if getattr(c, "deadline", 0) is None)
    min(waiting, key=lambda c: c.deadline.when(), default=newest).transport.abort()


def raise_open_files(wanted: int) -> int:
    """Let this process open ``wanted`` files where the system allows it; how many it may open now."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft < wanted:
        logging.getLogger("headstart").warning(
            f"Only {soft:,} files may be open at a time here, so fewer connections are accepted."
        )
    return soft

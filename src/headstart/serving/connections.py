"""Connections: how many there are, how long each may take to send a request, and to fetch the response."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from headstart.core.open_files import raise_open_files
from headstart.serving.limits import Limits

SPARE_FILES = 128
"""Open files that are not connections: the model, the decoders' pipes, libraries."""


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with these limits (uvicorn itself waits for ever for the rest of a request's head)."""
    most = min(limits.connections, _open_files(limits.connections + SPARE_FILES) - SPARE_FILES)
    # An upload, its response, and reading the response.
    whole = 2 * limits.seconds + limits.head_seconds

    waiting: dict[H11Protocol, None] = {}
    """Connections without a whole request, in the order of their deadlines."""

    class Bounded(H11Protocol):
        deadline: asyncio.TimerHandle | None = None
        at_work = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            if len(self.connections) > most:  # the one that has waited longest makes room; the newest, if none waits
                oldest = next(iter(waiting))
                del waiting[oldest]
                oldest.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            waiting.pop(self, None)
            if self.deadline:
                self.deadline.cancel()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            self._look()

        def on_response_complete(self) -> None:
            self.at_work = False
            self._wait()
            super().on_response_complete()
            self._look()

        def _look(self) -> None:
            working = self.cycle is not None and not self.cycle.response_complete
            if working and not self.at_work:
                waiting.pop(self, None)
                self._within(whole)
            self.at_work = working

        def _wait(self) -> None:
            """For a request; bytes that trickle in do not prolong it."""
            waiting.pop(self, None)
            waiting[self] = None
            self._within(limits.head_seconds)

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


def _open_files(wanted: int) -> int:
    """Those that this process may open, and a warning where they are fewer."""
    most = raise_open_files(wanted)
    if most < wanted:
        logging.getLogger("headstart").warning(
            f"Only {most:,} files may be open at a time here, so fewer connections are accepted."
        )
    return most

"""A server in a thread of this process: in a notebook, or beside other work."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from headstart.errors import RunError

if TYPE_CHECKING:
    import uvicorn

STOPS_WITHIN = 15.0
"""Seconds that a server has to end: those that it gives to requests in progress, and some."""


class Server:
    """A server that runs in the background until ``stop``, the end of its ``with`` block, or of the process.

    ``url``: where it is, with a slash at the end; ``port``: the same number.
    """

    def __init__(self, server: uvicorn.Server, listening: socket.socket, url: str) -> None:
        self.url, self.port = url, int(listening.getsockname()[1])
        self._server, self._listening = server, listening
        self._failed: BaseException | None = None
        # A daemon: a notebook that ends must not wait for it.
        self._thread = threading.Thread(target=self._run, name=f"headstart-serve-{self.port}", daemon=True)

    def _run(self) -> None:
        """uvicorn makes an event loop of its own in this thread, and leaves signals to the main one."""
        try:
            self._server.run(sockets=[self._listening])
        except BaseException as error:  # noqa: BLE001 - told where it is waited for
            self._failed = error
        finally:
            self._listening.close()

    def start(self) -> Server:
        """Start, and return when it answers. Raises RunError where it cannot."""
        self._thread.start()
        while self._thread.is_alive() and not self._server.started:
            self._thread.join(0.02)
        if not self._server.started:
            raise RunError(f"The server did not start: {self._failed or 'see the messages above'}.") from self._failed
        return self

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and self._server.started

    def stop(self) -> None:
        """Finish the requests in progress, and free the port. Again: nothing happens. Raises RunError where that takes
        longer than 15 s.
        """
        self._server.should_exit = True
        self._thread.join(STOPS_WITHIN)
        if self._thread.is_alive():
            raise RunError(f"The server on {self.url} has not ended within {STOPS_WITHIN:g} s.", "Try again.")

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server on {self.url}{'' if self.running else ', stopped'}>"

    def _repr_html_(self) -> str:
        from markupsafe import escape

        state = "" if self.running else " (stopped)"
        return f"<p>Serving on <a href='{escape(self.url)}' target='_blank'>{escape(self.url)}</a>{state}</p>"

"""Who may ask, by the headers that browsers send, and what browsers may do with a response.

A page on the internet can make a visitor's browser send requests to a server on the visitor's own machine. It cannot
read responses, unless its domain name is made to point there (DNS rebinding); then the browser still tells the name in
Host, and in Origin with each POST.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:;"
    " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every response: the page loads its own files only, and no other page embeds it."""
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware. ``hosts``: names by which clients reach the server, beside its IP addresses, localhost and the
    machine's own name; ``*`` allows every name. ``origins``: other sites whose pages may send requests. ``options``:
    whether these can be given by whoever runs the server, so that a refusal names them.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str] = (), origins: Iterable[str] = (), options: bool = True
    ) -> None:
        self.options = options
        self.app, self.origins = app, {origin.lower().rstrip("/") for origin in origins}
        own = socket.gethostname().lower()
        self.names = {"localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}
        self.names |= {name.lower() for name in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        head = scope["method"] == "HEAD"  # monitors send it; the response to GET without its body

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif head:
                message = {**message, "body": b""}
            await send(message)

        problem = self._problem(scope["method"], Headers(scope=scope))
        app: ASGIApp = self.app if problem is None else JSONResponse({"error": problem}, 403)
        await app({**scope, "method": "GET"} if head else scope, receive, answer)

    def _problem(self, method: str, headers: Headers) -> str | None:
        host, origin = headers.get("host"), headers.get("origin")
        if host is not None and not self._known(name := _name(f"//{host}")):
            more = "; whoever runs it can allow the name with the option allow-host" if self.options else ""
            return f"This server does not answer as {name[:100]!r}. Ask for its IP address{more}."
        if origin is None or method in _SAFE or _place(origin) == (host or "").lower():
            return None
        if origin.lower() in self.origins or _name(origin) in self.names - {"localhost"}:
            return None
        more = "; whoever runs the server can allow it with the option allow-origin" if self.options else ""
        return f"A page of another site must not send requests here{more}."

    def _known(self, name: str) -> bool:
        if name in self.names or "*" in self.names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True


def _name(url: str) -> str:
    """The host's name in a URL, without its port; empty where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _place(url: str) -> str:
    """Host and port of a URL, as Host has them."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""

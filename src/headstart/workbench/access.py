"""The token of a studio that other machines can reach: in its address once, then in a cookie."""

from __future__ import annotations

from hmac import compare_digest
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "headstart-studio"


class Token:
    """ASGI middleware: answers nobody who does not know the ``token``."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # Cookies belong to a host, whatever the port: several studios there must not take each other's.
        cookie = f"{COOKIE}-{(scope.get('server') or ('', 0))[1]}"
        cookies = cookie_parser(Headers(scope=scope).get("cookie", ""))
        if self._same(cookies.get(cookie, "")):
            return await self.app(scope, receive, send)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and self._same(given):  # lax: a link in a mail opens it; requests check Origin
            response = RedirectResponse("/", 303)  # the token leaves the address bar
            response.set_cookie(cookie, self.token, httponly=True, samesite="lax")
            return await response(scope, receive, send)
        await PlainTextResponse("Open the address that the studio printed: it ends in a token.\n", 401)(
            scope, receive, send
        )

    def _same(self, given: str) -> bool:
        return compare_digest(given.encode(), self.token.encode())

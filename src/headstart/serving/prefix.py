"""The path below which a proxy shows the server: ``/pets`` for https://example.org/pets/.

Some proxies take the prefix away before they pass a request on, others do not; both work.
"""

from __future__ import annotations

import re

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headstart.errors import OptionError
from headstart.serving.guard import HEADERS

_FORM = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")


def read_prefix(root_path: str) -> str:
    """The prefix without a slash at its end; empty for none. Raises OptionError."""
    if not _FORM.fullmatch(root_path):
        raise OptionError(
            f"`root_path={root_path[:100]!r}` is not a path such as /pets.",
            "It begins with a slash and holds letters, digits, and . _ ~ - only.",
            option="root_path",
        )
    return root_path.rstrip("/")


class Prefix:
    """ASGI middleware, the outermost: the app sees paths without the prefix."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")  # a lifespan has none
        if path == self.prefix:  # relative links would lead out of it
            return await RedirectResponse(f"{self.prefix}/", 308, HEADERS)(scope, receive, send)
        if path.startswith(f"{self.prefix}/"):
            scope = {**scope, "path": path[len(self.prefix) :]}
        await self.app(scope, receive, send)

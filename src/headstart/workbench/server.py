"""``studio``: the server of the page, on this machine."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from urllib.parse import quote

from headstart.core.arguments import typed
from headstart.core.events import Listener
from headstart.core.extras import require
from headstart.core.paths import Place
from headstart.reporting.console import console_events
from headstart.serving.limits import Limits
from headstart.serving.sockets import listen
from headstart.training.config import HOST
from headstart.training.config import STUDIO_PORT as PORT

HOME = "headstart-studio"
"""The folder of projects, in the user's own."""


@typed
def studio(
    folder: Place | None = None,
    *,
    projects: Place | None = None,
    host: str = HOST,
    port: int = PORT,
    browser: bool = True,
    quiet: bool = False,
    listener: Listener | None = None,
) -> None:
    """Open the studio: label, check, train, try and export in a browser. Ctrl-C stops it; jobs that run go on.

    Args:
        folder: a project, or photos (a folder, table or archive) to open as one; None shows the list of projects.
        projects: the folder of projects; by default ``headstart-studio`` in the user's own folder.
        host: the address to listen on; by default only this machine can connect. Otherwise the printed address ends in
            a token, without which nobody is answered.
        port: 0 takes a free one; by default the first free one from 8765 on.
        browser: open the page in the browser.
        quiet: no messages on standard error.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Raises:
        OptionError: a package that is not installed, a port that is taken. DataError: no photos in ``folder``.
    """
    require("The studio", ("fastapi", "uvicorn", "python_multipart", "prometheus_client"), "serve")
    import uvicorn

    from headstart.workbench.app import make_app
    from headstart.workbench.desk import Desk
    from headstart.workbench.project import Project

    home = Path(projects).expanduser() if projects else Path.home() / HOME
    first = ""
    if folder is not None:
        place = Path(folder).expanduser().absolute()
        if Project.at(place):
            home, first = place.parent, place.name
    desk = Desk(home.absolute(), LIMITS)
    if folder is not None and not first:
        first = desk.open_data(str(place) if place.exists() else str(folder))
    listening = listen(host, port, tries=20 if port == PORT else 1)
    address, port = listening.getsockname()[:2]
    local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    token = None if local else secrets.token_urlsafe(24)
    shown = socket.gethostname() if address in {"0.0.0.0", "::"} else f"[{address}]" if ":" in address else address
    place_of_page = f"http://{shown}:{port}/{f'?token={token}' if token else ''}{f'#/{quote(first)}' if first else ''}"
    with console_events(quiet, listener) as events:
        events.message(f"The studio: {place_of_page}  (projects in {home}; Ctrl-C stops it)")
    config = uvicorn.Config(
        make_app(desk, token), http="h11", ws="none", log_level="error", access_log=False, server_header=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    if browser:
        threading.Thread(target=webbrowser.open, args=[place_of_page], daemon=True).start()  # one of text would block
    uvicorn.Server(config).run(sockets=[listening])


LIMITS = Limits(files=200, request_mb=400, memory_mb=400)
"""A folder of photos is dropped in parts of this size."""

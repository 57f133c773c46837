"""``serve``: a run's predictions over HTTP."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.arguments import Device, typed
from headstart.core.events import Listener
from headstart.core.extras import require
from headstart.errors import OptionError, RunError
from headstart.inference.classifier import Classifier, Model, Trained, name_of_run
from headstart.reporting.console import console_events
from headstart.serving.background import Server
from headstart.serving.limits import Limits
from headstart.serving.sockets import listen
from headstart.training.config import HOST, PORT

if TYPE_CHECKING:
    from fastapi import FastAPI


@typed
def serve(
    run: Model,
    *,
    host: str = HOST,
    port: int = PORT,
    device: Device = "auto",
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    root_path: str = "",
    api_key: str | None = None,
    limits: Limits | None = None,
    quiet: bool = False,
    listener: Listener | None = None,
    background: bool = False,
) -> Server | None:
    """Serve predictions over HTTP until Ctrl-C or SIGTERM; requests in progress then have ten seconds to finish.

    Args:
        run: a run folder, a model on the hub (``"hf:owner/name"``), what ``train`` returned, or its classifier.
        host: the address to listen on; by default only this machine can connect.
        port: 0 takes a free one.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        hosts: names by which clients reach the server, behind a proxy say; IP addresses, localhost and the machine's
            own name need not be given. ``"*"`` allows every name.
        origins: other sites whose pages may use the server (CORS): ``"https://app.example.org"``.
        root_path: the path below which a proxy shows the server (``"/pets"``), whether it takes that away from requests
            or not.
        api_key: where the key is that requests must send: ``"env:NAME"`` for a variable of the environment, or a file
            (one key a line). None: everybody who can connect may use the server.
        limits: what a request may cost; see ``headstart.serving.limits.Limits``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        background: return at once, and serve in a thread until the server's ``stop()``, in a notebook say.

    Returns:
        With ``background``, the server: ``server.url``, ``server.stop()``; it can open a ``with`` block. Else nothing.

    Raises:
        OptionError: a package that is not installed, a port that is taken, no path, no key.
        RunError: no model there.
    """
    app = application(
        run, device=device, hosts=hosts, origins=origins, root_path=root_path, api_key=api_key, limits=limits
    )
    import uvicorn  # after the check that it is there

    from headstart.serving.connections import bounded_protocol

    listening = listen(host, port)
    if not background and _in_event_loop():
        listening.close()
        problem = "An event loop runs here, as in every notebook: a server that blocks it cannot answer."
        raise OptionError(problem, "Use `background=True`.", option="background")
    with console_events(quiet, listener) as events:
        address, port = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        who = (
            "only this machine can connect (`host='0.0.0.0'` lets others)" if local
            else "anyone who reaches this machine can connect and needs a key" if api_key
            else "anyone who reaches this machine can connect: there is no password"
        )  # fmt: skip
        place = f"http://{shown}:{port}{root_path.rstrip('/')}{'/' if root_path else ''}"
        events.message(f"Serving on {place}  ({who}; {'`stop()`' if background else 'Ctrl-C'} stops it)")
    config = uvicorn.Config(
        app, http=bounded_protocol(limits or Limits()), ws="none", log_level="error", access_log=False,
        timeout_graceful_shutdown=10, timeout_keep_alive=10, server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    if background:
        return Server(server, listening, place if place.endswith("/") else f"{place}/").start()
    server.run(sockets=[listening])
    return None


@typed
def application(
    run: Model,
    *,
    device: Device = "auto",
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    root_path: str = "",
    api_key: str | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """The ASGI app of a run, for a server of one's own, which bounds connections and the time of a request's head.

    Args: as of ``serve``. Raises OptionError, RunError.
    """
    require("Serving", ("fastapi", "uvicorn", "h11", "python_multipart", "prometheus_client"), "serve")
    from headstart.serving.app import make_app
    from headstart.serving.keys import read_keys
    from headstart.serving.prefix import read_prefix
    from headstart.serving.service import Service

    prefix = read_prefix(root_path)  # first what is quickly refused
    keys = () if api_key is None else read_keys(api_key)
    classifier = Classifier.of(run, device)
    if classifier is run or isinstance(run, Trained):  # in memory: other work must not change what is served
        classifier = replace(classifier, network=deepcopy(classifier.network), _forward=None)
    service = Service(_place(run), classifier, limits or Limits())
    return make_app(service, hosts, origins, prefix, keys)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _place(run: Model) -> Path:
    """The model's folder; of one that was never saved, a name that no folder has."""
    try:
        return Path(run)
    except RunError:
        return Path(name_of_run(run))

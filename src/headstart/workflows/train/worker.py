"""One of the processes of ``devices=N``: ``python -m headstart.workflows.train.worker``. In: the request, a line on
standard input, which stays open; another line, or its end, asks to stop. Out: of rank 0, events on standard output.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import threading
from contextlib import suppress
from typing import IO, Any

from headstart.errors import HeadstartError


def main() -> int:
    """The exit code. A defect ends in a traceback."""
    sent = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no event
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_heed, daemon=True).start()
    try:
        path = _work(request, sent)
    except HeadstartError as error:
        about = {"problem": error.problem, "hint": error.hint, "option": error.option, "lines": list(error.lines)}
        _send(sent, {"is": "error", "kind": type(error).__name__, **about})
        return error.exit_code
    except KeyboardInterrupt:
        about = {"problem": "Interrupted before the training.", "hint": "", "option": None, "lines": []}
        _send(sent, {"is": "error", "kind": "Interrupted", **about})
        return 130
    _send(sent, {"is": "done", "path": path})
    return 0


def _work(request: dict[str, Any], sent: IO[str]) -> str:
    from headstart.workflows.train.devices import as_json
    from headstart.workflows.train.train import resume, train

    say: dict[str, Any] = {"quiet": True, "listener": lambda event: _send(sent, as_json(event))}
    try:
        if "run" in request:
            return str(resume(request["run"], **say).path)
        return str(train(request["data"], overwrite=request["overwrite"], **request["options"], **say).path)
    except SystemExit:  # ranks after the first have no run
        return ""


def _send(sent: IO[str], said: dict[str, Any]) -> None:
    with suppress(OSError, ValueError):
        sent.write(json.dumps(said, default=str) + "\n")
        sent.flush()


def _heed() -> None:
    """Stop as Ctrl-C does, once, when asked to, or when the process that started this one is gone."""
    sys.stdin.readline()
    _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main())

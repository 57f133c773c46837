"""The process of one job: ``python -m headstart.workbench.worker FOLDER``; ``wait`` takes the folder from standard
input once it has imported what jobs need.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.core.events import EpochEnd, Event, Finding, Message, Progress, Table, Warned
from headstart.core.files import read_json, write_json
from headstart.core.locks import try_lock
from headstart.errors import HeadstartError, Interrupted

_EVERY_S, _PART = 0.1, 1 / 2000
"""Between two lines about progress: so many seconds, or this part of the time that the job has taken."""


class Reporter:
    """A listener that writes events to the job's file, and raises KeyboardInterrupt where the job is to stop."""

    def __init__(self, folder: Path) -> None:
        self.stop = folder / "stop"
        self.file = (folder / "events.jsonl").open("a", encoding="utf-8")
        self.began, self.last, self.asked = time.monotonic(), 0.0, 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if now - self.asked > _EVERY_S:
            self.asked = now
            if self.stop.exists():
                raise KeyboardInterrupt
        if isinstance(event, Progress) and event.done < event.total:
            if now - self.last < max(_EVERY_S, _PART * (now - self.began)):
                return
            self.last = now
        self.file.write(json.dumps(as_json(event), default=str) + "\n")
        self.file.flush()


def as_json(event: Event) -> dict[str, Any]:
    """An event for the page."""
    if isinstance(event, Message):
        return {"is": "message", "text": event.text}
    if isinstance(event, Warned):
        return {"is": "warning", "text": event.text}
    if isinstance(event, Table):
        return {
            "is": "table",
            "title": event.title,
            "columns": list(event.columns),
            "rows": [list(r) for r in event.rows],
        }
    if isinstance(event, Progress):
        return {"is": "progress", **asdict(event)}
    if isinstance(event, EpochEnd):
        return {"is": "epoch", **{name: _number(value) for name, value in vars(event.row).items()}}
    assert isinstance(event, Finding)
    return {"is": "finding", **asdict(event)}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def work(folder: Path) -> None:
    """Do the job of this folder, and write how it ended."""
    lock = try_lock(folder / "lock", timeout=5)
    if lock is None:
        return  # another process has it
    write_json(folder / "process.json", {"pid": os.getpid()})
    job = read_json(folder / "job.json")
    project = folder.parents[2]
    started = time.time()
    try:
        from headstart.workbench.tasks import TASKS

        os.chdir(project)
        found = TASKS[job["kind"]](project, folder, job["options"], Reporter(folder))
        end: dict[str, Any] = {"state": "done", "result": found}
    except (KeyboardInterrupt, Interrupted):
        end = {"state": "stopped"}
    except HeadstartError as error:
        end = {"state": "failed", "error": error.problem, "hint": error.hint, "lines": list(error.lines)[:20]}
    except Exception as error:  # noqa: BLE001 - the page says that it is a defect, and the log has the rest
        traceback.print_exc()
        end = {
            "state": "failed",
            "error": f"A defect in headstart: {type(error).__name__}.",
            "hint": "See its log.txt.",
        }
    write_json(folder / "end.json", {**end, "seconds": round(time.time() - started, 2)})
    lock.release()


def main(arguments: list[str]) -> None:
    if arguments != ["wait"]:
        return work(Path(arguments[0]))
    from headstart.workbench import tasks

    tasks.import_all()
    line = sys.stdin.readline()  # empty: the server has ended
    if line:
        folder = Path(json.loads(line))
        with (folder / "log.txt").open("ab") as log:
            os.dup2(log.fileno(), 2)
        work(folder)


if __name__ == "__main__":
    main(sys.argv[1:])

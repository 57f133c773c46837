"""The open projects of a server, and what runs for them: jobs, thumbnails, predictions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from headstart.core.files import file_name, read_json
from headstart.errors import HeadstartError, OptionError, RunError
from headstart.serving.limits import Limits
from headstart.serving.uploads import Memory
from headstart.workbench.jobs import Jobs, Spare
from headstart.workbench.project import Project
from headstart.workbench.tasks import FINDINGS, SUGGESTIONS
from headstart.workbench.thumbnails import Thumbnails
from headstart.workbench.trying import Trier

T = TypeVar("T")
SAMPLE = "digits"
AUTO_S = 1.0
"""After the last change, training on change waits so long."""
AUTO_PHOTOS = 3000
"""Training on change is for at most so many photos."""
AUTO_EACH = 5
"""Photos per class that training on change waits for."""


class Desk:
    """Projects are folders in ``home``. Each is opened once, and used by one thread at a time."""

    def __init__(self, home: Path, limits: Limits) -> None:
        self.home, self.limits = home, limits
        self.memory = Memory(limits.memory_mb * 1e6)
        self.thumbnails, self.trier, self.spare = Thumbnails(limits), Trier(), Spare()
        self._open: dict[str, tuple[Project, threading.Lock]] = {}
        self._opening = threading.Lock()
        self._auto: dict[str, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        for task in self._auto.values():
            task.cancel()
        await self.thumbnails.stop()
        self.trier.stop()
        self.spare.stop()

    # -- projects

    def names(self) -> list[str]:
        """Projects in ``home``, the last used first."""
        found = [folder for folder in self.home.glob("*") if Project.at(folder)] if self.home.is_dir() else []
        return [f.name for f in sorted(found, key=lambda f: -(f / ".studio" / "project.sqlite").stat().st_mtime)]

    def create(self, name: str, data: str | None) -> str:
        """A new project; returns its name, which is made fit for a folder. Raises HeadstartError."""
        name = " ".join(name.split())
        if not name.strip("._ "):
            raise OptionError("A project needs a name.", "Type one.")
        name = file_name(name)
        Project.create(self.home / name, data).store.close()
        return name

    def sample(self) -> str:
        """The sample project, made where it is not there; returns its name."""
        if not Project.at(self.home / SAMPLE):
            Project.sample(self.home / SAMPLE).store.close()
        return SAMPLE

    def open_data(self, data: str) -> str:
        """The project that shows this data: the one that did before, or a new one; returns its name."""
        data = os.path.abspath(data) if os.path.exists(data) else data
        for name in self.names():
            with suppress(HeadstartError), self.project(name) as project:  # a damaged one is not it
                if project.store.setting("data") == data:
                    return name
        base = Path(data).name.split(".")[0]
        base = base if base.strip("._ ") else "photos"
        taken = {entry.name.casefold() for entry in self.home.glob("*")}
        names = (base if n == 1 else f"{base}-{n}" for n in range(1, 10_000))
        return self.create(next(name for name in names if file_name(name).casefold() not in taken), data)

    @contextmanager
    def project(self, name: str) -> Iterator[Project]:
        """A project, for one thread. Raises RunError where there is none of that name."""
        with self._opening:
            self._forget_replaced(name)
            if name not in self._open:
                if name != Path(name).name or not Project.at(self.home / name):
                    raise RunError(f"There is no project {name!r}.", "Choose one from the list.")
                self._open[name] = (Project(self.home / name), threading.Lock())
        project, lock = self._open[name]
        with lock:
            yield project

    def _forget_replaced(self, name: str) -> None:
        """Close a project whose folder was deleted, or made again, since it was opened."""
        if name in self._open:
            project, lock = self._open[name]
            if not project.store.is_current():
                with lock:
                    del self._open[name]
                    project.store.close()

    async def use(self, name: str, work: Callable[[Project], T]) -> T:
        """``work`` on a project, in a thread."""

        def locked() -> T:
            with self.project(name) as project:
                return work(project)

        return await asyncio.to_thread(locked)

    async def change(self, name: str, work: Callable[[Project], T]) -> T:
        """The same, for what changes photos or labels: writes labels.csv, and trains where that is wanted."""

        def changed(project: Project) -> T:
            project.read_edits()
            found = work(project)
            project.write_table()
            return found

        found = await self.use(name, changed)
        await self.auto(name)
        return found

    # -- jobs

    def jobs(self, name: str) -> Jobs:
        return Jobs(self.home / name)

    async def start(self, name: str, kind: str, options: dict[str, Any]) -> int:
        """Start a job. Raises OptionError where one is running."""
        return await asyncio.to_thread(self.jobs(name).start, kind, options, self.spare)

    async def auto(self, name: str) -> None:
        """Train soon, where the project trains on change and is small."""
        if not await self.use(name, lambda project: project.store.setting("auto", False)):
            return
        if (task := self._auto.get(name)) is not None:
            task.cancel()
        self._auto[name] = asyncio.create_task(self._train_soon(name))

    async def _train_soon(self, name: str) -> None:
        await asyncio.sleep(AUTO_S)
        while await asyncio.to_thread(self.jobs(name).active) is not None:
            await asyncio.sleep(AUTO_S)
        counts, options = await self.use(
            name, lambda project: (project.store.counts(), project.store.setting("training", {}))
        )
        used = [photos for label, (photos, _) in counts.items() if label is not None]
        if len(used) >= 2 and min(used) >= AUTO_EACH and sum(used) <= AUTO_PHOTOS:
            with suppress(HeadstartError):  # another job came first
                await self.start(name, "train", {**options, "strategy": "probe", "auto": True})

    def findings(self, name: str) -> dict[str, Any] | None:
        """What the last finished check found, its photos by id; without those that were judged since."""
        last, found = self._last(name, "check", FINDINGS)
        if last is None:
            return None
        with self.project(name) as project:
            ids = project.find(one["path"] for f in found["findings"] for case in f["cases"] for one in case["photos"])
            rows, kept = {row.id: row for row in project.store.photos()}, project.store.kept()
        for finding in found["findings"]:
            cases = []
            for case in finding["cases"]:
                photos = [{**one, "id": ids.get(one["path"]), "name": Path(one["path"]).name} for one in case["photos"]]
                known = [rows[one["id"]] for one in photos if one["id"] is not None]
                same = [row for row, one in zip(known, photos, strict=False) if row.label == one["label"]]
                judged = all((finding["kind"], row.id) in kept for row in known)
                if len(same) == len(photos) and not judged and not any(row.left_out for row in known):
                    cases.append({**case, "photos": photos})
            finding["cases"] = cases
        found["findings"] = [f for f in found["findings"] if f["cases"] or f["files"] or not _had_cases(f)]
        return {**found, "job": last["job"], "started": last["started"]}

    def suggestions(self, name: str) -> dict[str, Any]:
        """What the last ranking suggests, by photo id, in groups of look-alikes; without what has a class by now."""
        last, found = self._last(name, "suggest", SUGGESTIONS)
        if last is None:
            return {"groups": None}
        with self.project(name) as project:
            ids = project.find(row["path"] for row in found["rows"])
            open_ = {row.id for row in project.store.photos("label is null and left_out = 0")}
        groups: dict[int, list[dict[str, Any]]] = {}
        for row in found["rows"]:
            if ids.get(row["path"]) in open_:
                groups.setdefault(row["group"], []).append({**row, "id": ids[row["path"]]})
        return {"groups": list(groups.values()), "job": last["job"]}

    def _last(self, name: str, kind: str, file: str) -> tuple[dict[str, Any] | None, Any]:
        """The last job of a kind that ended well, and what it wrote."""
        jobs = self.jobs(name)
        if (number := jobs.last(kind)) is None:
            return None, None
        return jobs.about(number), read_json(jobs.folder / f"{number:04d}" / file)


def _had_cases(finding: dict[str, Any]) -> bool:
    """Whether a finding is about photos, so that it is settled once all of them are judged."""
    return finding["kind"] not in {"classes", "groups", "missing", "few", "uneven"}

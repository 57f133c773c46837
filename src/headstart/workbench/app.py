"""The studio's HTTP interface: JSON for the page, events as they come, thumbnails, and the page's own files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from headstart._version import __version__
from headstart.core.text import numbered, plural
from headstart.data.filenames import content_kind
from headstart.data.sources.addresses import scheme_of
from headstart.errors import HeadstartError, RunError
from headstart.serving.guard import HEADERS, Guard
from headstart.serving.limits import Refused
from headstart.serving.uploads import read_uploads
from headstart.workbench import results
from headstart.workbench.access import Token
from headstart.workbench.desk import Desk
from headstart.workbench.project import Project, describe
from headstart.workbench.reading import read_photo
from headstart.workbench.requests import SETTINGS, json_of, photo_ids
from headstart.workbench.store import Store
from headstart.workbench.tasks import TASKS

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
KEPT = {"Cache-Control": "private, max-age=3600"}
"""Of pictures, whose addresses hold the project's id: ids of photos begin at 1 in each."""
_POLL_S = 0.25
_BROWSERS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "AVIF": "image/avif"}


def make_app(desk: Desk, token: str | None = None, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The app of a desk; ``token``: what a browser must know, None for this machine alone; ``hosts``: see ``Guard``."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.stop()

    app = FastAPI(title="studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
                  openapi_url=None, redirect_slashes=False)  # fmt: skip
    _errors(app)
    if token is not None:
        app.add_middleware(Token, token=token)
    app.add_middleware(Guard, hosts=hosts, options=False)
    _projects(app, desk)
    _photos(app, desk)
    _pictures(app, desk)
    _jobs(app, desk)
    _runs(app, desk)
    _page(app)
    return app


def _page(app: FastAPI) -> None:
    page = files("headstart.workbench") / "page"

    @app.get("/{path:path}")
    async def own(path: str) -> Response:
        name = path or "index.html"
        kind = KINDS.get(Path(name).suffix)
        parts = name.split("/")
        if kind is None or set(name) & set("\\:") or ".." in parts or not (file := page.joinpath(*parts)).is_file():
            raise HTTPException(404)
        return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


def _projects(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/projects")
    async def projects() -> dict[str, Any]:
        return {"home": str(desk.home), "projects": await asyncio.to_thread(desk.names), "version": __version__}

    @app.post("/api/projects")
    async def create(request: Request) -> dict[str, Any]:
        match await json_of(request):
            case {"name": str(name)}:
                return {"name": await asyncio.to_thread(desk.create, name, None)}
            case {"data": str(data)} if data.strip():
                data = data.strip()
                data = data if scheme_of(data) else str(Path(data).expanduser())
                return {"name": await asyncio.to_thread(desk.open_data, data)}
            case {"sample": True}:
                return {"name": await asyncio.to_thread(desk.sample)}
        raise Refused(422, "Not a project.")

    @app.get("/api/projects/{name}")
    async def about(name: str) -> dict[str, Any]:
        desk.spare.prepare()
        told = await desk.use(name, describe)
        active = await asyncio.to_thread(desk.jobs(name).active)
        return {**told, "active": active}

    @app.post("/api/projects/{name}/settings")
    async def settings(name: str, request: Request) -> dict[str, Any]:
        asked = await json_of(request)

        def work(project: Project) -> None:
            for key in asked.keys() & SETTINGS.keys():
                project.store.set_setting(key, asked[key])

        if wrong := [key for key in asked.keys() & SETTINGS.keys() if type(asked[key]) is not SETTINGS[key]]:
            raise Refused(422, f"Not a setting: {wrong[0]}.")

        await desk.use(name, work)
        await desk.auto(name)
        return {}

    @app.post("/api/projects/{name}/classes")
    async def classes(name: str, request: Request) -> dict[str, Any]:
        asked = await json_of(request)

        def work(project: Project) -> dict[str, Any]:
            match asked:
                case {"do": "add", "name": str(one)}:
                    return {"name": project.add_class(one)}
                case {"do": "rename", "name": str(one), "to": str(to)}:
                    return {"name": project.rename_class(one, to)}
                case {"do": "remove", "name": str(one)}:
                    project.remove_class(one)
                    return {}
            raise Refused(422, "Not a change of classes.")

        return await desk.change(name, work)

    @app.post("/api/projects/{name}/catch-up")
    async def catch_up(name: str) -> dict[str, Any]:
        return {"changed": await desk.use(name, lambda project: project.catch_up())}

    @app.post("/api/projects/{name}/undo")
    async def undo(name: str) -> dict[str, Any]:
        return {"undone": await desk.change(name, lambda project: project.store.undo())}

    @app.get("/api/projects/{name}/events")
    async def events(name: str, request: Request) -> Response:
        await desk.use(name, lambda project: None)
        return StreamingResponse(_follow(desk, name, request), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-store"})  # fmt: skip


async def _follow(desk: Desk, name: str, request: Request) -> AsyncIterator[str]:
    """Changes of the project and of its last job, and the events of that, from its first one on."""
    jobs, told, job, offset = desk.jobs(name), None, None, 0
    while not await request.is_disconnected():
        try:
            revision = await desk.use(name, lambda project: project.store.revision)
            recent = await asyncio.to_thread(jobs.recent, 1)
        except HeadstartError:  # its folder was deleted or renamed: the page asks anew, and is told
            return
        now = recent[0] if recent else None
        if now and job != now["job"]:
            job, offset = now["job"], 0
        if job is not None:
            found, offset = await asyncio.to_thread(jobs.events, job, offset)
            if found:
                yield _event("job-events", {"job": job, "events": _without_old_progress(found)})
        if (state := {"revision": revision, "job": now}) != told:
            told = state
            yield _event("state", state)
            if now and now["state"] not in {"starting", "running"}:
                desk.spare.prepare()
        await asyncio.sleep(_POLL_S)


def _without_old_progress(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All events, but of progress the last one only."""
    last = next((event for event in reversed(events) if event["is"] == "progress"), None)
    return [event for event in events if event["is"] != "progress" or event is last]


def _event(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


def _photos(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/projects/{name}/photos")
    async def photos(name: str) -> Response:
        def work(project: Project) -> str:
            rows = project.store.photos()
            columns = {
                "ids": [row.id for row in rows], "labels": [row.label for row in rows],
                "left_out": [row.id for row in rows if row.left_out], "names": [Path(row.path).name for row in rows],
                "revision": project.store.revision,
            }  # fmt: skip
            return json.dumps(columns)

        return Response(await desk.use(name, work), media_type="application/json")

    @app.post("/api/projects/{name}/photos")
    async def drop(name: str, request: Request, label: str | None = None) -> dict[str, Any]:
        with desk.memory.hold() as take:
            uploads = await read_uploads(request, desk.limits, take)
            whole, refused = [], dict[str, str]()
            for upload in uploads:
                made = await desk.thumbnails.decode(upload.name, upload.content)
                if isinstance(made, str):
                    refused[numbered(upload.name, refused)] = made
                else:
                    whole.append((upload.name, upload.content))
            added, known = await desk.change(name, lambda project: project.drop(whole, label or None))
        for upload_name, reason in known:
            refused[numbered(upload_name, refused)] = reason
        return {"added": added, "refused": refused}

    @app.post("/api/projects/{name}/change")
    async def change(name: str, request: Request) -> dict[str, Any]:
        asked = await json_of(request)
        ids = photo_ids(asked)
        return {"changed": await desk.change(name, lambda project: _changed(project.store, ids, asked))}


def _changed(store: Store, ids: list[int], asked: dict[str, Any]) -> int:
    """How many of the photos a change has changed."""
    many = plural(len(ids), "photo")
    match asked:
        case {"do": "label", "label": str(label)} if label in store.classes():
            return store.label(ids, label, f"Labelled {many} {label}")
        case {"do": "label", "label": None}:
            return store.label(ids, None, f"Took the label of {many} away")
        case {"do": "leave_out"}:
            return store.leave_out(ids, f"Left {many} out")
        case {"do": "bring_back"}:
            return store.bring_back(ids, f"Brought {many} back")
        case {"do": "keep", "finding": str(finding)}:
            return store.keep(finding, ids, f"Kept {many} as labelled")
    raise Refused(422, "Not a change of photos.")


def _pictures(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/projects/{name}/thumbnails/{number}")
    async def thumbnail(name: str, number: int) -> Response:
        folder, row = await desk.use(name, lambda project: (project.folder, project.store.photo(number)))
        if row is None:
            raise HTTPException(404)
        made = await desk.thumbnails.get(folder, number, folder / row.path)
        if isinstance(made, str):
            raise Refused(422, made)
        return Response(made, media_type="image/jpeg", headers=KEPT)

    @app.get("/api/projects/{name}/photos/{number}")
    async def whole(name: str, number: int) -> Response:
        folder, row = await desk.use(name, lambda project: (project.folder, project.store.photo(number)))
        if row is None:
            raise HTTPException(404)
        content = await asyncio.to_thread(read_photo, folder / row.path, desk.limits.file_mb)
        kind = _BROWSERS.get(content_kind(content[:64]))
        if kind is None:  # no browser shows it
            return await thumbnail(name, number)
        return Response(content, media_type=kind, headers=KEPT)

    @app.get("/api/projects/{name}/findings")
    async def findings(name: str) -> dict[str, Any]:
        return await asyncio.to_thread(desk.findings, name) or {}

    @app.get("/api/projects/{name}/suggestions")
    async def suggestions(name: str) -> dict[str, Any]:
        return await asyncio.to_thread(desk.suggestions, name)


def _jobs(app: FastAPI, desk: Desk) -> None:
    @app.post("/api/projects/{name}/jobs")
    async def start(name: str, request: Request) -> dict[str, Any]:
        asked = await json_of(request)
        kind, options = asked.get("kind"), asked.get("options", {})
        if not isinstance(kind, str) or kind not in TASKS or not isinstance(options, dict):
            raise Refused(422, "Not a job.")
        await desk.use(name, lambda project: project.settle())
        return {"job": await desk.start(name, kind, options)}

    @app.post("/api/projects/{name}/jobs/{number}/stop")
    async def stop(name: str, number: int) -> dict[str, Any]:
        await desk.use(name, lambda project: None)
        await asyncio.to_thread(desk.jobs(name).stop, number)
        return {}

    @app.get("/api/projects/{name}/jobs")
    async def jobs(name: str) -> dict[str, Any]:
        await desk.use(name, lambda project: None)
        return {"jobs": await asyncio.to_thread(desk.jobs(name).recent)}

    @app.get("/api/projects/{name}/jobs/{number}/events")
    async def job_events(name: str, number: int) -> dict[str, Any]:
        await desk.use(name, lambda project: None)
        found, _ = await asyncio.to_thread(desk.jobs(name).events, number, 0)
        return {"events": [event for event in found if event["is"] != "progress"]}


def _runs(app: FastAPI, desk: Desk) -> None:
    def at(project: Project, run: str) -> Path:
        found = next((one for one in project.list_runs() if one.name == run), None)
        if found is None:
            raise RunError(f"There is no run {run!r}.", "Train first.")
        return found

    @app.get("/api/projects/{name}/runs")
    async def runs(name: str) -> dict[str, Any]:
        return {"runs": await desk.use(name, lambda p: [results.brief(run) for run in p.list_runs()])}

    @app.get("/api/projects/{name}/runs/{run}")
    async def result(name: str, run: str) -> dict[str, Any]:
        return await desk.use(name, lambda p: results.result(at(p, run)))

    @app.get("/api/projects/{name}/runs/{run}/photos")
    async def photos(name: str, run: str, true: str | None = None, predicted: str | None = None) -> dict[str, Any]:
        return await desk.use(name, lambda p: results.photos(p, at(p, run), true, predicted))

    @app.post("/api/projects/{name}/runs/{run}/try")
    async def attempt(
        name: str, run: str, request: Request, explain: str | None = None, nearest: bool = False
    ) -> dict[str, Any]:
        path, among = await desk.use(name, lambda p: (at(p, run), p.in_use() if nearest else {}))
        with desk.memory.hold() as take:
            (upload, *_) = await read_uploads(request, desk.limits, take)
            made = await desk.thumbnails.decode(upload.name, upload.content)
            if isinstance(made, str):
                raise Refused(422, f"{upload.name}: {made}.")
            found = await desk.trier.ask(path, upload.content, explain, list(among))
        if "error" in found:
            raise Refused(422, found["error"])
        near = found.pop("nearest", [])
        return {**found, "nearest": [{**one, "id": among[one["path"]]} for one in near if one["path"] in among]}

    @app.get("/api/projects/{name}/files/{path:path}")
    async def file(name: str, path: str) -> Response:
        """A file of the project's runs and jobs: a report, an exported model."""

        def work(project: Project) -> Path:
            if "\0" in path:
                raise HTTPException(404)
            found = (project.folder / path).resolve()
            inside = [project.runs.resolve(), (project.folder / ".studio" / "jobs").resolve()]
            if not any(found.is_relative_to(one) for one in inside) or not found.is_file():
                raise HTTPException(404)
            return found

        found = await desk.use(name, work)
        page = found.suffix == ".html"
        headers = {"Content-Security-Policy": _REPORT, "Cache-Control": "no-cache"} if page else {}
        return FileResponse(found, headers=headers, filename=None if page else found.name)


_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Reports carry their style and pictures inside; nothing in them runs."""


def _errors(app: FastAPI) -> None:
    @app.exception_handler(HeadstartError)
    async def told(_: Request, error: HeadstartError) -> JSONResponse:
        return JSONResponse({"error": error.problem, "hint": error.hint, "lines": list(error.lines)}, 422)

    @app.exception_handler(FileNotFoundError)
    async def gone(_: Request, error: FileNotFoundError) -> JSONResponse:
        problem = f"{error.filename or 'A file of the project'} is not there any more."
        return JSONResponse({"error": problem, "hint": "Was it moved or deleted?"}, 422)

    @app.exception_handler(RequestValidationError)
    async def odd(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "Not a request that the studio knows.", "hint": ""}, 422)

    @app.exception_handler(OSError)
    async def system(_: Request, error: OSError) -> JSONResponse:
        problem = f"{error.filename or 'A file of the project'}: {error.strerror or error}."
        return JSONResponse({"error": problem, "hint": "Is the disk full, or the folder read-only?"}, 507)

    @app.exception_handler(sqlite3.Error)
    async def database(_: Request, error: sqlite3.Error) -> JSONResponse:
        hint = "Is the disk full, or the folder read-only?"
        return JSONResponse({"error": f"The project's file cannot be written: {error}.", "hint": hint}, 507)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"error": error.sentence, "hint": "", "files": error.files}, error.status)

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": "There is nothing here.", "hint": ""}, error.status_code)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        import logging

        logging.getLogger("headstart").error("A defect in the studio", exc_info=error)
        return JSONResponse({"error": "A defect in the studio, which has been logged.", "hint": ""}, 500, HEADERS)

"""The HTTP interface, a FastAPI app: POST /predict and /explain, GET /model, /healthz, /metrics, /docs, and the page
at /. Every error is JSON with one sentence in ``error``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from headstart._version import __version__
from headstart.data.label_sets import joined_labels
from headstart.evaluation.uncertainty import is_unknown
from headstart.inference.answers import Answer
from headstart.inference.classifier import Classifier
from headstart.reporting.page import PREDICT, render_page
from headstart.serving.guard import HEADERS, Guard
from headstart.serving.keys import HEADER, Locked
from headstart.serving.limits import Refused, too_busy
from headstart.serving.prefix import Prefix
from headstart.serving.service import Service
from headstart.serving.uploads import FIELD, Upload, read_uploads

PAGE = {
    "/": (PREDICT, "text/html"),
    "/page.css": ("reporting/templates/page.css", "text/css"),
    "/page.js": ("reporting/templates/page.js", "text/javascript"),
}

FREE = (*PAGE, "/healthz", "/docs", "/openapi.json")
"""What a server with API keys shows to everybody: nothing of the model. A browser sends no key when it opens a page."""


class Named(BaseModel):
    """The prediction for one photo, by the names of ``headstart predict --json``."""

    path: str = Field(description="The name that the client gave the file")
    label: str = Field(description="The class with the highest probability; of any number of labels, all, joined by |")
    confidence: float = Field(
        description="Its probability, calibrated if the run is; of any number of labels, that of the least probable"
    )
    labels: list[str] = Field(
        default=[], description="Those predicted, of a model for any number of labels; other models give no such list"
    )
    probabilities: dict[str, float] = Field(description="Of every class")
    unknown: bool | None = Field(
        description="Whether the photo is out of distribution, so that no label may be correct; null if the model does"
        " not detect it"
    )
    distance: float | None = Field(
        description="Distance to the training photos: 95 % of photos like them are below 1, unknown ones above"
    )
    file: str = Field(description="The same as path", deprecated=True)
    probability: float = Field(description="The same as confidence", deprecated=True)


class Answers(BaseModel):
    """The predictions of a request, in the order of its files."""

    predictions: list[Named]


class Problem(BaseModel):
    """An error."""

    error: str
    files: dict[str, str] = Field(default={}, description="A reason per file that cannot be read")


_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILES}}}
UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": _FORM}}}
_STATUS = {
    400: "Not valid multipart/form-data", 401: "No API key, where the server wants one",
    408: "The upload did not arrive in time", 413: "Too large, or too many files",
    415: "Not multipart/form-data", 422: "No photo, or one that cannot be read",
    429: "Too busy: try again after Retry-After seconds", 503: "No response in time",
}  # fmt: skip
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in _STATUS.items()
}


def make_app(
    service: Service,
    hosts: Iterable[str] = (),
    origins: Sequence[str] = (),
    prefix: str = "",
    keys: Sequence[str] = (),
) -> FastAPI:
    """The app; its lifespan starts and stops the service. ``hosts``, ``origins``: see ``Guard``; ``prefix``: see
    ``Prefix``; ``keys``: see ``Locked``, none for a server that is open.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    classes = "" if keys else f": {', '.join(service.classifier.classes[:20])}"  # /docs can be read without a key
    about = f"Classifies photos{classes}."
    app = FastAPI(
        title="headstart", description=about, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        servers=[{"url": prefix}] if prefix else None,
        redirect_slashes=False,  # to an absolute address, which is wrong behind a proxy
    )  # fmt: skip
    _refusals(app)
    if keys:  # within the next, which answers what a browser asks before it sends a key
        app.add_middleware(Locked, keys=keys, free=FREE)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"],
            allow_headers=[HEADER, "Authorization"], expose_headers=["Retry-After"],
        )  # fmt: skip
    app.add_middleware(Guard, hosts=hosts, origins=origins)
    app.middleware("http")(_counting(service))
    if prefix:
        app.add_middleware(Prefix, prefix=prefix)
    _predictions(app, service)
    _about(app, service)
    for path, (name, kind) in PAGE.items():
        content = render_page(name, local=False) if name == PREDICT else (files("headstart") / name).read_bytes()
        response = Response(
            content, media_type=kind, headers={"Cache-Control": "no-cache"}
        )  # itself an app that sends the same each time
        app.router.routes.append(Route(path, response, methods=["GET"], include_in_schema=False))
    return app


def _predictions(app: FastAPI, service: Service) -> None:
    @app.post(
        "/predict",
        response_model=Answers,
        response_model_exclude_unset=True,
        responses=REFUSALS,
        openapi_extra=UPLOAD,
        summary="Classify photos",
    )
    async def predict(request: Request) -> dict[str, Any]:
        async with _admitted(request, service) as uploads:
            rows = zip(uploads, await service.predict(uploads), strict=True)
            return {"predictions": [_as_json(upload.name, row, service.classifier) for upload, row in rows]}

    @app.post(
        "/explain",
        responses={**REFUSALS, 200: {"content": {"image/png": {}}}, 501: {"model": Problem}},
        response_class=Response,
        openapi_extra=UPLOAD,
        summary="The saliency map (Grad-CAM) of one photo, as a PNG",
    )
    async def explain(request: Request, label: str | None = None) -> Response:
        async with _admitted(request, service) as uploads:
            if len(uploads) != 1:
                raise Refused(422, "Send one photo at a time to be explained.")
            return Response(await service.overlay(uploads[0], label), media_type="image/png")


def _as_json(name: str, found: Answer, classifier: Classifier) -> dict[str, Any]:
    decided = classifier.decided(found.probabilities)
    every = {label: round(float(p), 6) for label, p in zip(classifier.classes, found.probabilities, strict=True)}
    far, confidence = found.distance, round(decided.confidence, 6)
    return {
        "path": name, "label": joined_labels(decided.labels), "confidence": confidence, "probabilities": every,
        **({"labels": list(decided.labels)} if classifier.objective.several else {}),
        "unknown": is_unknown(far), "distance": None if far is None else round(far, 4),
        "file": name, "probability": confidence,
    }  # fmt: skip


@asynccontextmanager
async def _admitted(request: Request, service: Service) -> AsyncIterator[list[Upload]]:
    """The uploads of a request; the block that works on them has ``limits.seconds``, as the upload has. Raises Refused
    (408, 429, 503, and what ``read_uploads`` raises).
    """
    seconds = service.limits.seconds
    if service.at_work >= service.limits.requests:
        raise too_busy(f"{service.at_work} requests are in progress")
    service.at_work += 1
    late = Refused(408, f"The upload took more than {seconds:g} s.")
    try:
        with service.memory.hold() as take:
            async with asyncio.timeout(seconds):
                uploads = await read_uploads(request, service.limits, take)
            late = Refused(503, f"No response within {seconds:g} s.")
            async with asyncio.timeout(seconds):
                yield uploads
    except TimeoutError:
        raise late from None
    finally:
        service.at_work -= 1


def _about(app: FastAPI, service: Service) -> None:
    @app.get("/model", summary="Classes, metrics, provenance")
    async def model() -> dict[str, Any]:
        return service.about

    @app.get("/healthz", summary="Whether it is running")
    async def healthz() -> JSONResponse:
        well = service.batcher.alive
        return JSONResponse({"status": "ok" if well else "the network has stopped"}, 200 if well else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        text = generate_latest(service.figures.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(_docs_page(app.openapi()), media_type="text/html")


def _docs_page(api: dict[str, Any]) -> str:
    """The API's documentation from its OpenAPI description; it loads nothing from elsewhere."""
    from jinja2 import Environment

    source = (files("headstart.serving") / "page" / "docs.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    calls = [
        {
            "method": method.upper(), "path": path, "summary": call.get("summary", ""),
            "upload": "requestBody" in call, "parameters": call.get("parameters", []),
            "responses": [(status, _response(api, about)) for status, about in sorted(call["responses"].items())],
        }
        for path, methods in api["paths"].items()
        for method, call in methods.items()
    ]  # fmt: skip
    return template.render(api=api, calls=calls)


def _response(api: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """Description, media type and, where the schema has a name, the shape as JSON with types for values."""
    content: dict[str, dict[str, Any]] = about.get("content", {})
    kind, form = next(iter(content.items()), ("", {}))
    schema = form.get("schema", {})
    example = json.dumps(_shape(api, schema), indent=1) if "$ref" in schema else ""
    return {"description": about.get("description", ""), "kind": kind, "example": example}


def _shape(api: dict[str, Any], schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        return {name: _shape(api, inner) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_shape(api, schema["items"])]
    if isinstance(schema.get("additionalProperties"), dict):
        return {"…": _shape(api, schema["additionalProperties"])}
    if "anyOf" in schema:
        return " or ".join(str(_shape(api, inner)) for inner in schema["anyOf"])
    return schema.get("type", "any")


def _counting(service: Service) -> Any:
    """Middleware: counts each response by path (known ones only, or a client could make endless series) and status."""
    known = {*PAGE, "/predict", "/explain", "/model", "/healthz", "/metrics", "/docs", "/openapi.json"}

    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.scope["path"]  # not its URL, which a Host header that is none breaks in some starlettes
        path = path if path in known else "other"
        status = 500
        try:
            with service.figures.busy.track_inprogress(), service.figures.seconds.labels(path).time():
                response = await call_next(request)
            status = response.status_code
            return response
        finally:
            service.figures.requests.labels(path, status).inc()

    return count


def _refusals(app: FastAPI) -> None:
    """Every error as one sentence."""

    @app.exception_handler(Refused)
    async def refused(_: Request, refusal: Refused) -> JSONResponse:
        headers = {"Retry-After": "1"} if refusal.status == 429 else {}
        files_ = {"files": refusal.files} if refusal.files else {}
        return JSONResponse({"error": refusal.sentence, **files_}, refusal.status, headers)

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> JSONResponse:
        said = {404: "There is nothing here.", 405: "Not with this method."}.get(error.status_code, str(error.detail))
        return JSONResponse({"error": said}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger("headstart").error("A defect in the server", exc_info=error)
        return JSONResponse({"error": "A defect in the server, which has been logged."}, 500, HEADERS)

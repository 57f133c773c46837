"""The HTTP interface, a FastAPI app: POST /predict and /explain, GET /model, /healthz, /metrics, /docs, and the page
at /.

Every response that is not a result is JSON with one sentence in ``error``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from headstart._version import __version__
from headstart.evaluation.uncertainty import is_unknown
from headstart.inference.classifier import Answer
from headstart.serving.limits import Refused, too_busy
from headstart.serving.service import Service
from headstart.serving.uploads import FIELD, read_uploads

PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
CALLS = ("/predict", "/explain", "/model", "/healthz", "/metrics", "/docs", "/openapi.json")
POLICY = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'"
"""What the page may load: its own files only."""


class Named(BaseModel):
    """The prediction for one photo, by the names of ``headstart predict --json``."""

    path: str = Field(description="The name that the client gave the file")
    label: str = Field(description="The class with the highest probability")
    confidence: float = Field(description="Its probability, calibrated if the run is")
    probabilities: dict[str, float] = Field(description="Of every class")
    unknown: bool | None = Field(
        description="Whether the photo is out of distribution, so that no label may be correct; null if the model"
        " cannot tell"
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
    """Why there is no result."""

    error: str
    files: dict[str, str] = Field(default={}, description="A reason per file that cannot be read")


UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not valid multipart/form-data"},
    408: {"model": Problem, "description": "The upload did not arrive in time"},
    413: {"model": Problem, "description": "Too large, or too many files"},
    415: {"model": Problem, "description": "Not multipart/form-data"},
    422: {"model": Problem, "description": "No photo, or one that cannot be read"},
    429: {"model": Problem, "description": "Too busy: try again after Retry-After seconds"},
    503: {"model": Problem, "description": "No answer in time"},
}


def make_app(service: Service) -> FastAPI:
    """The app; its lifespan starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    about = f"Classifies photos: {', '.join(service.classifier.classes[:20])}."
    app = FastAPI(
        title="headstart", description=about, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    _refusals(app)
    app.middleware("http")(_counting(service))
    _answers(app, service)
    _about(app, service)
    _page(app)
    return app


def _answers(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=Answers, responses=REFUSALS, openapi_extra=UPLOAD, summary="Classify photos")
    async def predict(request: Request) -> dict[str, Any]:
        async with _admitted(request, service) as uploads:
            rows = await _in_time(service.predict(uploads), service)
            named = zip(uploads, rows, strict=True)
            return {"predictions": [_answer(upload.name, row, service.classifier.classes) for upload, row in named]}

    @app.post(
        "/explain",
        responses={**REFUSALS, 200: {"content": {"image/png": {}}}, 501: {"model": Problem}},
        response_class=Response,
        openapi_extra=UPLOAD,
        summary="Where the network looked, as a PNG of one photo",
    )
    async def explain(request: Request, label: str | None = None) -> Response:
        async with _admitted(request, service) as uploads:
            if len(uploads) != 1:
                raise Refused(422, "One photo at a time is explained.")
            return Response(await _in_time(service.overlay(uploads[0], label), service), media_type="image/png")


def _answer(name: str, answer: Answer, classes: tuple[str, ...]) -> dict[str, Any]:
    best = int(answer.probabilities.argmax())
    every = {label: round(float(p), 6) for label, p in zip(classes, answer.probabilities, strict=True)}
    far, confidence = answer.distance, every[classes[best]]
    return {
        "path": name, "label": classes[best], "confidence": confidence, "probabilities": every,
        "unknown": is_unknown(far), "distance": None if far is None else round(far, 4),
        "file": name, "probability": confidence,
    }  # fmt: skip


@asynccontextmanager
async def _admitted(request: Request, service: Service) -> AsyncIterator[list[Any]]:
    """The uploads of a request that may be worked on. Raises Refused."""
    if service.at_work >= service.limits.requests:
        raise too_busy(f"{service.at_work} requests are at work")
    service.at_work += 1
    try:
        with service.memory.hold() as take:
            try:
                async with asyncio.timeout(service.limits.seconds):
                    uploads = await read_uploads(request, service.limits, take)
            except TimeoutError:
                raise Refused(408, f"The upload took more than {service.limits.seconds:g} s.") from None
            yield uploads
    finally:
        service.at_work -= 1


async def _in_time(work: Awaitable[Any], service: Service) -> Any:
    try:
        return await asyncio.wait_for(work, service.limits.seconds)
    except TimeoutError:
        raise Refused(503, f"No answer within {service.limits.seconds:g} s.") from None


def _about(app: FastAPI, service: Service) -> None:
    @app.get("/model", summary="Classes, figures, provenance")
    async def model() -> dict[str, Any]:
        return service.about()

    @app.get("/healthz", summary="Whether it answers")
    async def healthz() -> JSONResponse:
        well = service.batcher.alive
        return JSONResponse({"status": "ok" if well else "the network has stopped"}, 200 if well else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        from headstart.serving.docs import docs_page

        return Response(docs_page(app.openapi()), media_type="text/html", headers={"Content-Security-Policy": POLICY})


def _page(app: FastAPI) -> None:
    for path, (name, kind) in PAGE.items():
        content = (files("headstart.serving") / "page" / name).read_bytes()
        app.add_route(path, _plain(content, kind), include_in_schema=False)


def _plain(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

    async def route(_: Request) -> Response:
        return Response(content, media_type=kind, headers=headers)

    return route


def _counting(service: Service) -> Any:
    """Middleware: counts each answer by path (known ones only, or a client could make endless series) and status."""
    known = {*PAGE, *CALLS}

    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        path = request.url.path if request.url.path in known else "other"
        status = 500
        try:
            with service.figures.busy.track_inprogress():
                response = await call_next(request)
            status = response.status_code
            return response
        finally:
            service.figures.requests.labels(path, status).inc()
            service.figures.seconds.labels(path).observe(time.perf_counter() - began)

    return count


def _refusals(app: FastAPI) -> None:
    """All that is no result, as one sentence."""

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
        logging.getLogger("headstart").error("A defect while a request was answered", exc_info=error)
        return JSONResponse({"error": "A defect of the server's, which has been logged."}, 500)

"""``--format web``: a folder with a page that predicts in the visitor's browser, for any static web server.

It holds the page, the model as ONNX with a second output for unknown photos, and onnxruntime-web; nothing else is
loaded, and after the first visit nothing at all. The look and the cards are those of the page of ``serve``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from headstart.core.events import Events
from headstart.core.files import write_text
from headstart.core.ranges import Ranges
from headstart.data.schema import ImageRef
from headstart.reporting.page import PREDICT, render_page
from headstart.workflows.export.formats import Exporter, Runner, open_onnx, write_onnx
from headstart.workflows.export.graph import WholeClassifier, WithDistance
from headstart.workflows.export.quantize import quantise_onnx
from headstart.workflows.export.web_runtime import BINARY, SCRIPT, runtime_files

OWN_FILES = {
    **{name: f"workflows/export/page/{name}" for name in ("local.js", "worker.js", "licences.txt")},
    **{name: f"reporting/templates/{name}" for name in ("page.js", "page.css")},
}
"""Files of the folder that are the same for every model, by where they are in the package."""
# Names that every web server sends with the right media type.
RUNTIME = {SCRIPT: "ort.js", BINARY: "ort.wasm"}
PAGE, MODEL, OFFLINE = "index.html", "model.onnx", "sw.js"
HOLDS = (PAGE, *OWN_FILES, *RUNTIME.values(), MODEL, "model.json", OFFLINE)


def _ready(given: Path | None, events: Events) -> Exporter:
    return replace(WEB, write=partial(_write, runtime_files(given, events)))


def _write(runtime: Mapping[str, Path], graph: WholeClassifier, folder: Path, facts: dict[str, Any]) -> None:
    folder.mkdir()
    write_text(folder / PAGE, render_page(PREDICT, local=True))
    for name, place in OWN_FILES.items():
        (folder / name).write_bytes((files("headstart") / place).read_bytes())
    for name, file in runtime.items():
        shutil.copyfile(file, folder / RUNTIME[name])
    certainty = graph.certainty
    if certainty is None or certainty.usual is None:
        write_onnx(graph, folder / MODEL, facts)
    else:
        means = torch.from_numpy(certainty.means).float()
        told = "distance: float32 [photos], to the training photos; above 1 is unknown"
        both = {**facts, "output": f"{facts['output']}; {told}"}
        write_onnx(WithDistance(graph, means, certainty.usual), folder / MODEL, both, ("probabilities", "distance"))
    _seal(folder)


def _seal(folder: Path) -> None:
    """Write the service worker, whose text changes with every file that it keeps: browsers then fetch the new ones."""
    digest = hashlib.sha256()
    names = sorted(name for name in HOLDS if name not in (OFFLINE, "licences.txt"))
    for name in names:
        if name != "model.json":  # written last; what it says of the model, model.onnx says too
            digest.update((folder / name).read_bytes())
    source = (files("headstart") / "workflows/export/page" / OFFLINE).read_text(encoding="utf-8")
    head = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(names)};\n"
    write_text(folder / OFFLINE, head + source)


def _open(folder: Path) -> Runner:
    return open_onnx(folder / MODEL)


def _quantise(source: Path, folder: Path, photos: Sequence[ImageRef], ranges: Ranges | None) -> None:
    shutil.copytree(source, folder)
    quantise_onnx(source / MODEL, folder / MODEL, photos, ranges)
    _seal(folder)


WEB = Exporter(
    "web", "", ("onnx", "onnxscript", "onnxruntime"), partial(_write, {}), _open, _quantise, holds=HOLDS, ready=_ready
)

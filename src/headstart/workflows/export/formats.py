"""Export formats: write a classifier's graph, and open the file with its runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.core.events import Events
from headstart.core.extras import require
from headstart.core.ranges import Ranges
from headstart.core.registry import Registry
from headstart.core.text import brief, json_text, printable
from headstart.data.schema import ImageRef
from headstart.errors import OptionError, option
from headstart.inference.int8 import quiet
from headstart.inference.openvino import import_openvino, openvino_core
from headstart.workflows.export.graph import WholeClassifier
from headstart.workflows.export.quantize import quantise_onnx, quantise_openvino

OPSET = 18
"""ONNX operators of 2023: what onnxruntime 1.15 and later read, in browsers too."""
INPUT = "images: uint8 RGB photos of any one size [photos, height, width, 3], upright"
"""What a file takes, as its metadata says; some formats have words of their own."""
Runner = Callable[[np.ndarray], np.ndarray]
"""uint8 photos [N, H, W, 3] -> probabilities float32 [N, C]."""


@dataclass(frozen=True)
class Exporter:
    """One format.

    ``write(graph, path, facts)``; ``open(path)`` returns a runner; ``quantise(source, target, photos, ranges)``
    quantizes to int8 by photos read with these ranges, where there is a tool. ``needs``, ``int8_needs``: packages by
    import name; ``extra``: what brings them; ``beside``: suffixes of further files.

    ``holds``: where the format is a folder, every file that it may hold. ``ready(runtime, events)`` fetches what the
    format needs from elsewhere, before any work, and returns the exporter that has it.
    """

    name: str
    suffix: str
    needs: tuple[str, ...]
    write: Callable[[WholeClassifier, Path, dict[str, Any]], None]
    open: Callable[[Path], Runner]
    quantise: Callable[[Path, Path, Sequence[ImageRef], Ranges | None], None] | None = None
    int8_needs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    extra: str = "export"
    holds: tuple[str, ...] = ()
    ready: Callable[[Path | None, Events], Exporter] | None = None

    def check(self, int8: bool = False) -> None:
        """Raise OptionError where a package that it needs is not installed."""
        require(option("format", repr(self.name)), self.needs, self.extra, "format")
        if int8:
            require(option("int8"), self.int8_needs, "int8", "int8")

    def files(self, path: Path) -> list[Path]:
        """The files that make up a model of this format, or its one folder."""
        return [path, *(path.with_suffix(suffix) for suffix in self.beside)]

    def about(self, path: Path) -> Path:
        """The JSON file that says the same as the metadata."""
        return path / "model.json" if self.holds else path.with_name(path.name + ".json")

    def size(self, path: Path) -> int:
        """Bytes of the model at ``path``."""
        found = path.iterdir() if self.holds else (file for file in self.files(path) if file.exists())
        return sum(file.stat().st_size for file in found)


def traced(graph: nn.Module, photos: int | None = None, at_most: int | None = None) -> torch.export.ExportedProgram:
    """The graph, traced for this number of photos (None: any), of any size up to ``at_most`` pixels per side.

    Its nodes name no line of code: the file goes to others, who need not know the folders of this machine.
    """
    sides = {axis: torch.export.Dim(name, min=2, max=at_most) for axis, name in ((1, "height"), (2, "width"))}
    several = {} if photos else {0: torch.export.Dim("photos", min=1)}
    example = torch.zeros(photos or 2, 61, 67, 3, dtype=torch.uint8)
    with torch.no_grad(), quiet():
        program = torch.export.export(graph.eval(), (example,), dynamic_shapes={"images": {**several, **sides}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _write_torch(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    with quiet():
        torch.export.save(traced(graph), str(path), extra_files={"headstart.json": json_text(facts)})


def _open_torch(path: Path) -> Runner:
    with quiet():
        module = torch.export.load(str(path)).module()

    def run(photos: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(photos)))

    return run


def write_onnx(
    graph: nn.Module, path: Path, facts: dict[str, Any], outputs: Sequence[str] = ("probabilities",)
) -> None:
    """The graph as an ONNX file, whose outputs have these names; ``facts`` are its metadata."""
    import onnx_ir

    program = traced(graph)
    try:
        with quiet():
            made = torch.onnx.export(
                program, input_names=["images"], output_names=list(outputs), opset_version=OPSET, dynamo=True,
                verbose=False,
            )  # fmt: skip
    except ImportError as error:  # each torch imports the part of onnxscript that was written for it
        problem = f"onnxscript {version('onnxscript')} does not fit torch {torch.__version__} ({brief(error)})."
        raise OptionError(problem, "pip install -U onnxscript", option="format") from None
    assert made is not None
    made.model.producer_name = "headstart"
    # Names of the dimensions that vary, which tools show.
    made.model.graph.inputs[0].shape = onnx_ir.Shape(["photos", "height", "width", 3])
    for output in made.model.graph.outputs:
        output.shape = onnx_ir.Shape(["photos", *list(output.shape)[1:]])
    made.model.metadata_props.update({key: _text(value) for key, value in facts.items()})
    made.save(str(path))


def open_onnx(path: Path) -> Runner:
    """By onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(None, {"images": photos})[0]


def _write_openvino(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    """Through ONNX, whose graph for any size OpenVINO reads."""
    between = path.with_suffix(".between.onnx")
    try:
        write_onnx(graph, between, {})
        model = openvino_core().read_model(str(between))
        for key, value in facts.items():
            model.set_rt_info(_text(value), ["headstart", key])
        import_openvino().save_model(model, str(path), compress_to_fp16=True)
    finally:
        between.unlink(missing_ok=True)


def _open_openvino(path: Path) -> Runner:
    core = openvino_core()
    model = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: np.array(model([photos])[0])


ONNX = Exporter("onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, open_onnx, quantise_onnx)
TORCH = Exporter("torch", ".pt2", (), _write_torch, _open_torch)
OPENVINO = Exporter(
    "openvino", ".xml", ("onnx", "onnxscript", "openvino"), _write_openvino, _open_openvino, quantise_openvino,
    ("nncf",), (".bin",),
)  # fmt: skip
OWN = {
    **{name: f"{__name__}:{name.upper()}" for name in ("onnx", "torch", "openvino")},
    "web": "headstart.workflows.export.web:WEB",
    **{name: f"headstart.workflows.export.mobile:{name.upper()}" for name in ("litert", "executorch")},
}
EXPORTERS: Registry[Exporter] = Registry("export format", "headstart.exporters", OWN, option="format")


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else json_text(value)

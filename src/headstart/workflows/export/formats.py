"""The formats. In: the classifier's graph and what is to be said of it. Out: a file, and a function that runs it.

Each format is one object: how it is written, and how it is opened again by the runtime that its users have.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.errors import OptionError
from headstart.inference.openvino import import_openvino, openvino_core
from headstart.workflows.export.graph import WholeClassifier
from headstart.workflows.export.quantize import quantise_onnx, quantise_openvino

if TYPE_CHECKING:
    from torch.export import ExportedProgram


OPSET = 18
"""ONNX operators of 2023: what onnxruntime 1.15 and later read, in browsers too."""
Runner = Callable[[np.ndarray], np.ndarray]
"""uint8 photos [N, H, W, 3] -> probabilities float32 [N, C]."""


@dataclass(frozen=True)
class Format:
    """``write(graph, path, facts)``; ``open(path)`` gives a runner; ``quantise(source, target, photos)`` makes int8 of
    it, where there is a tool. ``needs``, ``int8_needs``: packages, by their import name; ``beside``: further files'
    suffixes.
    """

    name: str
    suffix: str
    needs: tuple[str, ...]
    write: Callable[[WholeClassifier, Path, dict[str, Any]], None]
    open: Callable[[Path], Runner]
    quantise: Callable[[Path, Path, Sequence[Path]], None] | None = None
    int8_needs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def check(self, int8: bool = False) -> None:
        """Raises OptionError where a package that it needs is not installed."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise OptionError(
                f"--format {self.name} needs {', '.join(missing)}, not installed here.",
                "pip install 'headstart[export]'",
            )
        missing = [name for name in self.int8_needs if int8 and find_spec(name) is None]
        if missing:
            raise OptionError(f"--int8 needs {', '.join(missing)}, not installed here.", f"pip install {missing[0]}")

    def files(self, path: Path) -> list[Path]:
        """The files that make up a model of this format."""
        return [path, *(path.with_suffix(suffix) for suffix in self.beside)]


def captured(graph: WholeClassifier) -> ExportedProgram:
    """The graph for any number of photos of any size."""
    from torch.export import Dim, export

    shape = {0: Dim("photos", min=1), 1: Dim("height", min=2), 2: Dim("width", min=2)}
    example = torch.zeros(2, 61, 67, 3, dtype=torch.uint8)
    with torch.no_grad(), _silence():
        return export(graph.eval(), (example,), dynamic_shapes={"images": shape})


def _write_torch(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    with _silence():
        torch.export.save(captured(graph), str(path), extra_files={"headstart.json": json.dumps(facts)})


def _open_torch(path: Path) -> Runner:
    with _silence():
        module = torch.export.load(str(path)).module()

    def run(photos: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(photos)))

    return run


def _write_onnx(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    program = captured(graph)
    with _silence():
        made = torch.onnx.export(
            program, input_names=["images"], output_names=["probabilities"], opset_version=OPSET, dynamo=True,
            verbose=False,
        )  # fmt: skip
    assert made is not None
    made.model.producer_name = "headstart"
    # Names for what varies, as people and tools are shown them.
    _name_dimensions(made.model)
    made.model.metadata_props.update({key: _text(value) for key, value in facts.items()})
    made.save(str(path))


def _name_dimensions(model: Any) -> None:
    import onnx_ir

    (images,), (probabilities,) = model.graph.inputs, model.graph.outputs
    images.shape = onnx_ir.Shape(["photos", "height", "width", 3])
    probabilities.shape = onnx_ir.Shape(["photos", probabilities.shape[1]])


def _open_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(None, {"images": photos})[0]


def _write_openvino(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    """By way of ONNX, whose graph for any size OpenVINO reads."""
    between = path.with_suffix(".between.onnx")
    try:
        _write_onnx(graph, between, {})
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


FORMATS = {
    form.name: form
    for form in (
        Format("onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx, quantise_onnx),
        Format("torch", ".pt2", (), _write_torch, _open_torch),
        Format(
            "openvino",
            ".xml",
            ("onnx", "onnxscript", "openvino"),
            _write_openvino,
            _open_openvino,
            quantise_openvino,
            ("nncf",),
            (".bin",),
        ),
    )
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def _silence() -> Iterator[None]:
    """Exporters tell of their steps on standard output and in warnings; errors still come through."""
    heard = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in heard]
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        for logger in heard:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(heard, levels, strict=True):
                logger.setLevel(level)

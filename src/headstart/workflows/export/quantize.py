"""Eight bits instead of thirty-two. In: an exported file and photos to calibrate on. Out: the same network in int8, by
the runtime's own tool.

Only convolutions and products with weights become int8; preprocessing and softmax stay as they are.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from headstart.data.decode import decode
from headstart.inference.openvino import import_openvino, openvino_core

CALIBRATION = 200
"""Photos that the ranges of activations are taken from."""


def quantise_onnx(source: Path, target: Path, photos: Sequence[Path]) -> None:
    """By onnxruntime: per-channel weights, activations by their range (static, QDQ)."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inputs = _inputs(photos)

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.inputs, None)
            return None if found is None else {"images": found}

    with TemporaryDirectory(dir=target.parent) as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), Reader(), op_types_to_quantize=["Conv", "Gemm", "MatMul"], per_channel=True,
            nodes_to_exclude=_without_weights(onnx.load(prepared)), weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )  # fmt: skip
        made = onnx.load(target)  # the tool drops what the file says of itself
        del made.metadata_props[:]
        made.metadata_props.extend(onnx.load(source).metadata_props)
        onnx.save(made, target)


def _without_weights(model: Any) -> list[str]:
    """Products of two computed things: the resizing, and the attention of transformers."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)]


def quantise_openvino(source: Path, target: Path, photos: Sequence[Path]) -> None:
    """By NNCF, OpenVINO's tool: per-channel weights, activations by their range."""
    with _quiet():
        openvino = import_openvino()
        os.environ.setdefault("NNCF_CI", "1")  # NNCF's way to be told not to report
        import nncf

        model = openvino_core().read_model(str(source))
        made = nncf.quantize(model, nncf.Dataset(list(_inputs(photos))), subset_size=len(photos))
        openvino.save_model(made, str(target), compress_to_fp16=True)


def _inputs(photos: Sequence[Path]) -> Iterator[np.ndarray]:
    return (decode(path).pixels[None] for path in photos)


@contextmanager
def _quiet() -> Iterator[None]:
    """The tools advise on what is already done."""
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("nncf").setLevel(logging.ERROR)
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(level)

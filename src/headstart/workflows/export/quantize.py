"""Static post-training quantization of an exported file to int8, by the runtime's own tool.

Only convolutions and products with weights become int8; preprocessing and softmax stay as they are.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from headstart.data.decode import decode
from headstart.data.schema import ImageRef
from headstart.inference.openvino import import_openvino, openvino_core

CALIBRATION = 200
"""Photos that the ranges of activations are estimated on."""


def quantise_onnx(source: Path, target: Path, photos: Sequence[ImageRef]) -> None:
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

    with TemporaryDirectory(dir=target.parent) as folder, quiet():
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


def quantise_openvino(source: Path, target: Path, photos: Sequence[ImageRef]) -> None:
    """By NNCF, OpenVINO's tool: per-channel weights, activations by their range."""
    with quiet():
        openvino = import_openvino()
        os.environ.setdefault("NNCF_CI", "1")  # NNCF's switch for not reporting
        import nncf

        model = openvino_core().read_model(str(source))
        made = nncf.quantize(model, nncf.Dataset(list(_inputs(photos))), subset_size=len(photos))
        openvino.save_model(made, str(target), compress_to_fp16=True)


def _inputs(photos: Sequence[ImageRef]) -> Iterator[np.ndarray]:
    return (decode(photo).pixels[None] for photo in photos)


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters report their steps on standard output, in logs and in warnings; errors still come through."""
    heard = [logging.getLogger(name) for name in (None, "nncf", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
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

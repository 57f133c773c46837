"""Static post-training quantization of an exported file to int8, by the runtime's own tool.

Only convolutions and products with weights become int8; preprocessing and softmax stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from headstart.core.ranges import Ranges
from headstart.data.images import full_size
from headstart.data.schema import ImageRef
from headstart.inference.int8 import quantised, quiet
from headstart.inference.openvino import import_openvino, openvino_core

CALIBRATION = 200
"""Photos that the ranges of activations are estimated on."""


def quantise_onnx(source: Path, target: Path, photos: Sequence[ImageRef], ranges: Ranges | None) -> None:
    """By onnxruntime: per-channel weights, activations by their range (static, QDQ)."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        inputs = ({"images": pixels} for pixels in _inputs(photos, ranges))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.inputs, None)

    with TemporaryDirectory(dir=target.parent) as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        weights = {tensor.name for tensor in model.graph.initializer}
        # Products of two computed tensors stay as they are: the resizing, and the attention of transformers.
        products = [node for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)]
        quantize_static(
            str(prepared), str(target), Reader(), op_types_to_quantize=["Conv", "Gemm", "MatMul"], per_channel=True,
            nodes_to_exclude=[node.name for node in products], weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )  # fmt: skip
        made = onnx.load(target)
        del made.metadata_props[:]  # the tool drops the file's metadata
        made.metadata_props.extend(onnx.load(source).metadata_props)
        onnx.save(made, target)


def quantise_openvino(source: Path, target: Path, photos: Sequence[ImageRef], ranges: Ranges | None) -> None:
    """By NNCF, OpenVINO's tool: per-channel weights, activations by their range."""
    with quiet():
        made = quantised(openvino_core().read_model(str(source)), list(_inputs(photos, ranges)))
        import_openvino().save_model(made, str(target), compress_to_fp16=True)


def _inputs(photos: Sequence[ImageRef], ranges: Ranges | None) -> Iterator[np.ndarray]:
    return (full_size(photo, ranges)[None] for photo in photos)

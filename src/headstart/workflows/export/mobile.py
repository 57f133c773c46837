"""``--format litert`` and ``executorch``: files for phones and small boards, checked with the runtimes that run there.

Both hold the whole graph, resizing included, for one photo at a time and of at most ``canvas_side`` pixels per side;
``shrunk`` is what a program does with a larger one.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.core.text import json_text
from headstart.models.preprocessing import Preprocessing
from headstart.workflows.export.formats import Exporter, Runner, traced
from headstart.workflows.export.graph import OnCanvas, WholeClassifier
from headstart.workflows.export.quantize import quiet

MARGIN = 4
"""The largest photo has so many times the pixels per side that the graph resizes to: see docs/decisions/0042."""
FACTS = "headstart.json"


def canvas_side(preprocessing: Preprocessing) -> int:
    """Pixels per side of the largest photo."""
    return MARGIN * preprocessing.resize


def shrunk(photo: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3] with at most ``side`` pixels per side: means of squares of pixels, or the photo as it is."""
    by = -(-max(photo.shape[:2]) // side)
    if by == 1:
        return photo
    rows, columns = (max(1, length // by) for length in photo.shape[:2])
    step = [min(by, length) for length in photo.shape[:2]]  # a photo may be narrower than a square
    top, left = ((length - n * s) // 2 for length, n, s in zip(photo.shape[:2], (rows, columns), step, strict=True))
    part = photo[top : top + rows * step[0], left : left + columns * step[1]]
    squares = part.reshape(rows, step[0], columns, step[1], 3)
    return np.asarray((squares.mean((1, 3)) + 0.5).astype(np.uint8))


def _write_litert(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    import litert_torch

    side = canvas_side(graph.preprocessing)
    example = (torch.zeros(1, side, side, 3, dtype=torch.uint8), torch.tensor([[side, side]], dtype=torch.int32))
    with torch.no_grad(), quiet():
        model = litert_torch.convert(OnCanvas(graph).eval(), sample_kwargs=dict(zip(INPUTS, example, strict=True)))
        model.export(str(path))
    told = {
        **facts,
        "input": f"images: uint8 RGB [1, {side}, {side}, 3], the upright photo in the upper left corner, the rest any"
        " value; size: int32 [1, 2], the photo's height and width",
        "output": "probabilities: float32 [1, classes], in the order of the classes",
    }
    # After the model's own bytes, where the readers of metadata look for files.
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FACTS, json_text(told))
        archive.writestr("labels.txt", "\n".join(facts["classes"]))


INPUTS = ("images", "size")


def _open_litert(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
        call = interpreter.get_signature_runner()
    side = int(call.get_input_details()["images"]["shape"][1])

    def one(photo: np.ndarray) -> np.ndarray:
        photo = shrunk(photo, side)
        canvas = np.zeros((1, side, side, 3), np.uint8)
        canvas[0, : photo.shape[0], : photo.shape[1]] = photo
        (found,) = call(images=canvas, size=np.array([photo.shape[:2]], np.int32)).values()
        return np.asarray(found[0])

    return lambda photos: np.stack([one(photo) for photo in photos])


def _write_executorch(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    side = canvas_side(graph.preprocessing)
    told = {
        **facts,
        "input": f"images: uint8 RGB [1, height, width, 3], an upright photo of 2 to {side} pixels per side",
        "output": "probabilities: float32 [1, classes], in the order of the classes",
    }
    with quiet():
        edge = to_edge_transform_and_lower(
            traced(graph, photos=1, at_most=side), partitioner=[XnnpackPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
            constant_methods={"headstart": json_text(told), "largest_side": side},
        )  # fmt: skip
        path.write_bytes(edge.to_executorch().buffer)


def _open_executorch(path: Path) -> Runner:
    from executorch.runtime import Runtime

    with quiet():
        program = Runtime.get().load_program(path.read_bytes())
        (side,) = program.load_method("largest_side").execute([])

    def one(photo: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(shrunk(photo, side)))
        # Asked of the program each time, which keeps its methods: a method alone does not keep the program's memory.
        return np.array(program.load_method("forward").execute([pixels[None]])[0][0])

    return lambda photos: np.stack([one(photo) for photo in photos])


LITERT = Exporter(
    "litert", ".tflite", ("litert_torch", "ai_edge_litert"), _write_litert, _open_litert, install="'headstart[litert]'"
)
EXECUTORCH = Exporter(
    "executorch", ".pte", ("executorch",), _write_executorch, _open_executorch, install="'headstart[executorch]'"
)

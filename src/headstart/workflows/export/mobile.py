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
from headstart.inference.int8 import quiet
from headstart.models.preprocessing import Preprocessing
from headstart.workflows.export.formats import INPUT, Exporter, Runner, traced
from headstart.workflows.export.graph import OnCanvas, WholeClassifier

MARGIN = 4
"""The largest photo has so many times the pixels per side that the graph resizes to: see docs/decisions/0042."""
FACTS = "headstart.json"


def canvas_side(preprocessing: Preprocessing) -> int:
    """Pixels per side of the largest photo."""
    return MARGIN * preprocessing.resize


def shrunk(photo: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3] with at most ``side`` pixels per side (``canvas_side``): means of squares of pixels, or the photo
    as it is.
    """
    if max(photo.shape[:2]) <= side:
        return photo
    by, shape = _grid(photo.shape[0], photo.shape[1], side)
    rows, columns = (_places(length, n, by) for length, n in zip(photo.shape[:2], shape, strict=True))
    squares = photo[rows][:, columns].reshape(shape[0], by, shape[1], by, 3)
    return np.asarray((squares.mean((1, 3)) + 0.5).astype(np.uint8))


def _places(length: int, squares: int, by: int) -> np.ndarray:
    """Indices of the pixels of the squares along one axis, centred; at the border the last pixels repeat."""
    return np.clip(np.arange(squares * by) + (length - squares * by) // 2, 0, length - 1)


def _grid(height: int, width: int, side: int) -> tuple[int, tuple[int, int]]:
    """(pixels per side of a square, rows and columns): where it can be, the graph resizes the reduced photo to as many
    pixels as the whole one; otherwise all moves by half a pixel.
    """
    resize = side // MARGIN

    def kept(rows: int, columns: int) -> int:
        return min(2 * resize, resize * max(rows, columns) // min(rows, columns))

    def off(shape: tuple[int, int]) -> tuple[bool, float]:
        return kept(*shape) != kept(height, width), abs(shape[1] / shape[0] - width / height)

    least = -(-max(height, width) // side)
    tried = []
    for by in range(least, least + 3):
        shapes = [(h, w) for h in (height // by, -(-height // by)) for w in (width // by, -(-width // by)) if h and w]
        tried.append((by, min(shapes, key=off)))
    return next((one for one in tried if not off(one[1])[0]), tried[0])


def _write_litert(graph: WholeClassifier, path: Path, facts: dict[str, Any]) -> None:
    import litert_torch

    side = canvas_side(graph.preprocessing)
    example = (torch.zeros(1, side, side, 3, dtype=torch.uint8), torch.tensor([[side, side]], dtype=torch.int32))
    with torch.no_grad(), quiet():
        model = litert_torch.convert(OnCanvas(graph).eval(), sample_kwargs=dict(zip(INPUTS, example, strict=True)))
        model.export(str(path))
    takes = (
        f"images: uint8 RGB [1, {side}, {side}, 3], the upright photo in the upper left corner, the rest any value;"
        " size: int32 [1, 2], the photo's height and width"
    )
    # After the model's own bytes, where the readers of metadata look for files.
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FACTS, json_text(_of_one(facts, takes)))
        archive.writestr("labels.txt", "\n".join(facts["classes"]))


INPUTS = ("images", "size")


def _of_one(facts: dict[str, Any], takes: str) -> dict[str, Any]:
    """The facts of a file that takes this input, one photo at a time; what they say beyond its shape stays."""
    output = facts["output"].replace("[photos, classes]", "[1, classes]")
    return {**facts, "input": takes + facts["input"].removeprefix(INPUT), "output": output}


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
    told = _of_one(facts, f"images: uint8 RGB [1, height, width, 3], an upright photo of 2 to {side} pixels per side")
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


LITERT = Exporter("litert", ".tflite", ("litert_torch", "ai_edge_litert"), _write_litert, _open_litert, extra="litert")
EXECUTORCH = Exporter("executorch", ".pte", ("executorch",), _write_executorch, _open_executorch, extra="executorch")

"""The architecture as text: the modules as torch prints them, and a table of stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone
from headstart.models.chain import device_of, eval_mode
from headstart.models.network import head_logits
from headstart.models.stages import blocks_under, boundary_index
from headstart.models.undivided import BODY


@dataclass(frozen=True)
class StageRow:
    """A stage: its output shape for one photo (without the batch), its parameters, and whether they are trained, partly
    or not at all.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    state: str


def describe(backbone: Backbone, head: nn.Module, boundary: str) -> str:
    """Both modules as torch prints them, then one row per stage and the head, then the sums. Raises OptionError for an
    unknown boundary.
    """
    rows = stage_rows(backbone, head, boundary)
    cells = [("stage", "output", "parameters", "")]
    cells += [
        (r.name, " x ".join(map(str, r.shape)), f"{r.parameters:,}" if r.parameters else "", r.state) for r in rows
    ]
    name, shape, number = (max(len(row[i]) for row in cells) for i in range(3))
    table = "\n".join(f"{a:<{name}}  {b:<{shape}}  {c:>{number}}  {d}".rstrip() for a, b, c, d in cells)
    size = backbone.preprocessing.image_size
    total = sum(row.parameters for row in rows)
    trained = total - sum(p.numel() for p in backbone.split_at(boundary)[0].parameters())
    closing = f"{total:,} parameters, {trained:,} of them trained; input 3 x {size} x {size}, {backbone.source}"
    return "\n\n".join([f"backbone {backbone.name}: {backbone}", f"head: {head}", table, closing])


def stage_rows(backbone: Backbone, head: nn.Module, boundary: str) -> list[StageRow]:
    """One row per stage of the backbone, in order, and one for the head."""
    at = 0 if boundary in backbone.inner else boundary_index(boundary, backbone.block_names, backbone.name)
    shapes = _shapes(backbone)
    rows = []
    for stage in backbone.stage_names():
        inside = blocks_under(stage, backbone.block_names)
        parameters = sum(p.numel() for p in backbone.get_submodule(stage).parameters())
        state = "frozen" if inside[-1] < at else "trained" if inside[0] >= at else f"trained from {boundary}"
        state = f"trained from {boundary}" if stage == BODY and boundary in backbone.inner else state
        told = (state if parameters else "", "joined" if stage in backbone.joined else "")
        rows.append(StageRow(stage, shapes[inside[-1]], parameters, ", ".join(filter(None, told))))
    outputs = head_logits(head, np.zeros((1, backbone.dim))).shape[1:]
    return [*rows, StageRow("head", outputs, sum(p.numel() for p in head.parameters()), "trained")]


@torch.no_grad()
def _shapes(backbone: Backbone) -> list[tuple[int, ...]]:
    """Each block's output for one black photo, as [C, H, W], [L, C] or [C]."""
    size = backbone.preprocessing.image_size
    x: Tensor = torch.zeros(1, 3, size, size, device=device_of(backbone))
    shapes = []
    with eval_mode(backbone):
        for _, block in backbone.named_blocks():
            x = block(x)
            shapes.append(tuple(x.shape[1:]))
    return shapes

"""A training step of a GPU as one CUDA graph: hundreds of kernels that the processor starts one by one become one
start. A small network on small photos is several times as fast so.

A graph repeats what was recorded, so it is used only where it gives the gradients that the step itself gives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from headstart.core.text import first_line
from headstart.inference.memory import free_memory, is_out_of_memory

Compute = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""(photos, labels) -> (mean loss, correct predictions), on the device; gradients are left in the parameters."""
WARM_UP = 3
"""Steps before one is recorded: libraries choose their kernels and take their memory in them."""
MOST = 2
"""Batches of one epoch have two sizes, one photo apart."""
TOLERANCE = 0.05
"""The largest relative distance of the gradients: above the rounding of bf16, below what a wrong graph would give."""


@dataclass
class _Graph:
    graph: Any
    photos: torch.Tensor
    labels: torch.Tensor
    figures: tuple[torch.Tensor, torch.Tensor]
    gradients: list[torch.Tensor | None]


class RecordedStep:
    """``compute`` for batches on the device, recorded for each size of batch when it is met the second time.

    ``network``: whose parameters the gradients are of, and whose statistics a trial must not move.
    """

    def __init__(self, compute: Compute, network: nn.Module) -> None:
        self.compute, self.network = compute, network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.met: set[tuple[int, ...]] = set()
        self.graphs: dict[tuple[int, ...], _Graph] = {}
        self.usable = True

    def __call__(self, photos: torch.Tensor, labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``compute``, with the random numbers of this seed."""
        size = tuple(photos.shape)
        if self.usable and size in self.met and size not in self.graphs and len(self.graphs) < MOST:
            self._try(photos, labels, seed)
        self.met.add(size)
        torch.manual_seed(seed)
        graph = self.graphs.get(size)
        return self.compute(photos, labels) if graph is None else self._replay(graph, photos, labels)

    def forget(self) -> None:
        """Give the memory of the graphs back, and record no more."""
        self.usable = False
        self.graphs.clear()
        self._drop_gradients()

    def _try(self, photos: torch.Tensor, labels: torch.Tensor, seed: int) -> None:
        """Record a graph if the step can be recorded; afterwards all is as before."""
        kept = [buffer.clone() for buffer in self.network.buffers()]
        why = ""
        try:
            graph, wanted = self._record(photos, labels, seed)
            torch.manual_seed(seed)
            self._replay(graph, photos, labels)
            distance = _distance(self._gradients(), wanted)
            if distance <= TOLERANCE:
                self.graphs[tuple(photos.shape)] = graph
            else:
                why = f"its gradients are {distance:.2g} away from the step's"
        except (MemoryError, RuntimeError) as error:  # what PyTorch raises for a step that waits for the device, too
            why = "memory does not hold it" if is_out_of_memory(error) else first_line(error)
        for buffer, before in zip(self.network.buffers(), kept, strict=True):
            buffer.data.copy_(before)
        if why:
            logging.getLogger("headstart").info("This step is not recorded as a CUDA graph: %s.", why)
            self.forget()
            free_memory()
        self._drop_gradients()

    def _record(self, photos: torch.Tensor, labels: torch.Tensor, seed: int) -> tuple[_Graph, list[torch.Tensor]]:
        """(the graph of a step, the gradients of the step itself)."""
        own, targets = photos.clone(), labels.clone()
        stream = torch.cuda.Stream()  # autograd remembers the stream of what it prepares: not the usual one
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                torch.manual_seed(seed)
                self.compute(own, targets)
            wanted = [gradient.clone() for gradient in self._gradients()]
        torch.cuda.current_stream().wait_stream(stream)
        self._drop_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            figures = self.compute(own, targets)
        return _Graph(graph, own, targets, figures, [p.grad for p in self.parameters]), wanted

    def _replay(self, graph: _Graph, photos: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        graph.photos.copy_(photos)
        graph.labels.copy_(labels)
        graph.graph.replay()
        for parameter, gradient in zip(self.parameters, graph.gradients, strict=True):
            parameter.grad = gradient
        return graph.figures[0].clone(), graph.figures[1].clone()

    def _gradients(self) -> list[torch.Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def _distance(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    """Of two lists of tensors, relative to the second; infinite where they do not match. NaN where one is not finite,
    which no comparison takes for near.
    """
    if [f.shape for f in found] != [w.shape for w in wanted]:
        return float("inf")
    apart = math.fsum(float((f - w).double().square().sum()) for f, w in zip(found, wanted, strict=True))
    return math.sqrt(apart / max(1e-30, math.fsum(float(w.double().square().sum()) for w in wanted)))

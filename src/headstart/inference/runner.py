"""A frozen network prepared for inference by an engine, whose outputs are compared with PyTorch's."""

from __future__ import annotations

import copy
import logging
import os

import numpy as np
import torch
from torch import nn

from headstart.inference.backends import BACKENDS, Compiled
from headstart.inference.device import Machine
from headstart.inference.int8 import INT8
from headstart.inference.memory import InParts
from headstart.models.preprocessing import Preprocessing

TOLERANCE = {"bf16": 0.1, "float32": 0.01}
"""The largest relative distance of a converted network's outputs: rounding stays a factor of ten below, and a network
that was converted wrongly is far above."""
QUANTISED = 0.25
"""Likewise of an int8 network, on the photos that it was calibrated with, where 0.07 is usual."""


class FrozenNetwork:
    """A copy of a module in eval mode, ready for inference.

    ``__call__``: uint8 photos [N, S, S, 3] -> outputs on the CPU. ``engine`` computes them: PyTorch if the one that was
    ``asked`` for cannot run the network. A batch that memory does not hold is computed in parts. ``photos``:
    uint8 [K, S, S, 3], that int8 takes the ranges of activations from; without them OpenVINO computes instead. Raises
    OptionError for an engine that is not installed or does not run on this machine, TrainingError.
    """

    def __init__(
        self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str,
        engine: str = "torch", photos: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.machine, self.precision, self.asked, self.process = machine, precision, engine, os.getpid()
        BACKENDS.get(engine).check(machine)
        if engine == INT8 and photos is None:
            engine = "openvino"
        folded = fold(module)
        run = _checked(engine, folded, preprocessing, machine, precision, photos) if engine != "torch" else None
        self.engine = engine if run else "torch"
        self.run = run or BACKENDS.get("torch").compile(folded, preprocessing, machine, precision)
        self.in_parts = InParts(self.run)

    @property
    def is_of_this_process(self) -> bool:
        """False after a fork, where an engine's threads are missing."""
        return self.process == os.getpid()

    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        return self.in_parts(photos)


class TorchBackend:
    """PyTorch on any device."""

    def check(self, machine: Machine) -> None:
        pass

    def compile(self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str) -> Compiled:
        return _Torch(module, preprocessing, machine, precision)


class _Torch:
    def __init__(self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str) -> None:
        self.device, self.dtype = machine.device, torch.bfloat16 if precision == "bf16" else torch.float32
        self.module = module.to(self.device, self.dtype)
        self.module.to(memory_format=torch.channels_last)
        self.normalise = Normalise(preprocessing).to(self.device)
        self.copying = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @torch.inference_mode()
    def __call__(self, photos: torch.Tensor, /) -> torch.Tensor:
        out: torch.Tensor = self.module(self.normalise(self._on_device(photos)).to(self.dtype))
        return out.cpu()

    def _on_device(self, photos: torch.Tensor) -> torch.Tensor:
        """A GPU copies a batch beside its work on the one before."""
        if self.copying is None:
            return photos.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.copying):
            there = photos.to(self.device, non_blocking=True)
        computing.wait_stream(self.copying)
        there.record_stream(computing)  # its memory is used again only behind what is computed from it
        return there


class Normalise(nn.Module):
    """uint8 photos [N, S, S, 3] -> normalised float32 [N, 3, S, S], channels last in memory; other inputs pass."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.uint8:
            return x
        # The photos' own order in memory is channels_last.
        return (x.permute(0, 3, 1, 2).to(torch.float32) / 255 - self.mean) / self.std


def fold(trunk: nn.Module) -> nn.Module:
    """A copy in eval mode with each BatchNorm folded into the convolution before it, if the network can be traced."""
    trunk = copy.deepcopy(trunk).eval().requires_grad_(False)
    try:
        from torch.fx.experimental.optimization import fuse

        return fuse(trunk, inplace=True)
    except Exception:  # noqa: BLE001 - networks with control flow cannot be traced
        return trunk


def _checked(
    engine: str, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str,
    given: np.ndarray | None,
) -> Compiled | None:  # fmt: skip
    """The module compiled by an engine, or None if the engine cannot do it or its outputs differ from PyTorch's."""
    backend = BACKENDS.get(engine)
    log = logging.getLogger("headstart")
    noise = np.random.default_rng(0).integers(0, 256, (2, *[preprocessing.image_size] * 2, 3), dtype=np.uint8)
    calibrates = getattr(backend, "calibrates", False)
    photos = torch.from_numpy(given[:8] if calibrates and given is not None else noise)
    try:
        compiled = backend.compile(module, preprocessing, machine, precision, *([given] if calibrates else []))
        with torch.inference_mode():
            wanted = module(Normalise(preprocessing)(photos)).float()
            distance = float((compiled(photos).float() - wanted).norm() / wanted.norm().clamp_min(1e-12))
    except Exception as error:  # noqa: BLE001 - whatever a converter cannot do, PyTorch can
        log.info("%s cannot run this network (%s); PyTorch does.", engine, error)
        return None
    if not distance <= (QUANTISED if calibrates else TOLERANCE[precision]):  # NaN is not
        log.warning("The outputs of %s are %.3g away from PyTorch's; PyTorch is used.", engine, distance)
        return None
    return compiled

"""A frozen network made ready for inference. In: a module, its preprocessing, a machine, a precision and an engine.
Out: ``FrozenNetwork``: uint8 photos in, the module's outputs out.

Two engines give the same outputs but for rounding. PyTorch's runs everywhere. OpenVINO's is the faster one on CPUs
(docs/performance.md) and has to convert the network first; ``rules.engine`` says when that pays.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from headstart.errors import OptionError
from headstart.inference.device import Machine
from headstart.inference.openvino import OpenVino, has_openvino
from headstart.models.preprocessing import Preprocessing

TOLERANCE = {"bf16": 0.1, "float32": 0.01}
"""How far a converted network may be from the original, as a part of the output's norm: rounding stays a factor of ten
below, and a network that was converted wrongly is far above."""


class FrozenNetwork:
    """A copy of a module in eval mode, ready for inference.

    ``__call__``: uint8 photos [N, S, S, 3] -> outputs on the CPU. ``engine`` says what computes them: PyTorch where a
    network could not be converted, whatever was ``asked`` for.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocessing,
        machine: Machine,
        precision: str,
        engine: str = "torch",
    ) -> None:
        self.machine, self.precision, self.asked, self.engine = machine, precision, engine, "torch"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        folded = fold(module)
        self.converted: Callable[[np.ndarray], np.ndarray] | None = None
        if engine == "openvino":
            self.converted = _checked_openvino(folded, preprocessing, machine, precision)
            if self.converted is not None:
                self.engine = "openvino"
                return
        self.module = folded.to(machine.device, self.dtype)
        self.module.to(memory_format=torch.channels_last)
        self.normalise = Normalise(preprocessing).to(machine.device)

    @torch.inference_mode()
    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        if self.converted is not None:
            return torch.from_numpy(self.converted(photos.numpy()))
        x = self.normalise(photos.to(self.machine.device))
        out: torch.Tensor = self.module(x.to(self.dtype))
        return out.cpu()


class Normalise(nn.Module):
    """uint8 photos [N, S, S, 3] -> float32 [N, 3, S, S] in channels_last order, normalised; other inputs
    pass through.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.uint8:
            return x
        # channels_last already, as photos lie in memory
        return (x.permute(0, 3, 1, 2).to(torch.float32) / 255 - self.mean) / self.std


def fold(trunk: nn.Module) -> nn.Module:
    """A copy in eval mode with each BatchNorm folded into the convolution before it, where the network can
    be traced.
    """
    trunk = copy.deepcopy(trunk).eval().requires_grad_(False)
    try:
        from torch.fx.experimental.optimization import fuse

        return fuse(trunk, inplace=True)
    except Exception:  # noqa: BLE001 - networks with control flow cannot be traced; unfolded they give the same
        return trunk


def _checked_openvino(
    module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The module converted, or None where it cannot be, or answers otherwise than the original.

    Raises:
        OptionError: OpenVINO is not installed, or the device is no CPU.
    """
    if machine.device.type != "cpu":
        raise OptionError(f"engine openvino is for CPUs, not for {machine.device}.", "Leave it out: --set engine=torch")
    if not has_openvino():
        raise OptionError("engine openvino: OpenVINO is not installed.", "pip install openvino, or --set engine=torch")
    words = logging.getLogger("headstart")
    try:
        converted = OpenVino(module, preprocessing, precision)
        far = _distance(converted, module, preprocessing)
    except Exception as error:  # noqa: BLE001 - whatever a converter cannot do, PyTorch can
        words.info("OpenVINO cannot run this network (%s); PyTorch does.", error)
        return None
    if not far <= TOLERANCE[precision]:
        words.warning("OpenVINO's answers are %.3g away from PyTorch's; PyTorch is used.", far)
        return None
    return converted


@torch.inference_mode()
def _distance(converted: Callable[[np.ndarray], np.ndarray], module: nn.Module, preprocessing: Preprocessing) -> float:
    """Relative distance of the outputs for two pictures of noise."""
    size = preprocessing.image_size
    photos = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    wanted = module(Normalise(preprocessing)(torch.from_numpy(photos))).float()
    found = torch.from_numpy(converted(photos))
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))

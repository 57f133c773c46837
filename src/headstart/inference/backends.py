"""Inference engines for frozen networks, and which one is fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headstart.core.choice import Choice
from headstart.core.registry import Registry

if TYPE_CHECKING:  # the plan reads the names of engines without importing torch
    from torch import Tensor, nn

    from headstart.inference.device import Machine
    from headstart.models.preprocessing import Preprocessing


class Compiled(Protocol):
    """A network that is ready to run."""

    def __call__(self, photos: Tensor, /) -> Tensor:
        """uint8 photos [N, S, S, 3] -> the network's outputs, on the CPU."""


class Backend(Protocol):
    """An inference engine. Outputs of all but PyTorch's are compared with PyTorch's before they are used. One with an
    attribute ``calibrates`` that is true gets ``compile``'s fifth argument: photos as the network will see them, uint8
    [K, S, S, 3].
    """

    def check(self, machine: Machine) -> None:
        """Raises OptionError if it is not installed, or does not run on this machine."""

    def compile(self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str) -> Compiled:
        """The module (in eval mode, BatchNorm folded) ready to run, normalisation included. Any exception means that
        the engine cannot run this network.
        """


BACKENDS: Registry[Backend] = Registry(
    "engine",
    "headstart.backends",
    {
        "openvino": "headstart.inference.openvino:OpenVinoBackend",
        "torch": "headstart.inference.runner:TorchBackend",
        "int8": "headstart.inference.int8:Int8Backend",
    },
    option="engine",
)
ENGINES = BACKENDS.names()
MULTIPLICATIONS_PER_WEIGHT = 170
"""Of a convolutional network at 224 px: ResNet-18 163, ResNet-50 174, MobileNetV2 136."""
CONVERSION_PAYS = 5e11
"""Multiplications from which OpenVINO is faster, including its conversion (docs/explanation/performance.md): 550 photos
at 160 px through ResNet-18, 120 at 224 px through ResNet-50."""


def choose_engine(device: str, openvino: bool, photos: int, weights: int, image_size: int) -> Choice:
    """The engine for a number of photos. OpenVINO is the fastest on CPUs, once the network is converted.

    Args:
        device: a torch device type, such as "cpu".
        openvino: whether OpenVINO is installed.
        photos: photos to read.
        weights: parameters of the network.
        image_size: input size, px.
    """
    if device != "cpu":
        return Choice("torch", f"PyTorch computes on this {device.upper()}")
    if not openvino:
        return Choice("torch", "OpenVINO, which is faster for large sets, is not installed")
    if photos * weights * MULTIPLICATIONS_PER_WEIGHT * (image_size / 224) ** 2 < CONVERSION_PAYS:
        return Choice("torch", f"{photos} photos to read: converting the network would cost more than it gains")
    return Choice("openvino", f"the fastest on this CPU; {photos} photos to read are worth the conversion")

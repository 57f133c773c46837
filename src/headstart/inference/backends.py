"""What computes a frozen network's outputs, and which choice pays."""

from __future__ import annotations

from headstart.core.choice import Choice

ENGINES = ("openvino", "torch")
MULTIPLICATIONS_PER_WEIGHT = 170
"""Of a convolutional network at 224 px: ResNet-18 163, ResNet-50 174, MobileNetV2 136."""
CONVERSION_PAYS = 5e11
"""Multiplications from which OpenVINO is ahead, its conversion included (docs/performance.md): 550 photos at 160 px
through ResNet-18, 120 at 224 px through ResNet-50."""


def choose_engine(device: str, openvino: bool, photos: int, weights: int, image_size: int) -> Choice:
    """The engine for so many photos. OpenVINO is the fastest on CPUs, once the network is converted.

    Args:
        device: a torch device type, such as "cpu".
        openvino: whether OpenVINO is installed.
        photos: how many photos will be read.
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

"""The device that work runs on, and what it can do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache

import torch

from headstart.errors import OptionError


@dataclass(frozen=True)
class Machine:
    """A device and what it can do; ``fast_bf16`` means bf16 arithmetic in hardware, not emulated."""

    device: torch.device
    fast_bf16: bool
    words: str


def find_machine(device: str = "auto") -> Machine:
    """The best device there is, or the one asked for (``cpu``, ``cuda``, ``cuda:1``, ``mps``).

    Raises:
        OptionError: the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"Device {device!r} cannot be used: {str(error).splitlines()[0]}.",
            "Leave `device` out to use the best there is.",
            option="device",
        ) from None
    return Machine(found, _fast_bf16(found), _words(found))


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AMX or AVX512-BF16): elsewhere float32 is faster."""
    return any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and cpu_has_bf16()


def _words(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    return f"{device.type.upper()}, {os.cpu_count()} cores, {name}"


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock around the work is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

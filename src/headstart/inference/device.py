"""The device that computes, and what it can do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from headstart.core.arguments import Device
from headstart.core.text import first_line
from headstart.core.world import World, here
from headstart.errors import OptionError

_IMPORTED_BY = os.getpid()
BATCH = 32
"""Photos per forward pass of a frozen trunk on a CPU: its rate is flat from 16 on, and 32 of 224 px fit its caches."""
GPU_BATCH, MPS_BATCH = 256, 64
"""On a GPU, whose many cores need so many (benchmarks/gpu.py: 64 reach 0.85 to 0.94 of the rate of 256); and on Apple
silicon, where they share the memory of everything else."""


@dataclass(frozen=True)
class Machine:
    """A device and what it can do; ``fast_bf16`` means bf16 arithmetic in hardware, not emulated."""

    device: torch.device
    fast_bf16: bool
    words: str

    @property
    def batch(self) -> int:
        """Photos per forward pass of a frozen network."""
        return {"cpu": BATCH, "mps": MPS_BATCH}.get(self.device.type, GPU_BATCH)

    @property
    def products(self) -> torch.device:
        """Where products of large matrices are computed: MPS has no float64."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def empty(self, *shape: int) -> np.ndarray:
        """An array of uint8 that this device reads fastest: for CUDA in memory that the system does not move."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda").numpy()


def find_machine(device: Device = "auto") -> Machine:
    """The best device available, or the one asked for (``cpu``, ``cuda``, ``cuda:1``, ``mps``).

    Raises:
        OptionError: the device is not available.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    ready_after_fork()
    if here().size > 1:
        device = own_device(str(device), here(), torch.cuda.device_count())
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"Device {device!r} cannot be used: {first_line(error)}.",
            "Leave `device` out to use the best one available.",
            option="device",
        ) from None
    if found.type == "cuda":
        return Machine(found, torch.cuda.get_device_capability(found) >= (8, 0), torch.cuda.get_device_name(found))
    words = f"{found.type.upper()}, {os.cpu_count()} cores, {platform.processor() or platform.machine()}"
    return Machine(found, found.type == "cpu" and cpu_has_bf16(), words)


def _has_mps() -> bool:
    """Virtual machines of macOS list it, and can allocate nothing on it."""
    if not torch.backends.mps.is_available():
        return False
    try:
        torch.empty(1, device="mps")
    except RuntimeError:
        return False
    return True


def own_device(device: str, world: World, gpus: int) -> str:
    """The device of one of several processes: each has a GPU of its host of its own. Where it sees one alone, what
    started it gave it that. Raises OptionError.
    """
    if device not in ("cpu", "cuda"):
        problem = f"`device={device!r}` with {world.size} processes: each takes its own GPU, or all the CPU."
        raise OptionError(problem, "`device='cuda'` or `device='cpu'`.", option="device")
    if device == "cpu" or gpus <= 1:
        return device
    if world.local >= gpus:
        problem = f"Rank {world.rank} of {world.size} is process {world.local + 1} of its host, which has {gpus} GPUs."
        raise OptionError(problem, f"Start {gpus} processes per host, or use `device='cpu'`.", option="device")
    return f"cuda:{world.local}"


def is_forked() -> bool:
    """Whether this process is a fork of one that may have computed before: threads are not copied, so it would wait for
    them for ever.
    """
    return os.getpid() != _IMPORTED_BY


def ready_after_fork() -> None:
    """In a forked process, compute in one thread, which it can do, as PyTorch's own workers that load data do."""
    if is_forked():
        torch.set_num_threads(1)


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AMX or AVX512-BF16); without it float32 is faster."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock measures its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

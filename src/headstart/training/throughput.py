"""Measured speed: seconds per training step, photos per second through a frozen network."""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch
from torch import nn

from headstart.inference.device import Machine, synchronise
from headstart.inference.memory import free_memory, is_out_of_memory
from headstart.inference.runner import FrozenNetwork
from headstart.models.freeze import keep_statistics
from headstart.training.plan import Plan
from headstart.training.strided_convolutions import sampled_first


def seconds_per_step(backbone: nn.Module, head: nn.Module, plan: Plan, machine: Machine) -> float:
    """One training step of the whole network, timed on copies and on noise: two steps, the first of which warms up. Of
    a batch that memory does not hold, a part is timed; infinite where it does not hold two photos.
    """
    network = nn.Sequential(copy.deepcopy(backbone), head).to(machine.device).train()
    network.to(memory_format=torch.channels_last)
    if plan.batchnorm == "kept":  # on a CPU, statistics that move take half of a step
        keep_statistics(network)
    few = min(8, plan.batch_size) if machine.device.type == "cpu" else plan.batch_size  # a GPU is faster on many
    least = min(2, few)  # BatchNorm cannot train on one
    while few >= least:
        try:
            return _seconds(network, few, plan, machine) * plan.batch_size / few
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        few //= 2
        network.zero_grad(set_to_none=True)
        free_memory()
    return math.inf


def _seconds(network: nn.Module, few: int, plan: Plan, machine: Machine) -> float:
    size = plan.image_size
    x = torch.randn(few, 3, size, size, device=machine.device).to(memory_format=torch.channels_last)
    taken = 0.0
    for _ in range(2):
        began = time.perf_counter()
        autocast = torch.autocast(machine.device.type, torch.bfloat16, enabled=plan.precision == "bf16")
        with autocast, sampled_first(network, machine.device):
            network(x).float().logsumexp(1).mean().backward()
        synchronise(machine.device)
        taken = time.perf_counter() - began
    return taken


ENOUGH_SECONDS = 1.0
BATCHES = (5, 20)  # the least and the most that are timed


def photos_per_second(trunk: FrozenNetwork, image_size: int, batch: int) -> float:
    """Photos per second through a frozen network: the fastest of several full batches of noise, already resized, which
    other work on the machine disturbs least. Converting the network, and a first batch that warms up, are left out.
    """
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, image_size, image_size, 3), np.uint8))
    trunk(photos)
    taken: list[float] = []
    while len(taken) < BATCHES[0] or (sum(taken) < ENOUGH_SECONDS and len(taken) < BATCHES[1]):
        began = time.perf_counter()
        trunk(photos)
        taken.append(time.perf_counter() - began)
    return batch / min(taken)

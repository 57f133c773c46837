"""oneDNN's gradient of strided 1x1 convolutions of few channels is faulty: they are computed otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from headstart.training.strided_convolutions import sampled_first

CPU = torch.device("cpu")


def gradients(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    network.zero_grad()
    network(x).square().sum().backward()
    return [p.grad.double() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("stride", [2, (1, 3)])
def test_outputs_and_gradients_are_those_of_float64(stride: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(3, 48, 1, stride)), torch.randn(4, 3, 33, 32)
    exact = nn.Sequential(nn.Conv2d(3, 48, 1, stride)).double()
    exact.load_state_dict(network.state_dict())
    wanted = gradients(exact, x.double())
    network.to(memory_format=torch.channels_last)
    with sampled_first(network, CPU):
        assert torch.allclose(network(x).double(), exact(x.double()), atol=1e-5)
        found = gradients(network, x.contiguous(memory_format=torch.channels_last))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-2) for a, b in zip(found, wanted, strict=True))


def test_the_heap_is_whole_after_many_steps() -> None:
    """In a process of its own, which the fault ends: without the module, it does on every x86 CPU that was tried."""
    code = """
import torch
from headstart.training.strided_convolutions import sampled_first
network = torch.nn.Conv2d(3, 48, 1, 2).to(memory_format=torch.channels_last)
with sampled_first(network, torch.device("cpu")):
    for _ in range(50):
        network(torch.randn(4, 3, 128, 128).contiguous(memory_format=torch.channels_last)).sum().backward()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_these_convolutions_change_and_only_meanwhile() -> None:
    frozen = nn.Conv2d(3, 8, 1, 2).requires_grad_(False)
    network = nn.ModuleList(
        [nn.Conv2d(3, 8, 1, 2), nn.Conv2d(3, 8, 3, 2), nn.Conv2d(3, 8, 1), nn.Conv2d(16, 8, 1, 2), frozen]
    )
    with sampled_first(network, CPU):
        assert ["forward" in each.__dict__ for each in network] == [True, False, False, False, False]
    assert not any("forward" in each.__dict__ for each in network)
    with sampled_first(network, torch.device("cuda")):
        assert not any("forward" in each.__dict__ for each in network)

"""The exact state of a training as named tensors, which a safetensors file gives back bit for bit.

No random-number state is kept: every random draw is a function of (seed, epoch) or (seed, step), so the step's
number is the state.
"""

from __future__ import annotations

import torch
from torch import nn


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as named tensors: ``<index of parameter>.<name>``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what ``optimiser_tensors`` gave, each moment in the memory order of its parameter.

    Fused AdamW walks parameters and moments by address: in two orders (channels_last and not) it would pair wrong
    entries.
    """
    whole = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        same = value.shape == like.shape
        state.setdefault(int(index), {})[name] = (
            torch.empty_like(like, dtype=value.dtype).copy_(value) if same else value
        )
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def with_prefix(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = prefix + "/"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

"""The exact state of a training on disk. In: tensors and plain facts. Out: one safetensors file, replaced
atomically, that gives them back bit for bit.

No random-number state is kept: every random draw is a function of (seed, epoch) or (seed, step), so the step's
number is the state.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from headstart.errors import RunError


def save_state(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts; a reader sees the old file or the new one, never half of it.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        save_file(contiguous, temporary, metadata={"facts": json.dumps(facts)})
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"{path} could not be written: {reason}.",
            "Free some space or choose another folder with --out; nothing was half-written.",
        ) from error


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What ``save_state`` wrote.

    Raises:
        RunError: the file is not a state of headstart's.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, facts  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}.", "It is damaged or not headstart's; train again with --overwrite."
        ) from error


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

"""Tensors in a file: also those that share memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.models.serialization import load_state, save_state


def test_tensors_that_share_memory_are_kept_as_the_numbers_that_they_are(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    whole = torch.arange(12.0)
    tensors = {
        **nn.ModuleDict({"one": layer, "same": layer}).state_dict(),
        "whole": whole,
        "part": whole[4:8],
        "turned": whole.view(3, 4).T,
        "empty": torch.empty(0),
        "also_empty": torch.empty(0),
    }
    save_state(tmp_path / "file.safetensors", tensors, {"a": 1})
    found, facts = load_state(tmp_path / "file.safetensors")
    assert facts == {"a": 1}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_saving_leaves_shared_tensors_shared(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    module = nn.ModuleDict({"one": layer, "same": layer})
    save_state(tmp_path / "file.safetensors", module.state_dict(), {})
    state = module.state_dict()
    assert state["one.weight"].data_ptr() == state["same.weight"].data_ptr()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
def test_loaded_tensors_do_not_map_their_file(tmp_path: Path) -> None:
    """Windows neither replaces nor deletes a file that is mapped."""
    path = tmp_path / "file.safetensors"
    save_state(path, {"a": torch.ones(5000)}, {})
    found, _ = load_state(path)
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert found["a"].sum() == 5000

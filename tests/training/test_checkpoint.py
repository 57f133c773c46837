"""States on disk: bit for bit, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.errors import RunError
from headstart.models import serialization
from headstart.models.serialization import load_state, save_state
from headstart.training.checkpoint import optimiser_tensors, restore_optimiser

ODD = {
    "floats": torch.tensor([0.1, -0.0, float("inf"), 1e-45]),
    "whole": torch.tensor([2**40]),
    "half": torch.ones(2, dtype=torch.bfloat16) / 3,
    "scalar": torch.tensor(3.0),
    "strided": torch.arange(6.0).view(2, 3).T,
}


def test_tensors_and_facts_come_back_bit_for_bit(tmp_path: Path) -> None:
    facts = {"epoch": 3, "best": [0.1 + 0.2, -1e-300], "history": [{"a": None}]}
    save_state(tmp_path / "deep" / "s.safetensors", ODD, facts)
    tensors, again = load_state(tmp_path / "deep" / "s.safetensors")
    assert again == facts
    for name, tensor in ODD.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("where", ["save_file", "replace", "fsync"])
def test_a_failed_write_keeps_the_old_state_and_no_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.ones(1)}, {"epoch": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((serialization, "save_file") if where == "save_file" else (os, where)), full)
    with pytest.raises(RunError, match="No space left"):
        save_state(path, {"a": torch.zeros(1)}, {"epoch": 2})
    assert load_state(path)[1] == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x80\x04}.", None])
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "s.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"s\.safetensors cannot be read"):
        load_state(path)


def test_a_foreign_safetensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "s.safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "s.safetensors")


def test_an_optimiser_goes_on_as_if_never_stopped() -> None:
    def steps(net: nn.Module, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
        for i in range(first, last):
            optimiser.zero_grad()
            (net(torch.full((2, 3), float(i))) ** 2).sum().backward()
            optimiser.step()

    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(nn.Linear(3, 2))
    whole = torch.optim.AdamW(nets[0].parameters(), lr=0.1)
    steps(nets[0], whole, 0, 6)
    first = torch.optim.AdamW(nets[1].parameters(), lr=0.1)
    steps(nets[1], first, 0, 3)
    second = torch.optim.AdamW(nets[1].parameters(), lr=0.1)
    restore_optimiser(second, optimiser_tensors(first))
    steps(nets[1], second, 3, 6)
    assert torch.equal(nets[0].weight, nets[1].weight)

"""Which device is used."""

from __future__ import annotations

import pytest
import torch

from headstart.errors import OptionError
from headstart.inference.device import find_machine


def test_a_virtual_mac_whose_graphics_processor_holds_nothing_uses_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = torch.empty

    def on_mps(*shape: object, **how: object) -> torch.Tensor:
        if str(how.get("device")) == "mps":
            raise RuntimeError("MPS backend out of memory (MPS allocated: 0 bytes)")
        return empty(*shape, **how)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", on_mps)
    assert find_machine("auto").device.type == "cpu"
    with pytest.raises(OptionError, match="'mps' cannot be used: MPS backend out of memory"):
        find_machine("mps")

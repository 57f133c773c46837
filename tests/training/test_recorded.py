"""What decides whether a recorded step is used. CUDA graphs themselves are tested on a GPU (tests/test_gpu.py); here a
stand-in repeats the step on what was put into the graph's tensors, as they do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from headstart.training.recorded import RecordedStep, _Graph


class Again:
    """Repeats a step on the tensors that it was recorded with; ``spoil``: what a wrong graph does to its gradients."""

    def __init__(self, step: RecordedStep, spoil: Callable[[torch.Tensor], Any] = lambda gradient: None) -> None:
        self.step, self.spoil, self.replays = step, spoil, 0

    def record(self, photos: torch.Tensor, labels: torch.Tensor, seed: int) -> tuple[_Graph, list[torch.Tensor]]:
        torch.manual_seed(seed)
        figures = self.step.compute(photos, labels)
        wanted = [gradient.clone() for gradient in self.step._gradients()]
        kept = [p.grad.clone() for p in self.step.parameters if p.grad is not None]
        self.graph = _Graph(self, photos.clone(), labels.clone(), figures, list(kept))
        return self.graph, wanted

    def replay(self) -> None:
        self.replays += 1
        figures = self.step.compute(self.graph.photos, self.graph.labels)
        for own, new in zip(self.graph.figures, figures, strict=True):
            own.copy_(new)
        for own, parameter in zip(self.graph.gradients, self.step.parameters, strict=True):
            assert own is not None
            assert parameter.grad is not None
            own.copy_(parameter.grad)
            self.spoil(own)


def make(monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[RecordedStep, nn.Module, list[Again]]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 3)).train()

    def compute(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        logits = network(x)
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()
        return loss.detach(), (logits.argmax(1) == y).sum()

    step, made = RecordedStep(compute, network), list[Again]()

    def record(*given: Any) -> Any:
        made.append(Again(step, **how))
        return made[-1].record(*given)

    monkeypatch.setattr(step, "_record", record)
    return step, network, made


def run(step: RecordedStep, network: nn.Module, sizes: list[int]) -> list[tuple[torch.Tensor, ...]]:
    """Loss, correct and gradients of each batch, and the statistics at the end."""
    found = []
    for number, size in enumerate(sizes):
        draw = torch.Generator().manual_seed(number)
        x, y = torch.randn(size, 5, generator=draw), torch.randint(0, 3, (size,), generator=draw)
        loss, correct = step(x, y, 100 + number)
        found.append((loss.clone(), correct.clone(), *(p.grad.clone() for p in network.parameters())))
        network.zero_grad(set_to_none=True)
    return [*found, tuple(buffer.clone() for buffer in network.buffers())]


SIZES = [6, 7, 6, 7, 7, 6, 9, 9, 6]


def test_recorded_steps_give_what_steps_give(monkeypatch: pytest.MonkeyPatch) -> None:
    step, network, made = make(monkeypatch)
    found = run(step, network, SIZES)
    other, alike, _ = make(monkeypatch)
    other.usable = False
    for own, wanted in zip(found, run(other, alike, SIZES), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, wanted, strict=True))
    assert [len(again.graph.photos) for again in made] == [6, 7]  # the third size is met when two are recorded
    assert [again.replays for again in made] == [1 + 3, 1 + 2]  # one to compare, then each but the first two


def test_a_graph_with_other_gradients_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headstart")
    step, network, made = make(monkeypatch, spoil=lambda gradient: gradient.mul_(1.2))
    found = run(step, network, SIZES)
    other, alike, _ = make(monkeypatch)
    other.usable = False
    for own, wanted in zip(found, run(other, alike, SIZES), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, wanted, strict=True))
    assert len(made) == 1
    assert not step.usable
    assert "gradients are 0.2 away" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nor_is_one_whose_gradients_are_no_numbers(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    step, network, _ = make(monkeypatch, spoil=lambda gradient: gradient.fill_(value))
    run(step, network, SIZES)
    assert not step.usable


def test_a_step_that_cannot_be_recorded_is_done_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    step, network, _ = make(monkeypatch)

    def refuse(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step, "_record", refuse)
    found = run(step, network, SIZES)
    assert not step.usable
    other, alike, _ = make(monkeypatch)
    other.usable = False
    for own, wanted in zip(found, run(other, alike, SIZES), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, wanted, strict=True))


def test_what_is_forgotten_is_recorded_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    step, network, made = make(monkeypatch)
    run(step, network, [6, 6])
    step.forget()
    assert all(p.grad is None for p in network.parameters())
    run(step, network, [6, 6, 6])
    assert len(made) == 1
    assert made[0].replays == 2

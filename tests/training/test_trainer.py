"""The epoch loop against a plain one, and at every moment it can be stopped at."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.tampering import CHANGES, changed, places
from torch import nn

from headstart.core.events import Event, Events, Message, Progress
from headstart.errors import Interrupted, RunError, TrainingError
from headstart.inference.device import Machine
from headstart.models.serialization import load_state, save_state
from headstart.training import trainer as module
from headstart.training.batches import ArraySource, Batch, batch_bounds
from headstart.training.optimization import parameter_groups, schedule
from headstart.training.plan import Plan
from headstart.training.trainer import Trainer
from headstart.training.trainer_state import TrainerState

MakePlan = Callable[..., Plan]


def rows(n: int = 21) -> ArraySource:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return ArraySource((rng.normal(size=(n, 6)) + labels[:, None]).astype(np.float32), labels, seed=5)


def network(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    extra = (
        [nn.BatchNorm1d(8)] if norm else []
    )  # a bias before it would have no gradient but rounding, which Adam scales up
    return nn.Sequential(nn.Linear(6, 8, bias=not norm), *extra, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def make_loop(folder: Path, machine: Machine, plan: Plan, net: nn.Module, source: Any = None, **more: Any) -> Trainer:
    source = source or rows()

    def validate() -> tuple[float, float]:
        net.eval()
        with torch.no_grad():
            logits = net(torch.from_numpy(rows().rows))
        y = torch.from_numpy(rows().labels)
        return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()

    groups = parameter_groups(net.named_parameters(), plan.lr, plan.weight_decay)
    return Trainer(net, source, more.pop("validate", validate), plan, machine, folder, groups, **more)


def weights_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def better_each_time() -> Callable[[], tuple[float, float]]:
    """A validation that always finds an improvement, so that the last epoch is the best."""
    count = iter(range(1, 1000))
    return lambda: (1.0 / next(count), 0.5)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_loop_ends_with_the_bits_of_a_plain_loop(
    tmp_path: Path, machine: Machine, plan: MakePlan, precision: str
) -> None:
    settings = plan(epochs=4, lr=0.02, weight_decay=0.1, label_smoothing=0.1, warmup=0.25, precision=precision)
    ours, plain = network(norm=True), network(norm=True)
    make_loop(tmp_path, machine, settings, ours, validate=better_each_time()).run()
    decayed = [p for p in plain.parameters() if p.ndim > 1]
    others = [p for p in plain.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, fused=True)
    batches = [batch for epoch in range(4) for batch in rows().batches(epoch, 8)]
    for step, (x, y) in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * schedule(step, len(batches), 0.25)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = plain(x)
        F.cross_entropy(logits.float(), y, label_smoothing=0.1).backward()
        optimiser.step()
    assert same_bits(ours, plain)
    assert all(p.dtype == torch.float32 for p in ours.parameters())


def test_history_tells_of_each_epoch(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    seen: list[tuple[int, int, str]] = []
    events = Events(after_each_batch(lambda step: seen.append((step.done, step.total, step.note[:9]))))
    trained = make_loop(tmp_path, machine, plan(lr=0.05), network(), events=events).run()
    assert [row.epoch for row in trained.history] == [1, 2, 3]
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    assert seen == [(n, 9, f"epoch {(n + 2) // 3}/3") for n in range(1, 10)]
    assert 0 < trained.history[-1].lr < trained.history[0].lr <= 0.05


@pytest.mark.parametrize("every", [2, 50])
def test_losses_that_are_read_later_change_nothing(
    tmp_path: Path, machine: Machine, plan: MakePlan, every: int
) -> None:
    """As on a GPU, which is not waited for at each step."""
    found = []
    for read_every in (1, every):
        net = network(0.3, norm=True)
        loop = make_loop(tmp_path / str(read_every), machine, plan(lr=0.05), net, validate=better_each_time())
        loop.read_every = read_every
        found.append((net, [asdict(row) | {"seconds": 0} for row in loop.run().history]))
    assert same_bits(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_a_training_whose_losses_are_read_later_goes_on_as_it_was(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: Path, stop: int | None) -> tuple[nn.Module, list[dict[str, Any]]]:
        net = network(0.3)
        events = Events(after_each_batch(lambda step: step.done == stop and signal.raise_signal(signal.SIGINT)))
        loop = make_loop(folder, machine, plan(lr=0.05), net, events=events)
        loop.read_every = 50
        return net, [asdict(row) | {"seconds": 0} for row in loop.run().history]

    whole = run(tmp_path / "whole", None)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", 5)
    resumed = run(tmp_path / "parts", None)
    assert same_bits(whole[0], resumed[0])
    assert whole[1] == resumed[1]


def test_a_loss_that_is_no_number_is_named_when_it_is_read(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    loop = make_loop(tmp_path, machine, plan(lr=0.05), network(), Poisoned(1, 1), validate=better_each_time())
    loop.read_every = 50
    with pytest.raises(TrainingError, match=r"not a finite number in epoch 2, batch 2\."):
        loop.run()
    assert all(torch.isfinite(t).all() for t in load_state(tmp_path / "best.safetensors")[0].values())


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(1.0, 0.5), (0.9, 0.7), (0.8, 0.6)], 2),  # accuracy decides
        ([(1.0, 0.5), (0.8, 0.5), (0.9, 0.5)], 2),  # equal: the lower loss
        ([(1.0, 0.5), (1.0, 0.5), (1.0, 0.5)], 1),  # equal in both: the earliest
    ],
)
def test_the_best_epochs_weights_are_left(
    tmp_path: Path, machine: Machine, plan: MakePlan, figures: list[tuple[float, float]], best: int
) -> None:
    net, after, answers = network(), [], iter(figures)

    def validate() -> tuple[float, float]:
        after.append(weights_of(net))
        return next(answers)

    trained = make_loop(tmp_path, machine, plan(lr=0.05), net, validate=validate).run()
    assert trained.best_epoch == best
    assert all(torch.equal(v, after[best - 1][k]) for k, v in net.state_dict().items())
    assert best == 3 or not torch.equal(net[0].weight, after[-1]["0.weight"])


# -- memory --


class Small(nn.Module):
    """A network on a machine whose memory holds so many rows."""

    def __init__(self, inner: nn.Module, holds: int, words: str = "CUDA out of memory. Tried to allocate") -> None:
        super().__init__()
        self.inner, self.holds, self.words, self.sizes = inner, holds, words, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.holds:
            raise RuntimeError(self.words)
        return self.inner(x)


def gradients_of_first_step(net: nn.Module, folder: Path, machine: Machine, plan: Plan) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    loop = make_loop(folder, machine, plan, net, validate=better_each_time())
    step = loop.optimiser.step

    def spy(*args: Any, **kwargs: Any) -> Any:
        found.extend(p.grad.clone() for p in net.parameters() if not len(found) > 3)
        return step(*args, **kwargs)

    loop.optimiser.step = spy  # type: ignore[method-assign]
    loop.run()
    return found


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to allocate", "DefaultCPUAllocator: can't allocate memory: you tried"]
)
def test_a_batch_that_does_not_fit_is_halved_with_the_same_gradients(
    tmp_path: Path, machine: Machine, plan: MakePlan, words: str
) -> None:
    settings = plan(epochs=1, batch_size=7)  # halves of 7 are not equal: their weights must be
    said: list[str] = []
    small = Small(network(), 3, words)
    whole = gradients_of_first_step(network(), tmp_path / "whole", machine, settings)
    halved = gradients_of_first_step(small, tmp_path / "small", machine, settings)
    assert len(whole) == len(halved) == 4
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole, halved, strict=True))
    events = Events(lambda event: said.append(event.text) if isinstance(event, Message) else None)
    again = Small(network(), 3, words)
    make_loop(tmp_path / "said", machine, settings, again, validate=better_each_time(), events=events).run()
    assert len([s for s in said if "memory" in s]) == 1
    assert "3 at a time" in said[0]
    assert small.sizes[0] == 7
    assert all(2 <= size <= 3 for size in small.sizes[1:])


def test_memory_for_not_even_two_photos_is_said(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    with pytest.raises(TrainingError, match="not enough memory") as caught:
        make_loop(tmp_path, machine, plan(), Small(network(), 1)).run()
    assert caught.value.option == "image_size"


def test_other_errors_are_not_taken_for_memory(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        make_loop(tmp_path, machine, plan(), Small(network(), 3, "shapes do not match")).run()


# -- numbers that are none --


class Poisoned:
    """Rows of which one batch holds NaN."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.inner, self.where = rows(), (epoch, batch)

    def __len__(self) -> int:
        return len(self.inner)

    def batches(self, epoch: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        for number, (x, y) in enumerate(self.inner.batches(epoch, batch_size, start), start):
            yield (x * float("nan") if (epoch, number) == self.where else x), y


def test_a_loss_that_is_no_number_stops_with_the_good_state_kept(
    tmp_path: Path, machine: Machine, plan: MakePlan
) -> None:
    net = network()
    with pytest.raises(TrainingError, match="epoch 2, batch 3") as caught:
        make_loop(tmp_path, machine, plan(lr=0.01), net, Poisoned(1, 2)).run()
    assert "`lr=0.002`" in caught.value.hint
    assert caught.value.option == "lr"
    assert str(tmp_path) in caught.value.hint
    kept, facts = load_state(tmp_path / "best.safetensors")
    assert facts == {"epoch": 1}
    assert all(torch.isfinite(t).all() for t in kept.values())
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_weights_that_burst_in_the_last_step_are_noticed(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    with pytest.raises(TrainingError, match="not a finite number"):
        make_loop(tmp_path, machine, plan(epochs=1, batch_size=32, lr=1e38, warmup=0), network()).run()


# -- stopping and going on --


def after_each_batch(work: Callable[[Progress], Any]) -> Callable[[Event], None]:
    """A listener that does something after each batch of a training."""

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.task == "training":
            work(event)

    return listen


def interrupted_at(batch: int) -> Events:
    count = iter(range(1, 1000))

    def step(_: Progress) -> None:
        if next(count) == batch:
            signal.raise_signal(signal.SIGINT)

    return Events(after_each_batch(step))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
def test_ctrl_c_stops_at_a_batch_and_a_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, machine: Machine, plan: MakePlan, batch: int
) -> None:
    settings = plan(lr=0.05)
    whole, first, second = (network(dropout=0.5, norm=True) for _ in range(3))
    expected = make_loop(tmp_path / "whole", machine, settings, whole).run()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        make_loop(tmp_path / "cut", machine, settings, first, events=interrupted_at(batch)).run()
    assert signal.getsignal(signal.SIGINT) is before
    _, facts = load_state(tmp_path / "cut" / "last.safetensors")
    assert facts["epoch"] * 3 + facts["batch"] == batch
    nn.init.zeros_(second[0].weight)  # whatever the weights are now: the state decides
    resumed = make_loop(tmp_path / "cut", machine, settings, second).run()
    assert same_bits(whole, second)
    figures = [(r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.lr) for r in resumed.history]
    assert figures == [
        (r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.lr) for r in expected.history
    ]
    assert resumed.best_epoch == expected.best_epoch


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    def twice(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            make_loop(tmp_path, machine, plan(), network(), events=Events(after_each_batch(twice))).run()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_loop_whose_last_state_was_written_gives_its_result_again(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", float("inf"))
    first, second = network(), network()
    trained = make_loop(tmp_path, machine, plan(lr=0.05), first).run()
    again = make_loop(tmp_path, machine, plan(lr=0.05), second, validate=lambda: pytest.fail("trained again")).run()
    assert same_bits(first, second)
    assert again == trained


def test_the_state_of_an_older_or_newer_headstart_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    row = {"strategy": "head", "epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0}
    row |= {"val_accuracy": 0.5, "lr": 0.1, "seconds": 1.0}
    facts = {"epoch": 1, "batch": 2, "best": [0.5, -1.0], "best_epoch": 1, "history": [{**row, "ema": 2}]}
    state = TrainerState.from_json({**facts, "scaler": 1.0}, "probe")
    assert (state.epoch, state.batch, state.seen, state.best) == (1, 2, 0, (0.5, -1.0))
    assert state.history == [{**row, "strategy": "probe"}]
    assert "scaler" in caplog.text
    with pytest.raises(RunError, match="newer than this headstart"):
        TrainerState.from_json({**facts, "format": 99}, "probe")


@pytest.mark.parametrize("change", CHANGES)
def test_every_fact_of_a_state(change: str) -> None:
    row = {"strategy": "probe", "epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0}
    facts = {**asdict(TrainerState()), "format": 1, "history": [row | {"val_accuracy": 0.5, "lr": 0.1, "seconds": 1.0}]}
    facts["best"] = [0.5, -1.0]
    refused = []
    for place in places(facts):
        try:
            TrainerState.from_json(changed(facts, place, CHANGES[change]), "probe")
        except RunError as error:
            refused.append(str(error))
    assert all("last.safetensors" in told and len(told) < 600 for told in refused)
    assert len(refused) > 10 or change in {
        "deleted",
        "zero",
        "huge",
        "digits",
        "nan",
        "infinite",
        "fraction",
        "negative",
    }


def test_a_best_epoch_of_another_network_is_told_at_once(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", float("inf"))
    make_loop(tmp_path, machine, plan(epochs=1), network()).run()
    tensors, facts = load_state(tmp_path / "last.safetensors")
    for key, other in ((key, tensor[:1]) for key, tensor in tensors.items() if key.startswith("best/")):
        save_state(tmp_path / "last.safetensors", {**tensors, key: other}, facts)
        with pytest.raises(RunError, match="belongs to another training"):
            make_loop(tmp_path, machine, plan(epochs=1), network()).run()
    for key in ("optimiser/99.step", "optimiser/x.step", "optimiser/0", "more/x"):
        save_state(tmp_path / "last.safetensors", {**tensors, key: torch.ones(1)}, facts)
        with suppress(RunError):
            make_loop(tmp_path, machine, plan(epochs=1), network()).run()


def test_states_within_an_epoch_are_written_when_due(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", float("inf"))
    seen: list[int] = []

    def look(*_: Any) -> None:
        path = tmp_path / "last.safetensors"
        seen.append(load_state(path)[1]["batch"] if path.exists() else -1)

    make_loop(tmp_path, machine, plan(epochs=1), network(), events=Events(after_each_batch(look))).run()
    assert seen == [-1, 1, 2]


def test_states_that_cost_much_are_written_seldom(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", 1e-9)  # whatever the first state costs, the next is years away
    loop, written = make_loop(tmp_path, machine, plan(epochs=2), network()), []
    save = loop._save
    monkeypatch.setattr(loop, "_save", lambda: (written.append(loop.state.batch), save()))
    loop.run()
    assert written == [1]


def test_the_state_of_another_network_is_refused(
    tmp_path: Path, machine: Machine, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", float("inf"))
    make_loop(tmp_path, machine, plan(epochs=1), network()).run()
    other = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.0), nn.Linear(5, 3))
    with pytest.raises(RunError, match="another training"):
        make_loop(tmp_path, machine, plan(epochs=1), other).run()


@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.5])
def test_the_schedule_rises_then_falls_to_zero(warmup: float) -> None:
    rates = [schedule(step, 100, warmup) for step in range(100)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0)
    assert top == max(1, round(warmup * 100))
    assert all(0 < r <= 1 for r in rates)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.01
    middle = top + (100 - top) // 2
    assert rates[middle] == pytest.approx(0.5 * (1 + math.cos(math.pi * (middle - top) / (100 - top))))


def test_every_batch_bound_is_met_by_the_loop(tmp_path: Path, machine: Machine, plan: MakePlan) -> None:
    loop = make_loop(tmp_path, machine, plan(), network())
    assert loop.bounds == batch_bounds(21, 8)
    assert os.listdir(tmp_path) == []  # nothing is written before training


class Pictures:
    """Images with three channels, so that weights lie in channels_last order."""

    def __len__(self) -> int:
        return 12

    def batches(self, epoch: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        x = torch.from_numpy(np.random.default_rng(epoch).normal(size=(12, 3, 6, 6)).astype(np.float32))
        for first, last in batch_bounds(12, batch_size)[start:]:
            yield x[first:last].to(memory_format=torch.channels_last), torch.arange(first, last) % 3


def convolutions() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_convolutions_go_on_with_the_same_bits(tmp_path: Path, machine: Machine, plan: MakePlan, batch: int) -> None:
    """Weights in channels_last order, moments from disk: AdamW's fused kernel takes both by address."""
    settings = plan(epochs=2, batch_size=6, lr=0.05)
    whole, first, second = convolutions(), convolutions(), convolutions()
    make_loop(tmp_path / "whole", machine, settings, whole, Pictures(), validate=better_each_time()).run()
    with pytest.raises(Interrupted):
        make_loop(
            tmp_path / "cut",
            machine,
            settings,
            first,
            Pictures(),
            events=interrupted_at(batch),
            validate=better_each_time(),
        ).run()
    answers = better_each_time()
    if batch > 2:  # an epoch was judged before the interruption
        answers()
    make_loop(tmp_path / "cut", machine, settings, second, Pictures(), validate=answers).run()
    assert same_bits(whole, second)


@pytest.mark.parametrize(("batchnorm", "moves"), [("kept", False), ("moving", True)])
def test_batchnorm_statistics_move_only_where_the_plan_says_so(
    tmp_path: Path, machine: Machine, plan: MakePlan, batchnorm: str, moves: bool
) -> None:
    net = network(norm=True)
    norm = next(m for m in net if isinstance(m, nn.BatchNorm1d))
    mean, weight = norm.running_mean.clone(), norm.weight.detach().clone()
    make_loop(tmp_path, machine, plan(batchnorm=batchnorm), net).run()
    assert torch.equal(norm.running_mean, mean) is not moves
    assert not torch.equal(norm.weight, weight)  # its scale and shift are trained either way


def test_strided_convolutions_of_few_channels_train_by_a_sound_kernel(
    tmp_path: Path, machine: Machine, plan: MakePlan
) -> None:
    net = nn.Sequential(nn.Unflatten(1, (3, 1, 2)), nn.Conv2d(3, 4, 1, 2), nn.Flatten(), nn.Linear(4, 3))
    seen: list[bool] = []
    net[1].register_forward_hook(lambda conv, *_: seen.append("forward" in conv.__dict__))
    make_loop(tmp_path, machine, plan(lr=0.05), net).run()
    assert set(seen) == {True}
    assert "forward" not in net[1].__dict__

"""The one epoch loop. In: a network, a source of batches, a plan. Out: the network with the best epoch's weights,
and the history.

Interrupted at any moment and called again with the same state folder, it ends with the same weights as if it had
never stopped: all randomness is a function of (seed, epoch) or (seed, step), and ``state/last.safetensors`` holds
everything else.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from headstart.core.events import Events
from headstart.errors import Interrupted, RunError, TrainingError
from headstart.inference.device import Machine
from headstart.models.serialization import load_state, save_state
from headstart.training import checkpoint
from headstart.training.batches import Source, batch_bounds
from headstart.training.plan import Plan

CHECKPOINT_SECONDS = 20.0
"""Time between states on disk, and so about the most work that a kill can cost."""
CHECKPOINT_SHARE = 0.02
"""Part of the time that writing states may take: a large network on a slow disk is written less often."""


@dataclass(frozen=True)
class EpochRow:
    """One line of history.csv. Losses are mean cross-entropies (train: as trained, smoothing and augmentation
    included).
    """

    strategy: str
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float


@dataclass
class TrainerState:
    """Where the loop is; everything but tensors."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    micro_batch: int = 0
    best_epoch: int = 0
    best: tuple[float, float] = (-1.0, -math.inf)
    history: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, epoch: int) -> None:
        """Stand before the first batch of an epoch."""
        self.epoch, self.batch, self.loss_sum, self.correct, self.seen, self.seconds = epoch, 0, 0.0, 0, 0, 0.0


@dataclass
class TrainerResult:
    """What the loop leaves: the network holds the weights of ``best_epoch`` (1-based)."""

    history: list[EpochRow]
    best_epoch: int


class Trainer:
    """One training; ``run`` does it."""

    def __init__(
        self,
        network: nn.Module,
        source: Source,
        validate: Callable[[], tuple[float, float]],
        plan: Plan,
        machine: Machine,
        state_folder: Path,
        groups: list[dict[str, Any]],
        events: Events | None = None,
    ) -> None:
        self.network, self.source, self.validate, self.plan, self.machine = network, source, validate, plan, machine
        self.folder, self.events = state_folder, events or Events()
        self.bounds = batch_bounds(len(source), plan.batch_size)
        self.peaks = [group["lr"] for group in groups]
        self.optimiser = torch.optim.AdamW(groups, fused=machine.device.type in {"cpu", "cuda"})
        self.state = TrainerState(micro_batch=plan.batch_size)
        self.best: dict[str, torch.Tensor] = {}
        self.saved, self.save_cost = time.monotonic(), 0.0
        self.stop = threading.Event()

    def run(self) -> TrainerResult:
        """Train to the last epoch, or to Ctrl-C.

        Raises:
            TrainingError: a loss that is not finite, or memory that does not suffice for two photos.
            Interrupted: Ctrl-C; the state is saved.
        """
        self.network.to(memory_format=torch.channels_last)
        self._resume()  # after that order is set: the optimiser's moments take it on
        fabric = self._fabric()
        model, optimiser = fabric.setup(self.network, self.optimiser)
        with _stop_on_interrupt(self.stop):
            for epoch in range(self.state.epoch, self.plan.epochs):
                self._epoch(epoch, fabric, model, optimiser)
        self.network.load_state_dict(self.best)
        return TrainerResult([EpochRow(**row) for row in self.state.history], self.state.best_epoch)

    def _fabric(self) -> Any:
        from lightning.fabric import Fabric  # here, because it costs seconds that a probe does not need

        for name in ("lightning.fabric", "lightning.pytorch"):  # they tell of the precision, which stands in the plan
            logging.getLogger(name).setLevel(logging.WARNING)
        device = self.machine.device
        return Fabric(
            accelerator=device.type,
            devices=[device.index] if device.type == "cuda" and device.index is not None else 1,
            precision="bf16-mixed" if self.plan.precision == "bf16" else "32-true",
        )

    def _epoch(self, epoch: int, fabric: Any, model: nn.Module, optimiser: Any) -> None:
        state, began = self.state, time.monotonic()
        self._train_mode()
        for x, y in self.source.batches(epoch, self.plan.batch_size, state.batch):
            loss, correct = self._step(epoch, x, y, fabric, model, optimiser)
            state.loss_sum += loss * len(y)
            state.correct += correct
            state.seen += len(y)
            state.batch += 1
            self._report(epoch, loss)
            if self._due() or self.stop.is_set():
                state.seconds += time.monotonic() - began
                began = time.monotonic()
                self._save()
            if self.stop.is_set():
                raise Interrupted("Stopped at a batch; nothing is lost.")
        state.seconds += time.monotonic() - began
        self._finish_epoch(epoch)

    def _report(self, epoch: int, loss: float) -> None:
        batches = len(self.bounds)
        done, note = epoch * batches + self.state.batch, f"epoch {epoch + 1}/{self.plan.epochs}  loss {loss:.3f}"
        self.events.progress("training", done, self.plan.epochs * batches, note)

    def _train_mode(self) -> None:
        """Train mode for all but frozen modules (which do not follow), and BatchNorm where the plan keeps it."""
        self.network.train()
        if self.plan.batchnorm == "kept":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _finish_epoch(self, epoch: int) -> None:
        state, began = self.state, time.monotonic()
        val_loss, val_accuracy = self.validate()
        if not math.isfinite(val_loss):  # the last step burst the weights: no later batch would tell
            raise self._not_finite(f"on val after epoch {epoch + 1}")
        seconds = state.seconds + time.monotonic() - began
        row = EpochRow(
            self.plan.strategy, epoch + 1, state.loss_sum / state.seen, state.correct / state.seen,
            val_loss, val_accuracy, self._rate(epoch, len(self.bounds) - 1) * max(self.peaks), round(seconds, 2),
        )  # fmt: skip
        state.history.append(asdict(row))
        score = (val_accuracy, -val_loss)
        if score > tuple(state.best):
            state.best, state.best_epoch = score, epoch + 1
            self.best = checkpoint.snapshot(self.network)
        state.begin(epoch + 1)
        if self._due():
            self._save()
        self.events.epoch(row)

    def _step(
        self, epoch: int, x: torch.Tensor, y: torch.Tensor, fabric: Any, model: nn.Module, optimiser: Any
    ) -> tuple[float, int]:
        """One optimiser step; on exhausted memory the batch is halved, gradients accumulated, and the step done
        again.
        """
        step = epoch * len(self.bounds) + self.state.batch
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self._rate(epoch, self.state.batch)
        while True:
            torch.manual_seed(self.plan.seed * 1_000_003 + step)  # dropout: a function of the step, so no state to keep
            try:
                loss, correct = self._gradients(x, y, fabric, model)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                self._halve(error)
                continue
            break
        if not math.isfinite(loss):
            raise self._not_finite(f"in epoch {epoch + 1}, batch {self.state.batch + 1}")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss, correct

    def _gradients(self, x: torch.Tensor, y: torch.Tensor, fabric: Any, model: nn.Module) -> tuple[float, int]:
        self.optimiser.zero_grad(set_to_none=True)
        total, correct = (
            torch.zeros((), device=self.machine.device),
            torch.zeros((), dtype=torch.long, device=self.machine.device),
        )
        x, y = x.to(self.machine.device, non_blocking=True), y.to(self.machine.device, non_blocking=True)
        for first, last in batch_bounds(len(y), self.state.micro_batch):
            logits = model(x[first:last]).float()
            loss = F.cross_entropy(logits, y[first:last], label_smoothing=self.plan.label_smoothing) * (
                (last - first) / len(y)
            )
            fabric.backward(loss)
            total += loss.detach()
            correct += (logits.detach().argmax(1) == y[first:last]).sum()
        return total.item(), int(correct.item())

    def _halve(self, error: BaseException) -> None:
        words = str(error).lower()
        if (
            not isinstance(error, torch.OutOfMemoryError | MemoryError)
            and "allocate memory" not in words
            and "out of memory" not in words
        ):
            raise error
        if self.state.micro_batch < 4:  # halves of fewer than four could leave BatchNorm a single photo
            raise TrainingError(
                "There is not enough memory for a batch of two photos.",
                "Choose a smaller --image-size or a smaller backbone.",
            ) from error
        self.state.micro_batch //= 2
        self.optimiser.zero_grad(set_to_none=True)
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()
        self.events.message(
            f"The batch of {self.plan.batch_size} does not fit in memory: from here on {self.state.micro_batch} at a"
            " time, gradients accumulated."
        )

    def _not_finite(self, where: str) -> TrainingError:
        kept = ""
        if self.state.best_epoch:
            good = self.folder / "best.safetensors"
            save_state(good, self.best, {"epoch": self.state.best_epoch})
            kept = f"The best weights so far (epoch {self.state.best_epoch}) are kept in {good}. "
        return TrainingError(
            f"The loss is not a finite number {where}.",
            f"{kept}A lower rate usually mends it: --lr {self.plan.lr / 5:g} (or --precision float32).",
        )

    def _rate(self, epoch: int, batch: int) -> float:
        """The schedule: part of the peak rate in (0, 1], a linear warm-up and then a cosine to zero (Loshchilov and
        Hutter 2017).
        """
        total = self.plan.epochs * len(self.bounds)
        return schedule(epoch * len(self.bounds) + batch, total, self.plan.warmup)

    def _due(self) -> bool:
        return time.monotonic() - self.saved > max(CHECKPOINT_SECONDS, self.save_cost / CHECKPOINT_SHARE)

    def _save(self) -> None:
        began = time.monotonic()
        tensors = {
            **checkpoint.with_prefix("network", self.network.state_dict()),
            **checkpoint.with_prefix("optimiser", checkpoint.optimiser_tensors(self.optimiser)),
            **checkpoint.with_prefix("best", self.best),
        }
        save_state(self.folder / "last.safetensors", tensors, asdict(self.state))
        self.saved = time.monotonic()
        self.save_cost = self.saved - began

    def _resume(self) -> None:
        path = self.folder / "last.safetensors"
        if not path.exists():
            return
        tensors, facts = load_state(path)
        try:
            self.network.load_state_dict(checkpoint.without_prefix("network", tensors))
            checkpoint.restore_optimiser(self.optimiser, checkpoint.without_prefix("optimiser", tensors))
            self.best = checkpoint.without_prefix("best", tensors)
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(
                f"{path} belongs to another training: {str(error).splitlines()[0]}.", "Train again with --overwrite."
            ) from error
        self.state = TrainerState(**facts)
        self.state.best = (self.state.best[0], self.state.best[1])
        self.events.message(f"Resumed at epoch {self.state.epoch + 1}, batch {self.state.batch + 1}.")


def schedule(step: int, steps: int, warmup: float) -> float:
    """Part of the peak rate at a step: rises linearly over ``warmup`` of the steps, then follows a cosine down to
    zero.
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@contextmanager
def _stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C set ``stop``; a second one interrupts at once. Outside the main thread signals are left
    alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(signum: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)

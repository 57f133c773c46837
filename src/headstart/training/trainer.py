"""The epoch loop: it trains a network on a source of batches by a plan, and leaves the best epoch's weights.

Interrupted at any moment and called again with the same state folder, it ends with the same weights, bit for bit: all
randomness is a function of (seed, epoch) or (seed, step), and ``last.safetensors`` holds everything else.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from headstart.core.events import Events
from headstart.core.roll import RankError
from headstart.core.text import first_line
from headstart.core.world import ALONE, World
from headstart.data.images import ChangedPhoto
from headstart.errors import Interrupted, RunError, TrainingError
from headstart.evaluation.objective import MULTICLASS, Objective, OnVal
from headstart.inference.device import Machine
from headstart.inference.memory import free_memory, is_out_of_memory
from headstart.models.freeze import keep_statistics
from headstart.models.serialization import load_state, save_state
from headstart.training.batches import Source, batch_bounds
from headstart.training.callbacks import AnyCallback, TrainingInfo, hear_batches, told
from headstart.training.checkpoint import dtype_named, optimiser_tensors, restore_optimiser, stop_on_interrupt
from headstart.training.exchange import Exchange, Piece, check_size, pieces
from headstart.training.optimization import schedule
from headstart.training.plan import Plan
from headstart.training.recorded import RecordedStep
from headstart.training.strided_convolutions import sampled_first
from headstart.training.trainer_state import FORMAT, EpochRow, TrainerResult, TrainerState

CHECKPOINT_SECONDS = 20.0  # time between states on disk: about the most work that a kill can cost
CHECKPOINT_SHARE = 0.02
"""Part of the time that writing states may take: a large network on a slow disk is written less often."""
READ_EVERY = 50
"""Steps of a GPU between two readings of the loss: each reading waits until all that was started is done."""


class _Step(NamedTuple):
    """The figures of a step, which on a GPU are read later: its mean loss and correct predictions, of so many
    ``photos``, as batch number ``batch`` of its epoch.
    """

    loss: torch.Tensor | float
    correct: torch.Tensor | int
    photos: int
    batch: int


class Trainer:
    """One training; ``run`` does it.

    ``network`` is trained in place, on the machine's device already; ``validate`` computes the figures on val (see
    ``OnVal``) for it as it is; ``groups`` are parameter groups with their peak rates (see ``optimization``);
    ``weights`` [C]: of each class in the loss; ``callbacks``: see ``callbacks.Callback``; ``world``: of the processes
    that train together, each on its part of every batch; ``recordable``: network and loss compute the same in every
    step, so that a GPU may record it (see ``recorded``).
    """

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
        objective: Objective = MULTICLASS,
        weights: torch.Tensor | None = None,
        callbacks: Sequence[AnyCallback] = (),
        world: World = ALONE,
        recordable: bool = False,
    ) -> None:
        self.world = world
        if world.size > 1:
            check_size(world, len(source), plan.batch_size)
        self.network, self.source, self.validate, self.plan, self.machine = network, source, validate, plan, machine
        self.folder, self.events, self.objective = state_folder, events or Events(), objective
        self.callbacks = callbacks
        self.bounds = batch_bounds(len(source), plan.batch_size)
        self.peaks = [group["lr"] for group in groups]
        self.optimiser = torch.optim.AdamW(groups, fused=machine.device.type in {"cpu", "cuda"})
        self.state = TrainerState(micro_batch=plan.batch_size)
        self.best: dict[str, torch.Tensor] = {}
        self.saved, self.save_cost = time.monotonic(), 0.0
        self.pending: list[_Step] = []
        alone_on_gpu = machine.device.type == "cuda" and world.size == 1
        self.read_every = READ_EVERY if alone_on_gpu and not hear_batches(callbacks) else 1
        self.last_loss: float | None = None
        self.recorded = RecordedStep(self._whole_batch, network) if alone_on_gpu and recordable else None
        self.stop, self.stopping = threading.Event(), False
        self.loss = objective.loss
        if weights is not None:
            self.loss = partial(objective.loss, weights=weights.to(machine.device))

    def run(self) -> TrainerResult:
        """Train to the last epoch, or to Ctrl-C.

        Raises:
            TrainingError: a loss that is not finite, or memory that does not suffice for two photos.
            Interrupted: Ctrl-C; the state is saved.
            ChangedPhoto: a photo that has to be read again has changed or is gone; the state is saved.
            RunError: the state belongs to another training, or cannot be written.
            RankError: another process ended or failed; the state is saved.
            What a callback raises; the state is saved.
        """
        self.network.to(memory_format=torch.channels_last)
        if self.world.first:
            self._resume()  # after that order is set: the optimiser's moments take it on
        if self.world.size > 1:
            self._share()
            self.exchange = Exchange(self.world, self.network, self.machine.device)
        with stop_on_interrupt(self.stop), sampled_first(self.network, self.machine.device):
            try:
                for epoch in range(self.state.epoch, self.plan.epochs):
                    if not self.state.stopped:
                        self._epoch(epoch)
            except (ChangedPhoto, RankError):  # met between two steps: the state is whole
                self._save()
                raise
        self.network.load_state_dict(self.best)
        history = [EpochRow(**row) for row in self.state.history]
        return TrainerResult(history, self.state.best_epoch, self.state.stopped)

    def _epoch(self, epoch: int) -> None:
        state, began, batches = self.state, time.monotonic(), len(self.bounds)
        self.network.train()  # frozen modules do not follow
        if self.plan.batchnorm == "kept":
            keep_statistics(self.network)
        apart = {"world": self.world} if self.world.size > 1 else {}
        for x, y in self.source.batches(epoch, self.plan.batch_size, state.batch, **apart):
            photos = self.bounds[state.batch][1] - self.bounds[state.batch][0] if apart else len(y)
            self._step(epoch, x, y, photos)
            state.batch += 1
            if len(self.pending) >= self.read_every or self.last_loss is None:
                self._read()
            loss = self.last_loss or 0.0
            note = f"epoch {epoch + 1}/{self.plan.epochs}  loss {loss:.3f}"
            self.events.progress("training", epoch * batches + state.batch, self.plan.epochs * batches, note)
            self._tell("on_batch_end", epoch, loss)
            if state.stopped:
                break
            if self.world.size == 1:  # several agree on it, at one batch
                self.stopping = self.stop.is_set()
            if self._due() or self.stopping:
                state.seconds += time.monotonic() - began
                began = time.monotonic()
                self._save()
            if self.stopping:
                raise Interrupted("Stopped at a batch; nothing is lost.")
        state.seconds += time.monotonic() - began
        self._finish_epoch(epoch)

    def _finish_epoch(self, epoch: int) -> None:
        state, began = self.state, time.monotonic()
        self._read()
        val = OnVal.of(self.validate())
        if not math.isfinite(val[0]):  # the last step burst the weights, which no later batch would show
            raise self._not_finite(f"on the validation set after epoch {epoch + 1}")
        seconds = state.seconds + time.monotonic() - began
        row = EpochRow(
            self.plan.strategy, epoch + 1, state.loss_sum / state.seen, state.correct / state.seen,
            *val, self._rate(epoch, state.batch - 1) * max(self.peaks), round(seconds, 2), val.balanced,
            val.mean_ap,
        )  # fmt: skip
        state.history.append(row.to_json())
        if val.score > tuple(state.best):
            state.best, state.best_epoch = val.score, epoch + 1
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        state.epoch, state.batch, state.seen, state.correct = epoch + 1, 0, 0, 0
        state.loss_sum = state.seconds = 0.0
        if self._due():
            self._save()
        self.events.epoch(row)
        figures = (val[0], val[1], val.balanced, state.best_epoch)
        self._tell("on_epoch_end", epoch, row.train_loss, *figures)
        if state.stopped:
            self._save()
            self.events.progress("training", 1, 1)
            self.events.message(f"Training {state.stopped}; the weights of epoch {state.best_epoch} are kept.")

    def _tell(self, method: str, epoch: int, loss: float, *figures: Any) -> None:
        """Tell the callbacks. What one raises is passed on, once the state is saved: between two steps it is whole."""
        if not self.callbacks:
            return
        batches = len(self.bounds)
        step = self.state.epoch * batches + self.state.batch  # after an epoch, ``state`` is at the next one's start
        info = TrainingInfo(
            self.plan.strategy, epoch + 1, self.plan.epochs, step, self.plan.epochs * batches, loss, *figures
        )
        try:
            stopped = told(self.callbacks, method, info)
        except BaseException as error:
            self._save()
            words = f"{type(error).__name__} in a callback, after step {step} of {info.steps}"
            self.events.warning(f"{words}; nothing is lost, and `resume` with the same parts goes on from there.")
            raise
        self.state.stopped = self.state.stopped or stopped

    def _step(self, epoch: int, x: torch.Tensor, y: torch.Tensor, photos: int) -> None:
        """One optimiser step on a batch of so many ``photos``, of which x and y are this process's. On exhausted memory
        the batch is halved, gradients accumulated, and the step done again.
        """
        step = epoch * len(self.bounds) + self.state.batch
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self._rate(epoch, self.state.batch)
        seed = self.plan.seed * 1_000_003 + step  # of dropout: a function of the step, so no state to keep
        while True:
            torch.manual_seed(seed)
            try:
                loss, correct = self._gradients_of_all(x, y, photos, seed)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
        self.pending.append(_Step(loss, correct, photos, self.state.batch))
        if self.read_every == 1:
            self._read()  # a loss that is not finite must not reach the weights
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _read(self) -> None:
        """Add up the figures of the steps since the last time: a GPU is waited for. Raises TrainingError."""
        for one in self.pending:
            loss = float(one.loss)
            if not math.isfinite(loss):
                self.pending.clear()
                raise self._not_finite(f"in epoch {self.state.epoch + 1}, batch {one.batch + 1}")
            self.state.loss_sum += loss * one.photos
            self.state.correct += int(one.correct)
            self.state.seen += one.photos
            self.last_loss = loss
        self.pending.clear()

    def _gradients_of_all(
        self, x: torch.Tensor, y: torch.Tensor, photos: int, seed: int
    ) -> tuple[torch.Tensor | float, torch.Tensor | int]:
        if self.world.size == 1:
            if self.recorded is None or self.state.micro_batch < len(y):
                return self._whole_batch(x, y)
            device = self.machine.device
            return self.recorded(x.to(device, non_blocking=True), y.to(device, non_blocking=True), seed)

        def own() -> tuple[float, int]:
            loss, correct = self._gradients(x, y, pieces(photos, self.state.micro_batch, self.world), photos)
            return loss.item(), int(correct.item())

        with self.exchange.whole_or_undone():
            loss, correct, self.stopping = self.exchange.step(own, self.stop.is_set())
        return loss, correct

    def _whole_batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bounds = batch_bounds(len(y), self.state.micro_batch)
        return self._gradients(x, y, [Piece(first, last, 0, last - first) for first, last in bounds], len(y))

    def _gradients(
        self, x: torch.Tensor, y: torch.Tensor, parts: Sequence[Piece], photos: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of the mean loss over a batch of so many ``photos``, a piece at a time."""
        device = self.machine.device
        self.optimiser.zero_grad(set_to_none=True)
        total, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        for piece in parts:
            first, last = piece.first, piece.last
            as_one = self.exchange.as_one(piece) if self.world.size > 1 else nullcontext()
            with torch.autocast(device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"), as_one:
                logits = self.network(x[first:last])
            logits, targets = logits.float(), y[first:last]
            share = (last - first) / photos
            # In small pieces some process may have no photo.
            loss = self.loss(logits, targets, self.plan.label_smoothing) * share if last > first else logits.sum() * 0
            loss.backward()
            total += loss.detach()
            correct += self.objective.correct(logits.detach(), targets).sum()
        return total, correct

    def _halve(self, error: BaseException) -> None:
        fewest = max(4, 2 * self.world.size)  # halves of fewer than four could leave BatchNorm a single photo
        if self.state.micro_batch < fewest:
            problem = "There is not enough memory for a batch of two photos."
            hint = "Choose a smaller `image_size` or a smaller backbone."
            raise TrainingError(problem, hint, option="image_size") from error
        self.state.micro_batch //= 2
        if self.recorded is not None:
            self.recorded.forget()
        self.optimiser.zero_grad(set_to_none=True)
        free_memory()
        now = f"from here on {self.state.micro_batch} at a time, with accumulated gradients"
        self.events.message(f"The batch of {self.plan.batch_size} does not fit in memory: {now}.")

    def _not_finite(self, where: str) -> TrainingError:
        kept = ""
        if self.state.best_epoch and self.world.first:
            good = self.folder / "best.safetensors"
            save_state(good, self.best, {"epoch": self.state.best_epoch})
            kept = f"The best weights so far (epoch {self.state.best_epoch}) are kept in {good}. "
        return TrainingError(
            f"The loss is not a finite number {where}.",
            f"{kept}A lower learning rate usually helps: `lr={self.plan.lr / 5:g}` (or `precision=float32`).",
            option="lr",
        )

    def _rate(self, epoch: int, batch: int) -> float:
        """The schedule at a batch: part of the peak rate."""
        total = self.plan.epochs * len(self.bounds)
        return schedule(epoch * len(self.bounds) + batch, total, self.plan.warmup)

    def _due(self) -> bool:
        waited = time.monotonic() - self.saved
        return self.world.first and waited > max(CHECKPOINT_SECONDS, self.save_cost / CHECKPOINT_SHARE)

    def _save(self) -> None:
        if not self.world.first:
            return
        began = time.monotonic()
        self._read()
        optimiser = optimiser_tensors(self.optimiser)
        parts = {"network": self.network.state_dict(), "optimiser": optimiser, "best": self.best}
        tensors = {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}
        save_state(self.folder / "last.safetensors", tensors, {"format": FORMAT, **asdict(self.state)})
        self.saved = time.monotonic()
        self.save_cost = self.saved - began

    def _resume(self) -> None:
        path = self.folder / "last.safetensors"
        if not path.exists():
            return
        tensors, facts = load_state(path)
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "optimiser": {}, "best": {}}
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = value
        try:
            if parts["best"]:  # loaded at the end: it must fit too
                self.network.load_state_dict(parts["best"])
            self.network.load_state_dict(parts["network"])
            restore_optimiser(self.optimiser, parts["optimiser"])
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            problem = f"{path} belongs to another training: {first_line(error)}."
            raise RunError(problem, "Train again with `overwrite=True`.") from error
        self.best, self.state = parts["best"], TrainerState.from_json(facts, self.plan.strategy)
        self.state.micro_batch = self.state.micro_batch or self.plan.batch_size
        self.events.message(f"Resumed at epoch {self.state.epoch + 1}, batch {self.state.batch + 1}.")

    def _share(self) -> None:
        """The network and its state as rank 0 has them: resumed, or at the beginning."""
        facts = {name: [list(v.shape), str(v.dtype)] for name, v in optimiser_tensors(self.optimiser).items()}
        told = self.world.tell({"state": asdict(self.state), "optimiser": facts, "best": bool(self.best)})
        self.world.share(list(self.network.state_dict().values()))
        moments = optimiser_tensors(self.optimiser)
        if not self.world.first:
            self.state = TrainerState.from_json(told["state"], self.plan.strategy)
            kinds = told["optimiser"].items()
            moments = {name: torch.zeros(shape, dtype=dtype_named(kind)) for name, (shape, kind) in kinds}
            if told["best"]:
                self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        self.world.share([moments[name] for name in told["optimiser"]])
        if self.best:  # by the network's order: a checkpoint has one of its own
            self.world.share([self.best[name] for name in self.network.state_dict()])
        if not self.world.first:
            restore_optimiser(self.optimiser, moments)

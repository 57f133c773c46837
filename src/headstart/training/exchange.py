"""One optimiser step of several processes. In: what each computed on its part of a batch. Out: the gradients, the loss
and the statistics of the whole batch, the same in all of them.

Gradients are added in one exchange after the backward pass, not while it runs: until then a process may still find that
its memory does not hold its part, and then all take smaller parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from headstart.core.world import World, nth_part
from headstart.errors import OptionError
from headstart.inference.memory import is_out_of_memory
from headstart.training.batches import batch_bounds


class Piece(NamedTuple):
    """Photos ``first`` to ``last`` of this process's part of a batch, which are computed together with those of other
    processes: ``offset`` of ``photos`` is where they begin among these.
    """

    first: int
    last: int
    offset: int
    photos: int


def pieces(photos: int, at_most: int, world: World) -> list[Piece]:
    """This process's part of a batch, in as many pieces as one process would compute it in."""
    number, found = len(batch_bounds(photos, at_most)), []
    shares = [nth_part(photos, rank, world.size) for rank in range(world.size)]
    for i in range(number):
        bounds = [nth_part(last - first, i, number) for first, last in shares]
        counts = [last - first for first, last in bounds]
        found.append(Piece(*bounds[world.rank], sum(counts[: world.rank]), sum(counts)))
    return found


def check_size(world: World, photos: int, batch_size: int) -> None:
    """Raises OptionError where there are more processes than photos in a batch."""
    fewest = min(last - first for first, last in batch_bounds(photos, batch_size))
    if fewest < world.size:
        problem = f"{world.size} processes, and a batch has {fewest} photos: each needs one at least."
        raise OptionError(problem, "Start fewer, or choose a larger `batch_size`.", option="batch_size")


CHANNELS = 2048
"""Channels whose statistics are sent at a time."""


class ElsewhereError(RuntimeError):
    """Another process ran out of memory."""


class Exchange:
    """What the processes tell each other in a step of a network's training."""

    def __init__(self, world: World, network: nn.Module, device: torch.device) -> None:
        self.world, self.device = world, device
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.buffers = list(network.buffers())
        self.kept = [buffer.clone() for buffer in self.buffers]
        widest = max((len(p) for p in network.buffers() if p.ndim == 1), default=1)
        self.room = 2 * min(widest, CHANNELS) + 1

    def step(self, compute: Callable[[], tuple[float, int]], stop: bool) -> tuple[float, int, bool]:
        """(loss, correct predictions, whether one wants to stop), each added up over the processes; ``compute`` gives
        this one's and leaves its gradients in the parameters, where afterwards those of the whole batch are.

        Raises what ``compute`` raises, and in all processes what is_out_of_memory knows where one has too little.
        """
        try:  # all that takes memory: once gradients are added, no process may do the step again
            loss, correct = compute()
            tail = [loss, float(correct), float(stop), *(float(p.grad is not None) for p in self.parameters)]
            flat = torch.cat([*self._gradients(), torch.tensor(tail, device=self.device)])
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and not isinstance(error, ElsewhereError):
                self._sent(torch.zeros(0, device=self.device), failed=True)
            raise
        self._sent(torch.zeros(0, device=self.device))
        self.world.add(flat)
        loss, correct, stops, *present = flat[-len(tail) :].tolist()
        self._put_back(flat, present)
        return loss, round(correct), stops > 0

    @contextmanager
    def whole_or_undone(self) -> Iterator[None]:
        """Where the block, a step, fails (memory, another process), statistics are again what they were before it."""
        for buffer, kept in zip(self.buffers, self.kept, strict=True):
            kept.copy_(buffer)
        try:
            yield
        except BaseException:
            for buffer, kept in zip(self.buffers, self.kept, strict=True):
                buffer.copy_(kept)
            raise

    def collect(self, values: torch.Tensor) -> torch.Tensor:
        """The values [n] of all processes, [size, n]. Raises ElsewhereError where one has run out of memory."""
        return torch.cat([self._sent(part) for part in values.split(self.room)], dim=1)

    def _sent(self, values: torch.Tensor, failed: bool = False) -> torch.Tensor:
        """Until the gradients are added, all that is exchanged is of one length, so that a process that cannot go on
        can say so at any moment, without knowing where the others are.
        """
        # On a CPU doubles cost little; MPS has none.
        sent = torch.zeros(1 + self.room, device=self.device, dtype=_exact(self.device))
        sent[0], sent[1 : 1 + len(values)] = float(failed), values
        found = self.world.stack(sent)
        if bool(found[:, 0].any()) and not failed:
            raise ElsewhereError("out of memory in another process")
        return found[:, 1 : 1 + len(values)]

    def _gradients(self) -> Iterator[torch.Tensor]:
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            yield p.grad.reshape(-1)

    def _put_back(self, flat: torch.Tensor, present: Sequence[float]) -> None:
        start = 0
        for p, there in zip(self.parameters, present, strict=True):
            found = flat[start : start + p.numel()].view(p.shape)
            start += p.numel()
            if there and p.grad is not None:
                p.grad.copy_(found)
            else:  # a parameter that no process used has no gradient, which is not one of zeros
                p.grad = None

    @contextmanager
    def as_one(self, piece: Piece) -> Iterator[None]:
        """In this block, layers that mix the photos of a batch, or draw for each, do so as in one process: BatchNorm's
        statistics are those of all photos of the piece, and dropout's mask is this process's part of theirs.
        """
        with _WholeBatch(self, piece):
            yield


_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)


class _WholeBatch(TorchFunctionMode):
    """Replaces functions while a network is called, so that a network of any make needs no change."""

    def __init__(self, exchange: Exchange, piece: Piece) -> None:
        super().__init__()
        self.exchange, self.piece = exchange, piece
        self.handlers: Mapping[Any, Callable[..., Any]] = {
            F.batch_norm: self.batch_norm, torch.Tensor.bernoulli_: self.bernoulli,
            **{dropout: partial(self.dropout, dropout) for dropout in _DROPOUTS},
        }  # fmt: skip

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.handlers.get(func, func)(*args, **(kwargs or {}))

    def batch_norm(
        self, x: torch.Tensor, running_mean: torch.Tensor | None, running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None, bias: torch.Tensor | None = None, training: bool = False,
        momentum: float = 0.1, eps: float = 1e-5,
    ) -> torch.Tensor:  # fmt: skip
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        mean, var, count = statistics(x.detach(), self.piece, self.exchange)
        if running_mean is not None and running_var is not None:
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean.dtype), alpha=momentum)
            unbiased = (var * (count / max(1, count - 1))).to(running_var.dtype)
            running_var.mul_(1 - momentum).add_(unbiased, alpha=momentum)
        found: torch.Tensor = _Normalised.apply(x, mean, (var + eps).rsqrt(), count, self.exchange)
        shape = _shape(x)
        found = found if weight is None else found * weight.view(shape)
        found = found if bias is None else found + bias.view(shape)
        return found.to(x.dtype)

    def dropout(self, layer: Callable[..., torch.Tensor], x: torch.Tensor, *how: Any, **more: Any) -> torch.Tensor:
        """Of a batch that has zeros in place of the photos of others: its mask is drawn as that of the whole one."""
        if not (how[0] if how else more.get("p", 0.5)) or not self._of_piece(x):
            return layer(x, *how, **more)
        first, last = self.piece.offset, self.piece.offset + len(x)
        whole = F.pad(x, [*[0, 0] * (x.ndim - 1), first, self.piece.photos - last])
        return layer(whole, *how, **more)[first:last]

    def bernoulli(self, x: torch.Tensor, p: Any = 0.5, **more: Any) -> torch.Tensor:
        if isinstance(p, torch.Tensor) or more or not self._of_piece(x):
            return x.bernoulli_(p, **more)
        drawn = torch.empty((self.piece.photos, *x.shape[1:]), dtype=x.dtype, device=x.device).bernoulli_(p)
        return x.copy_(drawn[self.piece.offset : self.piece.offset + len(x)])

    def _of_piece(self, x: torch.Tensor) -> bool:
        return x.ndim > 0 and len(x) == self.piece.last - self.piece.first


def statistics(x: torch.Tensor, piece: Piece, exchange: Exchange) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(mean [C], variance [C], values per channel) of all photos of a piece, of which ``x`` [n, C, ...] are this
    process's.

    Each sends its mean and the sum of squares around it, which are then combined: sums of plain squares would lose
    digits. Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1.
    """
    values = x.to(_exact(x.device))
    axes, shape, each = _axes(x), _shape(x), math.prod(x.shape[2:])
    mean = values.mean(axes) if len(x) else values.new_zeros(x.shape[1])
    around = (values - mean.view(shape)).square().sum(axes)
    found = exchange.collect(torch.cat([values.new_tensor([len(x) * each]), mean, around]))
    counts, (means, squares) = found[:, :1], found[:, 1:].chunk(2, dim=1)
    total = piece.photos * each
    whole = (means * counts).sum(0) / total
    variance = (squares + counts * (means - whole).square()).sum(0) / total
    return whole, variance, total


class _Normalised(torch.autograd.Function):
    """x̂ = (x - mean) / deviation, where both depend on the photos of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, mean: torch.Tensor, inverse: torch.Tensor, count: int, exchange: Exchange
    ) -> torch.Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        mean, inverse = mean.to(wide).view(_shape(x)), inverse.to(wide).view(_shape(x))
        normal = (x.to(wide) - mean) * inverse
        ctx.save_for_backward(normal, inverse)
        ctx.count, ctx.exchange, ctx.dtype = count, exchange, x.dtype
        return normal

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """dx = (g - mean(g) - x̂ mean(g x̂)) / deviation, the means over the photos of all processes."""
        (normal, inverse), g = ctx.saved_tensors, gradients[0]
        kind, axes = _exact(g.device), _axes(g)
        sums = torch.cat([g.sum(axes, dtype=kind), (g * normal).sum(axes, dtype=kind)])
        means = (ctx.exchange.collect(sums).sum(0) / ctx.count).to(g.dtype)
        of_g, of_product = (one.view(_shape(g)) for one in means.chunk(2))
        return ((g - of_g - normal * of_product) * inverse).to(ctx.dtype), None, None, None, None


def _exact(device: torch.device) -> torch.dtype:
    return torch.float64 if device.type == "cpu" else torch.float32


def _axes(x: torch.Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _shape(x: torch.Tensor) -> list[int]:
    return [1, -1, *[1] * (x.ndim - 2)]

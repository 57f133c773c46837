"""The processes that work on one training together, and what they exchange, through torch.distributed.

``ALONE`` is the world of a process on its own: nothing is exchanged, and no bit of a result changes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch

from headstart.core.launched import Member, member
from headstart.core.roll import Roll, answer, coming_seconds
from headstart.errors import OptionError

_LOOK_S = timedelta(seconds=1)
"""How often a process that waits for others asks whether they still live."""
_FOREVER = timedelta(days=7)
"""Rank 0 may evaluate for hours: beats find who has ended, not this."""


def nth_part(count: int, n: int, parts: int) -> tuple[int, int]:
    """The bounds of part ``n`` (from 0) of places 0 to ``count``, in ``parts`` of nearly equal size."""
    return count * n // parts, count * (n + 1) // parts


class World:
    """``rank`` (from 0) of ``size`` processes; ``local``: the rank among those of this host."""

    rank, size, local = 0, 1, 0

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes and speaks."""
        return self.rank == 0

    def part(self, first: int, last: int) -> tuple[int, int]:
        """Of places ``first`` to ``last``, those of this process: nearly equal, and in the order of the ranks."""
        start, end = nth_part(last - first, self.rank, self.size)
        return first + start, first + end

    def tell(self, value: Any = None) -> Any:
        """The JSON value of rank 0, for all."""
        return value

    def each(self, value: Any) -> list[Any]:
        """The JSON values of all ranks."""
        return [value]

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, in the tensor's place."""
        return tensor

    def share(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the numbers of rank 0's tensors into those of all."""

    def copy(self, rows: np.ndarray | None, rank: int) -> np.ndarray:
        """The array of one rank, for all; the others give None."""
        assert rows is not None
        return rows

    def stack(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all ranks, of equal shape, as [size, ...]."""
        return tensor[None]

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows [n, ...] of each rank, which may differ in number."""
        return [rows]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process of each host does this before the others of that host, which find what it cached."""
        yield


ALONE = World()


class Together(World):
    """Several processes. All ranks call the same methods in the same order (``part``, which exchanges nothing, when
    they like). Each raises RankError where a rank has ended, failed, or hangs.
    """

    def __init__(self, me: Member, roll: Roll) -> None:
        import torch.distributed as dist

        self.roll, self.dist, self.turns = roll, dist, 0
        self.rank, self.size, self.local = me.rank, me.size, me.local
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        seconds = timedelta(seconds=coming_seconds())
        store = dist.distributed_c10d.PrefixStore("group", roll.store)
        try:
            dist.init_process_group(backend, store=store, rank=me.rank, world_size=me.size, timeout=seconds)
        except RuntimeError as error:
            raise roll.broken(error) from error
        _set_timeout(dist)

    def tell(self, value: Any = None) -> Any:
        return json.loads(self._bytes(json.dumps(value).encode(), 0))

    def each(self, value: Any) -> list[Any]:
        own = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(rows.tobytes()) for rows in self.gather(own)]

    def _bytes(self, content: bytes, rank: int) -> bytes:
        size = torch.tensor([len(content)])
        self._wait(self.dist.broadcast(size, rank, async_op=True))
        found = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == rank:
            found.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self._wait(self.dist.broadcast(found, rank, async_op=True))
        return found.numpy().tobytes()

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        self._wait(self.dist.all_reduce(tensor, async_op=True), tensor.is_cuda)
        return tensor

    def share(self, tensors: Sequence[torch.Tensor]) -> None:
        for tensor in tensors:
            # By way of main memory: of one process they may lie on the GPU (moments that were resumed), of another not,
            # and what lies on a GPU and what does not goes by another backend.
            sent = tensor.detach().cpu().contiguous()
            self._wait(self.dist.broadcast(sent, 0, async_op=True))
            if sent.data_ptr() != tensor.data_ptr():
                with torch.no_grad():
                    tensor.copy_(sent)

    def copy(self, rows: np.ndarray | None, rank: int) -> np.ndarray:
        about = None if rows is None else [rows.dtype.str, list(rows.shape)]
        dtype, shape = json.loads(self._bytes(json.dumps(about).encode(), rank))
        content = b"" if rows is None else np.ascontiguousarray(rows).tobytes()
        return np.frombuffer(self._bytes(content, rank), dtype).reshape(shape)

    def stack(self, tensor: torch.Tensor) -> torch.Tensor:
        found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        self._wait(self.dist.all_gather(found, tensor.contiguous(), async_op=True), tensor.is_cuda)
        return torch.stack(found)

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        counts = self.stack(torch.tensor([len(rows)]))[:, 0].tolist()
        most = max(counts)
        padded = np.zeros((most, *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        if not padded.size:
            return [rows[:0]] * self.size
        found = self.stack(torch.from_numpy(padded.view(np.uint8))).numpy().view(rows.dtype)
        return [each[:count].reshape(count, *rows.shape[1:]) for each, count in zip(found, counts, strict=True)]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        self.turns += 1
        key = f"done/{self.turns}/{self.roll.hosts[self.rank].rpartition(', ')[0]}"
        if self.local:
            self.roll.wait_for(key)
        yield
        if not self.local:
            self.roll.tell(key)

    def _wait(self, work: Any, cuda: bool = False) -> None:
        """Until an exchange has ended, asking meanwhile whether the others still live."""
        asked = time.monotonic()
        while not work.is_completed():
            if cuda:  # its ``wait`` only orders the GPU's streams
                time.sleep(0.0001)
            else:
                with suppress(RuntimeError):  # it is late, or has failed, which is told below
                    work.wait(_LOOK_S)
            if time.monotonic() - asked > _LOOK_S.total_seconds():
                self.roll.check()
                asked = time.monotonic()
        try:
            work.wait()
        except RuntimeError as error:
            raise self.roll.broken(error) from error

    def leave(self, error: BaseException | None) -> None:
        """Say goodbye; the connections of others may end from here on."""
        self.roll.leave(error)
        if error is None:
            with suppress(RuntimeError):
                self.dist.destroy_process_group()


def _set_timeout(dist: Any) -> None:
    """The time to connect was short; exchanges may take long."""
    setter = getattr(dist, "set_timeout", None) or getattr(dist.distributed_c10d, "_set_pg_timeout", None)
    if setter is not None:
        setter(_FOREVER, dist.group.WORLD)


_here: World = ALONE
_failed = False
"""Whether a world of this process has failed. Its connections stay, since exchanges may still wait in them."""


def here() -> World:
    """The world that this process has joined."""
    return _here


@contextmanager
def joined(wanted: int | None = None) -> Iterator[World]:
    """Take part in the work of several processes, if this one was started as one of them, for as long as this lasts.

    ``wanted``: how many there are to be. Raises OptionError, RankError.
    """
    global _here, _failed
    me = member()
    if me is None or _here is not ALONE:
        yield _here
        return
    if wanted is not None and wanted != me.size:
        problem = f"`devices={wanted}`, and {me.by} says that there are {me.size} processes."
        raise OptionError(problem, "Leave it out: they are recognised.", option="devices")
    world = _met(me)
    _here = world
    try:
        yield world
    except BaseException as error:
        _here, _failed = ALONE, True
        world.leave(error)
        raise
    _here = ALONE
    world.leave(None)


def _met(me: Member) -> Together:
    import torch.distributed as dist

    if not dist.is_available():
        raise OptionError("This PyTorch was built without torch.distributed.", "Start one process.")
    if dist.is_initialized() and _failed:
        raise OptionError("The training that this process shared before has failed.", "Start all processes again.")
    if dist.is_initialized():
        raise OptionError("This process uses torch.distributed already.", "Leave its start to headstart.")
    roll = answer(me)
    try:
        return Together(me, roll)
    except BaseException as error:
        roll.leave(error)
        raise

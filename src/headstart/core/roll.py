"""The roll of several processes: who has come, who still lives, and who ended, and why.

All meet at one store (torch.distributed's ``TCPStore``: of rank 0, or of torchrun's agent). Each writes a beat there
every second from a thread, so that one whose beat stands still has ended, or hangs, whatever the others wait for.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

from headstart._version import __version__
from headstart.core.launched import Member
from headstart.core.text import first_line
from headstart.errors import HeadstartError, OptionError, TrainingError

COMING_S = 20.0
"""For so long ranks wait for each other; HEADSTART_WAIT changes it, where a cluster starts them minutes apart."""
BEAT_S, STILL_S = 1.0, 15.0
BROKEN_S = 3.0
"""Where a connection broke, a rank without a beat for so long is the one that ended."""
LEAVING_S = 15.0
_STORE_S = 10.0


class RankError(TrainingError):
    """A rank that did not come, that ended or that failed. ``speaks``: whether this process is to tell it."""

    speaks = True


@dataclass
class Roll:
    """The store, and what was heard of each rank. Use ``answer`` to make one."""

    me: Member
    store: Any
    beats: Any  # a connection of its own: an operation that waits would hold up the beat
    hosts: list[str] = field(default_factory=list)
    _heard: list[tuple[bytes, float]] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    # -- beginning --

    def begin(self) -> None:
        """Wait until every rank has come. Raises RankError that names those that have not, OptionError."""
        here = {"host": platform.node(), "process": os.getpid(), "size": self.me.size, "headstart": __version__}
        mine = f"{here['host']}, process {here['process']}"
        first = self.store.add(f"taken/{self.me.rank}", 1) == 1
        if not first:
            problem = (
                f"Another process has come as rank {self.me.rank} of {self.me.size} already ({mine} is the second)."
            )
            raise OptionError(problem, "Start each rank once.")
        self.store.set(f"here/{self.me.rank}", json.dumps(here))
        came = self._all_come()
        self.hosts = [f"{one['host']}, process {one['process']}" for one in came]
        for name, what in (("size", "says that there are {} ranks"), ("headstart", "has headstart {}")):
            for rank, one in enumerate(came):
                if one[name] != came[0][name]:
                    told = f"Rank {rank} ({self.hosts[rank]}) {what.format(one[name])}, rank 0 {came[0][name]}."
                    raise OptionError(told, "Start all of them in the same way.")
        now = time.monotonic()
        self._heard = [(b"", now)] * self.me.size
        threading.Thread(target=self._beat, name="headstart-beat", daemon=True).start()

    def _all_come(self) -> list[dict[str, Any]]:
        end, wanted = time.monotonic() + coming_seconds(), range(self.me.size)
        while True:
            missing = [rank for rank in wanted if not self.store.check([f"here/{rank}"])]
            if not missing:
                return [json.loads(self.store.get(f"here/{rank}")) for rank in wanted]
            if failed := self.failure():
                raise failed
            if time.monotonic() > end:
                raise _absent(missing, self.me)
            time.sleep(0.05)

    def _beat(self) -> None:
        number = 0
        with suppress(Exception):  # the store is gone: who waits for something finds that out
            while not self._done.wait(BEAT_S):
                number += 1
                self.beats.set(f"beat/{self.me.rank}", str(number))

    # -- meanwhile --

    def check(self, still: float = STILL_S) -> None:
        """Raise RankError where a rank has failed, or gave no beat for ``still`` seconds."""
        try:
            if failed := self.failure():
                raise failed
            quiet = self._quiet(still)
            lost = [rank for rank in quiet if not self.store.check([f"ended/{rank}"])]
        except RuntimeError as error:
            host = "The process that started the ranks" if self.me.hosted else f"Rank 0 of {self.me.size}{self._who(0)}"
            raise self._spoken(RankError(f"{host} has ended: it cannot be reached any more.", _HINT), 0) from error
        if quiet:
            rank = (lost or quiet)[0]
            silent = RankError(f"Rank {rank} of {self.me.size}{self._who(rank)} has ended, or hangs.", _HINT)
            raise self._spoken(silent, rank)

    def broken(self, cause: BaseException) -> RankError:
        """Which rank is behind a connection that broke; it takes some seconds to know."""
        end = time.monotonic() + STILL_S
        while time.monotonic() < end:
            try:
                self.check(BROKEN_S)
            except RankError as error:
                return error
            time.sleep(0.25)
        said = first_line(cause)
        return RankError(f"Rank {self.me.rank} of {self.me.size} cannot reach another one: {said}.", _HINT)

    def failure(self) -> RankError | None:
        """What a rank failed with, where one did."""
        if not self.store.check(["failed"]):
            return None
        said = json.loads(self.store.get("failed"))
        rank = said["rank"]
        problem = f"Rank {rank} of {self.me.size} ({said['host']}) failed: {said['problem']}"
        error = RankError(problem, said["hint"], lines=said["lines"])
        error.speaks = self.me.rank == 0  # which, where it failed itself, tells its own error
        return error

    def _quiet(self, seconds: float) -> list[int]:
        """The other ranks without a new beat for so long."""
        now = time.monotonic()
        for rank, (beat, _) in enumerate(self._heard):
            name = f"beat/{rank}"
            new = self.store.get(name) if self.store.check([name]) else b""
            if new != beat:
                self._heard[rank] = (new, now)
        return [rank for rank, (_, heard) in enumerate(self._heard) if now - heard > seconds and rank != self.me.rank]

    def _spoken(self, error: RankError, of: int) -> RankError:
        """One of those that are left tells it: rank 0, or the next where it is about rank 0."""
        error.speaks = self.me.rank == (1 if of == 0 else 0)
        return error

    def _who(self, rank: int) -> str:
        return f" ({self.hosts[rank]})" if rank < len(self.hosts) else ""

    def wait_for(self, key: str) -> None:
        """Until a rank has called ``tell`` for it. Raises RankError."""
        while not self._told(key):
            self.check()
            time.sleep(0.1)

    def _told(self, key: str) -> bool:
        with suppress(RuntimeError):
            return bool(self.store.check([key]))
        return False

    def tell(self, key: str) -> None:
        self.store.set(key, "1")

    # -- the end --

    def leave(self, error: BaseException | None) -> None:
        """Say how this rank ended; where one failed, or all are done, rank 0 leaves last of those that still speak."""
        with suppress(RuntimeError):
            if error is not None and not isinstance(error, RankError):
                _report(self.store, _told_of(error, self.me.rank))
            self.store.set(f"ended/{self.me.rank}", "1")
            others = range(1, self.me.size) if self.me.rank == 0 else (0,) if error is not None else ()
            patience = LEAVING_S if error is None or self.me.rank else BROKEN_S
            _until(lambda: all(self.store.check([f"ended/{rank}"]) for rank in others), patience)
        self._done.set()


_HINT = "What was saved is whole: `resume` goes on with it, also with another number of processes."


def report_killed(store: Any, rank: int) -> None:
    """For the process that started the ranks, and is their meeting place: one of them was killed, and cannot say so."""
    with suppress(RuntimeError):
        _report(distributed().PrefixStore(_prefix("0.0"), store), _told(rank, "it was killed.", _HINT))


def _report(store: Any, told: dict[str, Any]) -> None:
    """The first failure is kept: others follow from it."""
    if not store.check(["failed"]):
        store.set("failed", json.dumps(told))


def _told(rank: int, problem: str, hint: str = "", lines: Sequence[str] = ()) -> dict[str, Any]:
    return {"rank": rank, "host": platform.node(), "problem": problem, "hint": hint, "lines": list(lines[:20])}


def _told_of(error: BaseException, rank: int) -> dict[str, Any]:
    if isinstance(error, HeadstartError):
        return _told(rank, error.problem, error.hint, error.lines)
    if isinstance(error, KeyboardInterrupt):
        return _told(rank, "it was interrupted.", _HINT)
    return _told(rank, f"{type(error).__name__}: {first_line(error, 300)}")


def _prefix(attempt: str) -> str:
    """Of the keys of one meeting: the starter's count of attempts, and this process's count of meetings."""
    return f"headstart/{attempt}"


def _absent(missing: list[int], me: Member) -> RankError:
    which = ", ".join(map(str, missing[:20]))
    told = f"Rank {which}" if len(missing) == 1 else f"Ranks {which}"
    problem = f"{told} of {me.size} did not come within {coming_seconds():g} s ({me.by} says that there are {me.size})."
    hint = "Start as many processes as the size says; HEADSTART_WAIT=600 waits longer for them, in seconds."
    error = RankError(problem, hint)
    error.speaks = me.rank == min(set(range(me.size)) - set(missing))
    return error


def _until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.05)


def coming_seconds() -> float:
    """How long to wait for ranks to come. Raises OptionError."""
    text = os.environ.get("HEADSTART_WAIT", "")
    try:
        if not text or 0 < float(text) <= 86_400:
            return float(text or COMING_S)
    except ValueError:
        pass
    raise OptionError(f"HEADSTART_WAIT is {text[:40]!r}.", "Set it to the seconds that ranks may wait for each other.")


_met = count()


def answer(me: Member) -> Roll:
    """Meet the others; a process may do so several times, one after the other. Raises RankError, OptionError."""
    if sys.platform == "win32":
        raise OptionError("Training in several processes does not work on Windows.", "Train in one, or in WSL.")
    seconds, me = coming_seconds(), replace(me, attempt=f"{me.attempt}.{next(_met)}")
    own = me.rank == 0 and not me.hosted
    stores = [_connected(me, seconds, own, "work"), _connected(me, seconds, False, "beats")]
    prefixed: Any = distributed().PrefixStore
    roll = Roll(me, *(prefixed(_prefix(me.attempt), store) for store in stores))
    try:
        roll.begin()
    except RuntimeError as error:  # the store went away: rank 0 gave up
        raise roll._spoken(RankError(f"Rank 0 of {me.size} ended before all had come.", _HINT), 0) from error
    except BaseException as error:
        roll.leave(error)
        raise
    return roll


def distributed() -> Any:
    """torch.distributed, whose names its types do not know."""
    import torch.distributed

    return torch.distributed


_stores: dict[tuple[str, int, str], Any] = {}
"""Kept until the process ends: rank 0's port is open only once, and others may still ask after it has left."""


def _connected(me: Member, seconds: float, hosts: bool, use: str) -> Any:
    """The connection for one use, since one that waits would hold up another."""
    place = (me.address, me.port, use)
    if place not in _stores:
        _stores[place] = _connect(me, seconds, hosts)
    return _stores[place]


def _connect(me: Member, seconds: float, hosts: bool) -> Any:
    wait = timedelta(seconds=seconds)
    try:
        store = distributed().TCPStore(me.address, me.port, None, hosts, timeout=wait, wait_for_workers=False)
    except RuntimeError as error:
        if hosts:
            problem = f"Rank 0 cannot listen at port {me.port} of {me.address}: {first_line(error)}."
            raise OptionError(problem, "Choose a free one with MASTER_PORT, the same for all ranks.") from None
        problem = f"Rank 0 of {me.size} did not come within {seconds:g} s: nobody answers at {me.address}:{me.port}."
        raise RankError(problem, "Is it started, and does MASTER_ADDR name its host?") from None
    store.set_timeout(timedelta(seconds=_STORE_S))
    return store

"""The executor ``ray``: each job is a task of Ray's, with a request of cores and GPUs, that starts again where the
process or machine under it ends. Ray places, moves and repeats; nothing of that is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from headstart.core.events import Events
from headstart.core.ray_cluster import alive, check_nodes, connected, keep_to, settle, surroundings, trouble
from headstart.core.text import brief, first_line, plural
from headstart.errors import HeadstartError, OptionError, RunError

J = TypeVar("J")
R = TypeVar("R")
RETRIES = 5
"""How often a job starts again after its process or its machine ended. One that is the cause must end some time."""
MOST_CORES = 8
"""Cores for each GPU, at most: decoding gains little beyond."""


@dataclass(frozen=True)
class Request:
    """What each job asks Ray for: cores, as many threads it has, and GPUs, which may be a part of one."""

    cpus: int = 1
    gpus: float = 0.0

    def fits(self, node: Mapping[str, Any]) -> int:
        """How many jobs a node runs at a time."""
        has: Mapping[str, float] = node["Resources"]
        times = [has.get("CPU", 0.0) // self.cpus]
        if self.gpus:
            times.append(has.get("GPU", 0.0) // self.gpus)
        return int(min(times))

    @property
    def words(self) -> str:
        """For people."""
        return plural(self.cpus, "core") + (f" and {self.gpus:g} GPU" if self.gpus else "")


@dataclass
class RayExecutor:
    """Jobs as tasks of a Ray cluster. ``address``: as of ``ray_cluster.connected``; ``cpus``, ``gpus``: for each job,
    by default a core, or a GPU with its share of the cores where nodes have GPUs.
    """

    address: str = ""
    cpus: int | None = None
    gpus: float | None = None
    slots: int = field(default=1, init=False)
    request: Request = field(default=Request(), init=False)
    _ray: Any = field(default=None, init=False, repr=False)
    _task: Any = field(default=None, init=False, repr=False)
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def at(self, text: str) -> RayExecutor:
        """The executor that ``:ADDRESS,cpus=2,gpus=0.5`` describes; each part may be missing. Raises OptionError."""
        address, *options = text.removeprefix(":").split(",")
        found: dict[str, Any] = {"address": address}
        for one in options:
            name, _, value = one.partition("=")
            try:
                found[name] = {"cpus": int, "gpus": float}[name](value)
            except (KeyError, ValueError):
                problem = f"`executor='ray{brief(text)}'`: {brief(one)!r} is neither cpus=NUMBER nor gpus=NUMBER."
                raise OptionError(problem, "Write it like 'ray:10.0.0.1:6379,cpus=2'.", option="executor") from None
            if name == "cpus" and found[name] < 1:
                problem = f"`executor='ray{brief(text)}'`: {one} is too little."
                raise OptionError(problem, "A job needs a core at least.", option="executor")
            if name == "gpus" and not (0 <= found[name] <= 1 or (found[name] > 1 and found[name].is_integer())):
                problem = f"`executor='ray{brief(text)}'`: {one} is neither a part of a GPU nor a number of GPUs."
                raise OptionError(problem, "Write it like gpus=0.5 or gpus=1.", option="executor")
        return replace(self, **found)

    @contextmanager
    def session(self, device: str, events: Events) -> Iterator[None]:
        """Connect; each job's request follows from ``device`` and from what nodes have. Raises HeadstartError."""
        if device not in ("auto", "cpu", "cuda"):
            problem = f"`device={device!r}`: Ray gives each job its GPU."
            raise OptionError(problem, "Use auto, cpu or cuda.", option="device")
        if device == "cuda" and self.gpus == 0:
            raise OptionError("`device='cuda'` needs a GPU, and `executor` asks for none.",
                              "Leave out gpus=0, or use `device='cpu'`.", option="executor")  # fmt: skip
        with connected(self.address) as ray:
            nodes = alive(ray)
            self._ray, self._known = ray, {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
            self.request = self._chosen(device, nodes)
            self.slots = sum(map(self.request.fits, nodes))
            if not self.slots:
                has = "; ".join(f"{n['NodeManagerAddress']}: {n['Resources'].get('CPU', 0):g} cores, "
                                f"{n['Resources'].get('GPU', 0):g} GPUs" for n in nodes)  # fmt: skip
                problem = f"No node of the Ray cluster has {self.request.words} for a job ({has})."
                raise RunError(problem, "Ask for less, or add nodes.", option="executor")
            asked = {"num_cpus": self.request.cpus, "num_gpus": self.request.gpus, "max_retries": RETRIES}
            self._task = ray.remote(there).options(**asked)
            each = f"{self.request.words} each"
            events.message(f"Ray: {plural(len(nodes), 'node')}, {plural(self.slots, 'job')} at a time, {each}")
            try:
                yield
            finally:
                self._ray = self._task = None

    def _chosen(self, device: str, nodes: Sequence[Mapping[str, Any]]) -> Request:
        with_gpu = [node["Resources"] for node in nodes if node["Resources"].get("GPU")]
        gpus = self.gpus if self.gpus is not None else float(device == "cuda" or (device == "auto" and bool(with_gpu)))
        share = [int(has.get("CPU", 1) // has["GPU"] * gpus) for has in with_gpu] if gpus else []
        return Request(self.cpus or max(1, min([MOST_CORES, *share]) if share else 1), gpus)

    def check(self, paths: Sequence[str], folder: Path) -> None:
        """Every node that may get a job has this headstart, and sees the same files. Raises RunError."""
        check_nodes(self._ray, [node for node in alive(self._ray) if self.request.fits(node)], paths, folder)

    def submit(self, work: Callable[[J], R], job: J, /) -> Future[R]:
        """Hand the job to Ray. The future's error is that of the work, or a RunError where Ray gave it up."""
        outer: Future[R] = Future()
        label = str(getattr(job, "label", "a job"))
        reference = self._task.remote(work, job, surroundings(), self.request.cpus, self.request.gpus)
        reference.future().add_done_callback(partial(_pass_on, outer, label))
        outer.add_done_callback(partial(self._cancel, reference))
        return outer

    def _cancel(self, reference: Any, outer: Future[Any]) -> None:
        """Where the future was cancelled, so is the task: a running one gets a KeyboardInterrupt."""
        if outer.cancelled() and self._ray is not None:
            self._ray.cancel(reference)

    def stream(self, worker: Callable[[J], R], items: Sequence[J]) -> Iterator[R]:
        """Results of ``worker(item)`` as they end, by actors of Ray Data that each keep the worker. Raises what the
        worker raises for the user, and RunError where Ray gives up.
        """
        from headstart.core.ray_data import stream

        try:
            yield from stream(self._ray, worker, items, self.slots, self.request.cpus, self.request.gpus)
        except HeadstartError:
            raise
        except Exception as error:  # noqa: BLE001 - Ray has many kinds
            raise _for_user(error, "The work") from None

    def news(self) -> list[str]:
        """Nodes that came and went since the last call."""
        nodes = alive(self._ray)
        now = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
        gone = [name for one, name in self._known.items() if one not in now]
        new = [name for one, name in now.items() if one not in self._known]
        if gone or new:
            self._known, self.slots = now, sum(map(self.request.fits, nodes))
        told = [f"The node {name} has left the Ray cluster: its jobs start again on another." for name in gone]
        told += [f"The node {name} has joined the Ray cluster." for name in new]
        if (gone or new) and not self.slots:
            told.append(f"No node has {self.request.words} for a job now: waiting for one.")
        return told


def there(work: Callable[[J], R], job: J, where: Mapping[str, str], threads: int, gpus: float) -> R | HeadstartError:
    """In a process of Ray's: the result of ``work(job)`` by so many threads, or the error for the user."""
    settle(where)
    keep_to(threads, gpus)
    try:
        return work(job)
    except HeadstartError as error:
        return error


def _pass_on(outer: Future[R], label: str, inner: Future[R | HeadstartError]) -> None:
    """Give the outer future what Ray's own ended with."""
    if outer.cancelled():
        return
    with suppress(InvalidStateError):
        error = inner.exception()
        if error is not None:
            outer.set_exception(_for_user(error, label))
        elif isinstance(result := inner.result(), HeadstartError):
            outer.set_exception(result)
        else:
            outer.set_result(result)


def _for_user(error: BaseException, label: str) -> BaseException:
    """A RunError for what Ray says of processes and machines; an error of the work itself as it was raised."""
    if words := trouble(error):
        return RunError(f"{label}: on one of Ray's nodes, {words}", "Install it on every node.")
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return cause
    said = f"({type(error).__name__}: {first_line(error)})"
    if _is_end_of_process(error):
        hint = "Does it need more memory than its node has? The same call goes on with what is missing."
        return RunError(f"{label}: its process ended again and again {said}.", hint)
    return RunError(f"{label}: Ray could not run it {said}.", "The same call goes on with what is missing.")


def _is_end_of_process(error: BaseException) -> bool:
    from ray import exceptions as of_ray

    kinds = (of_ray.WorkerCrashedError, of_ray.RayActorError, of_ray.NodeDiedError, of_ray.LocalRayletDiedError)
    return isinstance(error, (*kinds, of_ray.OutOfMemoryError))

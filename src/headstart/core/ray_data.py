"""Many items through one worker on Ray Data: actors each hold the worker, with what it has prepared, and take one item
after the other. In: the worker and the items. Out: results as they come. Ray Data feeds actors and replaces lost ones.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from headstart.core.ray_cluster import keep_to, settle, surroundings
from headstart.errors import HeadstartError

J = TypeVar("J")
R = TypeVar("R")


class Holder:
    """An actor's state: the worker, unpickled once."""

    def __init__(self, worker: Any, where: Mapping[str, str], threads: int, gpus: float) -> None:
        import ray

        settle(where)
        keep_to(threads, gpus)
        self._worker: Callable[[Any], Any] = ray.get(worker)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of one pickled item, to one pickled result, or the error for the user."""
        try:
            result = self._worker(pickle.loads(batch["item"][0]))
        except HeadstartError as error:
            result = error
        return {"result": _column(result)}


def _column(value: Any) -> np.ndarray:
    """One value as a column of bytes."""
    column = np.empty(1, object)
    column[0] = pickle.dumps(value)
    return column


def stream(ray: Any, worker: Callable[[J], R], items: Sequence[J], actors: int, cpus: int, gpus: float) -> Iterator[R]:
    """Results of ``worker(item)``, in the order in which they end. Raises what the worker raises for the user."""
    from ray import data

    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    given = data.from_items([{"item": pickle.dumps(item)} for item in items], override_num_blocks=len(items))
    made = given.map_batches(
        Holder, fn_constructor_args=(ray.put(worker), surroundings(), cpus, gpus), batch_size=1, num_cpus=cpus,
        num_gpus=gpus or None, compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, min(actors, len(items)))),
    )  # fmt: skip
    for row in made.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, HeadstartError):
            raise result
        yield result

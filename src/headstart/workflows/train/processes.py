"""One training by several processes: what they agree on before it, and what those after the first do.

Each finds and reads the photos, loads the network and makes the plan, as rank 0 does; nothing else would be simpler to
send. Whether all found the same is then compared, since they would train different networks otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart.core.events import Events
from headstart.core.world import World
from headstart.errors import OptionError
from headstart.inference.device import Machine
from headstart.training.config import TrainOptions
from headstart.training.launch import check_parallel, fit
from headstart.training.parts import Parts
from headstart.training.preparation import Prepared, prepare
from headstart.training.strategies import STRATEGIES
from headstart.workflows.train.assess import make_context

SILENT = Events()


def check_alone(parts: Parts, in_memory: bool) -> None:
    """Raises OptionError for what only the process of the caller has."""
    if parts.given:
        name = next(iter(parts.given))
        problem = f"An own `{name}` is an object of one process, and several share this training."
        raise OptionError(problem, "Leave it out, or train in one process.", option=name)
    if in_memory:
        problem = "`data` is in the memory of one process, and several share this training."
        raise OptionError(problem, "Give a folder, a table or an archive, which each can read.", option="data")


def prepare_together(options: TrainOptions, events: Events, parts: Parts, world: World) -> Prepared:
    """``prepare`` by rank 0, and at the same time by the others (``take_part``). Raises what that raises, and
    OptionError where they found different things.
    """
    if world.size == 1:
        return prepare(options, events, parts)
    check_parallel(STRATEGIES.get(options.strategy), options.strategy)
    world.tell(options.to_json())
    prepared = _prepared(options, events, world)
    kind = prepared.machine.device.type
    events.message(f"{world.size} processes share this training ({kind}), each with a part of every batch.")
    return prepared


def _prepared(options: TrainOptions, events: Events, world: World) -> Prepared:
    with world.in_turn():
        prepared = prepare(options, events)
    check_same(world.each(_found(prepared)))
    return prepared


def _found(prepared: Prepared) -> dict[str, Any]:
    """What must be the same in all, by what it is called."""
    plan = prepared.plan.to_json()
    settings = {f"`{name}`": value for name, value in plan.items() if name != "reasons"}
    return {
        "photos": prepared.dataset.digest, "weights": prepared.backbone.weights_digest, **settings,
        "kind of device": prepared.machine.device.type, "PyTorch": torch.__version__, "gpu": _gpu(prepared.machine),
    }  # fmt: skip


def _gpu(machine: Machine) -> str:
    """Which GPU of all that the processes may see; empty for a CPU."""
    if machine.device.type != "cuda":
        return ""
    return str(getattr(torch.cuda.get_device_properties(machine.device), "uuid", ""))


def check_same(found: list[dict[str, Any]]) -> None:
    """Raises OptionError that names the first rank that found something else than rank 0, or uses the same GPU."""
    gpus = [one.pop("gpu") for one in found]
    for rank, one in enumerate(found):
        for name, value in one.items():
            if value != found[0].get(name):
                problem = f"Rank {rank} has other {name} than rank 0: {value!r}, not {found[0].get(name)!r}."
                hint = "Start all with the same data, weights, options and installation; settings can be given."
                raise OptionError(problem, hint)
        if gpus[rank] and gpus[rank] in gpus[:rank]:
            problem = f"Ranks {gpus.index(gpus[rank])} and {rank} use the same GPU."
            raise OptionError(problem, "Start as many processes per host as it has GPUs.", option="device")


def take_part(world: World) -> None:
    """What a process after the first does in a training: its part of the fit. It writes and says nothing."""
    told = world.tell()
    if told is None:  # a run that was finished already
        return
    prepared = _prepared(TrainOptions.from_json(told, "the request of rank 0"), SILENT, world)
    context = make_context(prepared, Path(), SILENT)
    fit(replace(context, deliberate_bugs=tuple(world.tell())))

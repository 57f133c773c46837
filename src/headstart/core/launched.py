"""Which of how many processes this one is. In: the variables that torchrun, SLURM or Kubernetes set. Out: a ``Member``,
or None for a process on its own.

Nothing is imported but the standard library: the command line asks before it prints.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.errors import OptionError

PORT = 29500
"""Where rank 0 is met, as torchrun has it."""
_PORTS = (15_000, 20_000)
"""SLURM names no port: the first of this range, plus the job's number modulo its length, so that two jobs on one host
do not meet."""


@dataclass(frozen=True)
class Member:
    """A process of several. ``rank`` counts from 0 to ``size`` - 1, ``local`` among those of its host; rank 0 is met at
    ``address`` and ``port``. ``by``: what says so; ``attempt``: how often that has started them anew; ``hosted``:
    that keeps the meeting place itself, and not rank 0.
    """

    rank: int
    size: int
    local: int
    address: str
    port: int
    by: str
    attempt: str = "0"
    hosted: bool = False


def member(variables: Mapping[str, str] = os.environ) -> Member | None:
    """The process that these variables describe; None where it is the only one. Raises OptionError where they
    contradict each other or lack one.
    """
    if "RANK" in variables or ("WORLD_SIZE" in variables and "JOB_COMPLETION_INDEX" in variables):
        found = _from_torch(variables)
    elif "SLURM_PROCID" in variables and "SLURM_STEP_NUM_TASKS" in variables:
        found = _from_slurm(variables)
    else:
        return None
    if not 0 <= found.rank < found.size:
        problem = f"This is rank {found.rank} of {found.size}, by {found.by}: ranks count from 0 to the size - 1."
        raise OptionError(problem, "Correct the number of processes where they are started.")
    return found if found.size > 1 else None


def _from_torch(variables: Mapping[str, str]) -> Member:
    """torchrun's variables. Kubernetes' PyTorchJob sets the same; a pod of an Indexed Job knows its rank by its
    completion index.
    """
    indexed = "RANK" not in variables
    by = "torchrun" if "TORCHELASTIC_RUN_ID" in variables else "Kubernetes" if indexed else "WORLD_SIZE"
    rank, size = _number(variables, "JOB_COMPLETION_INDEX" if indexed else "RANK"), _number(variables, "WORLD_SIZE")
    address = variables.get("MASTER_ADDR", "")
    if size > 1 and not address:
        raise OptionError("MASTER_ADDR is not set.", "It names the host of rank 0, where the others meet it.")
    local = _number(variables, "LOCAL_RANK", 0)
    port, attempt = _number(variables, "MASTER_PORT", PORT), variables.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Member(rank, size, local, address, port, by, attempt, _yes(variables, "TORCHELASTIC_USE_AGENT_STORE"))


def _from_slurm(variables: Mapping[str, str]) -> Member:
    """Those of a task that ``srun`` started. A batch script itself has SLURM_NTASKS and is one process all the same."""
    nodes = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_NODELIST", "")
    first, length = _PORTS
    port = first + _number(variables, "SLURM_JOB_ID", 0) % length
    attempt = f"{variables.get('SLURM_RESTART_COUNT', '0')}.{variables.get('SLURM_STEP_ID', '0')}"
    return Member(
        _number(variables, "SLURM_PROCID"), _number(variables, "SLURM_STEP_NUM_TASKS"),
        _number(variables, "SLURM_LOCALID", 0), variables.get("MASTER_ADDR") or first_host(nodes),
        _number(variables, "MASTER_PORT", port), "SLURM", attempt,
    )  # fmt: skip


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: ``gpu[03-05,9],cpu1`` → ``gpu03``. Raises OptionError."""
    found = re.match(r"([^\[\],]+)(?:\[([^\],-]+)[^\]]*\]([^\[\],]*))?", nodes)
    if found is None:
        problem = f"SLURM_STEP_NODELIST is {nodes[:100]!r}, which names no host."
        raise OptionError(problem, "Set MASTER_ADDR to the host of rank 0.")
    return "".join(part or "" for part in found.groups())


def _number(variables: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = variables.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        told = "not set" if text is None else f"{text[:40]!r}"
        raise OptionError(
            f"{name} is {told}: a whole number is needed beside the other variables of several processes."
        )
    return int(text)


def _yes(variables: Mapping[str, str], name: str) -> bool:
    return variables.get(name, "").lower() in {"true", "1"}

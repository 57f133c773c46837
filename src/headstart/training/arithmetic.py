"""What decides the last bits of a result besides the plan: kept with the state of a training, so that one that is
resumed computes as it began.

The order in which a sum is taken depends on the number of threads, not on the cores that run them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from headstart.core.events import Events
from headstart.core.files import write_json
from headstart.core.world import here
from headstart.errors import HeadstartError, Interrupted
from headstart.inference.device import Machine

MOST_THREADS = 1024
PACKAGES = ("torch", "openvino", "numpy", "pillow")


@contextmanager
def as_begun(state: Path, machine: Machine, events: Events) -> Iterator[None]:
    """Compute with the number of threads that the work began with, which ``state``, a folder, knows; afterwards as
    before. What else has changed and may change bits is told in one line. Raises RunError.
    """
    threads, now = torch.get_num_threads(), facts(machine)
    kept = _read(state / "arithmetic.json")
    if kept is None:
        write_json(state / "arithmetic.json", {"threads": threads, **now})
    elif changed := [
        f"{name}: {kept[name]}, now {now[name]}" for name in now if kept.get(name, now[name]) != now[name]
    ]:
        words = f"This began with other parts ({'; '.join(changed)})"
        events.warning(f"{words}: the last bits may differ from those of an uninterrupted training.")
    # Set also where it is the number already: a number that was set is kept to, the default may be lowered.
    same = kept is not None and kept.get("processes", "1") == now["processes"]  # else threads share other cores
    torch.set_num_threads(kept["threads"] if kept and same else threads)
    try:
        yield
    except HeadstartError as error:
        if kept is None and not isinstance(error, Interrupted):
            _forget(state)
        raise
    finally:
        torch.set_num_threads(threads)


def _forget(state: Path) -> None:
    """Leave no folder behind where a mistake ended the work before it saved anything."""
    with suppress(OSError):
        if os.listdir(state) == ["arithmetic.json"]:
            (state / "arithmetic.json").unlink()
            os.removedirs(state)  # and those above it that are empty now


def facts(machine: Machine) -> dict[str, str]:
    """What computes here: versions, processor, device."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    device = machine.words if machine.device.type == "cuda" else machine.device.type
    return {**versions, "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}", "device": device} | {
        "processes": str(here().size)
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(file: Path) -> dict[str, Any] | None:
    """What ``as_begun`` wrote; None where there is nothing that can be used, as in the state of an older headstart."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if type(kept["threads"]) is int and 1 <= kept["threads"] <= MOST_THREADS:
            return kept
    return None

"""The machine that was measured. In: nothing. Out: processor, the instructions that matter here, memory, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
PACKAGES = ("torch", "torchvision", "timm", "fastai", "keras", "openvino", "numpy", "pillow")


def machine() -> dict[str, Any]:
    """What the figures depend on, for the JSON file and ``in_words``."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in _cpuinfo("flags").split()],
        "memory_gb": round(_memory() / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load": _load(),
    }


def in_words(found: dict[str, Any]) -> str:
    """The machine in a few lines of Markdown, and a warning where it is not quiet."""
    versions = ", ".join(f"{name} {number or 'not installed'}" for name, number in found["versions"].items())
    lines = [
        f"- {found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB, {found['system']}",
        f"- of {', '.join(FLAGS)} it has: {', '.join(found['flags']) or 'none (or the system does not say)'}",
        f"- Python {found['python']}, {versions}; OMP_NUM_THREADS: {found['threads']}",
        f"- load average before the first measurement: {found['load']}",
    ]
    if found["load"] is not None and found["load"] > 0.5:
        lines.append("- **Other work runs on this machine: these figures are not to be reported.**")
    return "\n".join(lines)


def _cpuinfo(field: str) -> str:
    """A field of the first processor, on Linux; else nothing."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows
        return float("nan")


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

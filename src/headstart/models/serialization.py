"""Tensors with a JSON header in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart.core.files import replacing
from headstart.core.formats import DAMAGED, parsed
from headstart.core.text import brief
from headstart.errors import RunError


def save_state(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and facts (for JSON), atomically.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    contiguous = _apart({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    with replacing(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={"facts": json.dumps(facts)})
        except SafetensorError as error:  # its error for a full disk
            raise OSError(error) from error


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same numbers with no memory in common, which safetensors refuses: some networks use a layer twice."""
    seen: set[int] = set()
    apart: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return apart


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What ``save_state`` wrote.

    Raises:
        RunError: the file is not one of headstart's.
    """
    with _opened(path) as opened:
        facts = parsed((opened.metadata() or {})["facts"])
        if not isinstance(facts, dict):
            raise ValueError("its facts are none")
        # Copied: safetensors' own tensors map the file, and Windows neither replaces nor deletes what is mapped.
        return {name: opened.get_tensor(name).clone() for name in opened.keys()}, facts  # noqa: SIM118 - no mapping


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, from the header alone. Raises RunError."""
    with _opened(path) as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open for reading: the library checks that its header and its size fit."""
    try:
        if path.exists() and not path.is_file():  # a named pipe would be waited for
            raise ValueError("it is not a file")
        path.open("rb").close()  # safetensors reports an unreadable file as missing
        with safe_open(path, framework="pt") as opened:
            yield opened
    except PermissionError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", "Ask its owner for read permission.") from error
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, AttributeError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or brief(error)
        raise RunError(f"{path} cannot be read: {reason}.", DAMAGED) from error

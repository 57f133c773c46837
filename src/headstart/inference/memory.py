"""Exhausted memory: what it looks like, and a batch that is computed in parts where it does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from headstart.errors import TrainingError

HINT = "Free some memory, choose another `device`, or a smaller backbone or `image_size`."
_WORDS = ("allocate memory", "out of memory", "not enough memory", "bad_alloc", "alloc_failed")
"""What is said by PyTorch's CPU allocator (on Linux, on Windows), MPS, OpenVINO, and CUDA's libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is exhausted, of the device or of the machine; most libraries have no error of their own."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(one in words for one in _WORDS)


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Raise TrainingError, which says what memory is not enough for, where it is exhausted in the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"There is not enough memory for {what}.", HINT) from error


def free_memory() -> None:
    """Give back what PyTorch keeps of a GPU's memory for later: in parts it may be of the wrong size."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class InParts:
    """A function of a batch that computes its rows independently, called with as many rows as memory holds.

    Where memory is exhausted the number is halved, and stays so: what is computed later is computed like the rest.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function, self.most = function, 2**31

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """The function's outputs [N, ...]. Raises TrainingError where memory does not hold one row."""
        while True:
            try:
                parts = [self.function(part) for part in torch.split(batch, self.most)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve(len(batch))  # out of the handler, whose traceback holds the memory of what failed

    def _halve(self, rows: int) -> None:
        rows = min(rows, self.most)
        if rows < 2:
            raise TrainingError("There is not enough memory for a single photo.", HINT)
        self.most = rows // 2
        free_memory()
        words = f"{rows} photos do not fit in memory together: from here on {self.most} at a time."
        logging.getLogger("headstart").warning(words)

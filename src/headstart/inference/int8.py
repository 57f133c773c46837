"""int8: a frozen network whose convolutions and products are quantised by NNCF, OpenVINO's tool, and run by OpenVINO.

What it computes depends on the photos that the ranges of its activations were estimated on, so those are given, and are
part of the key of all that it computed.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from torch import nn

from headstart.core.extras import require
from headstart.errors import option
from headstart.inference.device import BATCH, Machine
from headstart.inference.openvino import OpenVino, check_openvino, import_openvino, to_graph
from headstart.models.preprocessing import Preprocessing

INT8 = "int8"
"""Its name as an engine."""


class Int8Backend:
    """OpenVINO on CPUs, in int8. It is quantised for each training anew."""

    calibrates = True

    def check(self, machine: Machine) -> None:
        check_openvino(INT8, machine)
        require(option("engine", repr(INT8)), ["nncf"], "int8", "engine", "Or use `engine='openvino'`.")

    def compile(
        self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str, photos: np.ndarray
    ) -> OpenVino:
        """``photos``: uint8 [K, S, S, 3], K a multiple of ``BATCH`` or below it."""
        from openvino import PartialShape

        graph, weights = to_graph(module, preprocessing)
        batches = [photos[i : i + BATCH] for i in range(0, len(photos), BATCH)]
        graph.reshape({0: PartialShape([len(batches[0]), *photos.shape[1:]])})
        return OpenVino(quantised(graph, batches), weights, preprocessing.image_size, precision)


def quantised(graph: Any, inputs: Sequence[np.ndarray]) -> Any:
    """An OpenVINO graph in int8: per-channel weights, activations by their ranges on ``inputs``. Preprocessing and what
    is no product with weights stays as it is.
    """
    with quiet():
        import_openvino()
        os.environ.setdefault("NNCF_CI", "1")  # NNCF's switch for not reporting
        import nncf

        return nncf.quantize(graph, nncf.Dataset(list(inputs)), subset_size=len(inputs))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what converters report on standard output, in logs and in warnings; errors still come through."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)

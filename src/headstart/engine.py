"""A frozen network made ready for inference. In: a module, its preprocessing, a machine, a precision and an engine.
Out: ``Forward``: uint8 photos in, the module's outputs out.

Two engines give the same outputs but for rounding. PyTorch's runs everywhere. OpenVINO's is the faster one on CPUs
(docs/performance.md) and has to convert the network first; ``rules.engine`` says when that pays.
"""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbone.spec import Preprocessing
from headstart.device import Machine
from headstart.errors import OptionError

TOLERANCE = {"bf16": 0.1, "float32": 0.01}
"""How far a converted network may be from the original, as a part of the output's norm: rounding stays a factor of ten
below, and a network that was converted wrongly is far above."""


@cache
def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


class Forward:
    """A copy of a module in eval mode, ready for inference.

    ``__call__``: uint8 photos [N, S, S, 3] -> outputs on the CPU. ``engine`` says what computes them: PyTorch where a
    network could not be converted, whatever was ``asked`` for.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocessing,
        machine: Machine,
        precision: str,
        engine: str = "torch",
    ) -> None:
        self.machine, self.precision, self.asked, self.engine = machine, precision, engine, "torch"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        folded = fold(module)
        self.converted: Callable[[np.ndarray], np.ndarray] | None = None
        if engine == "openvino":
            self.converted = _checked_openvino(folded, preprocessing, machine, precision)
            if self.converted is not None:
                self.engine = "openvino"
                return
        self.module = folded.to(machine.device, self.dtype)
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.normalise = Normalise(preprocessing).to(machine.device)

    @torch.inference_mode()
    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        if self.converted is not None:
            return torch.from_numpy(self.converted(photos.numpy()))
        x = self.normalise(photos.to(self.machine.device))
        return self.module(x.to(self.dtype)).cpu()


class Normalise(nn.Module):
    """uint8 photos [N, S, S, 3] -> float32 [N, 3, S, S] in channels_last order, normalised; other inputs
    pass through.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.uint8:
            return x
        # channels_last already, as photos lie in memory
        return (x.permute(0, 3, 1, 2).to(torch.float32) / 255 - self.mean) / self.std


def fold(trunk: nn.Module) -> nn.Module:
    """A copy in eval mode with each BatchNorm folded into the convolution before it, where the network can
    be traced.
    """
    trunk = copy.deepcopy(trunk).eval().requires_grad_(False)
    try:
        from torch.fx.experimental.optimization import fuse

        return fuse(trunk, inplace=True)
    except Exception:  # noqa: BLE001 - networks with control flow cannot be traced; unfolded they give the same
        return trunk


def _checked_openvino(
    module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The module converted, or None where it cannot be, or answers otherwise than the original.

    Raises:
        OptionError: OpenVINO is not installed, or the device is no CPU.
    """
    if machine.device.type != "cpu":
        raise OptionError(f"engine openvino is for CPUs, not for {machine.device}.", "Leave it out: --set engine=torch")
    if not has_openvino():
        raise OptionError("engine openvino: OpenVINO is not installed.", "pip install openvino, or --set engine=torch")
    words = logging.getLogger("headstart")
    try:
        converted = OpenVino(module, preprocessing, precision)
        far = _distance(converted, module, preprocessing)
    except Exception as error:  # noqa: BLE001 - whatever a converter cannot do, PyTorch can
        words.info("OpenVINO cannot run this network (%s); PyTorch does.", error)
        return None
    if not far <= TOLERANCE[precision]:
        words.warning("OpenVINO's answers are %.3g away from PyTorch's; PyTorch is used.", far)
        return None
    return converted


@torch.inference_mode()
def _distance(converted: Callable[[np.ndarray], np.ndarray], module: nn.Module, preprocessing: Preprocessing) -> float:
    """Relative distance of the outputs for two pictures of noise."""
    size = preprocessing.image_size
    photos = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    wanted = module(Normalise(preprocessing)(torch.from_numpy(photos))).float()
    found = torch.from_numpy(converted(photos))
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))


class OpenVino:
    """A module run by OpenVINO on the CPU, normalisation inside its graph. ``__call__``: uint8 photos [N, S, S, 3] ->
    float32 outputs.
    """

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, precision: str) -> None:
        import_openvino()
        self.graph, self.weights = _graph(module, preprocessing)
        self.size = preprocessing.image_size
        self.options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.ready: dict[int, Any] = {}

    def __call__(self, photos: np.ndarray) -> np.ndarray:
        request = self.ready.get(len(photos)) or self._compile(len(photos))
        # Copied: the request's own memory is written anew by the next call.
        return request.infer([photos], share_inputs=True)[0]

    def _compile(self, count: int) -> Any:
        """A request for batches of one length: with fixed shapes the convolutions are laid out best."""
        from openvino import PartialShape

        self.graph.reshape({0: PartialShape([count, self.size, self.size, 3])})
        compiled = openvino_core().compile_model(self.graph, "CPU", self.options)
        self.ready[count] = compiled.create_infer_request()
        return self.ready[count]


@cache
def openvino_core() -> Any:
    """OpenVINO's runtime: one, kept until the process ends.

    Its CPU plugin gives the thread that makes it a new stack for signals, and puts the old one back when it goes.
    Where two of them go in the order they came, what is put back is freed memory: the next Ctrl-C is a crash.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """OpenVINO, imported without its reports: otherwise importing it tells its maker, and leaves an identifier in the
    user's home. It takes a missing package for a no.
    """
    if "openvino" not in sys.modules:
        before = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it fails
        try:
            import openvino  # noqa: F401
        finally:
            del sys.modules["openvino_telemetry"]
            if before is not None:
                sys.modules["openvino_telemetry"] = before
    return sys.modules["openvino"]


def _graph(module: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Any]:
    """The module as an OpenVINO graph with uint8 photos as its input, and the owner of the weights that it shares.

    ``openvino.convert_model`` would do it in one call, but reports each conversion to its maker unless the user
    has forbidden it; the front end that it calls does not.
    """
    from openvino import Layout, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.preprocess import PrePostProcessor

    size = preprocessing.image_size
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer: what it freezes are the shapes, which are fixed here
        traced = torch.jit.trace(module, torch.zeros(1, 3, size, size), check_trace=False)
    front = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # named, because the front end does not keep it alive
    graph = front.convert(front.load(decoder))
    steps = PrePostProcessor(graph)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    steps.input().preprocess().convert_element_type(Type.f32).mean([255 * v for v in preprocessing.mean]).scale(
        [255 * v for v in preprocessing.std]
    )
    return steps.build(), decoder

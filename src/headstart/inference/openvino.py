"""OpenVINO: a network converted and run on the CPU."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from headstart.errors import OptionError, option
from headstart.inference.device import Machine, is_forked
from headstart.models.preprocessing import Preprocessing


def has_openvino() -> bool:
    """Whether OpenVINO is installed, and can compute in this process: in a forked one, its threads are missing."""
    return not is_forked() and _is_installed()


@cache
def _is_installed() -> bool:
    return find_spec("openvino") is not None


def check_openvino(engine: str, machine: Machine) -> None:
    """Raise OptionError where OpenVINO, by which ``engine`` computes, cannot run."""
    asked, hint = option("engine", repr(engine)), "Use `engine='torch'`."
    if machine.device.type != "cpu":
        raise OptionError(f"{asked} is for CPUs, not for {machine.device}.", hint, option="engine")
    if is_forked():
        problem = f"{asked}: OpenVINO does not compute in a forked process."
        raise OptionError(problem, f"{hint[:-1]}, or start the process by spawn.", option="engine")
    if not has_openvino():
        raise OptionError(f"{asked}: OpenVINO is not installed.", f"pip install openvino. {hint}", option="engine")


class OpenVinoBackend:
    """OpenVINO, the faster engine on CPUs (docs/explanation/performance.md), after a conversion of the network."""

    def check(self, machine: Machine) -> None:
        check_openvino("openvino", machine)

    def compile(self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str) -> OpenVino:
        return OpenVino(*to_graph(module, preprocessing), preprocessing.image_size, precision)


class OpenVino:
    """A graph of uint8 photos of ``size`` px, run by OpenVINO; ``weights``: their owner (see ``to_graph``)."""

    def __init__(self, graph: Any, weights: Any, size: int, precision: str) -> None:
        self.graph, self.weights, self.size = graph, weights, size
        self.options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.ready: dict[int, Any] = {}

    def __call__(self, photos: torch.Tensor, /) -> torch.Tensor:
        """uint8 photos [N, S, S, 3] -> float32 outputs."""
        from openvino import PartialShape

        if len(photos) not in self.ready:  # compiled for each batch size: fixed shapes give the fastest convolutions
            self.graph.reshape({0: PartialShape([len(photos), self.size, self.size, 3])})
            compiled = openvino_core().compile_model(self.graph, "CPU", self.options)
            self.ready[len(photos)] = compiled.create_infer_request()
        # Copied: the request's own memory is overwritten by the next call.
        return torch.from_numpy(self.ready[len(photos)].infer([photos.numpy()], share_inputs=True)[0])


@cache
def openvino_core() -> Any:
    """OpenVINO's runtime: one, kept until the process ends.

    Its CPU plugin gives the thread that creates it a new signal stack, and restores the old one when it is deleted. If
    two are deleted in the order of their creation, freed memory is restored, and the next Ctrl-C crashes.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """OpenVINO, imported without its telemetry package: with it, the import reports to its vendor and writes an
    identifier to the user's home. OpenVINO works without the package.
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


def to_graph(module: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Any]:
    """The module as an OpenVINO graph with uint8 photos as its input, normalisation inside, and the owner of the
    weights that it shares.

    ``openvino.convert_model`` would do it in one call, but reports each conversion to its vendor unless the user
    has opted out; the front end that it calls does not.
    """
    import_openvino()
    from openvino import Layout, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.preprocess import PrePostProcessor

    size = preprocessing.image_size
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that it fixes shapes, which are fixed here
        traced = torch.jit.trace(module, torch.zeros(1, 3, size, size), check_trace=False)
    front = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # named, because the front end does not keep it alive
    steps = PrePostProcessor(front.convert(front.load(decoder)))
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    mean, std = ([255 * v for v in values] for values in (preprocessing.mean, preprocessing.std))
    steps.input().preprocess().convert_element_type(Type.f32).mean(mean).scale(std)
    return steps.build(), decoder

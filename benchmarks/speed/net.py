"""A frozen network, run in the ways that a user might. In: a network's name and its weights. Out: functions from uint8
photos [N, S, S, 3] to features [N, D]; and the bare pass: decode in threads and forward, overlapped.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import nn

BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Photos = torch.Tensor
Pass = Callable[[Photos], torch.Tensor]


def tensors(weights: str) -> dict[str, torch.Tensor]:
    """A checkpoint in float32 (counters stay whole numbers)."""
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()}


def load_all(net: nn.Module, weights: str) -> str:
    """Load a checkpoint of which every key must fit, classifier included; says so in words."""
    net.load_state_dict(tensors(weights), strict=True)
    return f"all {len(net.state_dict())} tensors of {Path(weights).name}"


def resnet(name: str, weights: str) -> tuple[nn.Module, nn.Linear]:
    """torchvision's network without its classifier, in eval mode, and that classifier."""
    net = getattr(torchvision.models, name)(weights=None)
    load_all(net, weights)
    classifier, net.fc = net.fc, nn.Identity()
    return net.eval().requires_grad_(False), classifier


class Ready(nn.Module):
    """Normalisation and a network: uint8 photos [N, S, S, 3] -> features [N, D] in ``dtype``."""

    def __init__(self, net: nn.Module, dtype: torch.dtype, layout: torch.memory_format) -> None:
        super().__init__()
        self.net = net.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
        self.dtype, self.layout = dtype, layout
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, photos: Photos) -> torch.Tensor:
        x = (photos.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return self.net(x.to(self.dtype).contiguous(memory_format=self.layout))


def _frozen(ready: Ready) -> Pass:
    @torch.inference_mode()
    def forward(photos: Photos) -> torch.Tensor:
        return ready(photos)

    return forward


def float32(net: nn.Module, size: int) -> Pass:
    """As PyTorch runs it when nothing is asked of it."""
    return _frozen(Ready(net, torch.float32, torch.contiguous_format))


def autocast(net: nn.Module, size: int) -> Pass:
    """bf16 by autocast, channels_last."""
    ready = Ready(net, torch.float32, torch.channels_last)

    @torch.inference_mode()
    def forward(photos: Photos) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ready(photos)

    return forward


def folded(net: nn.Module, size: int) -> Pass:
    """Each BatchNorm folded into its convolution, then bf16 and channels_last."""
    from torch.fx.experimental.optimization import fuse

    return _frozen(Ready(fuse(net), torch.bfloat16, torch.channels_last))


def inductor(net: nn.Module, size: int) -> Pass:
    """torch.compile with the weights frozen into the program."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    compiled = torch.compile(Ready(net, torch.bfloat16, torch.channels_last), dynamic=False)

    @torch.no_grad()  # where gradients are on nothing is frozen; under inference_mode freezing has had defects
    def forward(photos: Photos) -> torch.Tensor:
        return compiled(photos)

    return forward


def openvino(net: nn.Module, size: int) -> Pass:
    """OpenVINO, asked to compute in bf16, for batches of one length."""
    import openvino as ov
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # By the front end that openvino.convert_model calls, too: that function reports each call to its maker.
    ready = Ready(net, torch.float32, torch.contiguous_format)
    with torch.no_grad():
        traced = torch.jit.trace(ready, torch.zeros(BATCH, size, size, 3, dtype=torch.uint8), check_trace=False)
    front = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # named, so that it outlives the load: the conversion calls it
    graph = front.convert(front.load(decoder))
    graph.reshape([BATCH, size, size, 3])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}
    request = ov.Core().compile_model(graph, "CPU", hints).create_infer_request()
    return lambda photos: torch.from_numpy(request.infer([photos.numpy()])[0])


def headstart(engine: str) -> Callable[[nn.Module, int, str, str], Pass]:
    """headstart's own ``FrozenNetwork`` with one of its engines; see ``make``."""

    def build(net: nn.Module, size: int, name: str, weights: str) -> Pass:
        from headstart.inference.device import find_machine
        from headstart.inference.runner import FrozenNetwork
        from headstart.models.factory import create

        machine = find_machine("cpu")
        backbone = create(name, weights=Path(weights))
        precision = "bf16" if machine.fast_bf16 else "float32"
        forward = FrozenNetwork(backbone, backbone.preprocessing.at(size, size), machine, precision, engine)
        if forward.engine != engine:
            raise SystemExit(f"headstart computes with {forward.engine}, not with {engine}")
        return forward

    return build


WAYS: dict[str, Any] = {
    "float32": float32,
    "bf16 autocast, channels_last": autocast,
    "folded, bf16, channels_last": folded,
    "torch.compile, frozen": inductor,
    "OpenVINO, bf16": openvino,
    "headstart, engine torch": headstart("torch"),
    "headstart, engine openvino": headstart("openvino"),
}
NEEDS = {"OpenVINO, bf16": "openvino", "headstart, engine openvino": "openvino"}


def make(way: str, name: str, weights: str, size: int) -> tuple[Pass, nn.Linear, float]:
    """(the pass, the weights' own classifier, seconds to make it ready, its first batch included)."""
    net, classifier = resnet(name, weights)
    began = time.perf_counter()
    build = WAYS[way]
    forward = build(net, size, name, weights) if way.startswith("headstart") else build(net, size)
    forward(torch.zeros(BATCH, size, size, 3, dtype=torch.uint8))
    return forward, classifier, time.perf_counter() - began


def open_photo(path: Path, size: int) -> np.ndarray:
    """A photo as uint8 [size, size, 3]: the shorter side resized, the centre kept."""
    picture = Image.open(path)
    picture.draft("RGB", (size, size))
    width, height = picture.size
    scale = size / min(width, height)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    picture = picture.convert("RGB").resize((wide, high), Image.Resampling.BILINEAR)
    left, top = (wide - size) // 2, (high - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def batches(paths: Sequence[Path], size: int) -> Iterator[Photos]:
    """Batches of ``BATCH`` photos (the last is filled up), decoded by as many threads as there are cores, a few batches
    ahead of what is asked for.
    """
    threads = os.cpu_count() or 2

    def decode(start: int) -> Photos:
        photos = np.zeros((BATCH, size, size, 3), np.uint8)
        for slot, path in enumerate(paths[start : start + BATCH]):
            photos[slot] = open_photo(path, size)
        return torch.from_numpy(photos)

    starts = iter(range(0, len(paths), BATCH))
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Photos]] = deque(pool.submit(decode, start) for start in islice(starts, 2 * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(decode, start) for start in [next(starts, None)] if start is not None)

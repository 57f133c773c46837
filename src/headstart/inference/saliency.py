"""Saliency maps in [0, 1] by Grad-CAM (Selvaraju et al. 2017): the last feature maps, each weighted by how much the
class's logit depends on it.

They show where the evidence is, at the resolution of those maps, but not why it counts. Gradients run through the pool
and the head only, which costs little (in a transformer that predicts from its class token, also through the last
block). Where the head reads joined stages, the maps of all of them add up, each by what it gives to the logit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headstart.errors import OptionError
from headstart.inference.classifier import Classifier
from headstart.inference.device import find_machine
from headstart.inference.memory import InParts
from headstart.inference.runner import Normalise
from headstart.models.blocks import POOL
from headstart.models.chain import is_channels_last
from headstart.models.stages import boundary_index


def has_maps(classifier: Classifier) -> bool:
    """Whether the network ends in feature maps, or tokens with positions, and a pool."""
    names = classifier.network.backbone.block_names
    return len(names) > 1 and names[-1] == POOL


class Explainer:
    """Maps for a classifier, computed by PyTorch on the CPU. Raises OptionError if ``has_maps`` is False."""

    def __init__(self, classifier: Classifier) -> None:
        backbone = classifier.network.backbone
        if not has_maps(classifier):
            raise OptionError(f"{backbone.name} does not end in feature maps, so there are no saliency maps.")
        self.head = classifier.network.head
        self.prefix_tokens = backbone.facts.prefix_tokens
        # Maps are taken before the pool. A transformer that predicts from its class token reads the other tokens in its
        # last block, so there they are taken before that block.
        last = [name for name in backbone.block_names if name.startswith("blocks.")][-1:] if self.prefix_tokens else []
        plain, boundary = backbone.joining(()), last[0] if last else POOL
        self.taps, self.pool = {tap.block: tap for tap in backbone.taps.values()}, plain.split_at(boundary)[1]
        at = boundary_index(boundary, plain.block_names, plain.name)
        self.trunk = list(plain.named_blocks())[:at]
        self.normalise = Normalise(classifier.preprocessing)
        self.bf16 = classifier.precision == "bf16" and find_machine("cpu").fast_bf16

    def maps(self, photos: np.ndarray, classes: Sequence[int] | None = None) -> np.ndarray:
        """Maps float32 [N, S, S] of photos uint8 [N, S, S, 3], for one class each (by default the predicted one). The
        lowest value of a map is 0 and the highest 1; without evidence for the class, all of it is 0. Raises
        TrainingError where memory does not hold one photo.
        """

        def some(members: torch.Tensor) -> torch.Tensor:
            wanted = None if classes is None else [classes[i] for i in members.tolist()]
            return torch.from_numpy(self._maps(photos[members.numpy()], wanted))

        return InParts(some)(torch.arange(len(photos))).numpy()

    def _maps(self, photos: np.ndarray, classes: Sequence[int] | None) -> np.ndarray:
        device = next(self.head.parameters()).device
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            read = self._read(self.normalise(torch.from_numpy(np.array(photos))))
        with torch.enable_grad():
            for outputs in read:
                outputs.requires_grad_()
            means = [tap(outputs) for tap, outputs in zip(self.taps.values(), read, strict=False)]
            logits = self.head(torch.cat([*means, self.pool(read[-1])], 1).to(device))
            chosen = logits.argmax(1) if classes is None else torch.tensor(list(classes), device=device)
            gradients = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), read)
        pairs = [(self._placed(o.detach()), self._placed(g)) for o, g in zip(read, gradients, strict=True)]
        # A gradient is of one position's outputs: the more positions, the smaller.
        parts = [(g.mean((2, 3), keepdim=True) * o).sum(1, keepdim=True) * o[0, 0].numel() for o, g in pairs]
        finest = max((part.shape[2:] for part in parts), key=math.prod)
        found = F.relu(torch.stack([_resized(part, finest) for part in parts]).sum(0))
        found = _resized(found, photos.shape[1:3])[:, 0]
        found = found - found.amin((1, 2), keepdim=True)
        return (found / found.amax((1, 2), keepdim=True).clamp_min(1e-7)).numpy()

    def _read(self, x: Tensor) -> list[Tensor]:
        """The outputs that the head reads, the joined stages' first and the last ones last, float32."""
        found = []
        for name, block in self.trunk:
            x = block(x)
            if name in self.taps:
                found.append(x.float())
        return [*found, x.float()]

    def _placed(self, x: Tensor) -> Tensor:
        """Outputs as [N, D, H, W], whichever way the network orders them."""
        if x.ndim == 4:
            return x.permute(0, 3, 1, 2) if is_channels_last(x) else x
        tokens = x[:, self.prefix_tokens :]
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).reshape(len(x), -1, side, side)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)

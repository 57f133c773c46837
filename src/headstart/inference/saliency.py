"""Saliency maps in [0, 1] by Grad-CAM (Selvaraju et al. 2017): the last feature maps, each weighted by how much the
class's logit depends on it.

They show where the evidence is, at the resolution of those maps, but not why it counts. Gradients run through what
follows the maps only, which costs little: ``models.maps`` says where they are. Where the head reads joined stages, the
maps of all of them add up, each by what it gives to the logit.
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
from headstart.models.maps import by_position, maps_boundary
from headstart.models.stages import boundary_index


def has_maps(classifier: Classifier) -> bool:
    """Whether the features are made of feature maps, or of tokens with positions."""
    return bool(maps_boundary(classifier.network.backbone, classifier.preprocessing.image_size))


class Explainer:
    """Maps for a classifier, computed by PyTorch on the CPU. Raises OptionError if ``has_maps`` is False."""

    def __init__(self, classifier: Classifier) -> None:
        backbone = classifier.network.backbone
        boundary = maps_boundary(backbone, classifier.preprocessing.image_size)
        if not boundary:
            problem = f"{backbone.name} has no feature maps that headstart can read: no saliency maps"
            raise OptionError(problem, "Networks of convolutions, and most transformers, have them.")
        self.head = classifier.network.head
        self.prefix_tokens = backbone.facts.prefix_tokens
        self.taps = {tap.block: tap for tap in backbone.taps.values()}
        at, blocks = boundary_index(boundary, backbone.block_names, backbone.name), list(backbone.named_blocks())
        self.before, self.after = blocks[:at], blocks[at:]
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
            logits = self.head(self._features(read).to(device))
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
        """The outputs that maps are made of: of the joined stages, and the last ones; float32."""
        found = []
        for name, block in self.before:
            x = block(x)
            if name in self.taps:
                found.append(x.float())
        return [*found, x.float()]

    def _features(self, read: list[Tensor]) -> Tensor:
        """What the head reads, of what ``_read`` found."""
        joined = [self.taps[name] for name, _ in self.before if name in self.taps]
        means, x = [tap(outputs) for tap, outputs in zip(joined, read[:-1], strict=True)], read[-1].clone()
        for name, block in self.after:
            x = block(x)
            if name in self.taps:
                means.append(self.taps[name](x))
        return torch.cat([*means, x], 1)

    def _placed(self, x: Tensor) -> Tensor:
        placed = by_position(x, self.prefix_tokens)
        assert placed is not None  # as maps_boundary has seen
        return placed


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)

"""Where the network looked. In: photos as the network sees them. Out: maps in [0, 1].

Grad-CAM (Selvaraju et al. 2017): the last feature maps, each weighted by how much the class's logit depends on it. It
shows where evidence lay, at the resolution of those maps; not why it counts. Since the maps are the last, gradients
run through the pool and the head only, which costs nothing beside the forward pass (of a transformer that answers by
its class token, through the last block too).
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
from headstart.inference.runner import Normalise
from headstart.models.backbone import Backbone
from headstart.models.blocks import POOL


def has_maps(classifier: Classifier) -> bool:
    """Whether the network ends in feature maps, or tokens with a place, and their mean."""
    names = classifier.network.backbone.block_names
    return len(names) > 1 and names[-1] == POOL


class Explainer:
    """Maps for a classifier, computed by PyTorch on the CPU. Raises OptionError where ``has_maps`` says no."""

    def __init__(self, classifier: Classifier) -> None:
        backbone = classifier.network.backbone
        if not has_maps(classifier):
            raise OptionError(f"{backbone.name} ends in no feature maps: there is nothing to look at.")
        self.trunk, self.pool = backbone.split_at(_boundary(backbone))
        self.head = classifier.network.head
        self.prefix_tokens = backbone.facts.prefix_tokens
        self.normalise = Normalise(classifier.preprocessing)
        self.bf16 = classifier.precision == "bf16" and find_machine("cpu").fast_bf16

    def maps(self, photos: np.ndarray, classes: Sequence[int] | None = None) -> np.ndarray:
        """Maps float32 [N, S, S] of photos uint8 [N, S, S, 3], for one class each (the likeliest where none is given).
        The lowest value of a map is 0 and the highest 1; where nothing speaks for the class, all of it is 0.
        """
        device = next(self.head.parameters()).device
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            outputs = self.trunk(self.normalise(torch.from_numpy(np.array(photos)))).float()
        with torch.enable_grad():
            outputs.requires_grad_()
            logits = self.head(self.pool(outputs).to(device))
            chosen = logits.argmax(1) if classes is None else torch.tensor(list(classes), device=device)
            (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), outputs)
        activations, gradients = self._placed(outputs.detach()), self._placed(gradient)
        found = F.relu((gradients.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True))
        found = F.interpolate(found, photos.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
        found = found - found.amin((1, 2), keepdim=True)
        return (found / found.amax((1, 2), keepdim=True).clamp_min(1e-7)).numpy()

    def _placed(self, x: Tensor) -> Tensor:
        """Outputs as [N, D, H, W], whichever way the network orders them."""
        if x.ndim == 4:
            channels_last = x.shape[1] == x.shape[2] != x.shape[3]  # of a square photo
            return x.permute(0, 3, 1, 2) if channels_last else x
        tokens = x[:, self.prefix_tokens :]
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).reshape(len(x), -1, side, side)


def _boundary(backbone: Backbone) -> str:
    """Where the maps end: before the pool. A transformer that answers by its class token reads the others in its last
    block, so there they are taken before that.
    """
    blocks = [name for name in backbone.block_names if name.startswith("blocks.")]
    return blocks[-1] if backbone.facts.prefix_tokens and blocks else POOL

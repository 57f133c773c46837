"""A backbone with a head: from photos [N, 3, S, S], normalised, to logits [N, C]."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from headstart.models.backbone import Backbone


class Network(nn.Module):
    """The network of a classifier; the loss and predictions apply the softmax."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.backbone(x))
        return logits


@torch.inference_mode()
def head_logits(head: nn.Module, features: np.ndarray) -> np.ndarray:
    """The head's logits [N, C] for pooled features [N, D], in float32 on the CPU, with Dropout off."""
    was_training, device = head.training, next(head.parameters()).device
    head.eval()
    logits = head(torch.from_numpy(np.asarray(features, np.float32)).to(device)).float().cpu().numpy()
    head.train(was_training)
    return np.asarray(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] in float64, each row summing to one."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))

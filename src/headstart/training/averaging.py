"""Averages of the weights before and after fine-tuning, of which val chooses one.

The probe's network and the one that was fine-tuned from it lie in one valley of the loss: weights between the two are
often better than either, on new photos too. Source: Wortsman et al. (2022), "Robust fine-tuning of zero-shot models"
(WiSE-FT), CVPR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from headstart.evaluation.objective import OnVal

SHARES = (0.75, 0.5, 0.25, 0.0)
"""Parts of the way from the weights before to those after that are tried beside the whole of it."""


@torch.no_grad()
def average_weights(
    network: nn.Module, before: Mapping[str, torch.Tensor], validate: Callable[[], tuple[float, float]], val: OnVal
) -> tuple[OnVal, float]:
    """Leave ``network`` with the average that is the best on val: (its figures, its share of the tuned weights).

    Args:
        network: fine-tuned.
        before: its state when fine-tuning began.
        validate: figures on val of the network as it is.
        val: those of the fine-tuned weights.
    """
    after = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    best, chosen = val, 1.0
    for share in SHARES:
        _load(network, before, after, share)
        if (found := OnVal.of(validate())).score > best.score:
            best, chosen = found, share
    _load(network, before, after, chosen)
    return best, chosen


def mixture(share: float) -> str:
    """What val chose, in words."""
    if share == 1:
        return "on val no average of the weights with the probe's was better than the fine-tuned ones"
    if share == 0:
        return "on val fine-tuning did not improve the probe: its weights are kept"
    return f"on val the best weights were {share:.0%} fine-tuned and {1 - share:.0%} the probe's (WiSE-FT)"


def _load(
    network: nn.Module, before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], share: float
) -> None:
    for name, tensor in network.state_dict().items():  # the tensors themselves: written in place
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(before[name].to(after[name]), after[name], share))
        else:
            tensor.copy_(after[name])

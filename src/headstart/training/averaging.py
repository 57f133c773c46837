"""Averages of weights. In: those before and after fine-tuning, and val. Out: the network with the average that val
prefers.

The probe's network and the one that was fine-tuned from it lie in one valley of the loss: weights between the two are
often better than either, on new photos too. Source: Wortsman et al. (2022), "Robust fine-tuning of zero-shot models"
(WiSE-FT), CVPR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from headstart.evaluation.objective import OnVal

SHARES = (0.5, 0.75, 0.25, 1.0, 0.0)
"""Parts of the way from the weights before to those after; of equal ones on val, the first is taken."""
MIDDLE = 0.5
STEP = 0.25
PHOTOS_PER_STEP = 0.5
"""Photos of val that each step away from the middle costs. Few val photos cannot tell the averages apart; then the one
in the middle is the safest (docs/decisions/0047)."""


@torch.no_grad()
def average_weights(
    network: nn.Module,
    before: Mapping[str, torch.Tensor],
    validate: Callable[[], tuple[float, float]],
    val: OnVal,
    photos: int,
) -> tuple[OnVal, float]:
    """Leave ``network`` with the average that is the best on val: (its figures, its share of the tuned weights).

    Args:
        network: fine-tuned.
        before: its state when fine-tuning began.
        validate: figures on val of the network as it is.
        val: those of the fine-tuned weights.
        photos: of val.
    """
    after = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = {1.0: val}
    for share in SHARES:
        if share not in found:
            _load(network, before, after, share)
            found[share] = OnVal.of(validate())
    chosen = max(SHARES, key=lambda share: _score(found[share], share, photos))
    _load(network, before, after, chosen)
    return found[chosen], chosen


def _score(val: OnVal, share: float, photos: int) -> tuple[float, float]:
    """Correct predictions on val (as if its classes were even), less the penalty; then the loss."""
    right, loss = val.score
    return right * photos - PHOTOS_PER_STEP * abs(share - MIDDLE) / STEP, loss


def mixture(share: float) -> str:
    """What val chose, in words."""
    if share == 1:
        return "of the averages with the probe's weights, the fine-tuned ones alone were the best on val"
    if share == 0:
        return "on val fine-tuning did not improve the probe: its weights are kept"
    return f"the weights are {share:.0%} fine-tuned and {1 - share:.0%} the probe's, as val prefers (WiSE-FT)"


def _load(
    network: nn.Module, before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], share: float
) -> None:
    for name, tensor in network.state_dict().items():  # the tensors themselves: written in place
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(before[name].to(after[name]), after[name], share))
        else:
            tensor.copy_(after[name])

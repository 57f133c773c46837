"""Create backbones by name."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from headstart.models.backbone import Backbone
from headstart.models.checkpoints import fit_weights, read_checkpoint
from headstart.models.providers import PROVIDERS, resolve


def create(
    name: str,
    *,
    pretrained: bool = True,
    weights: Path | None = None,
    cut: str | None = None,
    at_most: float = math.inf,
) -> Backbone:
    """The backbone of that name, in eval mode.

    Args:
        name: ``starter``, ``starter_large``, ``resnet18`` ... ``resnet152`` (torchvision's weights), or any timm name,
            with or without the weights' tag, and with options after a colon (``mobilenetv2_100:pad_type=same``).
        pretrained: False for random weights (from torch's global generator: seed it first).
        weights: a local checkpoint to use instead of the published weights.
        cut: the last stage or block to keep.
        at_most: bytes that its tensors may take, for a name from a file; timm's networks check it.

    Raises:
        OptionError: an unknown name, option or cut, or too large a network.
        WeightsError: weights that cannot be fetched, or do not fit.
    """
    entry = replace(resolve(name), at_most=at_most)
    provider = PROVIDERS.get(entry.provider)
    backbone = provider.build(entry, provider.fetch(entry) if pretrained and weights is None else None)
    if weights is not None:
        state, taken = read_checkpoint(weights)
        convert = getattr(provider, "converted", None)
        fit_weights(backbone, state, str(weights), partial(convert, entry) if convert else None)
        backbone.source = f"file {Path(weights).name}{f' ({taken})' if taken else ''}"
        backbone.pretrained = True
    elif pretrained:
        backbone.source, backbone.pretrained = entry.weights, True
    return backbone.truncated(cut) if cut else backbone

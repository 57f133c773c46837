"""Makes backbones. In: a name, and which weights. Out: a ``Backbone`` with those weights, cut where asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import nn

from headstart.errors import OptionError, WeightsError
from headstart.models.backbone import Backbone, Facts
from headstart.models.blocks import Parts, in_order, take_apart
from headstart.models.checkpoints import fit_weights, read_state_dict
from headstart.models.names import Entry, resolve
from headstart.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from headstart.models.pretrained import fetch
from headstart.models.resnet import build_resnet, resnet_preprocessing
from headstart.models.starter import build_starter, starter_preprocessing, starter_weights


def create(name: str, *, pretrained: bool = True, weights: Path | None = None, cut: str | None = None) -> Backbone:
    """The backbone of that name, in eval mode.

    ``name``: ``starter``, ``resnet18`` ... ``resnet152`` (torchvision's weights), or any timm name, with or without the
    weights' tag, and with options after a colon (``mobilenetv2_100:pad_type=same``). ``weights``: a checkpoint file to
    use, with no network, instead of the published weights. ``pretrained=False``: random weights (from torch's global
    generator: seed it first). ``cut``: the last stage or block to keep. Raises OptionError, WeightsError.
    """
    entry = resolve(name)
    path = None if weights is not None or not pretrained else _published(entry)
    backbone = _build(entry, path if entry.home == "timm" else None)
    if weights is not None:
        fit_weights(backbone, read_state_dict(weights), origin=str(weights))
        backbone.source, backbone.pretrained = f"file {Path(weights).name}", True
    elif path is not None:
        if entry.home != "timm":
            fit_weights(backbone, read_state_dict(path), origin=str(path))
        backbone.source, backbone.pretrained = entry.weights, True
    return backbone.truncated(cut) if cut else backbone


def _published(entry: Entry) -> Path:
    """The file of a network's own weights, fetched if it is not on this machine yet."""
    return starter_weights() if entry.home == "starter" else fetch(entry)


def _build(entry: Entry, timm_file: Path | None) -> Backbone:
    classifier: tuple[str, ...] = ("fc",)
    if entry.home == "timm":
        net = _timm_network(entry, timm_file)
        preprocessing, classifier = _preprocessing(net.pretrained_cfg), _classifier_keys(net.pretrained_cfg)
        parts = take_apart(net.eval(), entry.name, preprocessing.image_size)
    else:
        parts, preprocessing = _own(entry)
    facts = Facts(
        name=entry.name,
        architecture=entry.architecture,
        preprocessing=preprocessing,
        dim=parts.dim,
        trial_size=parts.trial_size,
        classifier=classifier,
        prefix_tokens=parts.prefix_tokens,
    )
    return Backbone(parts.blocks, facts)


def _own(entry: Entry) -> tuple[Parts, Preprocessing]:
    """A network that headstart builds itself: timm, whose import costs seconds, is not needed."""
    starter = entry.home == "starter"
    net = build_starter() if starter else build_resnet(entry.base)
    preprocessing = starter_preprocessing() if starter else resnet_preprocessing()
    return in_order(net, net.dim, preprocessing.image_size), preprocessing


def _timm_network(entry: Entry, file: Path | None) -> Any:
    """timm's module without a classifier. A file from its hub goes through timm's own loading, which knows the formats
    of its checkpoints.
    """
    options: dict[str, Any] = {"num_classes": 0, **dict(entry.options)}
    if file is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        return _any_size_network(entry.architecture, options)
    except TypeError as error:  # an option that this network does not have
        raise OptionError(f"timm cannot build {entry.name}: {error}", "Leave the option out.") from None
    except (RuntimeError, KeyError, ValueError) as error:
        if file is None:
            raise OptionError(f"timm cannot build {entry.architecture}: {error}", "Choose another backbone.") from None
        raise WeightsError(
            f"{file} does not fit {entry.architecture}: {error}", "Remove the file to fetch it again."
        ) from None


def _any_size_network(architecture: str, options: dict[str, Any]) -> nn.Module:
    """A transformer whose position embedding is resampled to the photo's size where timm can do that; else the network
    as it is.
    """
    import timm
    from timm.models import get_pretrained_cfg

    cfg = get_pretrained_cfg(architecture, allow_unregistered=True)
    if cfg is not None and cfg.fixed_input_size:
        try:
            return cast(nn.Module, timm.create_model(architecture, dynamic_img_size=True, **options))
        except TypeError:  # not an option of this family
            pass
    return cast(nn.Module, timm.create_model(architecture, **options))


def _preprocessing(cfg: dict[str, Any]) -> Preprocessing:
    """What timm says the weights were trained for; ``resize`` is the size of the shorter side of which ``crop_pct`` is
    kept.
    """
    size = int(cfg["input_size"][-1])
    return Preprocessing(
        image_size=size,
        resize=round(size / (cfg.get("crop_pct") or 1.0)),
        mean=tuple(cfg.get("mean") or IMAGENET_MEAN),
        std=tuple(cfg.get("std") or IMAGENET_STD),
        interpolation=cfg.get("interpolation") or "bilinear",
    )


def _classifier_keys(cfg: dict[str, Any]) -> tuple[str, ...]:
    named = cfg.get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)

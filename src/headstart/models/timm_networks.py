"""timm's networks, 1,700 pretrained ones, with weights from the Hugging Face hub.

timm is imported where a name needs it: it takes two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from torch import nn

from headstart.errors import OptionError, WeightsError, did_you_mean
from headstart.models.backbone import Backbone, Facts
from headstart.models.blocks import take_apart
from headstart.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from headstart.models.pretrained import from_hub, from_url, in_hub_cache, place
from headstart.models.providers import BackboneInfo, Entry


class TimmNetworks:
    """Any network that timm knows, with or without the tag of its weights."""

    takes_options = True

    def resolve(self, name: str) -> Entry | None:
        import timm

        base, _, tag = name.partition(".")
        if not timm.is_model(base):
            return None
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")] if tag else []
        if tag and tag not in tags:
            hint = f"{did_you_mean(tag, tags)} Its weights: {', '.join(tags) or 'none'}.".strip()
            raise OptionError(f"backbone {base} has no pretrained weights {tag!r}", hint, option="backbone")
        return _entry(name, name if tag else _with_default_tag(base))

    def names(self) -> Iterable[str]:
        import timm

        found: list[str] = timm.list_pretrained()
        return found

    def describe(self, name: str) -> BackboneInfo:
        from timm.models import model_entrypoint

        cfg = _config(name)
        family = model_entrypoint(name).__module__.rpartition(".")[2]
        return BackboneInfo(name, cfg.input_size[-1], _entry(name, name).weights, family, cfg.license)

    def at_hand(self, entry: Entry) -> bool:
        cfg = _config(entry.architecture)
        if cfg is not None and cfg.hf_hub_id:
            return in_hub_cache(cfg.hf_hub_id) is not None
        return cfg is not None and bool(cfg.url) and place(cfg.url).is_file()

    def fetch(self, entry: Entry) -> Path:
        cfg = _config(entry.architecture)
        if cfg is not None and cfg.hf_hub_id:
            return from_hub(cfg.hf_hub_id)
        if cfg is None or not cfg.url:
            hint = "Use `weights=FILE`, or `strategy='scratch'`."
            raise OptionError(f"no pretrained weights are published for {entry.name}", hint)
        return from_url(cfg.url)

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        net = _network(entry, weights)
        preprocessing = _preprocessing(net.pretrained_cfg)
        parts = take_apart(net.eval(), entry.name, preprocessing.image_size)
        facts = Facts(
            name=entry.name,
            architecture=entry.architecture,
            preprocessing=preprocessing,
            dim=parts.dim,
            trial_size=parts.trial_size,
            classifier=_classifier_keys(net.pretrained_cfg),
            prefix_tokens=parts.prefix_tokens,
        )
        return Backbone(parts.blocks, facts)


def _entry(name: str, architecture: str) -> Entry:
    return Entry(name, architecture, "timm", f"timm {architecture}")


def _config(architecture: str) -> Any:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(architecture, allow_unregistered=True)


def _with_default_tag(base: str) -> str:
    """The full name, so that a run says which weights it used even when timm's default changes later."""
    cfg = _config(base)
    return f"{base}.{cfg.tag}" if cfg is not None and cfg.tag else base


def _network(entry: Entry, file: Path | None) -> Any:
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

    cfg = _config(architecture)
    if cfg is not None and cfg.fixed_input_size:
        try:
            return cast(nn.Module, timm.create_model(architecture, dynamic_img_size=True, **options))
        except TypeError:  # not an option of this family
            pass
    return cast(nn.Module, timm.create_model(architecture, **options))


def _preprocessing(cfg: dict[str, Any]) -> Preprocessing:
    """What the weights were trained for by timm's configuration; of ``resize`` px, ``crop_pct`` are kept."""
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

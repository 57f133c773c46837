"""Backbone names. In: what a user typed. Out: ``Entry``, the network and the home of its weights, or an error with the
nearest names.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import Any, Literal

from headstart.errors import OptionError, did_you_mean
from headstart.models.starter import NAME as STARTER

Home = Literal["starter", "torchvision", "timm"]
# These names mean torchvision's ImageNet-1k (V1) weights, which is what most papers and courses call "a pretrained
# ResNet". timm's own name for the same weights carries the tag; its untagged names stand for other recipes, and would
# change with timm.
TORCHVISION_RESNETS = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
}
"""Their names, and the files of their weights."""
_TORCHVISION_TAG = "tv_in1k"


@dataclass(frozen=True)
class Entry:
    """``name``: as asked for; ``architecture``: timm's name with the weights' tag, where it has one; ``home``: who
    publishes the weights; ``options``: what timm is told besides.
    """

    name: str
    architecture: str
    home: Home
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def base(self) -> str:
        """The architecture without the tag of its weights."""
        return self.architecture.partition(".")[0]

    @property
    def weights(self) -> str:
        """The pretrained weights in words."""
        words = {"starter": "headstart's starter (CIFAR-100)", "torchvision": "torchvision ImageNet-1k"}
        return words.get(self.home, f"timm {self.architecture}")


def resolve(name: str) -> Entry:
    """The network that a name stands for; after a colon, options for timm (``mobilenetv2_100:pad_type=same``).

    Raises:
        OptionError: a name, or a tag of a name, that does not exist; options that are none.
    """
    plain, colon, text = name.strip().partition(":")
    found = _plain(plain)
    if not colon:
        return found
    if found.home != "timm":
        raise OptionError(f"backbone {plain} takes no options (:{text})", "Options are for timm's other networks.")
    return replace(found, name=name.strip(), options=tuple(_option(part, name) for part in text.split(",")))


def _option(text: str, name: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier() or not value:
        raise OptionError(f"backbone {name!r}: {text!r} is not an option", "Write it like name:pad_type=same.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value  # a word


def _plain(asked: str) -> Entry:
    base, _, tag = asked.partition(".")
    if asked == STARTER:
        return Entry(asked, asked, "starter")
    if base in TORCHVISION_RESNETS and tag in ("", _TORCHVISION_TAG):
        return Entry(asked, f"{base}.{_TORCHVISION_TAG}", "torchvision")
    import timm

    if not timm.is_model(base):
        raise _unknown(asked)
    if not tag:
        return Entry(asked, _with_default_tag(base), "timm")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
    if tag not in tags:
        hint = f"{did_you_mean(tag, tags)} Its weights: {', '.join(tags) or 'none'}.".strip()
        raise OptionError(f"backbone {base} has no pretrained weights {tag!r}", hint)
    return Entry(asked, asked, "timm")


def _with_default_tag(base: str) -> str:
    """The full name, so that a run says which weights it used even when timm's default changes later."""
    from timm.models import get_pretrained_cfg

    cfg = get_pretrained_cfg(base, allow_unregistered=True)
    return f"{base}.{cfg.tag}" if cfg is not None and cfg.tag else base


def _unknown(name: str) -> OptionError:
    import timm

    hint = did_you_mean(name.lower(), [STARTER, *timm.list_models(), *timm.list_pretrained()])
    return OptionError(f"backbone {name!r} is not known", f"{hint} `headstart backbones PATTERN` lists them.".strip())

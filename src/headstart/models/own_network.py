"""A module of the caller's as a backbone. In: any ``nn.Module`` from images to features. Out: a ``Backbone`` around a
copy of it, divided into blocks where that computes the same.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.core.registry import own_name
from headstart.core.text import brief
from headstart.errors import OptionError
from headstart.models.backbone import Backbone, Facts
from headstart.models.blocks import REFUSALS, TRIAL_SIZES, member_blocks
from headstart.models.chain import Block, GlobalPool, Inlined, dry_run, is_channels_last, photo
from headstart.models.preprocessing import LARGEST_SIDE, Preprocessing
from headstart.models.sections import POOL
from headstart.models.undivided import BODY

_INTERPOLATIONS = ("bilinear", "bicubic")


def class_name(part: object) -> str:
    """Where the class of an object is: ``torchvision.models.resnet.ResNet``."""
    return f"{type(part).__module__}.{type(part).__qualname__}"


def own_backbone(module: nn.Module, image_size: int | None = None) -> Backbone:
    """A copy of the module as a backbone, on the CPU in float32.

    Args:
        module: from images [N, 3, H, W], normalised, to features [N, D], or to maps [N, C, H, W] or [N, H, W, C], whose
            mean is taken.
        image_size: the input size, px; by default the module's own (``expected``).

    Raises:
        OptionError: it does not do that, or cannot be copied.
    """
    expected = _expected(module, image_size)
    try:
        network = copy.deepcopy(module).cpu().float().eval()
    except Exception as error:
        problem = f"`backbone`: a {type(module).__name__} cannot be copied: {brief(error)}."
        raise OptionError(problem, "Training changes a copy, never the module itself.", option="backbone") from error
    made = _features(network, expected.image_size)
    sizes = [size for size in TRIAL_SIZES if size < expected.image_size and _runs(network, size)]
    trial = next(iter(sizes), expected.image_size)
    pool: list[Block] = [] if made.ndim == 2 else [(POOL, GlobalPool(is_channels_last(made)))]
    dim = made.shape[1] if made.ndim == 2 else pool[0][1](made).shape[1]
    facts = Facts(
        own_name(module), class_name(module), expected, dim, trial_size=trial, module=class_name(module),
        fingerprint=_fingerprint(network, trial),
    )  # fmt: skip
    backbone = _divided(network, pool, facts) or Backbone([(BODY, Inlined(network)), *pool], facts)
    backbone.source, backbone.pretrained = f"given in Python as {facts.module}", True
    return backbone


def _expected(module: nn.Module, image_size: int | None) -> Preprocessing:
    """What the module expects of its input: its attributes ``image_size``, ``mean`` and ``std`` if they are numbers,
    else what timm's modules say of themselves, else 224 px and ImageNet's figures.
    """
    told = getattr(module, "pretrained_cfg", None)
    cfg: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    plain, usual = Preprocessing(), cfg.get("input_size") or (None,)
    sides = (image_size, getattr(module, "image_size", None), usual[-1], plain.image_size)
    size = next(int(s) for s in sides if type(s) is int and 0 < s <= LARGEST_SIDE)
    mean, std = (_channels(getattr(module, name, None)) or _channels(cfg.get(name)) for name in ("mean", "std"))
    resized = cfg.get("interpolation")
    return Preprocessing(
        size, size, mean or plain.mean, std or plain.std, resized if resized in _INTERPOLATIONS else plain.interpolation
    )


def _channels(values: Any) -> tuple[float, float, float] | None:
    """Three plain numbers; a buffer of that name is what a network normalises by itself, and says nothing of its
    input.
    """
    if isinstance(values, Sequence) and len(values) == 3 and all(type(v) in (int, float) for v in values):
        return float(values[0]), float(values[1]), float(values[2])
    return None


def _features(network: nn.Module, size: int) -> Tensor:
    """The outputs for one black photo. Raises OptionError unless they can be features."""
    name = type(network).__name__
    try:
        made: Any = dry_run_zeros(network, size)
    except Exception as error:
        problem = f"`backbone`: {name} fails on an image [1, 3, {size}, {size}]: {brief(error)}."
        raise OptionError(problem, "`image_size=N` says what size it takes.", option="backbone") from error
    wanted = "It must make features [N, D] of images [N, 3, H, W], or maps [N, C, H, W]"
    if not isinstance(made, Tensor):
        problem = f"`backbone`: {name} returns a {type(made).__name__}, not a tensor."
        raise OptionError(problem, f"{wanted}: wrap it in a module that returns those.", option="backbone")
    if made.ndim not in (2, 4) or len(made) != 1 or not made.is_floating_point() or 0 in made.shape:
        problem = f"`backbone`: {name} makes {list(made.shape)} ({made.dtype}) of an image [1, 3, {size}, {size}]."
        raise OptionError(problem, f"{wanted}.", option="backbone")
    if not bool(made.isfinite().all()):
        problem = f"`backbone`: {name} makes numbers that are not finite of a black image."
        raise OptionError(problem, "Check its weights.", option="backbone")
    return made


@torch.no_grad()
def dry_run_zeros(network: nn.Module, size: int) -> Tensor:
    """The outputs for one black photo."""
    made: Tensor = network(torch.zeros(1, 3, size, size))
    return made


def _runs(network: nn.Module, size: int) -> bool:
    try:
        return isinstance(dry_run(network, size), Tensor)
    except REFUSALS:
        return False


def _fingerprint(network: nn.Module, size: int) -> str:
    """Of what the network computes: two classes with the same weights may compute different things, and features in the
    cache are found by the weights.
    """
    made = dry_run(network, size).double().numpy()
    return hashlib.blake2b(np.ascontiguousarray(made).data, digest_size=8).hexdigest()


def _divided(network: nn.Module, pool: list[Block], facts: Facts) -> Backbone | None:
    """The network's members one after the other, where they hold all its weights and compute the same as it, both when
    it predicts and when it is trained; else None.
    """
    for arranged in (list, _flattened):
        try:
            chain = Backbone([*arranged(member_blocks(network)), *pool], facts)
            whole = nn.Sequential(network, *(block for _, block in pool))
            same_keys = chain.state_dict().keys() == network.state_dict().keys()
            if len(chain.block_names) > 1 and same_keys and _agree(chain, whole, facts.trial_size):
                return chain.eval()
        except Exception:  # noqa: BLE001 - members that do not follow each other fail anywhere
            continue
    return None


def _flattened(members: Iterable[Block]) -> list[Block]:
    """With the flattening that many networks do by a function, after the pool at their end."""
    *before, (_, last) = members
    return [*before, (POOL, nn.Sequential(last, nn.Flatten(1)))]


@torch.no_grad()
def _agree(chain: nn.Module, whole: nn.Module, size: int) -> bool:
    """Whether both compute the same, bit for bit: on one photo in eval mode, and on two in training mode with the same
    random numbers (a dropout between members would be lost).
    """
    if not torch.equal(chain(photo(size)), whole(photo(size))):
        return False
    both = torch.cat([photo(size), photo(size).flip(3)])
    made = []
    with torch.random.fork_rng(devices=[]):
        for one in (chain, whole):
            apart = copy.deepcopy(one).train()  # running statistics move
            torch.manual_seed(0)
            made.append(apart(both))
    return torch.equal(*made)

"""The network of a run folder: built as model.json says, with the tensors of model.safetensors.

Both may be anybody's. The shapes in the header of model.safetensors are compared first, so that a small file cannot ask
for a network that fills the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.core.formats import DAMAGED
from headstart.core.text import brief
from headstart.errors import HeadstartError, RunError
from headstart.models.backbone import Backbone
from headstart.models.chain import dry_run
from headstart.models.checkpoints import is_finite
from headstart.models.factory import create
from headstart.models.heads import build_head
from headstart.models.network import Network, head_logits
from headstart.models.own_network import own_backbone
from headstart.models.serialization import load_state, tensor_shapes

SMALL = 1 << 30
"""Bytes that a backbone may take whatever is beside it: half of a large one, which a cut may leave little of."""
GROWTH = 10
"""Of a larger one, how many times the bytes of model.safetensors."""
CHEAP_SIDE = 512
"""Px of a photo that a network reads in less than a second."""
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def load_network(
    folder: Path, architecture: Mapping[str, Any], classes: int, own: nn.Module | None = None, image_size: int = 224
) -> Network:
    """The network in eval mode; ``architecture`` as ``read_description`` gives it. ``own``: the module of a model whose
    backbone was one of the caller's; the photos that it was trained on were of ``image_size`` px.

    Raises:
        RunError: there is no such network, or the weights are not its.
    """
    _check_own(folder, architecture["module"], own)
    shapes = tensor_shapes(folder / "model.safetensors")
    try:
        network = _random_network(folder, architecture, classes, shapes, own, image_size)
    except HeadstartError as error:
        if own is not None:
            raise RunError(error.problem, error.hint) from None
        problem = f"{folder / 'model.json'}: architecture: {error.problem.rstrip('.')}."
        raise RunError(problem, error.hint or DAMAGED) from None
    _fill(network, folder, architecture["module"], own)
    network.backbone.source, network.backbone.pretrained = f"run {folder.name}", True
    network.eval()
    if own is not None and architecture["outputs"]:
        _check_outputs(network, folder, architecture, image_size)
    return network


def _random_network(
    folder: Path,
    architecture: Mapping[str, Any],
    classes: int,
    shapes: Mapping[str, tuple[int, ...]],
    own: nn.Module | None,
    image_size: int,
) -> Network:
    """The network as ``load_network`` describes it, its weights still to come; ``shapes``: of the stored ones."""
    cut, head, dim, dropout = (architecture[name] for name in ("cut", "head", "dim", "dropout"))
    if own is None:
        at_most = max(SMALL, GROWTH * (folder / "model.safetensors").stat().st_size)
        backbone = create(architecture["backbone"], pretrained=False, cut=cut, at_most=at_most)
    else:
        backbone = own_backbone(own, image_size)
        backbone = backbone.truncated(cut) if cut else backbone
    backbone = backbone.joining(architecture["joined"])
    if backbone.dim != dim and own is not None:
        raise _another(folder, architecture["module"], f"it makes {backbone.dim} features, and {dim} are needed")
    if backbone.dim != dim:
        raise RunError(f"it makes {backbone.dim} features, but architecture.dim is {dim}")
    _check_head(shapes, head, dim, classes, dropout)
    return Network(backbone, build_head(head, dim, classes, dropout))


def _fill(network: Network, folder: Path, module: str, own: nn.Module | None) -> None:
    path = folder / "model.safetensors"
    tensors, _ = load_state(path)
    _check_values(path, network.state_dict(), tensors)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = brief(str(error).splitlines()[-1])
        if own is not None:
            raise _another(folder, module, reason) from None
        raise RunError(f"{folder}: model.safetensors does not fit model.json: {reason}", "Train it again.") from error


def _check_outputs(network: Network, folder: Path, architecture: Mapping[str, Any], image_size: int) -> None:
    """Raises RunError where a module of the caller's computes something else than the one that was trained."""
    wanted, found = architecture["outputs"], np.array(outputs_for_one(network, image_size))
    if len(found) != len(wanted) or not np.allclose(found, wanted, rtol=ALIKE, atol=ALIKE * np.abs(wanted).max()):
        reason = "with these weights it computes something else than it did"
        raise _another(folder, architecture["module"], reason)


ALIKE = 0.01
"""Relative difference of logits that another machine may make."""
_OUTPUTS = 16
"""Logits that are kept, at most."""


def outputs_for_one(network: Network, size: int) -> list[float]:
    """Logits for one photo of ``size`` px that is always the same, by which a module of the caller's is known again."""
    features = dry_run(network.backbone, size).float().cpu().numpy()
    return [float(v) for v in head_logits(network.head, features)[0, :_OUTPUTS]]


def _check_own(folder: Path, module: str, own: nn.Module | None) -> None:
    """Raises RunError where a module is needed and there is none, or the other way round."""
    if module and own is None:
        problem = f"The backbone of {folder} is a module of your own, {module}, whose code no file holds."
        name = module.rpartition(".")[2]
        call = f"`hs.open_run({str(folder)!r}, network={name}(…))`"
        raise RunError(problem, f"Give it one in Python, and use what that returns: {call}.")
    if own is not None and not module:
        raise RunError(f"The backbone of {folder} is none of your own.", "Leave out `network`.")


def _another(folder: Path, module: str, reason: str) -> RunError:
    return RunError(
        f"`network` is not the module that {folder} was trained with ({module}): {reason}.", "Give that one."
    )


def _check_head(shapes: Mapping[str, tuple[int, ...]], head: str, dim: int, classes: int, dropout: list[float]) -> None:
    """Classes times features may be a number without bounds: the head's shapes are compared before it is made."""
    wanted: dict[str, Any] = {}
    with suppress(NotImplementedError, RuntimeError), torch.device("meta"):  # a head of another package may not do that
        wanted = build_head(head, dim, classes, dropout).state_dict()
    for name, tensor in wanted.items():
        if (found := shapes.get(f"head.{name}")) != tuple(tensor.shape):
            shown = "missing" if found is None else "x".join(map(str, found))
            raise RunError(
                f"model.safetensors does not fit model.json: {name} of the head is {shown},"
                f" and {dim} features, {classes} classes and the head {head[:60]!r} make it"
                f" {'x'.join(map(str, tensor.shape))}"
            )


def _check_values(path: Path, wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    """``load_state_dict`` would cast any type, and take NaN."""
    for name, tensor in found.items():
        if (own := wanted.get(name)) is None:
            continue  # load_state_dict names it
        if tensor.dtype != own.dtype and not (own.dtype in _FLOATS and tensor.dtype in _FLOATS):
            kinds = (str(t.dtype).removeprefix("torch.") for t in (tensor, own))
            raise RunError(f"{path}: {name} is of type {' where '.join(kinds)} is needed.", DAMAGED)
        if not is_finite(tensor):
            raise RunError(f"{path}: {name} holds numbers that are not finite.", DAMAGED)


def size_problem(backbone: Backbone, size: int) -> str:
    """Why a backbone does not take photos of ``size`` px; empty where it does."""
    if size == backbone.preprocessing.image_size:
        return ""
    try:
        if size <= CHEAP_SIDE:
            backbone.check_image_size(size)
        else:  # by shapes alone: photos of that size may take seconds; to load what that needs takes two
            named = (*backbone.named_parameters(), *backbone.named_buffers())
            shapes = {name: tensor.to("meta") for name, tensor in named}
            with torch.no_grad():
                torch.func.functional_call(backbone, shapes, torch.empty(1, 3, size, size, device="meta"))
    except NotImplementedError:  # an operation that needs numbers
        return ""
    except Exception as error:  # noqa: BLE001 - whatever a network raises for a size that it does not take
        return brief(error)
    return ""

"""Read weights from a checkpoint (safetensors, or a pickle read with weights only) and fit them into a backbone.

A file is never trusted: nothing in it is executed, a damaged one is said to be, and one that does not fit says which
keys do not.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.errors import WeightsError
from headstart.models.backbone import Backbone

State = dict[str, Tensor]
# Where training scripts keep the weights inside a checkpoint, and what wrappers put in front of every key.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema", "net", "module", "backbone"),
    *("weights", "params"),
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
# Beside the key prefix that a network names itself: what classifiers are called elsewhere, and training-only branches.
_CLASSIFIERS = ("fc", "classifier", "head", "heads", "head_dist", "last_linear", "AuxLogits", "aux")
_NEVER_MISSED = "num_batches_tracked"  # a count that only BatchNorm without momentum reads; many files leave it out


def read_state_dict(path: Path) -> State:
    """The tensors of a checkpoint by key: nested dicts opened, wrappers' prefixes taken off, half precision cast up to
    float32.

    Raises WeightsError: no such file, empty, damaged, a pickle that holds code, or no tensors in it.
    """
    path = Path(path)
    _check_file(path)
    content = _read_safetensors(path) if _looks_like_safetensors(path) else _read_pickle(path)
    state = _unwrap(content)
    if not state:
        raise WeightsError(f"{path} holds no weights", "A checkpoint with a state dict (tensors by name) is expected.")
    return {key: _as_float32(tensor) for key, tensor in _without_prefixes(state).items()}


def _check_file(path: Path) -> None:
    if path.is_dir():
        hint = "Name the file in it; to start from an earlier run, use `from_run`."
        raise WeightsError(f"weights file {path} is a folder", hint)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}", "Check the path.")
    if path.stat().st_size == 0:
        raise WeightsError(f"weights file {path} is empty", "Fetch it again.")


def _looks_like_safetensors(path: Path) -> bool:
    """By content, since names lie: eight bytes of header length, then JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights file {path} is damaged or no safetensors file ({error})", "Fetch it again."
        ) from None


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # noqa: BLE001 - damaged bytes lead the reader anywhere (struct.error, TypeError, ...)
        raise _refused(path, str(error)) from None


def _refused(path: Path, reason: str) -> WeightsError:
    """torch raises one error for "holds more than tensors" and for "this is no pickle at all": the global it names
    tells them apart.
    """
    if "GLOBAL" not in reason and "TorchScript" not in reason:
        return _damaged(path)
    return WeightsError(
        f"weights file {path} is refused: to read it, Python code from inside it would have to run",
        "Where you trust it, save its tensors alone: safetensors.torch.save_file(model.state_dict(), 'w.safetensors').",
    )


def _damaged(path: Path) -> WeightsError:
    with path.open("rb") as file:
        page = file.read(64).lstrip()[:1] == b"<"
    what = "is a web page, not a checkpoint" if page else "is damaged, cut short, or no PyTorch checkpoint"
    return WeightsError(f"weights file {path} {what}", "Fetch it again: .safetensors, .pth and .pt files are read.")


def _unwrap(content: Any) -> State:
    """The innermost dict that holds tensors: ``{"epoch": 3, "state_dict": {"model": {...}}}`` is opened twice."""
    if not isinstance(content, Mapping):
        return {}
    for name in _WRAPPERS:
        if isinstance(content.get(name), Mapping) and (inner := _unwrap(content[name])):
            return inner
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _without_prefixes(state: State) -> State:
    """Takes off what a wrapper (DataParallel, compile, Lightning) put in front of the keys: a prefix that most of them
    share, repeatedly.
    """
    for prefix in _PREFIXES:
        if 2 * sum(key.startswith(prefix) for key in state) > len(state):
            return _without_prefixes({key.removeprefix(prefix): tensor for key, tensor in state.items()})
    return state


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def fit_weights(backbone: Backbone, state: Mapping[str, Tensor], origin: str) -> None:
    """Puts the weights of a whole network into the backbone, in timm's or torchvision's key names; the classifier's are
    left out.

    ``origin`` is the file, for messages. A cut backbone takes the weights of the uncut one. Raises WeightsError naming
    the keys that are missing, of another shape, or of another network (a resnet34's file holds every key of a
    resnet18): nothing is loaded then.
    """
    from headstart.models.key_mapping import to_timm_names

    wanted = backbone.state_dict()
    offered = to_timm_names(backbone, dict(state))
    problems = _misfits(wanted, offered, backbone)
    if any(problems.values()):
        raise _does_not_fit(backbone, problems, state, origin)
    backbone.load_state_dict({key: offered.get(key, own) for key, own in wanted.items()})


def _misfits(wanted: State, offered: State, backbone: Backbone) -> dict[str, list[str]]:
    missing = [key for key in wanted if key not in offered and not key.endswith(_NEVER_MISSED)]
    shapes = [
        f"{key} ({_shape(offered[key])} where {_shape(own)} is needed)"
        for key, own in wanted.items()
        if key in offered and offered[key].shape != own.shape
    ]
    left_out = (*backbone.facts.classifier, *_CLASSIFIERS)
    known = wanted.keys() | backbone.facts.beyond
    unknown = [key for key in offered if key not in known and not key.startswith(tuple(f"{c}." for c in left_out))]
    broken = [key for key in wanted if key in offered and not bool(torch.isfinite(offered[key]).all())]
    return {"missing": missing, "of another shape": shapes, "not of this network": unknown, "not finite": broken}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _does_not_fit(
    backbone: Backbone, problems: dict[str, list[str]], state: Mapping[str, Tensor], origin: str
) -> WeightsError:
    from headstart.models.key_mapping import guess_resnet

    found = "; ".join(f"{len(keys)} {what}: {_first(keys)}" for what, keys in problems.items() if keys)
    guess = guess_resnet(state)
    if guess and guess != backbone.name.partition(".")[0]:
        hint = f"The file looks like a {guess}: use `backbone={guess!r}`."
    else:
        hint = "Name the `backbone` that the file was saved from, in timm's or torchvision's key names."
    return WeightsError(f"weights in {origin} do not fit {backbone.name}: {found}", hint)


def _first(keys: Iterable[str], most: int = 3) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")

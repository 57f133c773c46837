"""Read weights from a checkpoint (safetensors, or a pickle read with weights only) and fit them into a backbone.

A file is never trusted: nothing in it is executed, and the error names what is damaged or which keys do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.core.text import brief, listed
from headstart.errors import WeightsError
from headstart.models.backbone import Backbone
from headstart.models.key_mapping import guess_resnet, to_timm_names
from headstart.models.pickles import check_pickle

State = dict[str, Tensor]
# Where training scripts keep the weights inside a checkpoint, and what wrappers put in front of every key.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema", "net", "module", "backbone"),
    *("weights", "params"),
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
# In addition to the network's own key prefix: what classifiers are called elsewhere, and training-only branches.
_CLASSIFIERS = ("fc", "classifier", "head", "heads", "head_dist", "last_linear", "AuxLogits", "aux")
_OPTIONAL = "num_batches_tracked"  # a count that only BatchNorm without momentum reads; many files leave it out


def read_state_dict(path: Path) -> State:
    """The tensors of a checkpoint by key: nested dicts are opened, wrappers' prefixes removed, floating-point tensors
    cast to float32.

    Raises WeightsError: no such file, empty, damaged, a pickle that holds code, or no tensors in it.
    """
    path = Path(path)
    if path.is_dir():
        hint = "Name the file in it; to start from an earlier run, use `from_run`."
        raise WeightsError(f"weights file {path} is a folder", hint)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}", "Check the path.")
    if path.stat().st_size == 0:
        raise WeightsError(f"weights file {path} is empty", "Fetch it again.")
    with path.open("rb") as file:
        start = file.read(9)
    # By content, since names can be wrong: eight bytes of header length, then JSON.
    is_safetensors = path.suffix == ".safetensors" or start[8:] == b"{"
    state = _unwrap(_read_safetensors(path) if is_safetensors else _read_pickle(path), set())
    if not state:
        raise WeightsError(f"{path} holds no weights", "A checkpoint with a state dict (tensors by name) is expected.")
    _check_tensors(path, state)
    return {key: t.float() if t.is_floating_point() else t for key, t in _without_prefixes(state).items()}


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # noqa: BLE001 - the library's own error, and what torch says to an unusual type
        problem = f"weights file {path} is damaged or not a safetensors file ({brief(error)})"
        raise WeightsError(problem, "Fetch it again.") from None


def _read_pickle(path: Path) -> Any:
    check_pickle(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - damaged bytes lead the reader anywhere (struct.error, TypeError, ...)
        reason = str(error)
    # torch raises one error for "holds more than tensors" and for "not a pickle": only the first names a global.
    if "GLOBAL" in reason or "TorchScript" in reason:
        raise WeightsError(
            f"weights file {path} is refused: to read it, Python code from inside it would have to run",
            "If you trust it, save only its tensors: safetensors.torch.save_file(model.state_dict(), 'w.safetensors').",
        )
    with path.open("rb") as file:
        page = file.read(64).lstrip()[:1] == b"<"
    what = "is a web page, not a checkpoint" if page else "is damaged, cut short, or not a PyTorch checkpoint"
    raise WeightsError(f"weights file {path} {what}", "Fetch it again: .safetensors, .pth and .pt files are read.")


def _unwrap(content: Any, seen: set[int]) -> State:
    """The innermost dict that holds tensors: ``{"epoch": 3, "state_dict": {"model": {...}}}`` is opened twice.

    ``seen``: dicts looked into already; a file may nest them without end.
    """
    if not isinstance(content, Mapping) or id(content) in seen or len(seen) > 100:
        return {}
    seen.add(id(content))
    for name in _WRAPPERS:
        if isinstance(content.get(name), Mapping) and (inner := _unwrap(content[name], seen)):
            return inner
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _without_prefixes(state: State) -> State:
    """Removes, repeatedly, a wrapper's prefix (DataParallel, compile, Lightning) that most keys share."""
    for _ in range(10):
        common = (p for p in _PREFIXES if 2 * sum(key.startswith(p) for key in state) > len(state))
        if (prefix := next(common, None)) is None:
            break
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _check_tensors(path: Path, state: State) -> None:
    """Raise WeightsError for tensors that are not plain numbers in memory: sparse, quantized, without storage, or a
    view that repeats a few numbers to a size beyond all memory.
    """
    size = sum(t.numel() * 4 for t in state.values())
    plain = all(t.layout == torch.strided and t.device.type == "cpu" and not t.is_quantized for t in state.values())
    if not plain or size > 64 * path.stat().st_size:
        raise WeightsError(f"weights file {path} holds tensors of an unusual kind", "Save it as plain float tensors.")


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):  # the sum takes a tenth of the time
        return True
    return bool(torch.isfinite(tensor).all())  # large numbers may have a sum that is not


def fit_weights(backbone: Backbone, state: Mapping[str, Tensor], origin: str) -> None:
    """Loads the weights of a whole network, in timm's or torchvision's key names, into the backbone, without the
    classifier's.

    ``origin`` is the file, for messages. A cut backbone takes the weights of the uncut one. Raises WeightsError naming
    the keys that are missing, of another shape, or of another network (a resnet34's file holds every key of a
    resnet18): nothing is loaded then.
    """
    wanted = backbone.state_dict()
    offered = to_timm_names(backbone, state)
    common = [(key, own, offered[key]) for key, own in wanted.items() if key in offered]
    known = wanted.keys() | backbone.facts.beyond
    left_out = tuple(f"{name}." for name in (*backbone.facts.classifier, *_CLASSIFIERS))
    problems = {
        "missing": [key for key in wanted if key not in offered and not key.endswith(_OPTIONAL)],
        "of another shape": [
            f"{key} ({_shape(other)} where {_shape(own)} is needed)"
            for key, own, other in common
            if other.shape != own.shape
        ],
        "of another type": [key for key, own, other in common if other.is_floating_point() != own.is_floating_point()],
        "not of this network": [key for key in offered if key not in known and not key.startswith(left_out)],
        "not finite": [key for key, _, other in common if not is_finite(other)],
    }
    found = "; ".join(f"{len(keys)} {what}: {listed(keys, 3)}" for what, keys in problems.items() if keys)
    if found:
        hint = "Name the `backbone` that the file was saved from, in timm's or torchvision's key names."
        if (guess := guess_resnet(state)) and guess != backbone.name.partition(".")[0]:
            hint = f"The file looks like a {guess}: use `backbone={guess!r}`."
        raise WeightsError(f"weights in {origin} do not fit {backbone.name}: {found}", hint)
    backbone.load_state_dict({key: offered.get(key, own) for key, own in wanted.items()})


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"

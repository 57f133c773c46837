"""Read weights from a checkpoint (safetensors, or a pickle read with weights only) and fit them into a backbone.

A file is never trusted: nothing in it is executed, and the error names what is damaged or which keys do not fit.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.core.files import read_json
from headstart.core.text import brief, listed, quoted
from headstart.errors import HeadstartError, WeightsError
from headstart.models.backbone import Backbone
from headstart.models.key_mapping import guess_resnet, to_timm_names, whose_keys
from headstart.models.pickles import code_refused, read_pickle

State = dict[str, Tensor]
Convert = Callable[[State], State]
"""From the key names of whoever trained a network first to those of the network; empty where it cannot."""
# Where training scripts keep the weights inside a checkpoint, and what wrappers put in front of every key.
_WRAPPERS = (
    # Averages of the weights over training first, as timm takes them.
    *("state_dict_ema", "model_ema", "ema", "ema_state_dict", "teacher"),
    *("state_dict", "model_state_dict", "model", "net", "module", "backbone", "weights", "params", "student"),
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
_GROUPS = ("teacher", "ema_model", "encoder_q", "online_encoder", "student", "encoder", "backbone")
"""Of several networks with the same keys in one file, the one to take."""
# In addition to the network's own key prefix: what classifiers are called elsewhere, and training-only branches.
_CLASSIFIERS = (
    *("fc", "classifier", "head", "heads", "head_dist", "last_linear", "AuxLogits", "aux", "linear", "logits"),
    *("cls_head", "classification_head", "projector", "projection_head", "prototypes", "predictor"),
)
# The first part of keys that hold no layers: losses, metrics and what trainers count. Not any unknown name: a network
# with one more layer has all the keys of the one without.
_NO_LAYERS = re.compile(
    r"(criterion|.*loss(es)?(_\w+)?|.*metrics?|(train|val|valid|test)_?\w*|.*(acc|accuracy|auroc|f1|precision|recall|confmat)"
    r"|queue|queue_ptr|n_averaged|ema|initted|step|mask_token|decoder_\w+)", re.IGNORECASE
)  # fmt: skip
_NOT_THE_MODEL = re.compile("optim|sched|scaler|hyper|param_groups", re.IGNORECASE)
_PART = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.")
_WAYS = 12
"""Ways to read the keys of a file that are tried."""
_CONVERTED = 4
"""Ways that are also converted, for which the network is built."""
_OPTIONAL = "num_batches_tracked"  # a count that only BatchNorm without momentum reads; many files leave it out


def read_state_dict(path: Path) -> State:
    """The tensors of a checkpoint: see ``read_checkpoint``."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[State, str]:
    """The tensors of a checkpoint by key: nested dicts are opened, wrappers' prefixes removed, floating-point tensors
    cast to float32. And the name of the dict that they are from, where there are several that hold as many.

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
    if path.suffix == ".json":
        return _read_shards(path), ""
    with path.open("rb") as file:
        start = file.read(9)
    # By content, since names can be wrong: eight bytes of header length, then JSON.
    is_safetensors = path.suffix == ".safetensors" or start[8:] == b"{"
    content, classes = (_read_safetensors(path), []) if is_safetensors else read_pickle(path)
    found = list(_sets(content, "", set()))
    if not found:
        if classes:
            raise code_refused(path, classes)
        keys = (
            f": its keys are {listed([quoted(key, 30) for key in content if isinstance(key, str)])}"
            if isinstance(content, Mapping)
            else ""
        )
        hint = "A checkpoint with a state dict (tensors by name) is expected."
        raise WeightsError(f"{path} holds no weights{keys}", hint)
    most = max(len(state) for _, state in found)
    full = [(name, state) for name, state in found if 2 * len(state) > most]
    name, state = full[0]
    _check_tensors(path, state)
    plain = {key: t.float() if t.is_floating_point() else t for key, t in _without_prefixes(state).items()}
    return plain, name if len(full) > 1 else ""


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # noqa: BLE001 - the library's own error, and what torch says to an unusual type
        problem = f"weights file {path} is damaged or not a safetensors file ({brief(error)})"
        raise WeightsError(problem, "Fetch it again.") from None


def _read_shards(index: Path) -> State:
    """The tensors of all files that an index names (``model.safetensors.index.json``). Raises WeightsError."""
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if not all(isinstance(name, str) and name == Path(name).name for name in names):
            raise ValueError("it names files of other folders")
    except (HeadstartError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        problem = f"weights file {index} is no index of weights in several files ({brief(error)})"
        raise WeightsError(problem, "Name a .safetensors, .pth or .pt file.") from None
    state: State = {}
    for name in names:
        state |= read_state_dict(index.with_name(name))
    return state


def _sets(content: Any, name: str, seen: set[int]) -> Iterator[tuple[str, State]]:
    """(name, tensors) of every dict that holds some, at any depth, the likeliest first: ``{"epoch": 3, "state_dict":
    {"model": {...}}}`` has one. Those of an optimizer do not count.

    ``seen``: dicts looked into already; a file may nest them without end.
    """
    if not isinstance(content, Mapping) or id(content) in seen or len(seen) > 100:
        return
    seen.add(id(content))
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            yield from _sets(content[wrapper], wrapper, seen)
    if own := {str(key): value for key, value in content.items() if isinstance(value, Tensor)}:
        yield name, own
    for key, value in content.items():
        if isinstance(key, str) and key not in _WRAPPERS and not _NOT_THE_MODEL.search(key):
            yield from _sets(value, key, seen)


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


def fit_weights(backbone: Backbone, state: Mapping[str, Tensor], origin: str, convert: Convert | None = None) -> None:
    """Loads the weights of a whole network, in timm's or torchvision's key names, or in those that ``convert`` reads,
    into the backbone, without the classifier's.

    ``origin`` is the file, for messages. A cut backbone takes the weights of the uncut one. Raises WeightsError naming
    the keys that are missing, of another shape, or of another network (a resnet34's file holds every key of a
    resnet18): nothing is loaded then.
    """
    wanted = backbone.state_dict()
    offered = _offered(backbone, wanted, state)
    found = _problems(backbone, offered)
    if found and convert is not None and not any("not finite" in what for what in found):
        for way in itertools.islice(_ways(state), _CONVERTED):
            other = convert(way)
            if other and not (_problems(backbone, other)):
                offered, found = other, {}
                break
    if found:
        hint = "Name the `backbone` that the file was saved from, in timm's or torchvision's key names."
        if (guess := guess_resnet(state)) and guess != backbone.name.partition(".")[0]:
            hint = f"The file looks like a {guess}: use `backbone={guess!r}`."
        elif _PART.search(origin):
            hint = "It is one of several files: name their index (.index.json), which lies beside them."
        elif owner := whose_keys(state):
            hint = f"Its keys are {owner}."
        text = "; ".join(f"{len(keys)} {what}: {listed(keys, 3)}" for what, keys in found.items())
        raise WeightsError(f"weights in {origin} do not fit {backbone.name}: {text}", hint)
    backbone.load_state_dict({key: offered.get(key, own) for key, own in wanted.items()})


def _problems(backbone: Backbone, offered: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """What keeps a state from being the network's: kinds of problems, and the keys that have them."""
    wanted = backbone.state_dict()
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
        "not of this network": [
            key
            for key in offered
            if key not in known and not key.startswith(left_out) and not _NO_LAYERS.fullmatch(key.partition(".")[0])
        ],
        "not finite": [key for key, _, other in common if not is_finite(other)],
    }
    return {what: keys for what, keys in problems.items() if keys}


def _offered(backbone: Backbone, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the network's names: the first of the ways to read it that lacks nothing, else the one that lacks
    least.
    """
    best, fewest = to_timm_names(backbone, state), len(wanted) + 1
    for way in itertools.islice(_ways(state), _WAYS):
        named = to_timm_names(backbone, way)
        lacking = sum(key not in named and not key.endswith(_OPTIONAL) for key in wanted)
        if lacking < fewest:
            best, fewest = named, lacking
        if not fewest:
            break
    return best


def _ways(state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The state, and the parts of it that hold most of its keys, without the prefix that they share, whatever that is
    called.
    """
    waiting = [dict(state)]
    while waiting:
        way = waiting.pop(0)
        yield way
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in way.items():
            first, dot, rest = key.partition(".")
            if dot:
                groups[first][rest] = tensor
        full = sorted((name for name, group in groups.items() if 3 * len(group) > len(way)), key=_preference)
        waiting += [groups[name] for name in full]


def _preference(group: str) -> int:
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"

"""timm's networks, 1,700 pretrained ones, with weights from the Hugging Face hub.

timm's import takes two seconds, so it happens only when a name needs it.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from headstart.core.text import brief, listed
from headstart.errors import OptionError, WeightsError, did_you_mean
from headstart.models.backbone import Backbone, Facts
from headstart.models.blocks import REFUSALS, take_apart
from headstart.models.checkpoints import fit_weights, is_finite, read_state_dict
from headstart.models.options import OneOf, Share, Values, Whole
from headstart.models.packages import packaged, verified
from headstart.models.pickles import check_pickle
from headstart.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from headstart.models.pretrained import from_hub, from_url, in_hub_cache, place
from headstart.models.providers import BackboneInfo, Entry

OPTIONS: dict[str, Values] = {
    "pad_type": OneOf("same", "valid"),
    "global_pool": OneOf("avg", "max", "avgmax", "catavgmax", "token", "map"),
    "output_stride": OneOf(8, 16, 32),
    "fix_stem": OneOf(True, False),
    **{f"{what}_rate": Share() for what in ("drop", "drop_path", "proj_drop", "attn_drop", "pos_drop", "patch_drop")},
    "img_size": Whole(16, 1024),
    "dynamic_img_size": OneOf(True, False),
    "dynamic_img_pad": OneOf(True, False),
    "bn_eps": OneOf(0.001, 1e-05),
}
"""Those that shape a network and do nothing else."""


_POSITIONS = re.compile("pos|rel")
"""Keys of what depends on the image size: position embeddings, and tables of relative positions."""


class TimmNetworks:
    """Any network of timm's, with or without the tag of its weights."""

    options = OPTIONS

    def resolve(self, name: str) -> Entry | None:
        import timm

        base, _, tag = name.partition(".")
        if not timm.is_model(base):
            return None
        if not tag:  # the full name, so that a run records which weights it used even if timm's default changes later
            cfg = _config(base)
            return _entry(name, f"{base}.{cfg.tag}" if cfg is not None and cfg.tag else base)
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        if tag not in tags:
            hint = f"{did_you_mean(tag, tags)} Its weights: {', '.join(tags) or 'none'}.".strip()
            raise OptionError(f"backbone {base} has no pretrained weights {tag!r}", hint, option="backbone")
        return _entry(name, name)

    def names(self) -> Iterable[str]:
        import timm

        return cast(list[str], timm.list_pretrained())

    def describe(self, name: str) -> BackboneInfo:
        from timm.models import model_entrypoint

        cfg = _config(name)
        family = model_entrypoint(name).__module__.rpartition(".")[2]
        return BackboneInfo(name, cfg.input_size[-1], _entry(name, name).weights, family, cfg.license)

    def parameters(self, name: str) -> int | None:
        """Parameters of a network without its classifier, of its shapes alone; None where timm cannot build it."""
        try:
            with torch.device("meta"):
                net: nn.Module = _created(_entry(name, name), {})
            return sum(p.numel() for p in net.parameters())
        except OptionError:
            return None

    def at_hand(self, entry: Entry) -> bool:
        if packaged(entry.architecture):
            return True
        cfg = _config(entry.architecture)
        if cfg is not None and cfg.hf_hub_id:
            return in_hub_cache(cfg.hf_hub_id) is not None
        return cfg is not None and bool(cfg.url) and place(cfg.url).is_file()

    def fetch(self, entry: Entry) -> Path:
        if installed := packaged(entry.architecture):
            return verified(installed)
        cfg = _config(entry.architecture)
        if cfg is not None and cfg.hf_hub_id:
            return from_hub(cfg.hf_hub_id)
        if cfg is None or not cfg.url:
            hint = "Use `weights=FILE`, or `strategy='scratch'`."
            raise OptionError(f"no pretrained weights are published for {entry.name}", hint)
        return from_url(cfg.url)

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        own_names = weights is not None and weights == packaged(entry.architecture)
        net = _network(entry, None if own_names else weights)
        cfg: dict[str, Any] = net.pretrained_cfg
        size = int(cfg["input_size"][-1])
        preprocessing = Preprocessing(
            image_size=size,
            resize=round(size / (cfg.get("crop_pct") or 1.0)),
            mean=tuple(cfg.get("mean") or IMAGENET_MEAN),
            std=tuple(cfg.get("std") or IMAGENET_STD),
            interpolation=cfg.get("interpolation") or "bilinear",
        )
        blocks, dim, trial_size = take_apart(net.eval(), entry.name, size)
        named = cfg.get("classifier") or ()
        facts = Facts(
            entry.name,
            entry.architecture,
            preprocessing,
            dim,
            trial_size=trial_size,
            classifier=(named,) if isinstance(named, str) else tuple(named),
            prefix_tokens=int(getattr(net, "num_prefix_tokens", 0) or 0),
            undecayed=_undecayed(net),
        )
        backbone = Backbone(blocks, facts)
        if own_names and weights is not None:
            fit_weights(backbone, read_state_dict(weights), origin=str(weights))
        return backbone

    def converted(self, entry: Entry, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state in the names of whoever trained the network first, as the filter of timm for its family reads it:
        other names, other shapes of position embeddings. What does not fit is kept under its name. Empty where timm
        cannot read it.
        """
        source = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state)}}
        try:
            with _keys_that_timm_misses() as (missing, unknown), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                net = _created(entry, source)
        except Exception:  # noqa: BLE001 - keys of another network lead its filter anywhere
            return {}
        found = {key: tensor for key, tensor in net.state_dict().items() if key not in missing}
        filters = [key for key, t in found.items() if t.ndim == 4 and key in state and not _POSITIONS.search(key)]
        if any(found[key].numel() != state[key].numel() for key in filters):
            return {}  # filters resample patches of another size too, which are another network's
        return found | {key: state.get(key, torch.zeros(0)) for key in unknown}


def _entry(name: str, architecture: str) -> Entry:
    return Entry(name, architecture, "timm", f"timm {architecture}")


def _config(architecture: str) -> Any:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(architecture, allow_unregistered=True)


def _network(entry: Entry, file: Path | None) -> Any:
    """timm's module without a classifier. A file from its hub is loaded by timm, which knows the formats of its
    checkpoints.
    """
    if math.isfinite(entry.at_most):
        with torch.device("meta"):  # names and shapes only: nothing is allocated
            size = sum(t.nbytes for t in _all_tensors(_created(entry, {})))
        if size > entry.at_most:
            raise OptionError(f"backbone {entry.name} takes {size / 1e9:.1f} GB, far more than the weights beside it")
    if file is None:
        return _created(entry, {})
    if file.suffix != ".safetensors":
        check_pickle(file)
    try:
        with _keys_that_timm_misses() as (missing, _):
            net = _created(entry, {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}})
    except OptionError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes lead timm's reader anywhere
        raise WeightsError(
            f"{file} does not fit {entry.architecture}: {brief(error)}", "Remove the file to fetch it again."
        ) from None
    # A norm of timm's own may be new (another pooling); filters that stay random would be a guess.
    if random := [name for name, p in net.named_parameters() if name in missing and p.ndim > 1]:
        problem = f"{file} does not fit {entry.architecture}: {len(random)} missing: {listed(random, 3)}"
        raise WeightsError(problem, "Remove the file to fetch it again, or leave out options that add layers.")
    if not all(is_finite(tensor) for tensor in net.state_dict().values()):
        raise WeightsError(f"{file} holds numbers that are not finite", "Remove the file to fetch it again.")
    return net


@contextmanager
def _keys_that_timm_misses() -> Iterator[tuple[set[str], set[str]]]:
    """The keys that timm does not find in a file, and those that it does not know. It loads what fits, and tells its
    log alone.
    """
    missing: set[str] = set()
    unknown: set[str] = set()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := re.match(r"(Missing|Unexpected) keys \((.*?)\)", record.getMessage()):
                (missing if found[1] == "Missing" else unknown).update(found[2].split(", "))

    log, listener = logging.getLogger("timm.models._builder"), Listener()
    level, propagate, disabled = log.level, log.propagate, logging.root.manager.disable
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.disable(logging.NOTSET)  # a program that silences logging would hide them
    try:
        yield missing, unknown
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagate
        logging.disable(disabled)


def _created(entry: Entry, more: dict[str, Any]) -> Any:
    import timm

    options: dict[str, Any] = {"num_classes": 0, **dict(entry.options), **more}
    cfg = _config(entry.architecture)
    try:
        if (
            cfg is not None and cfg.fixed_input_size
        ):  # a transformer: its position embedding is resampled to other sizes
            with suppress(TypeError):  # not an option of this family
                return timm.create_model(entry.architecture, dynamic_img_size=True, **options)
        return timm.create_model(entry.architecture, **options)
    except TypeError as error:  # an option that this network does not have
        raise OptionError(f"timm cannot build {entry.name}: {error}", "Leave the option out.") from None
    except (*REFUSALS, KeyError) as error:
        if more:
            raise
        problem = f"timm cannot build {entry.name}: {brief(error)}"
        raise OptionError(problem, "Choose another backbone, or leave its options out.") from None


def _undecayed(net: Any) -> frozenset[str]:
    """The parameters that timm's ``no_weight_decay()`` leaves out, by name or by pattern as timm's optimizers read it:
    position embeddings, class tokens, tables of relative positions.
    """
    patterns = net.no_weight_decay() if hasattr(net, "no_weight_decay") else ()
    return frozenset(
        name for name, _ in net.named_parameters() if any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def _all_tensors(net: nn.Module) -> Iterable[Tensor]:
    return itertools.chain(net.parameters(), net.buffers())

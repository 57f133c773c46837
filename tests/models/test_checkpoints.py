"""Checkpoints as they come: every wrapping that people meet, every kind of damage, and weights of another network."""

from __future__ import annotations

import argparse
import ast
import datetime
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pytest
import torch
from helpers.tampering import checkpoint, deep_dict, deep_tuple, endless_dict, shared_dicts
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart import models
from headstart.errors import WeightsError
from headstart.models.checkpoints import fit_weights, is_finite, read_checkpoint, read_state_dict
from headstart.models.factory import create

from .conftest import photos, small

TENSORS = {
    "conv.weight": torch.arange(8.0).reshape(2, 4),
    "conv.bias": torch.tensor([1.5, -2.0]),
    "steps": torch.tensor(3),
}


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in other)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_safetensors_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    save_file(TENSORS, tmp_path / f"w{suffix}")
    assert same(read_state_dict(tmp_path / f"w{suffix}"), TENSORS)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_pickle_formats(tmp_path: Path, zipped: bool) -> None:
    torch.save(TENSORS, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(tmp_path / "w.pth"), TENSORS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_counts_stay_whole(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file(
        {key: t.to(dtype) if t.is_floating_point() else t for key, t in TENSORS.items()}, tmp_path / "w.safetensors"
    )
    state = read_state_dict(tmp_path / "w.safetensors")
    assert same(state, TENSORS)
    assert (state["conv.weight"].dtype, state["steps"].dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": TENSORS, "epoch": 3},
        {"model": {"state_dict": TENSORS}, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}},
        {"model_state_dict": {f"module.{key}": t for key, t in TENSORS.items()}},
        {f"module.model.{key}": t for key, t in TENSORS.items()},
        {"state_dict": {f"backbone._orig_mod.{key}": t for key, t in TENSORS.items()}},
        {**TENSORS, "epoch": 3, "arch": "resnet18"},
    ],
)
def test_wrappings_are_opened(tmp_path: Path, wrapped: dict[str, object]) -> None:
    torch.save(wrapped, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth"), TENSORS)


def test_a_prefix_of_a_few_keys_is_a_name_and_stays(tmp_path: Path) -> None:
    save_file(
        {"model.weight": torch.ones(1), "a.weight": torch.ones(1), "b.weight": torch.ones(1)},
        tmp_path / "w.safetensors",
    )
    assert "model.weight" in read_state_dict(tmp_path / "w.safetensors")


class Command:
    """Pickles to a call of ``os.mkdir``: what a harmful checkpoint does."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["command", "command, old format", "whole model", "a model in it", "torchscript"])
@pytest.mark.filterwarnings("ignore")
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    path, made = tmp_path / "w.pth", tmp_path / "made"
    if kind == "torchscript":
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
    else:
        command = {**TENSORS, "x": Command(str(made))}
        contents = {"whole model": nn.Linear(2, 2), "a model in it": {"model": nn.Linear(2, 2), "epoch": 3}}
        torch.save(contents.get(kind, command), path, _use_new_zipfile_serialization="old" not in kind)
    with pytest.raises(WeightsError, match="refused: to read it, Python code"):
        read_state_dict(path)
    assert not made.exists()


class Loud:
    """A class whose import or use would be seen."""

    made = 0

    def __setstate__(self, state: object) -> None:
        Loud.made += 1


def test_objects_beside_the_weights_are_passed_over_and_their_classes_never_used(tmp_path: Path) -> None:
    loud = Loud()
    loud.lr = 0.1  # type: ignore[attr-defined]
    beside = {
        "args": argparse.Namespace(lr=0.1, model="resnet18"), "acc": np.float64(91), "path": tmp_path, "loud": loud,
        "when": datetime.datetime(2024, 1, 1),
    }  # fmt: skip
    torch.save({"state_dict": TENSORS, **beside}, tmp_path / "w.pth")
    before = len(torch.serialization.get_safe_globals())
    assert same(read_state_dict(tmp_path / "w.pth"), TENSORS)
    assert Loud.made == 0
    assert len(torch.serialization.get_safe_globals()) == before


def test_a_refused_checkpoint_says_how_to_take_its_tensors_out(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"Linear(?s:.)*weights_only=False\)\['state_dict'\], 'w.pth'\)"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ({"state_dict": {}, "state_dict_ema": TENSORS}, ""),
        ({"state_dict": {k: t * 0 for k, t in TENSORS.items()}, "state_dict_ema": TENSORS}, "state_dict_ema"),
        ({"model": {k: t * 0 for k, t in TENSORS.items()}, "model_ema": TENSORS}, "model_ema"),
        ({"student": {k: t * 0 for k, t in TENSORS.items()}, "teacher": TENSORS}, "teacher"),
        ({"model": TENSORS, "ema": {"decay": torch.tensor(0.9)}}, ""),
        ({"model_state": TENSORS, "optimizer_state": {"state": {0: {"exp_avg": torch.ones(9)}}}}, ""),
        ({"model_weights": TENSORS}, ""),
        ({"trainer": {"models": {"classifier": TENSORS}}}, ""),
    ],
)
def test_averages_come_first_and_any_name_holds_weights(tmp_path: Path, content: dict[str, Any], taken: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    state, name = read_checkpoint(tmp_path / "w.pth")
    assert same(state, TENSORS)
    assert name == taken


def test_a_backbone_says_which_of_several_weights_it_has(tmp_path: Path) -> None:
    state = small("resnet18").state_dict()
    torch.save({"state_dict": {k: t * 0 for k, t in state.items()}, "model_ema": state}, tmp_path / "w.pth")
    backbone = create("resnet18", weights=tmp_path / "w.pth")
    assert backbone.source == "file w.pth (model_ema)"
    assert backbone.weights_digest == small("resnet18").weights_digest


def test_parts_with_an_index_are_read_and_a_part_names_it(tmp_path: Path) -> None:
    state = small("resnet18").state_dict()
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves = {names[0]: dict(list(state.items())[:60]), names[1]: dict(list(state.items())[60:])}
    for name, half in halves.items():
        save_file(half, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {k: name for name, half in halves.items() for k in half}}))
    assert create("resnet18", weights=index).weights_digest == small("resnet18").weights_digest
    with pytest.raises(WeightsError, match=r"one of several files: name their index"):
        create("resnet18", weights=tmp_path / names[0])
    for wrong in ("{}", "[]", "no JSON", '{"weight_map": {"a": "../w.safetensors"}}', '{"weight_map": {"a": 3}}'):
        index.write_text(wrong)
        with pytest.raises(WeightsError, match="is no index"):
            read_state_dict(index)


PREFIXES = (
    "encoder.",
    "network.",
    "resnet.",
    "base_model.",
    "module.encoder_q.",
    "model.backbone.net.",
    "student.body.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_that_all_keys_share_is_a_prefix(prefix: str) -> None:
    backbone = create("resnet18", pretrained=False)
    fit_weights(backbone, {prefix + key: t for key, t in whole("resnet18").items()}, "w.pth")
    assert backbone.weights_digest == small("resnet18").weights_digest


def test_of_two_networks_in_a_file_the_one_to_evaluate_is_taken() -> None:
    own, other = whole("resnet18"), {key: t * 0 for key, t in whole("resnet18").items()}
    backbone = create("resnet18", pretrained=False)
    state = {f"encoder_k.{k}": t for k, t in other.items()} | {f"encoder_q.{k}": t for k, t in own.items()}
    fit_weights(backbone, {**state, "queue": torch.ones(8, 8), "queue_ptr": torch.zeros(1)}, "w.pth")
    assert backbone.weights_digest == small("resnet18").weights_digest


def test_a_sequence_of_a_resnets_children() -> None:
    names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    body = {
        f"{names.index(k.split('.')[0])}.{k.split('.', 1)[1]}": t for k, t in small("resnet18").state_dict().items()
    }
    for prefix in ("", "0.", "features."):
        backbone = create("resnet18", pretrained=False)
        head = {"1.2.weight": torch.ones(4)} if prefix == "0." else {}  # as fastai names it
        fit_weights(backbone, {f"{prefix}{k}": t for k, t in body.items()} | head, "w.pth")
        assert backbone.weights_digest == small("resnet18").weights_digest


def test_what_a_trainer_counts_is_no_layer_but_an_unknown_layer_is() -> None:
    extra = ("criterion.weight", "train_acc.correct", "val_f1.tp", "loss_fn.margin", "n_averaged", "linear.weight")
    fit_weights(create("resnet18", pretrained=False), whole("resnet18", **{k: torch.ones(7) for k in extra}), "w.pth")
    for key in ("norm_pre.weight", "layer1.2.conv1.weight", "reg_token"):
        with pytest.raises(WeightsError, match=rf"1 not of this network: {key}"):
            fit_weights(create("resnet18", pretrained=False), whole("resnet18", **{key: torch.ones(7)}), "w.pth")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "old"])
@pytest.mark.filterwarnings("ignore")
def test_damage_anywhere_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    whole, path = tmp_path / "whole", tmp_path / f"w.{'safetensors' if kind == 'safetensors' else 'pth'}"
    save_file(TENSORS, whole) if kind == "safetensors" else torch.save(
        TENSORS, whole, _use_new_zipfile_serialization=kind == "zip"
    )
    content, draw = whole.read_bytes(), random.Random(0)
    for _ in range(150):
        damaged = bytearray(content[: draw.randrange(1, len(content))])
        for _ in range(draw.randrange(4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"w\.(pth|safetensors) is"):
            read_state_dict(path)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "page.pth").write_text("<!doctype html><title>404</title>")
    (tmp_path / "text.pth").write_text("hello, this is no checkpoint")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    save_file({}, tmp_path / "none.safetensors")
    for name, words in {
        "absent.pth": "there is no weights file",
        "empty.pth": "is empty",
        "page.pth": "is a web page",
        "text.pth": "is damaged, cut short, or no",
        "none.pth": "holds no weights: its keys are 'epoch'",
        "list.pth": "holds no weights",
        "none.safetensors": "holds no weights",
        "": "is a folder",
    }.items():
        with pytest.raises(WeightsError, match=words):
            read_state_dict(tmp_path / name)


def whole(name: str, **changed: Tensor) -> dict[str, Tensor]:
    """The state of a network with its classifier, as a file would hold it."""
    return {**small(name).state_dict(), "fc.weight": torch.ones(5, 512), "fc.bias": torch.ones(5), **changed}


def test_weights_fit_whatever_classifier_they_had() -> None:
    backbone = create("resnet18", pretrained=False)
    state = {key: t for key, t in whole("resnet18").items() if not key.endswith("num_batches_tracked")}
    fit_weights(backbone, state, "w.pth")
    with torch.no_grad():
        assert torch.equal(backbone(photos()), small("resnet18")(photos()))


def test_a_cut_backbone_takes_the_whole_networks_weights_and_its_own() -> None:
    short = create("resnet18", pretrained=False, cut="layer2")
    fit_weights(short, whole("resnet18"), "w.pth")
    assert short.weights_digest == small("resnet18").truncated("layer2").weights_digest
    fit_weights(create("resnet18", pretrained=False, cut="layer2"), short.state_dict(), "w.pth")


@pytest.mark.parametrize("other", ["resnet34", "resnet50"])
def test_another_resnets_weights_are_refused_and_named(other: str) -> None:
    """A resnet34 holds every key of a resnet18 in the same shape: loading what is asked for would go well, and mean
    nothing.
    """
    backbone = create("resnet18", pretrained=False)
    before = backbone.weights_digest
    with pytest.raises(
        WeightsError, match=rf"w\.pth do not fit resnet18.*: layer1\.\d\.conv(?s:.)*`backbone='{other}'`"
    ):
        fit_weights(backbone, whole(other), "w.pth")
    assert backbone.weights_digest == before


def test_what_does_not_fit_is_named_with_its_count() -> None:
    backbone = create("resnet18", pretrained=False)
    with pytest.raises(WeightsError, match=r"1 of another shape: conv1\.weight \(64x1x7x7 where 64x3x7x7 is needed\)"):
        fit_weights(backbone, whole("resnet18", **{"conv1.weight": torch.ones(64, 1, 7, 7)}), "w.pth")
    state = whole("resnet18")
    missing = [key for key in state if key.startswith("layer4.1") and not key.endswith("tracked")]
    with pytest.raises(WeightsError, match=rf"{len(missing)} missing: layer4\.1\.conv1\.weight, [^;]* and \d+ more"):
        fit_weights(backbone, {key: t for key, t in state.items() if key not in missing}, "w.pth")


def test_weights_that_are_not_finite_are_refused() -> None:
    state = whole("resnet18")
    state["bn1.bias"] = torch.full_like(state["bn1.bias"], float("nan"))
    with pytest.raises(WeightsError, match=r"1 not finite: bn1\.bias"):
        fit_weights(create("resnet18", pretrained=False), state, "w.pth")


@pytest.mark.assets
@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("resnet50", 2048), ("mobilenetv2_100", 1280)])
def test_real_weights_fit_with_no_network(weights_folder: Path, name: str, dim: int) -> None:
    file = weights_folder / f"{name}.fp16.safetensors"
    backbone = create(name, weights=file)
    assert (backbone.dim, backbone.pretrained, backbone.source) == (dim, True, f"file {file.name}")
    state = read_state_dict(file)
    assert all(t.dtype in (torch.float32, torch.int64) for t in backbone.state_dict().values())
    assert same(backbone.state_dict(), {key: state[key] for key in backbone.state_dict()})
    assert create(name, weights=file).weights_digest == backbone.weights_digest


@pytest.mark.assets
def test_a_real_resnet50_is_no_resnet18(weights_folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"do not fit resnet18(?s:.)*`backbone='resnet50'`"):
        create("resnet18", weights=weights_folder / "resnet50.fp16.safetensors")


def bomb(kind: str) -> bytes:
    """A harmful checkpoint that holds no code."""
    names = ("state_dict", "model_state_dict", "model", "ema", "net", "module", "backbone", "weights", "params")
    made: dict[str, Callable[[], bytes]] = {
        "tuples": lambda: checkpoint(deep_tuple(3_000_000)),
        "tuples, compressed": lambda: checkpoint(deep_tuple(3_000_000), zipfile.ZIP_DEFLATED),
        "tuples, old format": lambda: pickle.dumps(0x1950A86A20F9469CFC6C, 2) + deep_tuple(3_000_000),
        "dicts": lambda: checkpoint(deep_dict(100_000)),
        "a dict in itself": lambda: checkpoint(endless_dict()),
        "ways without number": lambda: checkpoint(shared_dicts(60, names)),
        "zip bomb": lambda: checkpoint(b"\x80\x02}.", zipfile.ZIP_DEFLATED, version=b"0" * (1 << 27)),
        "prefixes": lambda: saved({"module." * 20_000 + "w": torch.ones(2)}),
        "a number repeated": lambda: saved({"w": torch.ones(1, dtype=torch.float16).expand(10**6, 10**6)}),
        "sparse": lambda: saved({"w": torch.ones(3, 3).to_sparse()}),
        "without numbers": lambda: saved({"w": torch.ones(3, 3, device="meta")}),
        "quantized": lambda: saved({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}),
    }
    return made[kind]()


def saved(content: object) -> bytes:
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


BOMBS = (
    "tuples", "tuples, compressed", "tuples, old format", "dicts", "a dict in itself", "ways without number",
    "zip bomb", "prefixes", "a number repeated", "sparse", "without numbers", "quantized",
)  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_that_would_crash_or_fill_the_memory_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    (tmp_path / "w.pth").write_bytes(bomb(kind))
    backbone = create("starter", pretrained=False)
    with pytest.raises(WeightsError):
        fit_weights(backbone, read_state_dict(tmp_path / "w.pth"), "w.pth")


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"null", b'{"a":' * 100_000, b'{"a":{"dtype":"F32"}}', b"\xff"])
@pytest.mark.parametrize("length", [None, 0, 10**8, 10**8 + 1, 2**63, 2**64 - 1])
def test_a_safetensors_header_that_is_none(tmp_path: Path, header: bytes, length: int | None) -> None:
    size = (len(header) if length is None else length).to_bytes(8, "little")
    (tmp_path / "w.safetensors").write_bytes(size + header)
    with pytest.raises(WeightsError):
        read_state_dict(tmp_path / "w.safetensors")


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool])
def test_weights_of_another_type_are_refused(dtype: torch.dtype) -> None:
    state = whole("resnet18")
    state["bn1.bias"] = state["bn1.bias"].to(dtype)
    with pytest.raises(WeightsError, match=r"1 of another type: bn1\.bias"):
        fit_weights(create("resnet18", pretrained=False), state, "w.pth")
    state = whole("resnet18", **{"bn1.num_batches_tracked": torch.tensor(0.5)})
    with pytest.raises(WeightsError, match=r"1 of another type: bn1\.num_batches_tracked"):
        fit_weights(create("resnet18", pretrained=False), state, "w.pth")


def test_every_reader_of_pickles_reads_weights_only() -> None:
    # Between processes of one command Ray itself pickles: what comes back is what this program sent.
    sources = [path for path in Path(models.__file__).parents[1].rglob("*.py") if path.name != "ray_data.py"]
    calls = [
        node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if is_load(node)
    ]
    assert calls
    for call in calls:
        assert any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in call.keywords)


def is_load(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "pickle.load", "pickle.loads"}


def test_is_finite() -> None:
    assert is_finite(torch.tensor([3e38, 3e38]))  # although their sum is not
    assert is_finite(torch.full((100,), 60_000.0, dtype=torch.float16))
    assert is_finite(torch.tensor([1, 2]))
    for wrong in (float("nan"), float("inf"), -float("inf")):
        assert not is_finite(torch.tensor([1.0, wrong]))
    assert not is_finite(torch.tensor([float("inf"), -float("inf")]))

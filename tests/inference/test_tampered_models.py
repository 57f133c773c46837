"""A run folder with one value changed: one clear message, or a prediction where the value does not matter."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from helpers.earlier import STORED
from helpers.tampering import CHANGES, Place, changed, places, text_of
from safetensors import safe_open
from safetensors.torch import save_file

from headstart.core import files
from headstart.data.decode import _FILTERS
from headstart.errors import HeadstartError, RunError
from headstart.inference.classifier import Classifier, load_backbone
from headstart.inference.model_files import Expected
from headstart.models import network as network_module
from headstart.models.serialization import load_state

DESCRIBED = json.loads((STORED / "run" / "model.json").read_text(encoding="utf-8"))
NEEDED = ("classes", "preprocessing", "architecture", "precision", "format")
Cli = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED / "run", tmp_path / "run"))


def refusal(run: Path) -> str:
    """What loading is refused with; empty where it is not."""
    try:
        Classifier.load(run, "cpu")
    except RunError as error:
        return str(error)
    return ""


def test_the_places_are_those_of_a_model() -> None:
    found = {".".join(map(str, place)) for place in places(DESCRIBED)}
    assert {"classes.0", "preprocessing.std.2", "architecture.backbone", "provenance.data.digest"} <= found
    assert len(found) > 35


@pytest.mark.parametrize("place", [*places(DESCRIBED)], ids=lambda place: ".".join(map(str, place)))
def test_every_field_of_model_json(run: Path, place: Place, cli: Cli, refused: Callable[..., None]) -> None:
    photos = np.zeros((1, 32, 32, 3), np.uint8)
    path, loads = run / "model.json", []
    for name, value in CHANGES.items():
        path.write_text(text_of(changed(DESCRIBED, place, value)), encoding="utf-8")
        if told := refusal(run):
            assert str(run) in told, (name, told)
            assert "model.json" in told, (name, told)
            assert len(told) < 1200, (name, len(told))
            assert "\x1b" not in told, (name, told)
        else:
            loaded = Classifier.load(run, "cpu")
            assert loaded.logits(photos).shape == (1, len(loaded.classes))
            loads.append(name)
    assert {"deep", "surrogate", "nan", "infinite"}.isdisjoint(loads), loads
    if place[0] in NEEDED and not {"deleted", "text", "control", "long text"} & set(loads):
        path.write_text(text_of(changed(DESCRIBED, place, [[[["x"]]]])), encoding="utf-8")
        refused(cli("describe", run), "model.json")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("preprocessing", "image_size"), 10**9, "preprocessing.image_size: expected int <= 4096"),
        (("preprocessing", "resize"), 31, "preprocessing.resize is below image_size"),
        (("preprocessing", "std"), [1, 2, 0], "preprocessing.std[2]: expected float >= 1e-06"),
        (("preprocessing", "mean"), [1, float("nan"), 0], "preprocessing.mean[1] is not a finite number"),
        (("preprocessing", "ranges"), {"integers": [9, 9]}, "preprocessing.ranges: white is not above black"),
        (("preprocessing", "ranges"), {"floats": [0]}, "preprocessing.ranges.floats: expected array of length 2"),
        (("preprocessing", "interpolation"), "magic", "preprocessing.interpolation: invalid enum value 'magic'"),
        (("classes",), ["cat", "cat", "dog"], "classes holds a name twice"),
        (("classes",), ["cat", "", "dog"], "classes[1]: expected str of length >= 1"),
        (("classes",), ["cat", "dog", "owl", "emu"], "weight of the head is 3x32, and 32 features, 4 classes"),
        (("classes",), [f"c{i}" for i in range(100_001)], "classes: expected array of length <= 100000"),
        (("classes", 1), "\ud800", "classes[1] holds half a character"),
        (("architecture", "dim"), 1_000_000, "it makes 32 features, but architecture.dim is 1000000"),
        (("architecture", "dim"), 10**30, "architecture.dim: expected int <= 1000000"),
        (("architecture", "head"), "mlp:65536,65536", "does not fit model.json: 0.weight of the head is missing"),
        (("architecture", "head"), "mlp:99999999999", "hidden width that is not a number from 1 to 65536"),
        (("architecture", "dropout"), [0.5] * 50, "50 dropouts for a head of 1 linear layers"),
        (("architecture", "cut"), "layer9", "has no stage or block 'layer9'"),
        (("architecture", "backbone"), "vit_7b_patch16_dinov3", "takes 26.9 GB, far more than the weights beside it"),
        (("architecture", "backbone"), "vit_giant_patch14_dinov2:img_size=1024", "GB, far more than the weights"),
        (("format",), "1", "`format` is not a version number"),
        (("format",), True, "`format` is not a version number"),
        (("format",), 10**4000, "newer than this headstart"),
        (("provenance",), [], "provenance: expected object, got array"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(run: Path, place: Place, value: object, words: str) -> None:
    (run / "model.json").write_text(text_of(changed(DESCRIBED, place, value)), encoding="utf-8")
    with pytest.raises(RunError) as told:
        Classifier.load(run, "cpu")
    assert words in told.value.problem


def test_a_size_that_the_network_does_not_take(run: Path) -> None:
    network = {**DESCRIBED["architecture"], "backbone": "test_vit", "cut": None, "dim": 64}
    made = Classifier.load(run, "cpu")
    made.network = network_module.Network(load_test_vit(), torch.nn.Linear(64, 3))
    made.certainty = None
    made.save(run)
    (run / "certainty.safetensors").unlink()
    for size, problem in ((160, None), (2048, None), (33, "does not run at 33 px"), (2047, "image_size: ")):
        sizes = {**DESCRIBED["preprocessing"], "image_size": size, "resize": size}
        (run / "model.json").write_text(text_of({**DESCRIBED, "architecture": network, "preprocessing": sizes}))
        if problem is None:
            assert Classifier.load(run, "cpu").preprocessing.image_size == size
        else:
            with pytest.raises(RunError, match=problem):
                Classifier.load(run, "cpu")


def load_test_vit() -> Any:
    from headstart.models.factory import create

    return create("test_vit", pretrained=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"), (b"null", "not a description"), (b"[" * 10**6, "nested too deeply"),
        (b'{"a":' * 10**6, "nested too deeply"), (b"\xff\xfe{}", "cannot be read"), (b"1" * 10**5, "cannot be read"),
        (b'{"format": 1' + b"0" * 10**5 + b"}", "cannot be read"), (b'{"classes": "\\ud800"}', "not a description"),
    ],
)  # fmt: skip
def test_a_model_json_that_is_none(run: Path, content: bytes, words: str) -> None:
    (run / "model.json").write_bytes(content)
    with pytest.raises(RunError, match=words) as told:
        Classifier.load(run, "cpu")
    assert len(str(told.value)) < 600


def test_a_model_json_beyond_all_bounds(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (run / "model.json").open("wb") as file:
        file.truncate(10**9)  # a hole: it takes no place on the disk
    with pytest.raises(RunError, match=r"model\.json is larger than 32 MB"):
        Classifier.load(run, "cpu")
    assert files.LARGEST_JSON == 32 << 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "certainty.safetensors"])
def test_what_is_not_a_file_is_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunError, match=r"not a (regular )?file"):
        Classifier.load(run, "cpu")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "certainty.safetensors"])
def test_a_link_to_another_file_shows_nothing_of_it(
    run: Path, tmp_path: Path, name: str, cli: Cli, refused: Callable[..., None]
) -> None:
    (tmp_path / "secret").write_text("zebra:x:0:0:a secret of this machine\n" * 50)
    (run / name).unlink()
    (run / name).symlink_to(tmp_path / "secret")
    answer = cli("predict", run, tmp_path)
    refused(answer, name)
    assert "zebra" not in answer.err + answer.out
    assert "of this machine" not in answer.err + answer.out


def test_keys_that_are_not_known_are_told_once_and_kept(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    described = changed(DESCRIBED, ("provenance", "x\x1b[31m"), 1)
    described = changed(described, ("architecture", "of_tampered_models"), [1])
    (run / "model.json").write_text(text_of(described), encoding="utf-8")
    Classifier.load(run, "cpu")
    (record,) = caplog.records
    assert "of_tampered_models" in record.getMessage()
    assert "\x1b" not in record.getMessage()


def test_the_interpolations_are_those_that_photos_are_resized_with() -> None:
    assert set(get_args(get_type_hints(Expected)["interpolation"])) <= set(_FILTERS)


# -- tensors --


def tensors_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as opened:
        facts = json.loads(opened.metadata()["facts"])
    return load_state(path)[0], facts


def write(path: Path, tensors: dict[str, torch.Tensor], facts: Any) -> None:
    save_file({k: t.contiguous() for k, t in tensors.items()}, path, metadata={"facts": text_of(facts)})


TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "missing": lambda t: None, "int": lambda t: t.to(torch.int32), "complex": lambda t: t.to(torch.complex64),
    "double": lambda t: t.double(), "bool": lambda t: t != 0, "another shape": lambda t: torch.cat([t, t]),
    "flat": lambda t: t.reshape(-1, 1, 1), "empty": lambda t: t[:0], "a number": lambda t: t.flatten()[0].clone(),
    "nan": lambda t: t.clone().index_fill_(0, torch.tensor([0]), float("nan")),
    "inf": lambda t: t.clone().index_fill_(0, torch.tensor([0]), float("inf")),
    "negative": lambda t: -t.abs() - 1, "huge": lambda t: t.abs() + 1e4, "backwards": lambda t: t.flip(0) + 0,
}  # fmt: skip


@pytest.mark.parametrize("key", ["backbone.conv1.weight", "backbone.bn1.running_var", "head.weight", "head.bias"])
def test_weights_that_are_not_the_models(run: Path, key: str) -> None:
    tensors, facts = tensors_of(run / "model.safetensors")
    for name in (
        "missing",
        "int",
        "complex",
        "double",
        "bool",
        "another shape",
        "flat",
        "empty",
        "a number",
        "nan",
        "inf",
    ):
        other = TENSORS[name](tensors[key])
        write(run / "model.safetensors", {**tensors, key: other} if other is not None else without(tensors, key), facts)
        with pytest.raises(RunError, match=r"model\.(json|safetensors)") as told:
            Classifier.load(run, "cpu")
        assert len(str(told.value)) < 600, name
    write(run / "model.safetensors", {**tensors, "backbone.more": torch.ones(2), "x" * 10_000: torch.ones(2)}, facts)
    with pytest.raises(RunError, match="does not fit") as told:
        Classifier.load(run, "cpu")
    assert len(str(told.value)) < 600
    write(run / "model.safetensors", {**tensors, key: tensors[key].bfloat16()}, facts)
    assert Classifier.load(run, "cpu").network.state_dict()[key].dtype == torch.float32


def without(tensors: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: t for name, t in tensors.items() if name != key}


@pytest.mark.parametrize("key", ["own", "far", "means"])
def test_a_certainty_that_is_not_the_models(run: Path, key: str) -> None:
    path = run / "certainty.safetensors"
    tensors, facts = tensors_of(path)
    for name, change in TENSORS.items():
        if (key, name) in {("own", "double"), ("far", "double"), ("means", "negative"), ("means", "huge")}:
            continue
        if key == "means" and name in {"another shape", "backwards"}:  # as many rows as there are classes with photos
            continue
        other = change(tensors[key])
        write(path, {**tensors, key: other} if other is not None else without(tensors, key), facts)
        with pytest.raises(RunError, match=r"certainty\.safetensors does not fit the model beside it"):
            Classifier.load(run, "cpu")


@pytest.mark.parametrize("file", ["model.safetensors", "certainty.safetensors"])
def test_every_fact_beside_tensors(run: Path, file: str) -> None:
    tensors, facts = tensors_of(run / file)
    for place in [*places(facts), ("more",)]:
        for name, value in CHANGES.items():
            if place == ("more",) and name == "deleted":
                continue
            write(run / file, tensors, changed(facts, place, value))
            told = refusal(run)
            assert not told or file in told, (place, name)
            assert len(told) < 600, (place, name)
    for value in CHANGES.values():
        if value is CHANGES["deleted"]:
            save_file(tensors, run / file)
        else:
            write(run / file, tensors, value)
        if value != {}:
            with pytest.raises(RunError, match=re.escape(file)):
                Classifier.load(run, "cpu")


@pytest.mark.parametrize("file", ["model.safetensors", "certainty.safetensors"])
def test_damage_anywhere_in_the_tensors_file(run: Path, file: str) -> None:
    whole = (run / file).read_bytes()
    cuts = {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1}
    for content in [*(whole[:cut] for cut in cuts), whole + b"x", b"\xff" * 8 + whole[8:], b"\x00" * len(whole)]:
        (run / file).write_bytes(content)
        with pytest.raises(RunError, match=re.escape(file)):
            Classifier.load(run, "cpu")


def test_overlapping_tensors_are_refused(run: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header |= {"b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"facts": "{}"}}
    text = json.dumps(header).encode()
    (run / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(RunError, match="cannot be read"):
        Classifier.load(run, "cpu")


def test_a_backbone_from_a_tampered_run(run: Path) -> None:
    (run / "model.json").write_text(text_of(changed(DESCRIBED, ("architecture", "backbone"), 5)), encoding="utf-8")
    with pytest.raises(HeadstartError, match="`from_run="):
        load_backbone(run)

"""``export``: a file that answers as the classifier does, without headstart, or no file."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core import extras
from headstart.errors import DataError, OptionError, RunError
from headstart.workflows.export.export import compare
from headstart.workflows.export.formats import EXPORTERS, TORCH

EVERY = ("onnx", "torch", "openvino")
SCRIPTS = {
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
said = session.get_modelmeta().custom_metadata_map
classes = json.loads(said["classes"])
run = lambda photos: session.run(["probabilities"], {"images": photos})[0]
""",
    "torch": """
import torch
extra = {"headstart.json": ""}
module = torch.export.load(sys.argv[1], extra_files=extra).module()
said = json.loads(extra["headstart.json"])
classes = said["classes"]
run = lambda photos: module(torch.from_numpy(photos)).detach().numpy()
""",
    "openvino": """
import openvino
model = openvino.Core().read_model(sys.argv[1])
said = {name: model.get_rt_info(["headstart", name]).astype(str) for name in ("classes", "provenance")}
classes = json.loads(said["classes"])
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
run = lambda photos: compiled([photos])[0]
""",
}
ALONE = """
import json, sys
sys.modules["headstart"] = None  # importing it would be an error
import numpy as np
from PIL import Image
{opening}
photos = np.stack([np.asarray(Image.open(name).convert("RGB")) for name in sys.argv[2:]])
found = np.asarray(run(photos))
assert "provenance" in said
print(json.dumps([classes, found.tolist()]))
"""


@pytest.fixture
def run(probe_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(probe_run, tmp_path / "copied"))


def answers_alone(form: str, file: Path, names: list[Path]) -> tuple[list[str], np.ndarray]:
    """(classes, probabilities) from a process that cannot import headstart."""
    code = ALONE.format(opening=SCRIPTS[form])
    done = subprocess.run([sys.executable, "-c", code, file, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    classes, found = json.loads(done.stdout.splitlines()[-1])
    return classes, np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("form", EVERY)
def test_the_file_answers_without_headstart_as_the_classifier_does(run: Path, photos: Path, form: str) -> None:
    made = hs.export(run, format=form, quiet=True)
    assert made.path == run / f"model{EXPORTERS.get(form).suffix}"
    assert made.parity.photos == 12
    assert made.parity.same == 12
    assert made.parity.largest < 0.02
    names = sorted(photos.rglob("*.png"))[:5]
    classes, found = answers_alone(form, made.path, names)
    wanted = np.array([p.probabilities for p in hs.predict(run, names)])
    assert classes == ["cat", "dog", "owl"]
    assert np.abs(found - wanted).max() < 0.02
    beside = json.loads(made.path.with_name(made.path.name + ".json").read_text(encoding="utf-8"))
    assert beside["classes"] == classes
    assert beside["checked"]["same"] == 12
    assert {"preprocessing", "provenance", "input", "output"} <= beside.keys()
    assert str(photos).encode() not in made.path.read_bytes()  # whoever gets the file learns no folder's name
    left = {p.name for p in run.iterdir() if p.name.startswith(".") or "draft" in p.name or "between" in p.name}
    assert not left


@pytest.mark.parametrize("form", EVERY)
def test_the_file_names_no_folder_of_the_machine_that_wrote_it(run: Path, form: str) -> None:
    hs.export(run, format=form, quiet=True)
    here = [str(Path(module.__file__).parents[1]).encode() for module in (hs, torch)]  # type: ignore[arg-type]
    written = [
        run / f"model{suffix}" for suffix in (".onnx", ".pt2", ".xml", ".bin") if (run / f"model{suffix}").exists()
    ]
    assert written
    for file in written:
        parts = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                parts = [archive.read(name) for name in archive.namelist()]
        assert not [place for place in here if any(place in part for part in parts)], file.name


@pytest.mark.slow
@pytest.mark.parametrize("form", EVERY)
@pytest.mark.parametrize("size", [(1, 40, 60), (3, 60, 40), (2, 33, 200)])
def test_photos_of_any_size_and_number(run: Path, form: str, size: tuple[int, int, int]) -> None:
    runner = EXPORTERS.get(form).open(hs.export(run, format=form, quiet=True).path)
    photos = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = np.asarray(runner(photos))
    assert found.shape == (size[0], 3)
    assert np.allclose(found.sum(1), 1, atol=1e-4)
    assert np.allclose(found, np.concatenate([runner(photo[None]) for photo in photos]), atol=1e-4)


@pytest.mark.parametrize("form", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_smaller_and_says_what_it_cost(run: Path, form: str) -> None:
    if form == "openvino":
        pytest.importorskip("nncf")
    made = hs.export(run, format=form, int8=True, quiet=True)
    assert made.path.name == f"model.int8{EXPORTERS.get(form).suffix}"
    assert made.int8 is not None
    was, now = made.int8["before"], made.int8["after"]
    assert now["bytes"] < was["bytes"] * (0.5 if form == "onnx" else 0.8)
    assert 0 <= now["accuracy"] <= 1
    assert was["accuracy"] == hs_accuracy(run)
    assert f"{was['accuracy']:.4f} to {now['accuracy']:.4f}" in made.text
    names = sorted(Path(p) for p in photos_of(run))[:2]
    classes, _ = answers_alone(form, made.path, names)
    assert classes == ["cat", "dog", "owl"]  # the tool has dropped no metadata


def photos_of(run: Path) -> list[Path]:
    from headstart.runs.images import run_photos

    return [photo.path for photo in run_photos(run, ("val", "test"))]


def hs_accuracy(run: Path) -> float:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    right = sum(metrics[s]["accuracy"]["value"] * metrics[s]["photos"] for s in ("val", "test"))
    return pytest.approx(right / sum(metrics[s]["photos"] for s in ("val", "test")))  # type: ignore[return-value]


def test_a_file_that_disagrees_is_not_left(run: Path, request: pytest.FixtureRequest) -> None:
    """A graph whose last layer is another one stands for whatever an exporter may get wrong."""

    def write(graph: Any, path: Path, facts: dict[str, Any]) -> None:
        graph.head = copy.deepcopy(graph.head)  # the classifier's own stays as it is
        with torch.no_grad():
            last = next(m for m in graph.head.modules() if isinstance(m, torch.nn.Linear))
            last.weight.copy_(last.weight.roll(1, 0))
            last.bias.copy_(last.bias.roll(1, 0))
        TORCH.write(graph, path, facts)

    before = sorted(p.name for p in run.iterdir())
    EXPORTERS.register("wrong", replace(TORCH, name="wrong", write=write))
    request.addfinalizer(lambda: EXPORTERS.unregister("wrong"))
    with pytest.raises(RunError, match="predictions differ"):
        hs.export(run, format="wrong", quiet=True)
    assert sorted(p.name for p in run.iterdir()) == before


def test_where_the_photos_are_gone_others_can_be_named(run: Path, photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    request = json.loads((run / "request.json").read_text(encoding="utf-8"))
    request["options"]["data"] = str(tmp_path / "gone")
    (run / "request.json").write_text(json.dumps(request), encoding="utf-8")
    with pytest.raises(DataError, match="`photos`"):
        hs.export(run, format="torch", quiet=True)
    assert not (run / "model.pt2").exists()
    made = hs.export(run, format="torch", photos=[moved / "cat"], quiet=True)
    assert made.parity.photos == 12


def test_bad_photos_are_not_checked_on(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "good.png")
    (folder / "bad.png").write_bytes(b"nothing")
    assert hs.export(run, format="torch", photos=[folder], quiet=True).parity.photos == 1
    (folder / "good.png").unlink()
    with pytest.raises(DataError, match=r"None of the 1 photos"):
        hs.export(run, format="torch", photos=[folder], overwrite=True, quiet=True)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"format": "onxx"}, "onnx"), ({"format": "torch", "int8": True}, "`int8`"),
        ({"out": "model.bin"}, "ends in .onnx"), ({"out": "no/such/folder/model.onnx"}, "no folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_any_work(run: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        hs.export(run, **asked)


def test_an_existing_file_is_kept_unless_told_otherwise(run: Path) -> None:
    (run / "model.pt2").write_bytes(b"mine")
    with pytest.raises(OptionError, match="overwrite=True"):
        hs.export(run, format="torch", quiet=True)
    assert (run / "model.pt2").read_bytes() == b"mine"
    hs.export(run, format="torch", overwrite=True, quiet=True)
    assert (run / "model.pt2").stat().st_size > 1000


def test_int8_says_when_it_must_calibrate_on_what_it_is_checked_on(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "splits.csv").unlink()
    hs.export(run, int8=True, photos=[photos], quiet=True)
    assert "may be optimistic" in " ".join(capsys.readouterr().err.split())


def test_a_missing_package_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(OptionError, match="onnxscript") as told:
        hs.export(run, format="onnx")
    assert "headstart[export]" in told.value.hint


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_an_onnxscript_that_does_not_know_this_torch_is_named(
    run: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torch_of_tomorrow(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_99'")

    before = sorted(run.iterdir())
    monkeypatch.setattr(torch.onnx, "export", torch_of_tomorrow)
    with pytest.raises(OptionError, match=r"onnxscript \d.* does not fit torch \d.*torch_2_99") as told:
        hs.export(run, format=form, quiet=True)
    assert "pip install -U onnxscript" in told.value.hint
    assert sorted(run.iterdir()) == before


def test_photos_between_two_classes_are_not_held_against_a_file() -> None:
    wanted = np.array([[0.505, 0.495], [0.9, 0.1], [0.1, 0.9]])
    close = compare(wanted, np.array([[0.499, 0.501], [0.9, 0.1], [0.1, 0.9]]), 1.0)
    assert (close.same, close.undecided, close.good) == (2, 1, True)
    far = compare(wanted, np.array([[0.505, 0.495], [0.4, 0.6], [0.1, 0.9]]), 1.0)
    assert (far.same, far.undecided, far.good) == (2, 0, False)
    assert far.largest == pytest.approx(0.5)


def test_the_command(cli: Callable[..., Any], run: Path, refused: Callable[..., None]) -> None:
    answer = cli("export", run, "--format", "torch", "--json", "--quiet")
    found = json.loads(answer.out)
    assert found["path"] == str(run / "model.pt2")
    assert found["parity"]["same"] == found["parity"]["photos"] == 12
    refused(cli("export", run, "--format", "torch"), "--overwrite")
    refused(cli("export", run / "nothing", "--format", "torch"), "no model")
    assert "same class as the classifier for 12 of 12" in cli("export", run, "--format", "torch", "--overwrite").out


@pytest.mark.slow
@pytest.mark.parametrize("out", [None, "run/pets.pt2", "run/deep/pets.pt2"])
def test_a_new_training_removes_what_was_exported(
    train: Callable[..., Any], photos: Path, tmp_path: Path, out: str | None
) -> None:
    assert train(photos).code == 0
    (tmp_path / "run" / "deep").mkdir()
    made = hs.export(tmp_path / "run", format="torch", out=tmp_path / out if out else None, quiet=True)
    hs.explain(tmp_path / "run", [photos / "cat"], out=tmp_path / "run" / "deep" / "why", neighbours=0, quiet=True)
    assert made.path.stat().st_mode == (tmp_path / "run" / "metrics.json").stat().st_mode
    assert train(photos, "--overwrite").code == 0
    assert not list((tmp_path / "run").rglob("*.pt2*"))
    assert not (tmp_path / "run" / "deep").exists()


def test_a_file_beside_what_was_exported_keeps_the_run_from_being_replaced(
    train: Callable[..., Any], photos: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    assert train(photos).code == 0
    hs.explain(tmp_path / "run", [photos / "cat"], out=tmp_path / "run" / "why", neighbours=0, quiet=True)
    (tmp_path / "run" / "why" / "notes.txt").write_text("dear")
    refused(train(photos, "--overwrite"), "why")
    assert (tmp_path / "run" / "why" / "notes.txt").read_text() == "dear"

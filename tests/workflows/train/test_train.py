"""``train`` and ``resume``: what a run holds, and that it ends with the same weights however it was interrupted."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.core.events import Events
from headstart.data.split_table import read_splits
from headstart.errors import Interrupted, OptionError, RunError
from headstart.runs.folder import CONTENTS
from headstart.training.config import TrainOptions
from headstart.training.preparation import prepare


def test_a_run_holds_what_it_promises(probe_run: Path, photos: Path) -> None:
    assert {p.name for p in probe_run.iterdir()} == set(CONTENTS)
    metrics = json.loads((probe_run / "metrics.json").read_text(encoding="utf-8"))
    assert {"val", "test"} <= metrics.keys()
    for split in ("val", "test"):
        found = metrics[split]
        assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
        assert np.sum(found["confusion"]) == found["photos"]
        assert [row["label"] for row in found["report"]["classes"]] == ["cat", "dog", "owl"]
        assert 0 <= found["calibration"]["ece"] <= 1
    rows = read_splits(probe_run / "splits.csv")
    assert {row.path for row in rows} == {p.relative_to(photos).as_posix() for p in photos.rglob("*.png")}
    assert all(row.path.startswith(row.label) for row in rows)
    plan = json.loads((probe_run / "plan.json").read_text(encoding="utf-8"))
    assert plan["strategy"] == "probe"
    assert plan["reasons"]["precision"] == "you chose it"
    with (probe_run / "history.csv").open(encoding="utf-8") as file:
        assert {(row["strategy"], float(row["l2"]) > 0) for row in csv.DictReader(file)} == {("probe", True)}


def test_the_metrics_are_those_of_the_predictions(probe_run: Path) -> None:
    metrics = json.loads((probe_run / "metrics.json").read_text(encoding="utf-8"))
    with (probe_run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for split in ("val", "test"):
        right = [row["label"] == row["predicted"] for row in rows if row["split"] == split]
        assert len(right) == metrics[split]["photos"]
        assert np.mean(right) == pytest.approx(metrics[split]["accuracy"]["value"])


def test_provenance_says_where_it_is_from(probe_run: Path, weights: Path) -> None:
    provenance = json.loads((probe_run / "model.json").read_text(encoding="utf-8"))["provenance"]
    assert provenance["strategy"] == "probe"
    assert weights.name in provenance["backbone"]["source"]
    assert provenance["command"].startswith("headstart train ")
    assert len(provenance["data"]["digest"]) == 32
    assert {"headstart", "torch", "timm", "python", "seed"} <= provenance.keys()


def test_open_run_gives_what_train_gave(probe_run: Path) -> None:
    run = hs.open_run(probe_run)
    assert run.plan.strategy == "probe"
    assert run.classifier.classes == ("cat", "dog", "owl")
    assert hs.resume(probe_run, quiet=True).metrics == run.metrics


@pytest.mark.parametrize("head", ["linear", "mlp:8"])
@pytest.mark.parametrize("strategy", ["probe", "finetune", "partial"])
def test_the_saved_classifier_answers_as_the_metrics_say(
    photos: Path, weights: Path, tmp_path: Path, strategy: str, head: str
) -> None:
    """Rule 2: the preprocessing, and the precision, of the evaluation are those of every later use."""
    settings = {"epochs": 1, "batch_size": 8}
    asked = {"backbone": "starter", "weights": str(weights), "strategy": strategy, "head": head, "settings": settings}
    run = hs.train(photos, out=tmp_path / "run", quiet=True, **asked)
    with (run.path / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    answers = list(hs.predict(run.path, [photos / row["path"] for row in rows]))
    for row, answer in zip(rows, answers, strict=True):
        assert answer.confidence == pytest.approx(float(row["confidence"]), abs=2e-6)
    assert hs.evaluate(run.path, photos, quiet=True)["photos"] == 36


def test_quiet_says_nothing(photos: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = {"backbone": "starter", "weights": str(weights), "strategy": "finetune", "settings": {"epochs": 1}}
    hs.train(photos, out=tmp_path / "run", quiet=True, **asked)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""


def stopped(data: Path | str, weights: Path | str, out: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a probe and interrupt it where training would start."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("headstart.workflows.train.train.fit", stop)
        with pytest.raises(Interrupted, match="resume"):
            hs.train(data, out=out, backbone="starter", weights=weights, strategy="probe", quiet=True)


def test_a_run_whose_folder_is_deleted_meanwhile_does_not_end_well(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.workflows.train import train

    real = train.fit

    def deleted(context: Any) -> Any:
        found = real(context)
        shutil.rmtree(tmp_path / "run")
        return found

    monkeypatch.setattr("headstart.workflows.train.train.fit", deleted)
    with pytest.raises(RunError, match="was deleted or renamed while it was trained"):
        hs.train(photos, out=tmp_path / "run", backbone="starter", weights=weights, strategy="probe", quiet=True)
    assert not (tmp_path / "run" / "model.json").exists()


def test_photos_that_changed_are_not_trained_on_after_a_resume(
    class_folder: Callable[..., Path], draw_photo: Callable[..., Path], weights: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data = class_folder(per_class=8)
    stopped(data, weights, tmp_path / "run", monkeypatch)
    draw_photo(data / "cat" / "cat_000.png", 1, np.random.default_rng(77))
    with pytest.raises(RunError, match="are not those"):
        hs.resume(tmp_path / "run", quiet=True)


def test_a_resume_works_from_another_folder(
    class_folder: Callable[..., Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folder(per_class=8)
    (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    stopped("photos", "w.safetensors", "run", monkeypatch)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert hs.resume("../run", quiet=True).metrics["val"]["photos"] == 2


# -- prepare --


def test_a_size_is_chosen_once_for_reading_and_for_the_plan(
    tmp_path: Path, draw_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos whose headers say one size and of which the readable ones have another."""
    rng = np.random.default_rng(0)
    for c, label in enumerate(("cat", "dog")):
        for i in range(6):
            draw_photo(tmp_path / "p" / label / f"{i}.png", c, rng, (40, 40))
        for i in range(6, 12):
            big = draw_photo(tmp_path / "p" / label / f"{i}.png", c, rng, (200, 200))
            big.write_bytes(big.read_bytes()[:-3000])
    options = TrainOptions(str(tmp_path / "p"), backbone="resnet18", strategy="scratch")
    prepared = prepare(options, Events())
    assert prepared.photos.pixels.resize == max(prepared.plan.image_size, prepared.plan.resize)


def test_a_resize_below_the_input_size_is_refused(photos: Path, weights: Path) -> None:
    options = TrainOptions(str(photos), backbone="starter", weights=str(weights), settings={"resize": 20})
    with pytest.raises(OptionError, match="resize"):
        prepare(options, Events())


def test_a_larger_resize_crops_the_centre_everywhere(photos: Path, weights: Path, tmp_path: Path) -> None:
    asked = {"backbone": "starter", "weights": str(weights), "strategy": "probe", "settings": {"resize": 40}}
    run = hs.train(photos, out=tmp_path / "run", quiet=True, **asked)
    assert (run.classifier.preprocessing.image_size, run.classifier.preprocessing.resize) == (32, 40)
    assert hs.evaluate(run.path, photos, quiet=True)["accuracy"]["value"] > 0.8


# -- killed --


def test_a_resume_refuses_another_plan(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(photos, weights, tmp_path / "run", monkeypatch)
    kept = tmp_path / "run" / "state" / "plan.json"
    plan = json.loads(kept.read_text())
    kept.write_text(json.dumps({**plan, "precision": "float16"}))
    with pytest.raises(RunError, match="precision: float16, "):
        hs.resume(tmp_path / "run", quiet=True)
    kept.write_text(json.dumps(plan))
    assert hs.resume(tmp_path / "run", quiet=True).metrics["test"]["photos"] > 0


DRIVER = '''
"""Train in forked children that are killed at chosen moments, resume, and print the digest of the weights each time."""
import hashlib, json, os, signal, sys
import headstart as hs
from headstart.workflows.train import files
from headstart.core.array_store import RowStore
from headstart.inference.classifier import Classifier
from headstart.models import serialization
from headstart.training import trainer as loop
import matplotlib.figure, timm, torch  # once here, and not in every child
import headstart.models.factory, headstart.workflows.train.report

headstart.workflows.train.report.run_page = lambda *_: "a page"  # drawing it takes as long as the training here
photos, weights, place, strategy, head = sys.argv[1:]
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = -1.0  # a state after every batch, so that kills fall between and within them
loop.CHECKPOINT_SHARE = float("inf")


def begin(out):
    hs.train(photos, out=out, backbone="starter", weights=weights, strategy=strategy, head=head, quiet=True,
             dropout=(0.2,), settings={"epochs": 2, "batch_size": 8, "precision": "float32"})


def in_child(work):
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(module, name, number, before, half=None):
    """Kill at the n-th call of a function: before it, after it, or when half of its work is done."""
    original, calls = getattr(module, name), [0]

    def watched(*args, **kwargs):
        calls[0] += 1
        if calls[0] == number and half:
            half(*args)
            die()
        if calls[0] == number and before:
            die()
        result = original(*args, **kwargs)
        if calls[0] == number:
            die()
        return result

    setattr(module, name, watched)


def half_a_file(tensors, path, **_):
    with open(path, "wb") as out:
        out.write(b"half")


MOMENTS = {
    "the first state is about to be written": (loop, "save_state", 1, True, None),
    "a state is half-written": (serialization, "save_file", 3, False, half_a_file),
    "a state was written": (loop, "save_state", 5, False, None),
    "a file is renamed": (os, "replace", 7, False, None),
    "the weights are written": (Classifier, "save", 1, False, None),
    "the report is about to be written": (files, "write_text", 1, True, None),
}


def digest(out):
    with open(out + "/model.safetensors", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


assert in_child(lambda: begin(place + "/whole")) == 0
found = {"never": digest(place + "/whole")}
for n, (moment, where) in enumerate(MOMENTS.items()):
    out = f"{place}/run{n}"
    os.environ["HEADSTART_CACHE"] = f"{place}/cache{n}"

    def killed():
        at_call(*where)
        begin(out)

    status = in_child(killed)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
    assert not os.path.exists(out + "/report.html"), moment
    if os.path.exists(out + "/request.json"):
        assert in_child(lambda: hs.resume(out, quiet=True)) == 0, moment
    else:  # killed before the run was begun: the same command starts it
        assert in_child(lambda: begin(out)) == 0, moment
    found[moment] = digest(out)
print(json.dumps(found))
'''


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="children are forked")
@pytest.mark.parametrize(("strategy", "head"), [("lp-ft", "linear"), ("partial", "linear"), ("probe", "mlp:8")])
def test_killed_at_any_moment_a_resumed_run_ends_with_the_same_bits(
    photos: Path, weights: Path, tmp_path: Path, strategy: str, head: str
) -> None:
    words = [sys.executable, "-c", DRIVER, str(photos), str(weights), str(tmp_path), strategy, head]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    digests = json.loads(done.stdout)
    assert len(digests) == 7
    assert {moment for moment, value in digests.items() if value != digests["never"]} == set()


def test_a_resumed_run_names_its_photos_as_an_uninterrupted_one(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they were typed: from another folder too."""
    import headstart as hs
    from headstart.core.events import EpochEnd
    from headstart.errors import Interrupted

    def stop(event: object) -> None:
        if isinstance(event, EpochEnd):
            raise KeyboardInterrupt

    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine").symlink_to(photos)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(Interrupted):
        hs.train(
            "mine", out="run", backbone="starter", weights=str(weights), strategy="finetune", epochs=2, quiet=True,
            listener=stop,
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run = hs.resume("here/run", quiet=True)
    assert run.classifier.provenance["command"].startswith("headstart train mine --out run ")

"""What headstart 0.1.0 left on disk still opens: runs, interrupted trainings, studies, comparisons and the cache.

The files lie in ``fixtures/format-0.1``; ``fixtures/make_format_0_1.py`` says how that headstart made them. They are
used as a user would, by ``import headstart`` and ``python -m headstart``: code may move, and these tests need not.
"""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import headstart as hs
from headstart.errors import OptionError, RunError

STORED = Path(__file__).parent / "fixtures" / "format-0.1"
TEXT = (".json", ".csv", ".md", ".yaml")
INTERRUPTED = ("finetune-interrupted", "auto-interrupted")
LAST_ARM = Path("arms") / "tuned-1"

Earlier = Callable[..., Path]
Headstart = Callable[..., "Answer"]


class Answer(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def headstart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Headstart:
    """``headstart("train", folder)`` is ``python -m headstart train folder``, in this process."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, words)])
        code = 0
        try:
            runpy.run_module("headstart", run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """``earlier("photos", "run")`` lays these out in ``tmp_path``, as if they had been made there, and gives the place
    of the last.
    """

    def lay_out(*names: str) -> Path:
        for name in names:
            if (STORED / name).is_dir():
                shutil.copytree(STORED / name, tmp_path / name)
            elif (STORED / f"{name}.zip").exists():
                with zipfile.ZipFile(STORED / f"{name}.zip") as packed:
                    packed.extractall(tmp_path)
            else:
                shutil.copy(STORED / name, tmp_path / name)
        for path in tmp_path.rglob("*"):
            if path.suffix in TEXT and "@HERE@" in (text := path.read_text(encoding="utf-8")):
                path.write_text(text.replace("@HERE@", tmp_path.as_posix()), encoding="utf-8")
        return tmp_path / names[-1].removesuffix("-interrupted" if names[-1] not in INTERRUPTED else "")

    return lay_out


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What the earlier headstart was told and what it answered."""
    return json.loads((STORED / "recorded.json").read_text(encoding="utf-8"))


@pytest.fixture
def again(recorded: dict[str, Any], tmp_path: Path, headstart: Headstart) -> Callable[..., Answer]:
    """``again("study")`` gives the command with which the earlier headstart made the study."""

    def give(name: str, *more: str) -> Answer:
        return headstart(*(word.replace("@HERE@", tmp_path.as_posix()) for word in recorded["commands"][name]), *more)

    return give


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def change(path: Path, *, within: str = "", without: str = "", **new: Any) -> None:
    """Put keys into a JSON file, or into the mapping of that name in it, and take one out."""
    whole = read(path)
    part = whole[within] if within else whole
    part |= new
    if without:
        del part[without]
    path.write_text(json.dumps(whole), encoding="utf-8")


def files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file: the same where nothing was written."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same_weights(run: Path, expected: Path, recorded: dict[str, Any]) -> None:
    """Bit for bit, where arithmetic here is that of the machine on which the files were made."""
    mine, theirs = load_file(run / "model.safetensors"), load_file(expected)
    assert mine.keys() == theirs.keys()
    exact = runpy.run_path(str(STORED.parent / "make_format_0_1.py"))["arithmetic"]() == recorded["arithmetic"]
    for name, tensor in theirs.items():
        same = torch.equal(mine[name], tensor) if exact else torch.allclose(mine[name], tensor, atol=1e-5)
        assert same, name


def assert_same_answers(run: Path, before: list[dict[str, str]]) -> None:
    after = rows(run / "predictions.csv")
    assert [{**row, "confidence": ""} for row in after] == [{**row, "confidence": ""} for row in before]
    for mine, theirs in zip(after, before, strict=True):
        assert float(mine["confidence"]) == pytest.approx(float(theirs["confidence"]), abs=1e-3)


# -- a finished run --


def test_a_run_opens_with_its_figures_its_plan_and_its_classes(earlier: Earlier) -> None:
    path = earlier("run")
    run = hs.open_run(path)
    assert run.metrics == read(path / "metrics.json")
    assert (run.plan.strategy, run.plan.image_size, run.plan.precision) == ("probe", 32, "float32")
    assert run.plan.reasons["image_size"] == "you chose it"
    assert run.classifier.classes == ("cat", "dog", "owl")
    assert run.classifier.provenance["headstart"] == "0.1.0"
    assert run.summary["strategy"] == "probe"
    assert "maxpool" in hs.describe(path)


def test_the_tables_of_a_run_become_frames_and_a_figure(earlier: Earlier) -> None:
    pytest.importorskip("pandas")
    run = hs.open_run(earlier("run"))
    assert set(run.history()["strategy"]) == {"probe"}
    assert list(run.predictions().columns) == ["path", "split", "label", "predicted", "confidence"]
    assert run.figure().axes


def test_a_run_names_photos_as_it_did(earlier: Earlier, recorded: dict[str, Any], tmp_path: Path) -> None:
    run = earlier("photos", "run")
    before = recorded["predictions"]
    assert len(before) == 54
    now = list(hs.predict(run, [tmp_path / one["path"] for one in before], coverage=0.8, device="cpu"))
    for mine, theirs in zip(now, before, strict=True):
        assert mine.label == theirs["label"]
        assert mine.probabilities == pytest.approx(list(theirs["probabilities"].values()), abs=1e-4)
        assert mine.distance == pytest.approx(theirs["distance"], abs=1e-3)
        if abs(theirs["distance"] - 1) > 1e-3:  # the photo that the unit was taken from lies at 1, but for rounding
            assert mine.unknown == theirs["unknown"]
        assert list(mine.labels or ()) == theirs["labels"]


def test_the_command_line_names_photos_as_it_did(
    earlier: Earlier, recorded: dict[str, Any], headstart: Headstart, tmp_path: Path
) -> None:
    run = earlier("photos", "run")
    said = headstart("predict", run, tmp_path / "photos", "--json", "--device", "cpu")
    assert said.code == 0, said.err
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [one["label"] for one in found] == [one["label"] for one in recorded["predictions"]]


def test_a_run_is_measured_as_it_was(earlier: Earlier, recorded: dict[str, Any], tmp_path: Path) -> None:
    run = earlier("photos", "run")
    found, before = hs.evaluate(run, tmp_path / "photos", device="cpu", quiet=True), recorded["evaluate"]
    assert found["accuracy"] == pytest.approx(before["accuracy"])
    assert found["confusion"] == before["confusion"]
    assert found["log_loss"] == pytest.approx(before["log_loss"], abs=1e-4)
    assert found["classes"] == before["classes"]
    assert found["certainty"]["unknown"] == pytest.approx(before["certainty"]["unknown"], abs=1.5 / 54)


def test_a_run_finds_its_photos_again(earlier: Earlier, tmp_path: Path) -> None:
    run = earlier("photos", "run")
    photo = tmp_path / "photos" / "cat" / "cat-00.png"
    found = hs.explain(run, [photo], neighbours=2, device="cpu", quiet=True)
    assert found.page.exists()
    assert not found.bad
    curve = hs.forecast(run, quiet=True)
    assert curve.summary


def test_a_server_answers_for_a_run(earlier: Earlier, recorded: dict[str, Any], tmp_path: Path) -> None:
    for needed in ("fastapi", "python_multipart", "prometheus_client"):
        pytest.importorskip(needed)
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    run, before = earlier("photos", "run"), recorded["predictions"][:3]
    with TestClient(application(run, device="cpu")) as client:
        photos = [("files", (one["path"], (tmp_path / one["path"]).read_bytes())) for one in before]
        found = client.post("/predict", files=photos).json()["predictions"]
        about = client.get("/model").json()
    for mine, theirs in zip(found, before, strict=True):
        assert mine["label"] == theirs["label"]
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-4)
    assert about["classes"] == ["cat", "dog", "owl"]
    assert about["figures"]["test"]["photos"] == 9


def test_a_training_starts_from_the_network_of_a_run(earlier: Earlier, headstart: Headstart, tmp_path: Path) -> None:
    run, out = earlier("photos", "run"), tmp_path / "next"
    words = ("--strategy", "probe", "--precision", "float32", "--device", "cpu")
    said = headstart("train", tmp_path / "photos", "--from", run, *words, "--out", out)
    assert said.code == 0, said.err
    before, after = (read(place / "model.json")["provenance"]["backbone"] for place in (run, out))
    assert after["weights_digest"] == before["weights_digest"]
    assert read(out / "model.json")["architecture"] == read(run / "model.json")["architecture"]


def test_the_table_of_splits_gives_the_same_splits_again(
    earlier: Earlier, headstart: Headstart, tmp_path: Path
) -> None:
    run, table, out = earlier("photos", "run"), tmp_path / "photos" / "splits.csv", tmp_path / "next"
    shutil.copy(run / "splits.csv", table)
    words = ("--backbone", "starter", "--cut", "maxpool", "--strategy", "probe", "--device", "cpu", "--out", out)
    said = headstart("train", table, *words)
    assert said.code == 0, said.err
    before, after = ({(r["path"], r["split"]) for r in rows(place / "splits.csv")} for place in (run, out))
    assert after == before


def test_a_finished_run_is_given_back_when_it_is_resumed(earlier: Earlier, headstart: Headstart) -> None:
    run = earlier("photos", "run")
    before = files_below(run)
    said = headstart("train", "--resume", run, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["metrics"] == read(run / "metrics.json")
    assert files_below(run) == before


def test_a_run_with_what_export_added_is_replaced_when_that_is_asked_and_not_before(
    earlier: Earlier, again: Callable[..., Answer], tmp_path: Path
) -> None:
    earlier("photos", "run", "exported")
    run = tmp_path / "run"
    with pytest.raises(OptionError, match="exists"):
        hs.export(run, format="openvino", quiet=True)
    before = files_below(run)
    refused = again("run")
    assert (refused.code, "--overwrite" in refused.err) == (2, True)
    assert files_below(run) == before
    said = again("run", "--overwrite")
    assert said.code == 0, said.err
    assert not list(run.glob("model.xml*"))
    assert_same_answers(run, rows(STORED / "run" / "predictions.csv"))


def test_an_exported_file_answers_as_its_run_did(earlier: Earlier, recorded: dict[str, Any], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    import numpy as np
    from PIL import Image

    earlier("photos", "run", "exported")
    run = tmp_path / "run"
    assert read(run / "model.xml.json")["classes"] == ["cat", "dog", "owl"]
    model = openvino.Core().compile_model(str(run / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for one in recorded["predictions"][:3]:
        photo = np.asarray(Image.open(tmp_path / one["path"]).convert("RGB"))
        found = np.array(model([photo[None]])[0])[0]
        assert list(found) == pytest.approx(list(one["probabilities"].values()), abs=0.02)  # weights of 16 bits


# -- an interrupted training --


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_training_ends_with_the_weights_that_it_would_have_had(
    earlier: Earlier, recorded: dict[str, Any], headstart: Headstart, name: str
) -> None:
    run, expected = earlier("photos", name), recorded["resumed"][name]
    said = headstart("train", "--resume", run)
    assert said.code == 0, said.err
    assert "Resumed at epoch 4" in said.err
    assert_same_weights(run, STORED / f"{name}-resumed.safetensors", recorded)
    training = hs.open_run(run).metrics["training"]
    assert (training["strategy"], training["decision"]) == (expected["strategy"], expected["decision"])
    assert len(rows(run / "history.csv")) == expected["epochs"]
    assert read(run / "metrics.json")["test"]["accuracy"]["value"] == pytest.approx(expected["test_accuracy"])
    assert (run / "report.html").exists()
    assert not (run / "state").exists()


def test_an_interrupted_training_is_no_model_yet_and_says_how_to_go_on(earlier: Earlier) -> None:
    run = earlier("finetune-interrupted")
    with pytest.raises(RunError, match=r"hs\.resume"):
        hs.open_run(run)


def test_an_interrupted_training_is_not_gone_on_with_on_other_photos(earlier: Earlier, tmp_path: Path) -> None:
    run = earlier("photos", "finetune-interrupted")
    photos = tmp_path / "photos"
    shutil.copy(photos / "cat" / "cat-00.png", photos / "dog" / "dog-00.png")
    with pytest.raises(RunError, match="not those"):
        hs.resume(run, quiet=True)


# -- a study --


@pytest.fixture
def study(earlier: Earlier) -> Path:
    """A finished study, with its photos and its recipe."""
    return earlier("photos", "recipe.yaml", "study")


def unfinish(study: Path) -> list[dict[str, str]]:
    """Take away the study's last training, and what was written after it; returns what that training answered."""
    answers = rows(study / LAST_ARM / "predictions.csv")
    shutil.rmtree(study / LAST_ARM)
    for name in ("report.html", "study.json"):
        (study / name).unlink()
    return answers


def test_a_finished_study_trains_nothing_anew(study: Path, again: Callable[..., Answer]) -> None:
    before, told = files_below(study / "arms"), read(study / "study.json")
    said = again("study", "--json")
    assert said.code == 0, said.err
    assert files_below(study / "arms") == before
    assert read(study / "study.json") == told


def test_a_study_that_lacks_its_last_training_does_that_one_only(study: Path, again: Callable[..., Answer]) -> None:
    told = read(study / "study.json")
    answers = unfinish(study)
    before = files_below(study / "arms")
    said = again("study")
    assert said.code == 0, said.err
    after = files_below(study / "arms")
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} == {LAST_ARM.name}
    assert_same_answers(study / LAST_ARM, answers)
    for mine, theirs in zip(read(study / "study.json")["arms"], told["arms"], strict=True):
        assert mine["arm"] == theirs["arm"]
        assert mine["values"] == pytest.approx(theirs["values"])


def test_a_study_that_was_stopped_in_a_training_goes_on_within_it(
    study: Path, earlier: Earlier, again: Callable[..., Answer]
) -> None:
    answers = unfinish(study)
    earlier("study-interrupted")
    before = files_below(study / "arms")
    said = again("study")
    assert said.code == 0, said.err
    after = files_below(study / "arms")
    assert {n for n in before if after.get(n) != before[n]} <= {n for n in before if n.startswith(LAST_ARM.name)}
    assert not (study / LAST_ARM / "state").exists()
    assert read(study / LAST_ARM / "request.json")["mistakes"] == ["sigmoid"]
    assert_same_answers(study / LAST_ARM, answers)


def test_a_study_reads_the_state_of_the_training_that_it_was_stopped_in(
    study: Path, earlier: Earlier, again: Callable[..., Answer]
) -> None:
    unfinish(study)
    earlier("study-interrupted")
    state = study / LAST_ARM / "state" / "finetune" / "last.safetensors"
    state.write_bytes(state.read_bytes()[:500])
    said = again("study")
    assert said.code == 2
    assert "last.safetensors" in said.err


# -- a comparison --


def test_a_finished_comparison_is_not_made_anew(earlier: Earlier, again: Callable[..., Answer]) -> None:
    path = earlier("photos", "comparison")
    before = files_below(path)
    said = again("comparison")
    assert (said.code, "--overwrite" in said.err) == (2, True)
    assert files_below(path) == before


def test_an_interrupted_comparison_goes_on_and_ends_as_it_would_have(
    earlier: Earlier, again: Callable[..., Answer], tmp_path: Path
) -> None:
    path = earlier("photos", "comparison-interrupted")
    before = files_below(path / "arms")
    assert len(before) == 4
    said = again("comparison", "--json")
    assert said.code == 0, said.err
    after = files_below(path / "arms")
    assert {name: after[name] for name in before} == before
    assert len(after) == 6
    assert not list((path / "state").glob("*"))
    whole = json.loads(zipfile.ZipFile(STORED / "comparison.zip").read("comparison/comparison.json"))
    for mine, theirs in zip(json.loads(said.out)["arms"], whole["arms"], strict=True):
        assert (mine["group"], mine["arm"]) == (theirs["group"], theirs["arm"])
        assert mine["values"] == pytest.approx(theirs["values"])
    assert [d["verdict"] for d in read(path / "comparison.json")["differences"]] == [
        d["verdict"] for d in whole["differences"]
    ]


def test_a_comparison_reads_the_state_of_the_training_that_it_was_stopped_in(
    earlier: Earlier, again: Callable[..., Answer]
) -> None:
    path = earlier("photos", "comparison-interrupted")
    (state,) = (path / "state").rglob("last.safetensors")
    state.write_bytes(state.read_bytes()[:500])
    said = again("comparison")
    assert said.code == 2
    assert "last.safetensors" in said.err


# -- the cache --


@pytest.mark.parametrize("name", ["run", "partial"])
def test_what_the_cache_holds_is_not_computed_again(
    earlier: Earlier, again: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cache = earlier("photos", "cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    before = {name: content for name, (content, _) in files_below(cache).items()}
    assert len(before) == 24
    said = again(name)
    assert said.code == 0, said.err
    assert {name: content for name, (content, _) in files_below(cache).items()} == before


def test_rows_that_are_gone_from_the_cache_are_computed_again(
    earlier: Earlier, again: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = earlier("photos", "cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    stores = sorted(store.name for store in (cache / "rows").iterdir())
    for store in (cache / "rows").glob("features-*"):
        shutil.rmtree(store)
    assert again("run").code == 0
    made = list((cache / "rows").glob("features-*"))
    assert len(made) == 1
    assert made[0].name in stores, "the earlier headstart would find these, too"


# -- files of a headstart that is a little older, a little newer, or too new --

LATER = {"added_later": {"a": 1}}


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("plan.json", ""),
        pytest.param("plan.json", "reasons"),
        pytest.param("metrics.json", ""),
        pytest.param("request.json", ""),
        pytest.param("request.json", "options"),
        pytest.param("model.json", ""),
        pytest.param("model.json", "architecture"),
        pytest.param("model.json", "preprocessing"),
        pytest.param("model.json", "provenance"),
    ],
)
def test_a_run_with_a_key_more_opens(earlier: Earlier, tmp_path: Path, file: str, within: str) -> None:
    path = earlier("photos", "run")
    change(path / file, within=within, **LATER)
    run = hs.open_run(path)
    assert run.plan.strategy == "probe"
    (answer,) = hs.predict(path, [tmp_path / "photos" / "cat" / "cat-00.png"])
    assert answer.label == "cat"
    assert hs.resume(path, quiet=True).metrics == run.metrics


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("request.json", ""),
        pytest.param("request.json", "options"),
        pytest.param("state/plan.json", ""),
    ],
)
def test_an_interrupted_training_with_a_key_more_goes_on(
    earlier: Earlier, recorded: dict[str, Any], file: str, within: str
) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / file, within=within, **LATER)
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_loop_whose_state_says_more_goes_on(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    state = run / "state" / "finetune" / "last.safetensors"
    with safe_open(state, framework="pt") as opened:
        facts = json.loads(opened.metadata()["facts"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    save_file(tensors, state, metadata={"facts": json.dumps({**facts, **LATER})})
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_plan_that_lacks_a_setting_has_its_default(earlier: Earlier) -> None:
    path = earlier("run")
    change(path / "plan.json", without="views")
    plan = hs.open_run(path).plan
    assert isinstance(plan.views, int)
    assert plan.strategy == "probe"


def test_an_interrupted_training_whose_plan_lacks_a_setting_goes_on(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / "state" / "plan.json", without="views")
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_request_that_lacks_an_option_has_its_default(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    for option in ("log", "allow_leakage", "on_bad"):
        change(run / "request.json", within="options", without=option)
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("comparison.json", ""),
        pytest.param("comparison-request.json", ""),
        pytest.param("comparison-request.json", "options"),
        pytest.param("arms/4-per-class-probe-0.json", ""),
    ],
)
def test_an_interrupted_comparison_with_a_key_more_goes_on(
    earlier: Earlier, again: Callable[..., Answer], file: str, within: str
) -> None:
    path = earlier("photos", "comparison")
    for name in ("report.html", "arms/4-per-class-probe-1.json"):  # as if it had been stopped
        (path / name).unlink()
    change(path / file, within=within, **LATER)
    said = again("comparison")
    assert said.code == 0, said.err
    assert (path / "report.html").exists()


def test_a_study_whose_trainings_have_keys_more_is_gone_on_with(study: Path, again: Callable[..., Answer]) -> None:
    run = study / "arms" / "few-2-0"
    for file in ("plan.json", "metrics.json", "model.json", "request.json"):
        change(run / file, **LATER)
    change(run / "request.json", within="options", **LATER)
    change(study / "study.json", **LATER)
    said = again("study")
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("plan.json"),
        pytest.param("metrics.json"),
        pytest.param("model.json"),
    ],
)
def test_a_run_of_a_newer_format_is_told_to_be_one(earlier: Earlier, file: str) -> None:
    path = earlier("run")
    change(path / file, format=99)
    with pytest.raises(RunError, match="newer than this headstart") as told:
        hs.open_run(path)
    assert file in told.value.problem
    assert "Update headstart" in told.value.hint


@pytest.mark.parametrize(
    "file",
    [pytest.param("request.json"), pytest.param("state/plan.json")],
)
def test_an_interrupted_training_of_a_newer_format_is_left_as_it_is(
    earlier: Earlier, headstart: Headstart, file: str
) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / file, format=99)
    before = files_below(run)
    said = headstart("train", "--resume", run)
    assert said.code == 2
    assert said.err.count("headstart: ") == 1
    assert "newer than this headstart" in said.err
    assert files_below(run) == before


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("comparison-request.json"),
        pytest.param("arms/4-per-class-probe-0.json"),
    ],
)
def test_a_comparison_of_a_newer_format_is_left_as_it_is(
    earlier: Earlier, again: Callable[..., Answer], file: str
) -> None:
    path = earlier("photos", "comparison")
    (path / "report.html").unlink()
    change(path / file, format=99)
    before = files_below(path / "arms")
    said = again("comparison")
    assert said.code == 2
    assert "newer than this headstart" in said.err
    assert files_below(path / "arms") == before

"""The whole of ``recommend``: by Python and by the real command line, and every unhappy path."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.errors import DataError, OptionError, WeightsError
from headstart.models import timm_networks
from headstart.models.resnet import TORCHVISION_RESNETS, TorchvisionResNets
from headstart.models.timm_networks import TimmNetworks
from headstart.workflows.recommend import recommend as recommending

FLOAT: dict[str, Any] = {"quiet": True, "precision": "float32"}


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.training.throughput.ENOUGH_SECONDS", 0.0)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network: every download fails, and is noted."""
    asked: list[str] = []

    def fails(self: Any, entry: Any) -> Path:
        asked.append(entry.name)
        raise WeightsError(f"the weights of {entry.name} could not be fetched: no connection")

    for provider in (TorchvisionResNets, TimmNetworks):
        monkeypatch.setattr(provider, "fetch", fails)
    monkeypatch.setattr(timm_networks, "in_hub_cache", lambda *_: None)
    monkeypatch.setattr(timm_networks, "packaged", lambda *_: None)
    return asked


def two(weights: Path) -> list[str]:
    return [f"starter --weights {weights}", f"starter@layer1 --weights {weights}"]


def test_backbones_are_ranked_and_the_command_trains(photos: Path, weights: Path, tmp_path: Path) -> None:
    found = hs.recommend(photos, backbones=two(weights), seed=3, **FLOAT)
    assert {row["backbone"] for row in found.rows} == {"starter", "starter@layer1"}
    first, second = found.rows
    assert first["accuracy"] >= second["accuracy"] > 0.5
    assert first["low"] <= first["accuracy"] <= first["high"]
    assert second["ahead"] >= 0.5
    assert first["ahead"] is None
    words = shlex.split(found.command)
    assert words[:4] == ["headstart", "train", str(photos), "--backbone"]
    assert words[-4:] == ["--seed", "3", "--set", "precision=float32"]


def test_its_command_can_be_given_as_it_is(
    photos: Path, weights: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    found = hs.recommend(photos, backbones=f"starter@layer1 --weights {weights} --mean .5,.5,.5", **FLOAT)
    answer = cli(*shlex.split(found.command)[1:], "--strategy", "probe", "--out", tmp_path / "run", "--quiet")
    assert answer.code == 0, answer
    made = json.loads((tmp_path / "run" / "model.json").read_text(encoding="utf-8"))
    assert made["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert made["architecture"]["cut"].startswith("layer1")


def test_features_are_those_that_a_probe_will_train_on(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hs.recommend(photos, backbones=f"starter --weights {weights}", **FLOAT)
    monkeypatch.setattr("headstart.inference.features.photo_batches", lambda *_: pytest.fail("they are in the cache"))
    hs.train(photos, out=tmp_path / "run", backbone="starter", weights=weights, strategy="probe", **FLOAT)


def test_every_figure_is_what_it_says(photos: Path, weights: Path) -> None:
    row = hs.recommend(photos, backbones=f"starter --weights {weights}", **FLOAT).rows[0]
    from headstart.models.factory import create

    made = create("starter", weights=weights)
    assert row["parameters"] == sum(p.numel() for p in made.parameters())
    assert row["mb"] == pytest.approx(4 * row["parameters"] / 1e6, rel=0.02)
    assert row["ms"] == pytest.approx(1000 / row["images_per_second"])
    assert row["seconds"] == pytest.approx(36 / row["images_per_second"])
    assert (row["dim"], row["imagenet"]) == (made.dim, None)


def test_the_same_request_gives_the_same_ranking(photos: Path, weights: Path) -> None:
    kept = ("backbone", "accuracy", "knn", "logme")
    once, again = (
        [[row[name] for name in kept] for row in hs.recommend(photos, backbones=two(weights), sample=20, **FLOAT).rows]
        for _ in range(2)
    )
    assert once == again


def test_the_test_split_is_not_read(class_folder: Callable[..., Path], weights: Path) -> None:
    folder = class_folder(splits=("train", "test"), per_class=8)
    for file in (folder / "test").rglob("*.png"):
        file.write_bytes(b"no photo")
    found = hs.recommend(folder, backbones=f"starter --weights {weights}", on_bad="fail", **FLOAT)
    assert found.measured["photos"] == found.measured["of"] == 16


def test_duplicates_do_not_predict_each_other(tmp_path: Path, weights: Path) -> None:
    """Noise that every class holds twice: a copy in the other fold would name it, nothing else can."""
    rng = np.random.default_rng(0)
    for i in range(40):
        picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        folder = tmp_path / "noise" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{i}.png")
        picture.save(folder / f"{i}-copy.png")
    row = hs.recommend(tmp_path / "noise", backbones=f"starter --weights {weights}", **FLOAT).rows[0]
    assert row["accuracy"] < 0.75
    assert row["knn"] < 0.75


def test_a_photo_that_cannot_be_read_is_said_once_and_left_out(
    class_folder: Callable[..., Path], weights: Path, cli: Callable[..., Any]
) -> None:
    folder = class_folder(per_class=8)
    (folder / "cat" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    words = ("--backbones", two(weights)[0], "--backbones", f"{two(weights)[1]} --image-size 64")
    answer = cli("recommend", folder, *words, "--json")
    assert answer.code == 0, answer
    assert json.loads(answer.out)["measured"]["photos"] == 16
    assert answer.err.count("cut.jpg") == 1


# -- budgets --


def test_over_the_budget_is_listed_with_the_reason(photos: Path, weights: Path) -> None:
    found = hs.recommend(photos, backbones=two(weights), max_mb=1, **FLOAT)
    assert [row["backbone"] for row in found.rows] == ["starter@layer1"]
    assert found.over[0]["backbone"] == "starter"
    assert "MB, above 1 MB" in found.over[0]["reason"]
    assert "over the budget:" in found.text


@pytest.mark.parametrize(
    ("budget", "words"),
    [({"max_ms": 5.0}, "10 ms per photo, above 5 ms"), ({"time": "0.3s"}, "0.4 s for all photos, above 0.3 s")],
    ids=["max-ms", "time"],
)
def test_the_slow_ones_are_over(
    photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any], words: str
) -> None:
    rates = iter([100.0, 400.0])
    monkeypatch.setattr(recommending, "photos_per_second", lambda *_: next(rates))
    found = hs.recommend(photos, backbones=two(weights), **budget, **FLOAT)
    assert [row["backbone"] for row in found.rows] == ["starter@layer1"]
    assert words in found.over[0]["reason"]


def test_nothing_within_the_budget(photos: Path, weights: Path) -> None:
    with pytest.raises(OptionError) as caught:
        hs.recommend(photos, backbones=two(weights), max_mb=0.001, **FLOAT)
    assert "No backbone is left" in str(caught.value)
    assert "starter@layer1: 0" in str(caught.value)
    assert "Raise `max_ms`" in str(caught.value)


# -- weights --


def test_without_a_network_each_home_is_asked_once(photos: Path, weights: Path, offline: list[str]) -> None:
    names = "resnet18,resnet34,mobilenetv3_large_100.ra_in1k,efficientnet_b0.ra_in1k"
    found = hs.recommend(photos, backbones=[names, f"starter --weights {weights}", "starter"], **FLOAT)
    assert offline == ["resnet18", "mobilenetv3_large_100.ra_in1k"]
    assert len(found.rows) == 2
    reasons = {row["backbone"]: row["reason"] for row in found.left_out}
    assert list(reasons) == names.split(",")
    assert "could not be fetched" in reasons["resnet18"]
    assert "not on this machine" in reasons["resnet34"]
    assert "(see resnet18)" in reasons["resnet34"]
    assert "left out:" in found.text


def test_weights_on_the_machine_count_without_a_network(
    photos: Path, offline: list[str], resnets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.core.paths import cache_dir

    place = cache_dir() / "weights" / TORCHVISION_RESNETS["resnet18"]
    place.parent.mkdir(parents=True)
    place.write_bytes(resnets["resnet18"].read_bytes())
    fails = TorchvisionResNets.fetch

    def fetch(self: TorchvisionResNets, entry: Any) -> Path:
        return place if entry.name == "resnet18" else fails(self, entry)

    monkeypatch.setattr(TorchvisionResNets, "fetch", fetch)
    found = hs.recommend(photos, backbones="resnet34,resnet18", image_size=32, **FLOAT)
    assert [row["backbone"] for row in found.rows] == ["resnet18"]
    assert offline == ["resnet34"]


def test_no_weights_at_all(photos: Path, offline: list[str], tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        hs.recommend(photos, backbones=["resnet18", f"starter --weights {tmp_path / 'none.pth'}"], **FLOAT)
    assert "No backbone's weights are available" in str(caught.value)
    assert "there is no weights file" in str(caught.value)


def test_weights_that_do_not_fit_are_left_out(photos: Path, weights: Path, resnets: dict[str, Path]) -> None:
    given = [f"resnet18 --weights {resnets['resnet50']}", f"starter --weights {weights}"]
    found = hs.recommend(photos, backbones=given, **FLOAT)
    assert "do not fit resnet18" in found.left_out[0]["reason"]
    assert "\n" not in found.left_out[0]["reason"]


def test_a_network_that_nobody_trained_is_left_out(photos: Path, weights: Path) -> None:
    found = hs.recommend(photos, backbones=["test_vit_relpos", f"starter --weights {weights}"], **FLOAT)
    assert found.left_out[0]["reason"] == "no pretrained weights are published for test_vit_relpos"


def test_with_no_network_at_all_the_short_list_still_ends_in_an_answer(
    cli: Callable[..., Any], photos: Path, offline: list[str]
) -> None:
    answer = cli("recommend", photos, "--sample", 20)
    assert answer.code == 0, answer
    ranked = [line.split()[:2] for line in answer.out.splitlines()[1:3]]
    assert [place for place, _ in ranked] == ["1", "2"]
    assert {name for _, name in ranked} == {"starter", "starter_large"}  # one photo of 20 between them, by rounding
    assert offline == ["resnet18", "tf_efficientnet_lite0.in1k"]


# -- mistakes --


def test_mistakes_come_before_any_work(photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "read", lambda *_: pytest.fail("photos were read"))
    for given, words in (
        ({"backbones": ["starter", "resnet1000"]}, "resnet1000"),
        ({"backbones": [f"starter --weights {weights}", f"starter@layer9 --weights {weights}"]}, "layer9"),
        ({"sample": 1}, "`sample=1` must be at least 2"),
        ({"time": "soon"}, "is not a length of time"),
        ({"epochs": 3}, "recommend takes no option 'epochs'"),
        ({"image_sise": 3}, "Did you mean 'image_size'"),
        ({"settings": {"image_size": -3}}, "image_size"),
    ):
        with pytest.raises(OptionError) as caught:
            hs.recommend(photos, quiet=True, **{"backbones": "starter", **given})
        assert words in str(caught.value)


def test_one_class_is_nothing_to_choose_by(class_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="nothing to tell apart"):
        hs.recommend(class_folder(classes=("cat",)), backbones="starter", **FLOAT)


def test_one_photo_per_class_that_can_be_read(class_folder: Callable[..., Path]) -> None:
    folder = class_folder(per_class=2)
    for label in ("cat", "dog"):
        next((folder / label).iterdir()).write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(DataError, match="Too few different photos"):
        hs.recommend(folder, backbones="starter", **FLOAT)


def test_a_size_that_a_network_does_not_take_leaves_it_out(
    photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.models import backbone

    dry_run = backbone.dry_run
    monkeypatch.setattr(backbone, "dry_run", lambda net, size: dry_run(net, 0 if size == 40 else size))
    given = [f"starter --weights {weights}", f"starter --weights {weights} --image-size 40"]
    found = hs.recommend(photos, backbones=given, **FLOAT)
    assert [row["backbone"] for row in found.rows] == ["starter"]
    assert "starter does not run at 40 px" in found.left_out[0]["reason"]


# -- the command line, notebooks --


def test_the_command_prints_table_answer_and_command(cli: Callable[..., Any], photos: Path, weights: Path) -> None:
    answer = cli("recommend", photos, "--backbones", two(weights)[0], "--backbones", two(weights)[1], "--sample", 30)
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0].split()[:2] == ["backbone", "probe"]
    assert lines[1].split()[0] == "1"
    assert "30 photos of 36" in answer.out
    assert lines[-1].startswith(f"headstart train {photos} --backbone starter")


def test_json_is_all_there_is_on_standard_output(cli: Callable[..., Any], photos: Path, weights: Path) -> None:
    answer = cli("recommend", photos, "--backbones", two(weights)[0], "--json", "--quiet")
    found = json.loads(answer.out)
    assert found["backbones"][0]["rank"] == 1
    assert found["command"].startswith("headstart train")
    assert answer.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--backbones", "resnet1000"), "resnet1000"),
        (("--backbones", "starter --weigths x"), "did you mean '--weights'"),
        (("--time", "soon"), "--time soon is not a length of time"),
        (("--max-mb", "-1"), "--max-mb -1 must be above 0"),
        (("--sample", "0"), "--sample 0 must be at least 2"),
    ],
    ids=["name", "option", "time", "size", "sample"],
)
def test_mistakes_end_in_one_message(
    cli: Callable[..., Any], refused: Callable[..., None], photos: Path, words: tuple[str, ...], said: str
) -> None:
    refused(cli("recommend", photos, *words), said)


def test_in_a_notebook(photos: Path, weights: Path) -> None:
    pytest.importorskip("pandas")
    found = hs.recommend(photos, backbones=two(weights), max_mb=1, **FLOAT)
    frame = found.frame()
    assert list(frame["backbone"]) == ["starter@layer1", "starter"]
    html = found._repr_html_()
    assert "<table>" in html
    assert "above 1 MB" in html
    assert "headstart train" in html

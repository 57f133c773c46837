"""Parts of the caller's own: they do what they say, leave their names, and are refused where they would do nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.own import Net, NormsOnly, Squashed, jittered
from PIL import Image
from torch import nn

import headstart as hs
from headstart.errors import HeadstartError, OptionError, RunError
from headstart.training.callbacks import StopTraining, TrainingInfo
from headstart.training.strategies import STRATEGIES

Train = Callable[..., hs.Run]


@pytest.fixture
def train(photos: Path, tmp_path: Path) -> Train:
    """``train("name", epochs=2, ...)``: fine-tuning of ``Net`` on the drawn photos."""

    def make(name: str = "run", **options: Any) -> hs.Run:
        asked = {"backbone": Net(), "strategy": "finetune", "epochs": 2, "batch_size": 8, "device": "cpu"}
        return hs.train(photos, out=tmp_path / name, quiet=True, **{**asked, **options})

    return make


def weights(run: hs.Run) -> dict[str, torch.Tensor]:
    return run.classifier.network.state_dict()


def same(one: hs.Run, other: hs.Run) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_module_trains_and_its_run_is_used_with_it_alone(train: Train, photos: Path, cli: Any, refused: Any) -> None:
    run = train()
    files = sorted(photos.rglob("*.png"))[:4]
    predicted = [p.probabilities for p in run.predict(files)]
    described = json.loads((run.path / "model.json").read_text())
    assert described["architecture"]["module"] == "helpers.own.Net"
    assert described["provenance"]["parts"] == {"backbone": "helpers.own.Net"}
    assert described["provenance"]["command"].startswith("hs.train(")
    assert "backbone=Net(…)" in described["provenance"]["command"]
    assert "strategy='finetune', device='cpu', epochs=2, batch_size=8)" in described["provenance"]["command"]
    again = hs.open_run(run.path, network=Net())
    assert [p.probabilities for p in again.predict(files)] == predicted
    loaded = hs.Classifier.load(run.path, network=Net())
    assert [p.probabilities for p in loaded.predict(files)] == predicted
    card = (run.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "`helpers.own.Net`" in card
    assert "headstart predict" not in card
    assert "network=Net(…)" in (run.path / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    answer = cli("predict", run.path, files[0])
    refused(answer, "is a module of your own, helpers.own.Net", "network=Net(…)")
    for use in (lambda: hs.export(run.path), lambda: hs.serve(run.path), lambda: hs.predict(run.path, files)):
        with pytest.raises(RunError, match="whose code no file holds"):
            use()


def test_the_probabilities_are_those_of_plain_torch(train: Train, photos: Path) -> None:
    run = train(strategy="probe")
    net, file = Net().eval(), sorted(photos.rglob("*.png"))[0]
    (found,) = run.predict([file])
    row = Image.open(file).convert("RGB")
    short = 32 / min(row.size)
    row = row.resize((round(row.width * short), round(row.height * short)), Image.Resampling.BILINEAR)
    left, top = (row.width - 32) // 2, (row.height - 32) // 2
    x = torch.from_numpy(np.array(row.crop((left, top, left + 32, top + 32)))).permute(2, 0, 1).float() / 255
    logits = run.classifier.network.head(net(((x - 0.5) / 0.25)[None]).mean((2, 3)))
    assert torch.allclose(logits.softmax(1)[0].double(), torch.tensor(found.probabilities).double(), atol=1e-4)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_run_in_memory_is_exported(train: Train, photos: Path, tmp_path: Path, format: Any) -> None:
    pytest.importorskip("onnxruntime")
    found = train(strategy="probe").export(format=format, quiet=True)
    assert found.parity.good


@pytest.mark.parametrize("network", [Squashed(), nn.Conv2d(3, 16, 3), nn.Conv2d(3, 8, 3)], ids=["code", "keys", "dim"])
def test_another_module_is_refused(train: Train, network: nn.Module) -> None:
    run = train(strategy="probe")
    with pytest.raises(RunError, match="`network` is not the module"):
        hs.open_run(run.path, network=network)


def test_a_run_without_one_takes_none(probe_run: Path) -> None:
    with pytest.raises(RunError, match="none of your own"):
        hs.open_run(probe_run, network=Net())


class Whole(nn.Module):
    """A network that cannot be divided."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.inner(x).mean((2, 3)), 0.1, self.training)


def test_a_module_that_stays_whole_is_saved_and_read_as_well(train: Train, photos: Path) -> None:
    run = train(backbone=Whole(), image_size=64)
    assert run.classifier.network.backbone.block_names == ("body",)
    assert {key.rpartition("inner.")[0] for key in weights(run) if "low" in key} == {"backbone."}
    with pytest.raises(OptionError, match="cannot be divided"):
        train("partial", backbone=Whole(), strategy="partial")
    files = sorted(photos.rglob("*.png"))[:4]
    again = hs.open_run(run.path, network=Whole())
    assert [p.probabilities for p in again.predict(files)] == [p.probabilities for p in run.predict(files)]


class Means(nn.Module):
    """A network that has nothing to learn."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(x, 4).flatten(1)


def test_a_module_without_parameters_can_be_probed(train: Train, photos: Path) -> None:
    run = train(backbone=Means(), image_size=32, strategy="probe")
    assert (run.path / "report.html").is_file()
    assert "own-Means" in hs.describe(run)
    assert hs.resume(run, backbone=Means()).metrics == run.metrics


def test_a_run_in_memory_is_described_explained_and_searched(train: Train, photos: Path, tmp_path: Path) -> None:
    run = train(strategy="probe")
    file = sorted(photos.rglob("*.png"))[0]
    assert "own-Net" in hs.describe(run)
    assert hs.embed(file, run=run, quiet=True).features.shape == (1, run.classifier.network.backbone.dim)
    assert run.explain(file, out=tmp_path / "why", neighbours=1, quiet=True).page.is_file()
    assert run.evaluate(photos, split="all", quiet=True)["photos"] == 36


def test_names_of_columns_and_texts_that_look_like_values_stay_classes(photos: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    files = sorted(photos.rglob("*.png"))
    names = dict(zip(sorted({file.parent.name for file in files}), ("path", "unknown", "001"), strict=True))
    frame = pandas.DataFrame({"path": list(map(str, files)), "label": [names[file.parent.name] for file in files]})
    run = hs.train(frame, out=tmp_path / "run", backbone=Net(), strategy="probe", quiet=True)
    assert run.classifier.classes == ("001", "path", "unknown")
    table = run.predict(files).frame()
    assert list(table.path) == list(map(str, files))
    assert set(table.label) <= set(names.values())
    assert table[["001", "p(path)", "p(unknown)"]].sum(axis=1).tolist() == pytest.approx([1] * 36)
    kept = run.predictions()
    assert set(kept.label) == set(names.values())
    assert set(kept.predicted) <= set(names.values())


@pytest.mark.parametrize("strategy", ["partial", "lp-ft", "auto", "probe"])
def test_every_strategy_that_starts_from_weights_takes_a_module(train: Train, strategy: str) -> None:
    run = train(strategy=strategy, cut="low" if strategy == "probe" else None)
    assert run.plan.engine == "torch"
    assert run.classifier.network.backbone.cut == ("low.2" if strategy == "probe" else None)
    assert hs.open_run(run.path, network=Net()).metrics == run.metrics


def test_the_loss_is_what_steps_minimise(train: Train) -> None:
    plain = train("plain", label_smoothing=0)
    own = train("own", loss=F.cross_entropy)
    other = train("other", loss=nn.CrossEntropyLoss(label_smoothing=0.3))
    assert same(own, plain)
    assert not same(other, plain)
    assert own.plan.label_smoothing == 0
    assert "torch.nn.functional.cross_entropy" in own.plan.reasons["label_smoothing"]
    head = train("head", strategy="probe", head="mlp:8", loss=lambda logits, targets: F.cross_entropy(logits, targets))
    assert head.plan.variant


def test_the_transform_makes_the_pictures(train: Train) -> None:
    seen: list[tuple[int, int]] = []

    def unchanged(picture: Image.Image) -> Image.Image:
        seen.append(picture.size)
        return picture

    plain = train("plain", augment="none")
    own = train("own", transform=unchanged)
    as_tensor = train("tensor", transform=lambda p: torch.from_numpy(np.array(p)).permute(2, 0, 1))
    as_array = train("array", transform=lambda p: np.asarray(p))
    assert same(own, plain)
    assert same(as_tensor, plain)
    assert same(as_array, plain)
    assert len(seen) == 1 + 2 * 24  # one photo is tried before
    assert own.plan.augment == "own"
    jitter = train("jitter", transform=jittered)
    assert not same(jitter, plain)
    assert same(train("again", transform=jittered), jitter)


def test_a_strategy_is_used_once_and_known_no_longer(train: Train) -> None:
    seen: list[TrainingInfo] = []
    run = train(strategy=NormsOnly(), callbacks=[seen.append])
    assert run.plan.strategy == "own-NormsOnly"
    assert {info.strategy for info in seen} == {"own-NormsOnly"}
    assert NormsOnly.summary in (run.path / "report.html").read_text(encoding="utf-8")
    assert "own-NormsOnly" not in STRATEGIES
    before = Net().state_dict()
    after = {k.removeprefix("backbone."): v for k, v in weights(run).items()}
    assert [torch.equal(before[k], after[k]) for k in ("low.0.weight", "low.1.weight")] == [True, False]
    rows = hs.list_runs(run.path.parent).rows
    assert [(row.state, row.strategy, row.backbone) for row in rows] == [("finished", "own-NormsOnly", "own-Net")]
    with pytest.raises(OptionError, match="'own-NormsOnly' is an object"):
        train("text", strategy="own-NormsOnly")
    with pytest.raises(OptionError, match="'own-Net' is an object"):
        train("text", backbone="own-Net")


class Fails:
    """A callback that raises at one step, unless that is mended."""

    mended = False

    def on_batch_end(self, info: TrainingInfo) -> None:
        if info.step == 4 and not self.mended:
            raise ZeroDivisionError("at step 4")


def test_a_run_goes_on_with_the_same_parts_alone(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, Any] = {"transform": jittered, "loss": F.cross_entropy, "callbacks": [Fails()]}
    with pytest.raises(ZeroDivisionError, match=r"^at step 4$"):
        train(strategy=NormsOnlyOfAll(), epochs=3, **parts)
    run = tmp_path / "run"
    (row,) = hs.list_runs(tmp_path).rows
    assert (row.state, row.strategy) == ("unfinished", "own-NormsOnlyOfAll")
    every: dict[str, Any] = {"backbone": Net(), "strategy": NormsOnlyOfAll(), **parts}
    for name in every:
        some = {key: part for key, part in every.items() if key != name}
        with pytest.raises(RunError, match=rf"began with .*{name} .*no file holds that"):
            hs.resume(run, quiet=True, **some)
    with pytest.raises(RunError, match=r"began with .*now there is loss"):
        hs.resume(run, quiet=True, **{**every, "loss": F.nll_loss})
    trained = Net()
    nn.init.zeros_(trained.low[0].weight)
    with pytest.raises(RunError, match="weights of `backbone` are not those"):
        hs.resume(run, quiet=True, **{**every, "backbone": trained})
    monkeypatch.setattr(Fails, "mended", True)
    resumed = hs.resume(run, quiet=True, **every)
    assert same(resumed, train("whole", strategy=NormsOnlyOfAll(), epochs=3, **parts))
    assert hs.resume(run, backbone=Net(), **{k: v for k, v in every.items() if k != "backbone"}).metrics


class NormsOnlyOfAll(NormsOnly):
    def takes(self, plan: Any) -> frozenset[str]:
        return frozenset({"transform", "loss", "callbacks"})


def test_a_run_without_parts_is_not_resumed_with_some(probe_run: Path) -> None:
    with pytest.raises(RunError, match="began with no parts of your own; now there is loss"):
        hs.resume(probe_run, loss=F.cross_entropy)


def vector(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, targets, reduction="none")


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((16, 16))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a class as network": ({"backbone": Net}, "`backbone=.*Net.* is a class: an object of it is needed"),
    "a number as network": ({"backbone": 3}, "`backbone=3` is not"),
    "a class as strategy": ({"strategy": NormsOnly}, "`strategy`"),
    "a module as strategy": ({"strategy": Net()}, "`strategy`, of the type Net"),
    "a strategy without words": ({"strategy": type("Mute", (NormsOnly,), {"summary": None})()}, "no `summary`"),
    "no function": ({"loss": 3}, "`loss=3` is not a function"),
    "a class as loss": ({"loss": nn.CrossEntropyLoss}, "`loss=.*CrossEntropyLoss.* is a class: an object"),
    "a loss of each photo": ({"loss": vector}, r"`loss` returns a tensor \[8\]"),
    "a loss without a gradient": ({"loss": lambda a, b: a.detach().mean()}, "without a gradient"),
    "a loss that is no tensor": ({"loss": lambda a, b: 0.5}, "`loss` returns a float"),
    "a loss that fails": ({"loss": lambda a: a}, r"`loss` fails on logits \[8, 3\] and targets \[8\]"),
    "a loss that is infinite": ({"loss": lambda a, b: a.mean() / 0}, "`loss` is .*inf"),
    "a loss with weights": ({"loss": nn.Linear(3, 1)}, "parameters of its own"),
    "a transform to floats": ({"transform": lambda p: torch.rand(3, 9, 9)}, r"a Tensor \[3, 9, 9\] of torch.fl"),
    "a transform to nothing": ({"transform": lambda p: None}, "`transform` returns a NoneType"),
    "a transform that fails": ({"transform": lambda p: p.shape}, "`transform` fails on a photo"),
    "a transform to few pixels": ({"transform": small}, "makes a picture of 16x16 px, and the network reads 32"),
    "no callback": ({"callbacks": [3]}, "of the type int, which is no callback"),
    "a class as callback": ({"callbacks": [Fails]}, r"the class Fails.*`callbacks=\[Fails\(\)\]`"),
    "a probe with a loss": ({"strategy": "probe", "loss": F.cross_entropy}, "`loss` has no effect.*mlp:256"),
    "a probe with a transform": ({"strategy": "probe", "transform": jittered}, "`transform` has no effect"),
    "a probe with callbacks": ({"strategy": "probe", "callbacks": [print]}, "`callbacks` has no effect"),
    "auto with a loss": ({"strategy": "auto", "loss": F.cross_entropy}, "may keep a probe"),
    "partial with a transform": ({"strategy": "partial", "transform": jittered}, "computes its views"),
    "a strategy that takes none": ({"strategy": NormsOnly(), "loss": F.cross_entropy}, "`takes` does not name it"),
    "two starts": ({"weights": "w.safetensors"}, "`weights` and an own `backbone` contradict"),
    "scratch": ({"strategy": "scratch"}, "is a network with weights"),
    "two augmentations": ({"transform": jittered, "augment": "flip"}, "`augment` and an own `transform` contradict"),
    "two losses": ({"loss": F.cross_entropy, "settings": {"label_smoothing": 0.1}}, "`label_smoothing` and an own"),
    "two weightings": ({"loss": F.cross_entropy, "balance": "weights"}, "what a class weighs"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_message_and_leaves_no_folder(
    train: Train, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=f"(?s){words}"):
        train(**options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["compare", "check", "recommend", "tune", "forecast", "embed"])
def test_other_functions_take_names_alone(photos: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(HeadstartError, match="`backbone`"):
        getattr(hs, name)(photos, backbone=Net(), quiet=True)


def test_two_trainings_at_once_do_not_mix_their_strategies(train: Train) -> None:
    def begin_another(info: TrainingInfo) -> StopTraining:
        with pytest.raises(OptionError, match="Another training in this process"):
            train("inner", strategy=NormsOnly())
        return StopTraining("seen")

    run = train(strategy=NormsOnly(), callbacks=[begin_another])
    assert "begin_another (seen)" in run.metrics["training"]["decision"]

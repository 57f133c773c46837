"""On a real GPU: every strategy, predictions, a resume, and memory that is really exhausted. Skipped without CUDA."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import headstart as hs
from headstart.core.events import EpochEnd, Event, Message
from headstart.data.augment import Augmentation
from headstart.data.duplicates.neighbours import nearest_pairs
from headstart.data.images import read_photos
from headstart.errors import HeadstartError, Interrupted, OptionError, TrainingError
from headstart.inference.device import BATCH, find_machine
from headstart.inference.runner import FrozenNetwork
from headstart.models.factory import create
from headstart.training.batches import PictureSource
from headstart.training.device_pictures import DevicePictures
from headstart.training.linear_probe import fit_probe
from headstart.training.recorded import RecordedStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

SETTINGS = {"precision": "float32", "epochs": 2, "batch_size": 8}
STRATEGIES = ("probe", "finetune", "partial", "lp-ft", "scratch", "auto")


@pytest.fixture
def fit(photos: Path, weights: Path, tmp_path: Path) -> Callable[..., hs.Run]:
    """``fit("finetune", out="run", ...)``: a training of the starter on the GPU."""

    def go(strategy: str, out: str = "run", **options: Any) -> hs.Run:
        start = {} if strategy == "scratch" or "weights" in options else {"weights": str(weights)}
        given: dict[str, Any] = {
            "strategy": strategy, "backbone": "starter", "device": "cuda", "quiet": True, "settings": SETTINGS,
        } | start | options  # fmt: skip
        return hs.train(photos, out=tmp_path / out, **given)

    return go


@contextmanager
def at_most(more: float) -> Iterator[None]:
    """PyTorch may take so many bytes more of the GPU than it holds now; others see an exhausted GPU."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + more) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def peak(work: Callable[[], Any]) -> int:
    """Bytes that work takes at most, beyond those in use before."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative to the length of what is wanted."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


# -- every strategy --


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_and_predicts_as_on_the_cpu(
    fit: Callable[..., hs.Run], photos: Path, strategy: str
) -> None:
    run = fit(strategy)
    assert math.isfinite(run.metrics["test"]["log_loss"])
    assert (run.path / "report.html").exists()
    on_gpu = np.array([one.probabilities for one in hs.predict(run.path, [photos], device="cuda")])
    on_cpu = np.array([one.probabilities for one in hs.predict(run.path, [photos], device="cpu")])
    assert on_gpu.shape == (36, 3)
    assert np.abs(on_gpu - on_cpu).max() < 0.02  # a GPU multiplies float32 in TF32


def test_in_bf16_which_is_the_default(fit: Callable[..., hs.Run]) -> None:
    run = fit("lp-ft", settings={"epochs": 2, "batch_size": 8})
    fast = torch.cuda.get_device_capability() >= (8, 0)
    assert run.plan.precision == ("bf16" if fast else "float32")
    assert run.plan.engine == "torch"
    assert math.isfinite(run.metrics["test"]["log_loss"])


def test_features_are_those_of_the_cpu(resnets: dict[str, Path]) -> None:
    backbone = create("resnet18", weights=resnets["resnet18"])
    seen = backbone.preprocessing.at(96, 96)
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, 96, 96, 3), dtype=np.uint8))
    wanted = FrozenNetwork(backbone, seen, find_machine("cpu"), "float32")(photos)
    gpu = find_machine("cuda")
    assert distance(FrozenNetwork(backbone, seen, gpu, "float32")(photos), wanted) < 0.01
    if gpu.fast_bf16:
        assert distance(FrozenNetwork(backbone, seen, gpu, "bf16")(photos).float(), wanted) < 0.1


def test_a_prediction_does_not_depend_on_the_others(fit: Callable[..., hs.Run], photos: Path) -> None:
    run = fit("probe")
    every = {one.path: one.probabilities for one in hs.predict(run.path, [photos], device="cuda")}
    for path in list(every)[::9]:
        (alone,) = hs.predict(run.path, [path], device="cuda")
        assert alone.probabilities == pytest.approx(every[path], abs=1e-6)


@pytest.mark.parametrize("strategy", ["finetune", "partial", "lp-ft"])
def test_an_interrupted_training_goes_on(fit: Callable[..., hs.Run], tmp_path: Path, strategy: str) -> None:
    whole = fit(strategy, "whole", settings={**SETTINGS, "epochs": 4})
    seen: list[int] = []

    def stop(event: Event) -> None:
        if isinstance(event, EpochEnd) and event.row.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    def listen(event: Event) -> None:
        if isinstance(event, EpochEnd):
            seen.append(event.row.epoch)

    with pytest.raises(Interrupted):
        fit(strategy, settings={**SETTINGS, "epochs": 4}, listener=stop)
    run = hs.resume(tmp_path / "run", quiet=True, listener=listen)
    assert seen == [3, 4]
    mine, theirs = (load_file(one.path / "model.safetensors") for one in (run, whole))
    for name, tensor in theirs.items():
        if tensor.is_floating_point():  # sums on a GPU are not taken in one order: not bit for bit
            assert torch.allclose(mine[name], tensor, atol=0.02, rtol=0.05), name


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain", "check", "recommend", "forecast", "compare"])
def test_the_commands(
    cli: Callable[..., Any], fit: Callable[..., hs.Run], photos: Path, starter: tuple[str, ...], tmp_path: Path,
    command: str,
) -> None:  # fmt: skip
    out = ("--out", tmp_path / "made")
    words: dict[str, tuple[object, ...]] = {
        "check": (photos, *starter[:4], *out), "recommend": (photos, "--backbones", "starter"),
        "forecast": (photos, *starter[:4]),
        "compare": (photos, *starter, "--arms", "probe,scratch", "--seeds", 1, "--epochs", 1, *out),
    }  # fmt: skip
    if command not in words:
        run = fit("probe").path
        more = out if command == "explain" else ()
        words[command] = (run, photos if command == "evaluate" else photos / "cat", *more)
    answer = cli(command, *words[command], "--device", "cuda:0")
    assert answer.code in ((0, 1) if command == "check" else (0,)), answer
    assert "Traceback" not in answer.err


def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(OptionError, match="'cuda:99' cannot be used"):
        find_machine("cuda:99")


# -- what is faster on a GPU gives the same --


def test_a_recorded_step_trains_as_the_step_does(fit: Callable[..., hs.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, ...]] = []
    replay = RecordedStep._replay

    def watched(self: RecordedStep, graph: Any, photos: torch.Tensor, labels: torch.Tensor) -> Any:
        used.append(tuple(photos.shape))
        return replay(self, graph, photos, labels)

    monkeypatch.setattr(RecordedStep, "_replay", watched)
    longer = {"precision": "float32", "epochs": 5, "batch_size": 5}
    recorded = fit("finetune", "recorded", settings=longer, dropout=[0.3])
    assert len(used) > 10
    assert len(set(used)) == 2  # batches of two sizes
    monkeypatch.setattr(RecordedStep, "_try", lambda self, *_: None)
    usual = fit("finetune", "usual", settings=longer, dropout=[0.3])
    count = len(used)
    mine, theirs = (load_file(run.path / "model.safetensors") for run in (recorded, usual))
    assert len(used) == count
    for name, tensor in theirs.items():
        if tensor.is_floating_point():
            assert torch.allclose(mine[name], tensor, atol=0.02, rtol=0.05), name


def test_a_step_that_waits_for_the_gpu_is_not_recorded() -> None:
    network = torch.nn.Linear(3, 2).cuda()

    def compute(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = network(x).square().mean()
        loss.backward()
        return loss.detach() * float(x.sum() > 0), y.sum()

    step = RecordedStep(compute, network)
    for _ in range(4):
        loss, _ = step(torch.ones(4, 3).cuda(), torch.ones(4).cuda(), 0)
        network.zero_grad()
    assert not step.usable
    assert float(loss) > 0


def test_photos_are_augmented_as_on_the_cpu(photos: Path) -> None:
    files = sorted(photos.rglob("*.jpg")) or sorted(photos.rglob("*.png"))
    shown = read_photos(files, 48)
    labels = np.arange(len(files)) % 3
    how = Augmentation.named("strong")
    for size in (48, 32):
        usual = PictureSource(shown, labels, size, how, 1)
        own = DevicePictures.of(shown, labels, size, how, 1, False, torch.device("cuda"))
        for (x, y), (wanted, targets) in zip(own.batches(0, 8), usual.batches(0, 8), strict=True):
            assert torch.equal(y.cpu(), targets)
            assert (x.cpu().int() - wanted.int()).abs().float().mean() < 0.5


@pytest.mark.parametrize("photos_of", [2000, 70_000])  # beyond 65,536 by cells
def test_neighbours_are_those_of_the_cpu(photos_of: int) -> None:
    rows = torch.nn.functional.normalize(torch.randn(photos_of, 24, generator=torch.Generator().manual_seed(0)))
    rows[1::50] = torch.nn.functional.normalize(rows[::50][: len(rows[1::50])] + 0.05)
    pairs = [set(map(tuple, nearest_pairs(one, 0.9).tolist())) for one in (rows, rows.cuda())]
    assert len(pairs[0]) >= photos_of // 50
    assert len(pairs[0] ^ pairs[1]) <= 0.01 * len(pairs[0])


def test_a_probe_is_that_of_the_cpu() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(40, 4))
    x = draw.normal(size=(3000, 40)).astype(np.float32)
    y = (x @ truth + draw.gumbel(size=(3000, 4))).argmax(1)
    own, usual = (
        fit_probe((x[:2000], y[:2000]), (x[2000:], y[2000:]), 4, device=torch.device(kind)) for kind in ("cuda", "cpu")
    )
    assert own.l2 == usual.l2
    assert torch.allclose(own.weight, usual.weight, atol=1e-4)
    assert torch.allclose(own.bias, usual.bias, atol=1e-4)


# -- memory that is really exhausted --


def test_a_frozen_pass_goes_on_in_parts(resnets: dict[str, Path]) -> None:
    backbone = create("resnet18", weights=resnets["resnet18"])
    seen = backbone.preprocessing.at(224, 224)
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8))
    whole = FrozenNetwork(backbone, seen, find_machine("cuda"), "float32")
    wanted = whole(photos)
    taken = peak(lambda: whole(photos))
    with at_most(0.6 * taken):
        found = whole(photos)
        assert 1 <= whole.in_parts.most < BATCH
        assert distance(found, wanted) < 0.01
        assert torch.equal(whole(photos), found)  # in the same parts from then on
    assert distance(whole(photos), wanted) < 0.01


def test_no_memory_for_one_photo_is_one_message(resnets: dict[str, Path]) -> None:
    backbone = create("resnet18", weights=resnets["resnet18"])
    network = FrozenNetwork(backbone, backbone.preprocessing.at(1024, 1024), find_machine("cuda"), "float32")
    photos = torch.zeros(4, 1024, 1024, 3, dtype=torch.uint8)
    with at_most(4e6), pytest.raises(TrainingError, match="not enough memory for a single photo"):
        network(photos)


@pytest.mark.parametrize("strategy", ["finetune", "lp-ft"])
def test_fine_tuning_goes_on_in_parts(
    fit: Callable[..., hs.Run], resnets: dict[str, Path], strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.inference.device.GPU_BATCH", 4)  # so that it is the training that takes the most
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Message):
            said.append(event.text)

    large: dict[str, Any] = {
        "backbone": "resnet18", "weights": str(resnets["resnet18"]),
        "settings": {"precision": "float32", "epochs": 1, "batch_size": 32, "image_size": 224},
    }  # fmt: skip
    taken = peak(lambda: fit(strategy, "whole", **large))
    # Weights, gradients and AdamW's two moments take what they take; the rest grows with the photos of a batch.
    fixed = 4 * (resnets["resnet18"].stat().st_size)
    assert taken > 2 * fixed
    with at_most(fixed + 0.6 * (taken - fixed)):
        run = fit(strategy, "small", listener=listen, **large)
    assert [text for text in said if "does not fit in memory" in text]
    assert math.isfinite(run.metrics["test"]["log_loss"])


def test_too_little_memory_to_train_is_one_message(fit: Callable[..., hs.Run], resnets: dict[str, Path]) -> None:
    large = {"precision": "float32", "epochs": 1, "batch_size": 32, "image_size": 224}
    with at_most(150e6), pytest.raises(HeadstartError, match="memory"):
        fit("finetune", backbone="resnet18", weights=str(resnets["resnet18"]), settings=large)

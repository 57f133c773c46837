"""Memory that does not hold a batch: it is computed in parts, with the same results; one that holds nothing is said."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.errors import TrainingError
from headstart.inference import runner
from headstart.inference.device import BATCH, Machine
from headstart.inference.memory import InParts, is_out_of_memory
from headstart.inference.runner import FrozenNetwork
from headstart.inference.saliency import Explainer
from headstart.models.backbone import Backbone

CPU = Machine(torch.device("cpu"), False, "a CPU")
ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
)  # fmt: skip
Holds = Callable[..., list[int]]


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("whatever it says"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("Exception from src/inference: std::bad_alloc"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_what_exhausted_memory_looks_like(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


class Small:
    """A function for as many rows as ``holds``; keeps the sizes that it was called with."""

    def __init__(self, holds: int, function: Callable[..., Any], error: Exception = ERRORS[0]) -> None:
        self.holds, self.function, self.error, self.sizes = holds, function, error, list[int]()

    def __call__(self, rows: Any, *more: Any, **named: Any) -> Any:
        self.sizes.append(len(rows))
        if len(rows) > self.holds:
            raise self.error
        return self.function(rows, *more, **named)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_is_halved_until_it_fits_and_stays_so(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    small = Small(5, lambda x: 2 * x, error)
    run = InParts(small)
    with caplog.at_level(logging.WARNING, logger="headstart"):
        assert torch.equal(run(torch.arange(32)), 2 * torch.arange(32))
    assert small.sizes == [32, 16, 8, *[4] * 8]
    assert [record.getMessage() for record in caplog.records][-1].endswith("from here on 4 at a time.")
    del small.sizes[:]
    assert torch.equal(run(torch.arange(10)), 2 * torch.arange(10))
    assert small.sizes == [4, 4, 2]  # not tried at ten again


def test_no_room_for_one_photo_is_one_message() -> None:
    with pytest.raises(TrainingError, match="not enough memory for a single photo"):
        InParts(Small(0, torch.clone))(torch.arange(8))


def test_other_errors_come_through() -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        InParts(Small(1, torch.clone, RuntimeError("shapes do not match")))(torch.arange(8))


def test_features_in_parts_are_the_features(moving_backbone: Backbone) -> None:
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8))
    network = FrozenNetwork(moving_backbone, moving_backbone.preprocessing, CPU, "float32")
    whole = network(photos)
    small = Small(8, network.in_parts.function)
    network.in_parts.function = small
    assert torch.allclose(network(photos), whole, atol=1e-6)
    assert small.sizes == [32, 16, *[8] * 4]


# -- in the commands --


@pytest.fixture
def memory_holds(monkeypatch: pytest.MonkeyPatch) -> Holds:
    """``memory_holds(4)``: frozen networks compute so many photos at a time; returns the sizes that are tried."""

    def go(photos: int) -> list[int]:
        sizes, plain = list[int](), runner._Torch.__call__

        def call(self: Any, batch: torch.Tensor, /) -> torch.Tensor:
            sizes.append(len(batch))
            if len(batch) > photos:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return plain(self, batch)

        monkeypatch.setattr(runner._Torch, "__call__", call)
        return sizes

    return go


def train(photos: Path, weights: Path, out: Path, **options: Any) -> hs.Run:
    settings = {"precision": "float32", "engine": "torch", "epochs": 1}
    given: dict[str, Any] = {"strategy": "probe", "backbone": "starter", "weights": str(weights), "settings": settings}
    return hs.train(photos, out=out, quiet=True, **given | options)


def test_a_run_is_the_same_with_less_memory(
    photos: Path, weights: Path, tmp_path: Path, memory_holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(photos, weights, tmp_path / "whole")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "another"))
    sizes = memory_holds(4)
    run = train(photos, weights, tmp_path / "run")
    assert sizes[:4] == [32, 16, 8, 4]
    assert set(sizes[4:]) == {4}
    assert run.metrics["test"]["log_loss"] == pytest.approx(whole.metrics["test"]["log_loss"], abs=1e-4)
    del sizes[:]
    ours = [one.probabilities for one in hs.predict(run.path, [photos])]
    theirs = [one.probabilities for one in hs.predict(whole.path, [photos])]
    assert np.allclose(ours, theirs, atol=1e-4)
    assert sorted(set(sizes)) == [4, 8, 16, 32]  # the photos of a batch that is not full are as many as ever


def test_predictions_do_not_depend_on_the_others_with_less_memory(
    probe_run: Path, photos: Path, memory_holds: Holds
) -> None:
    memory_holds(4)
    every = {one.path: one.probabilities for one in hs.predict(probe_run, [photos])}
    for path in list(every)[::7]:
        (alone,) = hs.predict(probe_run, [path])
        assert alone.probabilities == every[path]


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "explain"])
def test_too_little_memory_for_one_photo_ends_a_command_in_one_message(
    cli: Callable[..., Any], refused: Callable[..., None], probe_run: Path, photos: Path, weights: Path,
    tmp_path: Path, memory_holds: Holds, command: str,
) -> None:  # fmt: skip
    photo = photos / "cat" / "cat_00.png"
    memory_holds(0)
    words: dict[str, tuple[object, ...]] = {
        "train": (
            photos, "--strategy", "probe", "--backbone", "starter", "--weights", weights, "--out", tmp_path / "run",
        ),
        "predict": (probe_run, photo), "evaluate": (probe_run, photos),
        "explain": (probe_run, photo, "--out", tmp_path / "e", "--neighbours", 0),
    }  # fmt: skip
    refused(cli(command, *words[command]), "not enough memory for a single photo", "--device")


def test_saliency_maps_are_computed_in_parts(probe_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.inference.classifier import Classifier

    classifier = Classifier.load(probe_run, "cpu")
    size = classifier.preprocessing.image_size
    batch = np.random.default_rng(0).integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    whole = Explainer(classifier).maps(batch, [0, 1, 2, 0, 1, 2])
    small = Explainer(classifier)
    monkeypatch.setattr(small, "_maps", Small(2, small._maps))
    assert np.allclose(small.maps(batch, [0, 1, 2, 0, 1, 2]), whole, atol=1e-5)

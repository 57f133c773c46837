"""Cross-validation: no model sees its fold, and the average of the models is one head with the mean of their logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.core.events import Events, Message, Progress
from headstart.errors import OptionError
from headstart.inference import features as extraction
from headstart.models.network import Network, head_logits
from headstart.training.config import TrainOptions
from headstart.training.cross_validation import folds_beside
from headstart.training.folds import average_heads
from headstart.training.launch import fit
from headstart.training.linear_probe import fit_probe
from headstart.training.preparation import prepare
from headstart.training.strategies.base import FitContext
from headstart.workflows.train.assess import make_context

MakeTask = Callable[..., FitContext]


@pytest.fixture
def cross(photos: Path, weights: Path, tmp_path: Path) -> MakeTask:
    """``cross(stages="all", ...)``: the task of a probe in three folds on the drawn photos."""

    def make(folds: int = 3, strategy: str = "auto", **settings: Any) -> FitContext:
        options = TrainOptions(
            data=str(photos), backbone="starter", weights=str(weights), strategy=strategy, folds=folds, device="cpu",
            settings={"precision": "float32", **settings},
        )  # fmt: skip
        return make_context(prepare(options, Events()), tmp_path / "state", Events())

    return make


@pytest.mark.parametrize("stages", ["last", "all", "choose"])
def test_the_mean_of_the_models_logits_is_that_of_the_averaged_model(cross: MakeTask, stages: str) -> None:
    task = cross(stages=stages)
    found = fit(task)
    backbone = found.network.backbone
    rows = task.extractor.joining(backbone.joined).pooled(task.pixels["train"])
    each = []
    for fold in found.folds:
        own = rows if fold.stages == "all" else backbone.last(rows)
        each.append(own.astype(np.float64) @ fold.probe.weight.double().numpy().T + fold.probe.bias.double().numpy())
    mean = head_logits(found.network.head, rows)
    np.testing.assert_allclose(mean, np.mean(each, 0), atol=2e-4 * np.abs(each).max())
    assert np.ptp(each, axis=0).max() > 0.01  # the models differ, so that a mean is another thing than one of them
    assert isinstance(found.network.head, nn.Linear)


def test_folds_that_read_other_stages_have_an_average_all_the_same(cross: MakeTask) -> None:
    task = cross()
    joined = task.backbone.joining_all()
    torch.manual_seed(1)
    models = [Network(one, nn.Linear(one.dim, 3)) for one in (task.backbone, joined, joined)]
    every = task.extractor.joining(joined.joined).pooled(task.pixels["train"])
    each = [head_logits(model.head, model.backbone.own_columns(every)) for model in models]
    np.testing.assert_allclose(head_logits(average_heads(models, joined), every), np.mean(each, 0), atol=1e-5)


def test_the_folds_are_those_of_a_plain_loop(cross: MakeTask) -> None:
    task = cross(stages="last")
    found, x, y = fit(task), task.features("train"), task.labels["train"]
    for fold, result in zip(task.folds, found.folds, strict=True):
        train, val, out = (list(part) for part in fold)
        beside = folds_beside(y[train], task.units["train"][train], len(val), task.plan.seed)
        probe = fit_probe((x[train], y[train]), (x[val], y[val]), 3, folds=beside)
        wanted = x[out] @ probe.weight.numpy().T + probe.bias.numpy()
        np.testing.assert_allclose(result.logits, wanted, rtol=1e-4, atol=1e-4)
        assert (result.probe.l2, result.held_out.tolist()) == (probe.l2, out)


def test_a_model_does_not_depend_on_what_its_fold_is_labelled(cross: MakeTask) -> None:
    """With stages to choose, L2 and temperature: none may look at the photos that are held out."""
    task = cross(stages="choose")
    before = fit(task).folds[1].probe
    labels = task.labels["train"].copy()
    held_out = list(task.folds[1].held_out)
    labels[held_out] = (labels[held_out] + 1) % 3
    after = fit(replace(task, labels={**task.labels, "train": labels})).folds
    assert torch.equal(before.weight, after[1].probe.weight)
    assert torch.equal(before.bias, after[1].probe.bias)
    assert not torch.equal(before.weight, after[0].probe.weight)  # which did see them


def test_each_photo_passes_the_network_once(cross: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = extraction.photo_batches

    def counted(pixels: Any, indices: Any, *rest: Any) -> Any:
        seen.append(len(indices))
        return whole(pixels, indices, *rest)

    monkeypatch.setattr(extraction, "photo_batches", counted)
    fit(cross(folds=4))
    assert sum(seen) == 36


def test_the_plan_says_how_many_folds_and_the_stages_of_the_average(cross: MakeTask) -> None:
    heard: list[Any] = []
    found = fit(replace(cross(), events=Events(heard.append)))
    assert (found.plan.strategy, found.plan.folds) == ("probe", 3)
    assert found.plan.stages in ("last", "all")
    assert "of 3 folds joined all stages" in found.plan.reasons["stages"]
    assert [e.done for e in heard if isinstance(e, Progress) and e.task == "folds"] == [1, 2, 3]
    assert any(isinstance(e, Message) and e.text.startswith("Stages: ") for e in heard)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        *(({"strategy": s}, f"not with {s}") for s in ("finetune", "partial", "lp-ft", "scratch")),
        ({"head": "mlp:16"}, "plain linear head"),
        ({"dropout": (0.5,)}, "no `dropout`"),
    ],
)
def test_networks_without_an_average_are_refused_with_what_to_do(more: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match="Leave out `folds`, or use ") as caught:
        TrainOptions("photos", folds=5, **more)
    assert words in str(caught.value)

"""The strategies: what trains and what does not, that test is never read, and what auto decides."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from headstart.core.choice import Choice
from headstart.data.augment import View
from headstart.errors import HeadstartError
from headstart.inference import features as extraction
from headstart.models.factory import create
from headstart.models.heads import HEADS, build_head
from headstart.models.network import Network, head_logits
from headstart.training import throughput
from headstart.training.launch import fit
from headstart.training.optimization import network_groups, parameter_groups
from headstart.training.strategies import STRATEGIES, auto
from headstart.training.strategies.base import FitContext, FitResult
from headstart.training.strategies.finetune import fine_tune
from headstart.training.strategies.probe import Probe
from headstart.training.throughput import seconds_per_step
from headstart.training.trainer_state import EpochRow

MakeTask = Callable[..., FitContext]
ALL = STRATEGIES.names()


class Untouchable(dict):
    """Splits of which test must not be looked at."""

    def __getitem__(self, split: str) -> Any:
        assert split != "test", "test was read during training"
        return super().__getitem__(split)

    def values(self) -> Any:
        raise AssertionError("all splits were read during training")

    items = values


def poisoned(task: FitContext) -> FitContext:
    return replace(task, pixels=Untouchable(task.pixels), labels=Untouchable(task.labels))


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("head", ["linear", "mlp:16"])
def test_test_is_never_read_during_selection(task: MakeTask, strategy: str, head: str) -> None:
    outcome = fit(poisoned(task(strategy, head=head, epochs=1)))
    assert 0 <= outcome.val[1] <= 1
    with pytest.raises(AssertionError, match="test was read"):  # the poison works
        poisoned(task(strategy)).features("test")


def bits(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("strategy", "boundary"),
    [("partial", "layer4"), ("partial", "layer2"), ("finetune", "layer2"), ("lp-ft", "layer3")],
)
def test_nothing_before_the_boundary_moves_by_one_bit(task: MakeTask, strategy: str, boundary: str) -> None:
    asked = task(strategy, boundary=boundary, lr=0.01, lr_backbone=0.01, batchnorm="moving", average="none")
    before = bits(asked.backbone)
    outcome = fit(asked)
    after = outcome.network.backbone.state_dict()
    trunk = set(outcome.network.backbone.split_at(boundary)[0].state_dict())
    assert any("running_mean" in name for name in trunk)
    assert any("num_batches_tracked" in name for name in trunk)
    assert all(torch.equal(after[name], before[name]) for name in trunk)
    tail = after.keys() - trunk
    assert all(not torch.equal(after[name], before[name]) for name in tail if not name.startswith("pool"))
    assert all(torch.equal(value, before[name]) for name, value in asked.backbone.state_dict().items())


def test_the_task_backbone_is_left_as_it_was(task: MakeTask) -> None:
    for strategy in ALL:
        asked = task(strategy, epochs=1)
        before = bits(asked.backbone)
        fit(asked)
        assert all(torch.equal(value, before[name]) for name, value in asked.backbone.state_dict().items()), strategy


def test_the_probe_leaves_the_backbone_and_finetune_moves_all_of_it(task: MakeTask) -> None:
    asked = task("probe")
    assert fit(asked).network.backbone.has_weights_of(asked.backbone)
    tuned = fit(task("finetune", lr=0.01, lr_backbone=0.01)).network.backbone
    original = bits(asked.backbone)
    assert all(not torch.equal(p, original[name]) for name, p in tuned.named_parameters())


def test_finetune_from_a_boundary_sees_fresh_crops_where_partial_sees_its_views(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    compute = extraction.compute_rows
    monkeypatch.setattr(extraction, "compute_rows", lambda *asked: seen.append("view") or compute(*asked))
    fit(task("finetune", boundary="layer2", epochs=1))
    assert not seen
    fit(task("partial", boundary="layer2", epochs=1))
    assert seen


def test_only_the_parameters_that_are_selected_move(task: MakeTask) -> None:
    asked = task("finetune", lr=0.01, lr_backbone=0.01, batchnorm="kept")
    before = bits(asked.backbone)
    outcome = fine_tune(asked, trainable=lambda name, _: "bn" in name)
    after = outcome.network.backbone.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all("bn" in name and name.endswith(("weight", "bias")) for name in moved)
    assert all(p.requires_grad for p in outcome.network.parameters())


def test_a_trained_network_can_be_trained_again(task: MakeTask) -> None:
    network = fit(task("partial")).network
    assert all(p.requires_grad for p in network.parameters())
    assert network.train().backbone.training
    assert all("train" not in m.__dict__ for m in network.modules())


@pytest.mark.parametrize("strategy", ["finetune", "partial", "scratch"])
def test_a_seed_gives_the_same_bits_and_another_seed_others(task: MakeTask, strategy: str) -> None:
    def run(seed: int) -> dict[str, torch.Tensor]:
        asked = task(strategy, seed=seed)
        return bits(fit(replace(asked, state=asked.state / f"{seed}-{next(count)}")).network)

    count = iter(range(9))
    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_scratch_starts_from_weights_that_the_seed_draws(task: MakeTask) -> None:
    digests = [task("scratch", seed=s).backbone.weights_digest for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] != task("probe").backbone.weights_digest


def test_lp_ft_starts_where_the_probe_ended(task: MakeTask) -> None:
    probe = fit(task("probe"))
    outcome = fit(task("lp-ft", epochs=1, lr=1e-12, lr_backbone=1e-12, weight_decay=0))
    assert torch.allclose(outcome.network.head.weight, probe.network.head.weight, atol=1e-6)
    assert [part["strategy"] for part in outcome.parts] == ["probe", "lp-ft"]
    assert outcome.probe is not None
    assert outcome.parts[0]["val_accuracy"] == probe.val[1]


def test_what_decided_is_the_best_epoch_on_val(task: MakeTask) -> None:
    outcome = fit(task("finetune", epochs=3, lr=0.01, lr_backbone=0.01))
    assert outcome.best_epoch is not None
    best = max(outcome.history, key=lambda row: (row.val_accuracy, -row.val_loss))
    assert outcome.val == (best.val_loss, best.val_accuracy)
    assert outcome.history[outcome.best_epoch - 1] == best


@pytest.mark.parametrize("strategy", ["probe", "partial", "lp-ft"])
def test_a_frozen_trunk_is_made_ready_once_for_all_splits_and_views(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    count: list[int] = []
    network = extraction.FrozenNetwork
    monkeypatch.setattr(extraction, "FrozenNetwork", lambda *asked: count.append(1) or network(*asked))
    asked = task(strategy)
    outcome = fit(asked)
    assert len(count) == 1
    if strategy == "probe":
        asked.features("test")
        assert len(count) == 1
    else:  # nothing of it is kept in memory while the network is trained
        assert not asked.extractor.ready
    assert outcome.val[1] > 0


def test_the_standardiser_is_folded_into_the_first_layer() -> None:
    torch.manual_seed(0)
    head = build_head("mlp:8", 5, 3, (0.5,))
    x = np.random.default_rng(0).normal(4, 3, (10, 5)).astype(np.float32)
    mean, scale = x.mean(0), x.std(0)
    expected = head_logits(head, (x - mean) / scale)
    HEADS.get("mlp").absorb(head, torch.from_numpy(mean), torch.from_numpy(scale))
    assert np.allclose(head_logits(head, x), expected, atol=1e-5)


def test_a_head_with_hidden_layers_learns_on_raw_features(task: MakeTask) -> None:
    asked = task("probe", head="mlp:16", epochs=30, lr=0.01)
    outcome = fit(asked)
    features = asked.features("train")
    right = head_logits(outcome.network.head, features).argmax(1) == asked.labels["train"]
    assert right.mean() > 0.9
    assert len(outcome.history) == 30


# -- partial's fixed views --


def views_read(task: FitContext, monkeypatch: pytest.MonkeyPatch) -> list[View]:
    read: list[View] = []
    compute = extraction.compute_rows

    def spy(trunk: Any, key: Any, pixels: Any, view: Any, *rest: Any) -> Any:
        if len(pixels) == len(task.labels["train"]):
            read.append(view)
        return compute(trunk, key, pixels, view, *rest)

    monkeypatch.setattr(extraction, "compute_rows", spy)
    fit(task)
    return read


@pytest.mark.parametrize(("level", "count"), [("none", 1), ("flip", 2), ("mild", 3), ("light", 3), ("crop", 3)])
def test_partial_caches_no_view_that_the_augmentation_forbids(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch, level: str, count: int
) -> None:
    read = views_read(task("partial", epochs=1, augment=level, views=3), monkeypatch)
    assert [view.number for view in read] == list(range(count))
    assert all(view.mirror == (level in {"flip", "mild", "light"}) for view in read)


@pytest.mark.parametrize("boundary", ["pool", "end", "start"])
def test_partial_at_either_end_still_learns(task: MakeTask, boundary: str) -> None:
    outcome = fit(task("partial", boundary=boundary, epochs=12, lr=0.03, augment="none"))
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss
    assert max(row.train_accuracy for row in outcome.history) > 0.6


# -- parameter groups --


def test_every_trained_parameter_is_in_one_group_with_its_rate(task: MakeTask) -> None:
    asked = task("finetune", lr=1.0, lr_backbone=0.1, stage_decay=0.5, weight_decay=0.05)
    head = asked.new_head()
    groups = network_groups(asked.backbone, head, asked.plan)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for m in (asked.backbone, head) for p in m.parameters())
    assert all((group["weight_decay"] == 0) == all(p.ndim <= 1 for p in group["params"]) for group in groups)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(head.weight)] == 1.0
    named = dict(asked.backbone.named_parameters())
    expected = {"layer4": 0.1, "layer3": 0.05, "layer2": 0.025, "layer1": 0.0125, "conv1": 0.00625, "bn1": 0.00625}
    for name, parameter in named.items():
        assert rates[id(parameter)] == pytest.approx(expected[name.split(".")[0]]), name


@pytest.mark.parametrize("name", ["test_vit", "test_vit_relpos", "test_efficientnet", "swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize("boundary", ["start", "inner"])
def test_weight_decay_is_put_on_what_timms_own_optimizers_put_it_on(task: MakeTask, name: str, boundary: str) -> None:
    backbone = create(name, pretrained=False)
    stages = backbone.stage_names()
    tail = backbone.split_at(stages[len(stages) // 2] if boundary == "inner" else "start")[1]
    head = nn.Linear(backbone.dim, 2)
    groups = network_groups(tail, head, task("finetune", weight_decay=0.05).plan, backbone.facts.undecayed)
    ours = {id(p) for g in groups for p in g["params"] if g["weight_decay"]} - {id(head.weight)}
    net = timm.create_model(name, num_classes=0)
    theirs = {
        id(p)
        for g in param_groups_weight_decay(net, 0.05, no_weight_decay_list=getattr(net, "no_weight_decay", set)())
        for p in g["params"]
        if g["weight_decay"]
    }
    decayed = {key for key, p in net.named_parameters() if id(p) in theirs}
    held = {id(p): key for key, p in backbone.state_dict(keep_vars=True).items()}
    own = {held[id(p)] for p in tail.parameters()}
    assert {held[p] for p in ours} == decayed & own
    assert decayed & own


def test_frozen_parameters_are_in_no_group() -> None:
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    assert [len(g["params"]) for g in parameter_groups(net.named_parameters(), 1.0, 0.1)] == [1]


# -- auto --


def probe_with(monkeypatch: pytest.MonkeyPatch, val: tuple[float, float]) -> None:
    """From now on a probe has these figures on val, whatever it reaches."""
    fitted = Probe.fit
    monkeypatch.setattr(Probe, "fit", lambda self, context: replace(fitted(self, context), val=val))


def decisions(task: FitContext, kept: dict[str, Any]) -> FitContext:
    return replace(task, remember=kept.__setitem__, recall=kept.get)


def test_auto_keeps_its_decision_and_a_resumed_run_does_not_decide_anew(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(auto, "decide", lambda *_: Choice(0, "so it was the first time"))
    first = fit(decisions(task("auto"), kept))
    assert kept == {"auto": [0, "so it was the first time"]}
    monkeypatch.setattr(auto, "decide", lambda *_: pytest.fail("decided anew"))
    again = fit(decisions(task("auto"), kept))
    assert again.decision == first.decision == "so it was the first time"
    assert again.plan.strategy == "probe"


@pytest.mark.parametrize(
    ("val", "chosen"),
    [((0.1, 1.0), "lp-ft"), ((9.0, 0.0), "probe"), ("better loss", "lp-ft"), ("worse loss", "probe")],
)
def test_auto_takes_what_val_says(task: MakeTask, monkeypatch: pytest.MonkeyPatch, val: Any, chosen: str) -> None:
    asked = decisions(
        task("auto"), {"auto": ["lp-ft", "there are errors left"]}
    )  # as it was kept before epochs could be fewer
    seen: list[FitResult] = []

    def tuned(part: FitContext, *, start: FitResult) -> FitResult:
        seen.append(start)
        loss, accuracy = start.val
        figures = {"better loss": (loss / 2, accuracy), "worse loss": (loss * 2 + 1, accuracy)}.get(val, val)
        row = EpochRow("lp-ft", 1, 1.0, 0.5, *figures, 0.1, 1.0)
        return FitResult(Network(copy.deepcopy(asked.backbone), start.network.head), part.plan, figures, [row], 1)

    monkeypatch.setattr(auto, "fine_tune", tuned)
    if chosen == "lp-ft" and isinstance(val, tuple):
        probe_with(monkeypatch, (0.5, 0.5))
    outcome = fit(asked)
    assert outcome.plan.strategy == chosen
    assert outcome.network.backbone.has_weights_of(asked.backbone) == (chosen == "probe")
    assert chosen.replace("probe", "the probe") in outcome.decision
    assert outcome.history  # what was tried is told either way
    assert outcome.probe is seen[0].probe


def test_auto_stops_at_a_probe_without_errors(task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "seconds_per_step", lambda *_: pytest.fail("timed for nothing"))
    probe_with(monkeypatch, (0.01, 1.0))
    outcome = fit(task("auto"))
    assert outcome.plan.strategy == "probe"
    assert not outcome.history


def test_auto_respects_the_time_it_may_spend(task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    probe_with(monkeypatch, (1.0, 0.2))
    monkeypatch.setattr(auto, "seconds_per_step", lambda *_: 1e6)
    assert "min" in fit(task("auto")).decision
    monkeypatch.setattr(auto, "seconds_per_step", lambda *_: 1e-6)
    assert fit(task("auto", epochs=1)).history


def test_auto_trains_for_the_epochs_that_fit(task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    probe_with(monkeypatch, (1.0, 0.2))
    kept: dict[str, Any] = {}
    monkeypatch.setattr(auto, "decide", lambda *_: Choice(1, "the budget allows one"))
    found = fit(decisions(task("auto"), kept))
    assert [row.epoch for row in found.history] == [1]  # of the two that the plan has
    assert kept["auto"] == [1, "the budget allows one"]
    if found.plan.strategy == "lp-ft":
        assert (found.plan.epochs, found.plan.reasons["epochs"]) == (1, "the budget allows one")


@pytest.mark.parametrize("batchnorm", ["kept", "moving"])
def test_a_step_is_timed_as_it_will_be_taken(task: MakeTask, monkeypatch: pytest.MonkeyPatch, batchnorm: str) -> None:
    seen: list[bool] = []

    def timed(network: nn.Module, *_: Any) -> float:
        seen.extend(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
        return 1.0

    monkeypatch.setattr(throughput, "_seconds", timed)
    asked = task("finetune", batchnorm=batchnorm)
    throughput.seconds_per_step(asked.backbone, asked.new_head(), asked.plan, asked.machine)
    assert seen
    assert set(seen) == {batchnorm == "moving"}


def test_a_step_is_timed_by_the_kernels_that_it_will_use(task: MakeTask) -> None:
    asked, seen = task("finetune"), []
    head = nn.Sequential(nn.Unflatten(1, (1, 1, -1)), nn.Conv2d(1, 2, 1, 2), nn.Flatten())
    head[1].register_forward_hook(lambda conv, *_: seen.append("forward" in conv.__dict__))
    seconds_per_step(asked.backbone, head, asked.plan, asked.machine)
    assert seen == [True, True]


def test_timing_a_step_leaves_the_backbone_alone(task: MakeTask) -> None:
    asked = task("finetune")
    before = bits(asked.backbone)
    assert seconds_per_step(asked.backbone, asked.new_head(), asked.plan, asked.machine) > 0
    assert all(torch.equal(value, before[name]) for name, value in asked.backbone.state_dict().items())
    assert not asked.backbone.training


def test_an_unknown_boundary_is_said_before_training(task: MakeTask) -> None:
    with pytest.raises(HeadstartError, match="layer9"):
        task("partial", boundary="layer9")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

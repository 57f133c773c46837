"""The strategies. In: a task (photos by split, a backbone, a plan). Out: a trained network, chosen on val, and how
it got there. Test is not read here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from headstart.core.array_store import RowStore
from headstart.core.choice import Choice
from headstart.core.events import Events
from headstart.data.augment import Augmentation, View
from headstart.data.images import DecodedImages
from headstart.data.schema import Split
from headstart.inference.device import Machine
from headstart.inference.features import FeatureKey, compute_rows, extract, photo_batches
from headstart.inference.runner import FrozenNetwork, Normalise
from headstart.models.backbone import Backbone
from headstart.models.freeze import freeze, thaw
from headstart.models.heads import build_head
from headstart.models.network import Network, head_logits, is_linear, last_linear
from headstart.models.preprocessing import Preprocessing
from headstart.training import rules
from headstart.training.batches import ArraySource, MapSource, PictureSource, Source, as_tensor
from headstart.training.linear_probe import L2_GRID, Probe, fit_probe
from headstart.training.logistic_regression import standardiser
from headstart.training.plan import Plan
from headstart.training.throughput import seconds_per_step
from headstart.training.trainer import EpochRow, Trainer


@dataclass(frozen=True)
class FitContext:
    """What a strategy needs. ``pixels`` and ``labels`` per split; ``plan_for(strategy)`` resolves the plan of a part
    of ``auto``; ``mistakes``: made on purpose, by a study alone; ``ready``: the frozen trunk that was read last, which
    the next split or view may need again.
    """

    classes: int
    pixels: dict[Split, DecodedImages]
    labels: dict[Split, np.ndarray]
    backbone: Backbone
    head: str
    dropout: tuple[float, ...]
    plan: Plan
    plan_for: Callable[[str], Plan]
    machine: Machine
    state: Path
    events: Events = field(default_factory=Events)
    remember: Callable[[str, Any], None] = lambda *_: None
    recall: Callable[[str], Any] = lambda _: None
    l2_grid: Sequence[float] = L2_GRID
    mistakes: tuple[str, ...] = ()
    ready: dict[FeatureKey, FrozenNetwork] = field(default_factory=dict)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.backbone.preprocessing.at(self.plan.image_size, self.plan.resize)


@dataclass
class FitResult:
    """A trained network and its story. ``val``: (loss, accuracy) that decided; ``parts``: what auto tried, with
    their val figures; ``temperature``: what the head's logits are divided by already, None where nobody asked yet.
    """

    network: Network
    plan: Plan
    val: tuple[float, float]
    history: list[EpochRow] = field(default_factory=list)
    best_epoch: int | None = None
    probe: Probe | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    decision: str = ""
    temperature: float | None = None


def train(task: FitContext) -> FitResult:
    """Run the plan's strategy.

    Raises:
        TrainingError, Interrupted, RunError: see ``loop.Trainer.run``.
    """
    strategy = task.plan.strategy
    if strategy == "auto":
        return _auto(task)
    if strategy in {"probe", "head"}:
        return _probe(task)
    if strategy == "lp-ft":
        return _finetune(task, _probe(task))
    return _finetune(task, None)


def feature_key(task: FitContext, end: str) -> FeatureKey:
    """The name of the trunk's outputs in the cache."""
    return FeatureKey(
        task.backbone.weights_digest,
        end,
        task.preprocessing,
        task.plan.precision,
        task.machine.device.type,
        task.plan.engine,
    )


def _forward(task: FitContext, module: nn.Module) -> FrozenNetwork:
    return FrozenNetwork(module, task.preprocessing, task.machine, task.plan.precision, task.plan.engine)


def _ready(task: FitContext, trunk: nn.Module, key: FeatureKey) -> FrozenNetwork:
    """A frozen trunk ready to be read: folded and converted once for all splits and views."""
    if key not in task.ready:
        task.ready.clear()
        task.ready[key] = _forward(task, trunk)
    return task.ready[key]


def pooled_features(task: FitContext, split: Split) -> np.ndarray:
    """The backbone's features of a split's photos, float32 [N, D], from the cache where it has them."""
    key = feature_key(task, "end")
    return extract(
        lambda: _ready(task, task.backbone, key),
        key,
        task.pixels[split],
        progress=lambda done, total: task.events.progress(f"features of {split}", done, total),
    )


def _probe(task: FitContext) -> FitResult:
    train = (pooled_features(task, "train"), task.labels["train"])
    val = (pooled_features(task, "val"), task.labels["val"])
    head = new_head(task)
    if not is_linear(head):
        return _train_head(task, head, train, val)
    probe = fit_probe(train, val, task.classes, task.l2_grid)
    with torch.no_grad():
        last_linear(head).weight.copy_(probe.weight)
        last_linear(head).bias.copy_(probe.bias)
    figures = loss_accuracy(head_logits(head, val[0]), val[1])
    return FitResult(
        Network(task.backbone, head), task.plan_for("probe"), figures, probe=probe, parts=[_part("probe", figures)],
        temperature=probe.temperature,
    )  # fmt: skip


def new_head(task: FitContext) -> nn.Module:
    """The task's head with random weights that the seed decides."""
    torch.manual_seed(task.plan.seed)
    return build_head(task.head, task.backbone.dim, task.classes, task.dropout)


def _train_head(
    task: FitContext, head: nn.Module, train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray]
) -> FitResult:
    """A head with hidden layers, trained on cached features. They are standardised, which is folded into its first
    layer afterwards.
    """
    plan = task.plan_for("probe")
    mean, scale = (t.numpy().astype(np.float32) for t in standardiser(torch.from_numpy(train[0])))
    rows, val_rows = (train[0] - mean) / scale, (val[0] - mean) / scale
    # Small matrices: a GPU would wait for its launches.
    machine = Machine(torch.device("cpu"), task.machine.fast_bf16, task.machine.words)
    quick = plan.changed("features are small: float32 costs nothing", precision="float32")
    loop = Trainer(
        head, ArraySource(rows, train[1], plan.seed), lambda: loss_accuracy(head_logits(head, val_rows), val[1]),
        quick, machine, task.state / "head", parameter_groups(head.named_parameters(), plan.lr, plan.weight_decay),
        task.events,
    )  # fmt: skip
    trained = loop.run()
    _fold_standardiser(head, mean, scale)
    val_figures = loss_accuracy(head_logits(head, val[0]), val[1])
    network, parts = Network(task.backbone, head), [_part("probe", val_figures)]
    return FitResult(network, plan, val_figures, trained.history, trained.best_epoch, parts=parts)


@torch.no_grad()
def _fold_standardiser(head: nn.Module, mean: np.ndarray, scale: np.ndarray) -> None:
    first = next(m for m in head.modules() if isinstance(m, nn.Linear))
    weight = first.weight.double() / torch.from_numpy(scale).double()
    first.bias.sub_((weight @ torch.from_numpy(mean).double()).float())
    first.weight.copy_(weight.float())


def _finetune(task: FitContext, start: FitResult | None) -> FitResult:
    """finetune, partial, scratch, and the second half of lp-ft (``start``: the probe's outcome)."""
    plan = task.plan
    head = copy.deepcopy(start.network.head) if start else new_head(task)
    network = Network(copy.deepcopy(task.backbone), head)
    trunk, tail = network.backbone.split_at(plan.boundary)
    freeze(trunk)
    read_once = plan.strategy == "partial" and plan.boundary != "start"
    seen = tail if read_once else nn.Sequential(trunk, tail)
    trainee = nn.Sequential(Normalise(task.preprocessing), seen, head, *_intended_mistakes(task))
    reading = _maps(task, trunk) if read_once else _pictures(task)
    task.ready.clear()  # what is read from now on changes
    groups, state = _groups(tail, head, plan), task.state / plan.strategy

    def validate() -> tuple[float, float]:
        return loss_accuracy(_current_logits(trainee, reading.val(), task), task.labels["val"])

    loop = Trainer(trainee, reading.train, validate, plan, task.machine, state, groups, task.events)
    trainee.to(task.machine.device)
    trained = loop.run()
    trainee.to("cpu")
    thaw(trunk)
    network.eval()
    best = trained.history[trained.best_epoch - 1]
    outcome = FitResult(network, plan, (best.val_loss, best.val_accuracy), trained.history, trained.best_epoch)
    outcome.parts = [*(start.parts if start else []), _part(plan.strategy, outcome.val)]
    outcome.probe = start.probe if start else None
    return outcome


def _intended_mistakes(task: FitContext) -> list[nn.Module]:
    """What stands between head and loss only in a study that shows what it costs: a sigmoid, as in the Imagewoof
    project. The order of the answers stays, so the classifier that is kept names photos as this network does.
    """
    return [nn.Sigmoid() for mistake in task.mistakes if mistake == "sigmoid"]


@dataclass(frozen=True)
class _Reading:
    """What a training reads: batches for the epochs, and all of val, in order, as inputs on the CPU."""

    train: Source
    val: Callable[[], Iterator[torch.Tensor]]


def _pictures(task: FitContext) -> _Reading:
    plan, val = task.plan, task.pixels["val"]
    how = Augmentation.named(plan.augment)
    source = PictureSource(task.pixels["train"], task.labels["train"], plan.image_size, how, plan.seed)

    def read_val() -> Iterator[torch.Tensor]:
        for batch, photos in photo_batches(val, range(len(val)), plan.image_size, View()):
            yield torch.from_numpy(photos[: len(batch)])

    return _Reading(source, read_val)


def _maps(task: FitContext, trunk: nn.Module) -> _Reading:
    """Read the frozen trunk once per view, for training and for val; the epochs then see its outputs only."""
    how = Augmentation.named(task.plan.augment)
    # Without crops there are the centre and, where mirroring is allowed, its mirror image.
    count = task.plan.views if how.smallest < 1 else 1 + how.mirror
    stores = tuple(_store(task, trunk, "train", View(n, how.mirror, how.smallest)) for n in range(count))
    val_store = _store(task, trunk, "val", View())
    source = MapSource(stores, tuple(map(str, task.pixels["train"].digests)), task.labels["train"], task.plan.seed)
    digests = list(map(str, task.pixels["val"].digests))

    def read_val() -> Iterator[torch.Tensor]:
        for first in range(0, len(digests), 64):
            yield as_tensor(val_store.gather(digests[first : first + 64])).float()

    return _Reading(source, read_val)


@torch.inference_mode()
def _current_logits(trainee: nn.Module, inputs: Iterator[torch.Tensor], task: FitContext) -> np.ndarray:
    """Logits [N, C] of a network in the middle of its training. Not folded: to fold it for each epoch would cost more
    than it saves, and on a few dozen photos more than the epoch.
    """
    trainee.eval()
    device = task.machine.device
    with torch.autocast(device.type, torch.bfloat16, enabled=task.plan.precision == "bf16"):
        return np.concatenate([trainee(x.to(device)).float().cpu().numpy() for x in inputs])


def _store(task: FitContext, trunk: nn.Module, split: Split, view: View) -> RowStore:
    key = feature_key(task, f"before {task.plan.boundary}")
    return compute_rows(
        lambda: _ready(task, trunk, key),
        key,
        task.pixels[split],
        view,
        "uint16",
        lambda done, total: task.events.progress(f"trunk outputs of {split}, view {view.number + 1}", done, total),
    )


def network_features(network: Network, task: FitContext, pixels: DecodedImages) -> np.ndarray:
    """The features [N, D] that the whole network's head sees, computed the way that predict computes them."""
    forward = _forward(task, network.backbone)
    size, out = task.plan.image_size, []
    for batch, photos in photo_batches(pixels, range(len(pixels)), size, View()):
        out.append(forward(torch.from_numpy(photos)).float().numpy()[: len(batch)])
    return np.concatenate(out)


def _groups(tail: nn.Module, head: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """Parameter groups: the head at its rate, the last stage at the backbone's, each earlier one ``stage_decay``
    times lower.
    """
    stages: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in tail.named_parameters():
        if parameter.requires_grad:
            stages.setdefault(_stage(name), []).append((name, parameter))
    groups = parameter_groups(head.named_parameters(), plan.lr, plan.weight_decay)
    for depth, members in enumerate(reversed(stages.values())):
        groups += parameter_groups(members, plan.lr_backbone * plan.stage_decay**depth, plan.weight_decay)
    return groups


def _stage(name: str) -> str:
    first, second, *_ = [*name.split("."), ""]
    return f"{first}.{second}" if first in {"blocks", "stages", "layers", "features"} else first.replace("bn1", "conv1")


def parameter_groups(named: Any, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups at one rate: matrices and filters with weight decay; biases and normalisation (one dimension)
    without.
    """
    parameters = [p for _, p in named if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def loss_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of logits [N, C]."""
    t, y = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    return F.cross_entropy(t, y).item(), (t.argmax(1) == y).double().mean().item()


def _part(name: str, val: tuple[float, float]) -> dict[str, Any]:
    return {"strategy": name, "val_loss": val[0], "val_accuracy": val[1]}


def _auto(task: FitContext) -> FitResult:
    """A probe; then, where val still has errors that time allows to mend, lp-ft from it; the better of both on val."""
    probe = _probe(task)
    decided = task.recall("auto")
    if decided is None:
        decided = list(_decide(task, probe))
        task.remember("auto", decided)  # timings differ from run to run: a resumed run must not decide anew
    choice = Choice(*decided)
    task.events.message(f"auto: {choice.reason}.")
    if choice.value == "probe":
        probe.decision = choice.reason
        return probe
    tuned = _finetune(_with_plan(task, task.plan_for("lp-ft")), probe)
    better = (tuned.val[1], -tuned.val[0]) >= (probe.val[1], -probe.val[0])
    chosen = tuned if better else probe
    chosen.history, chosen.parts, chosen.probe = tuned.history, tuned.parts, probe.probe
    chosen.best_epoch = tuned.best_epoch
    chosen.decision = f"{choice.reason}; on val {'lp-ft' if better else 'the probe'} was the better"
    return chosen


def _with_plan(task: FitContext, plan: Plan) -> FitContext:
    return replace(task, plan=plan)


def _decide(task: FitContext, probe: FitResult) -> Choice:
    photos = len(task.labels["val"])
    errors = round((1 - probe.val[1]) * photos)
    plan = task.plan_for("lp-ft")
    steps = math.ceil(len(task.labels["train"]) / plan.batch_size)
    quick = rules.next_after_probe(errors, photos, 0.0, plan.epochs, plan.budget_minutes)
    if quick.value == "probe":
        return quick
    return rules.next_after_probe(
        errors,
        photos,
        steps * seconds_per_step(task.backbone, new_head(task), plan, task.machine),
        plan.epochs,
        plan.budget_minutes,
    )

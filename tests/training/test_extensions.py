"""Strategies and heads of other packages: registered in the process, or declared as entry points and installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import headstart as hs
from headstart.errors import OptionError, RunError
from headstart.models.heads import HEADS, Head
from headstart.training.launch import LAUNCHERS, fit
from headstart.training.plan import Plan
from headstart.training.strategies import STRATEGIES
from headstart.training.strategies.base import Boundary, FitContext, FitResult, Strategy
from headstart.training.strategies.finetune import fine_tune


class CosineLayer(nn.Module):
    """Logits are cosines to one vector per class, times a learned scale."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.logit_scale = nn.Parameter(torch.randn(outputs, dim)), nn.Parameter(torch.tensor([10.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.normalize(x), F.normalize(self.weight)) * self.logit_scale


class Cosine(Head):
    def build(self, spec: str, dim: int, outputs: int, dropout: Sequence[float] = ()) -> nn.Module:
        return CosineLayer(dim, outputs)

    @torch.no_grad()
    def scale(self, module: nn.Module, temperature: float) -> None:
        module.logit_scale.div_(temperature)


class NormalisationOnly(Strategy):
    summary = "training of the scales and shifts of normalisation alone"
    boundary = Boundary("none", "start", "normalisation is everywhere")
    trains_backbone = True

    def fit(self, context: FitContext) -> FitResult:
        return fine_tune(context, trainable=lambda name, parameter: parameter.ndim == 1)


@pytest.fixture
def _toys() -> Iterator[None]:
    HEADS.register("cosine", Cosine())
    STRATEGIES.register("norm-only", NormalisationOnly())
    yield
    HEADS.unregister("cosine")
    STRATEGIES.unregister("norm-only")


@pytest.mark.usefixtures("_toys")
def test_a_strategy_and_a_head_of_this_process_train_predict_and_are_named(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    run = hs.train(
        photos, out=tmp_path / "run", backbone="starter", weights=weights, strategy="norm-only", head="cosine",
        epochs=4, lr=0.01, lr_backbone=0.01, quiet=True,
    )  # fmt: skip
    assert run.plan.strategy == "norm-only"
    files = sorted(photos.rglob("*.png"))[:3]
    assert [p.label in run.classifier.classes for p in hs.predict(run.path, files)] == [True] * 3
    for name in ("report.html", "MODEL_CARD.md"):
        assert NormalisationOnly.summary in (run.path / name).read_text(encoding="utf-8"), name
    assert "with a cosine head" in (run.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    start = hs.train(
        photos, out=tmp_path / "probe", backbone="starter", weights=weights, strategy="probe", head="cosine",
        epochs=4, quiet=True,
    )  # fmt: skip
    assert (start.plan.strategy, start.plan.variant) == ("probe", "trained head")
    before, after = (dict(r.classifier.network.backbone.named_parameters()) for r in (start, run))
    assert all(torch.equal(p, before[name]) is (p.ndim > 1) for name, p in after.items())
    val = start.metrics["val"]
    assert val["log_loss"] < val["calibration"]["before"]["log_loss"]  # the temperature is in the head
    assert hs.open_run(run.path).metrics == run.metrics


@pytest.mark.usefixtures("_toys")
def test_what_a_toy_does_not_take_is_refused(photos: Path) -> None:
    with pytest.raises(OptionError, match="boundary"):
        hs.train(photos, strategy="norm-only", boundary="layer3")
    with pytest.raises(OptionError, match="nothing after its name"):
        hs.train(photos, head="cosine:3", backbone="starter", quiet=True)


def test_a_launcher_gets_the_fit_and_the_context() -> None:
    class Twice:
        def run(self, fit, context):  # type: ignore[no-untyped-def]
            return [fit(context), fit(context)]

    class Silent(Strategy):
        summary = "nothing"

        def fit(self, context: FitContext) -> FitResult:
            return context.plan.strategy  # type: ignore[return-value]

    STRATEGIES.register("silent", Silent())
    LAUNCHERS.register("twice", Twice())
    try:
        context: Any = SimpleNamespace(plan=Plan("silent"), folds=())
        found: Any = [fit(context, "twice"), fit(context)]
        assert found == [["silent", "silent"], "silent"]
    finally:
        STRATEGIES.unregister("silent")
        LAUNCHERS.unregister("twice")


PACKAGE = """
import torch
from torch import nn
from torch.nn.functional import normalize

from headstart.evaluation.objective import loss_accuracy
from headstart.models.heads import Head
from headstart.models.network import Network, head_logits
from headstart.training.strategies.base import FitResult, Strategy, part


class Layer(nn.Linear):
    def forward(self, x):
        return super().forward(normalize(x))


class Cosine(Head):
    def build(self, spec, dim, outputs, dropout=()):
        return Layer(dim, outputs)

    def scale(self, module, temperature):
        for parameter in module.parameters():
            parameter.data /= temperature


class ClassMeans(Strategy):
    summary = "the nearest mean of a class"
    reads_train_features = True

    def settings(self, plan):
        return frozenset()

    def fit(self, context):
        (x, y), (val, wanted) = ((context.features(s), context.labels[s]) for s in ("train", "val"))
        rows, head = normalize(torch.from_numpy(x)), context.new_head()
        head.weight.data = normalize(torch.stack([rows[y == c].mean(0) for c in range(context.classes)])) * 20
        head.bias.data.zero_()
        figures = loss_accuracy(context.objective, head_logits(head, val), wanted)
        return FitResult(Network(context.backbone, head), context.plan, figures, parts=(part("means", figures),))
"""
ENTRY_POINTS = """
[headstart.strategies]
class-means = toys:ClassMeans

[headstart.heads]
cosine = toys:Cosine
"""


@pytest.mark.slow
def test_an_installed_package_brings_a_strategy_and_a_head(photos: Path, weights: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    facts = site / "toys-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "toys.py").write_text(PACKAGE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    path = os.pathsep.join([str(site), str(Path(hs.__file__).parents[1])])

    def headstart(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headstart", *words]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)

    asked = ("--backbone", "starter", "--weights", str(weights), "--strategy", "class-means", "--head", "cosine")
    answer = headstart("train", str(photos), *asked, "--out", str(tmp_path / "run"), "--json", "--quiet")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert said["strategy"] == "class-means"
    assert said["metrics"]["val"]["accuracy"]["value"] > 0.5
    assert "class-means (the nearest mean of a class)" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    with pytest.raises(RunError, match="head 'cosine' is not known"):  # here, where the package is not installed
        hs.open_run(tmp_path / "run")

"""``auto``: a probe; then lp-ft from it, where there are photos enough, val still has errors and the time allows; the
better of both on val.
"""

from __future__ import annotations

import math
from dataclasses import replace

from headstart.core.choice import Choice
from headstart.evaluation.objective import OnVal
from headstart.training import rules
from headstart.training.plan import YOURS, Plan
from headstart.training.strategies.base import FitContext, FitResult, Strategy
from headstart.training.strategies.finetune import fine_tune
from headstart.training.strategies.probe import Probe
from headstart.training.throughput import seconds_per_step


class Auto(Strategy):
    """The default. The result's plan is that of the part that was chosen."""

    summary = "a probe first, then what val decides"
    parallel = True
    reads_train_features = begins_with_features = has_parts = True

    def settings(self, plan: Plan) -> frozenset[str]:
        return frozenset({"budget_minutes", "stages"})

    def takes(self, plan: Plan) -> frozenset[str]:
        return frozenset({"callbacks"})  # the probe may win, which no transform and no loss of the caller's would reach

    def fit(self, context: FitContext) -> FitResult:
        probe = Probe().fit(context.with_plan(context.plan_for("probe")))
        plan = context.plan_for("lp-ft")
        # Timings differ from run to run, and from process to process: nobody must decide anew.
        found = _kept(context) or decide(context, probe) if context.world.first else None
        choice = Choice(*context.world.tell(found and list(found)))
        context.remember("auto", list(choice))
        context.events.message(f"auto: {choice.reason}.")
        if not choice.value:
            return replace(probe, decision=choice.reason)
        epochs = min(plan.epochs, choice.value)
        reasons = plan.reasons if epochs == plan.epochs else plan.reasons | {"epochs": choice.reason}
        tuned = fine_tune(context.with_plan(replace(plan, epochs=epochs, reasons=reasons)), start=probe)
        better = OnVal.of(tuned.val).score >= OnVal.of(probe.val).score
        decision = f"{choice.reason}; on val {'lp-ft' if better else 'the probe'} was the better"
        decision += f"; {tuned.decision}" if better and tuned.decision else ""
        return replace(
            tuned if better else probe, history=tuned.history, best_epoch=tuned.best_epoch, parts=tuned.parts,
            probe=probe.probe, decision=decision,
        )  # fmt: skip


def decide(context: FitContext, probe: FitResult) -> Choice:
    """For how many epochs to go on after the probe. A training step is timed only where the probe leaves errors."""
    photos, plan = len(context.labels["val"]), context.plan_for("lp-ft")
    photos_to_learn, native = len(context.labels["train"]), context.backbone.facts.preprocessing.image_size
    if plan.reasons.get("epochs") != YOURS and (few := rules.too_few_to_tune(photos_to_learn, native)):
        return few
    val = OnVal.of(probe.val)
    right = val.score[0] if val.mean_ap is None else val[1]  # where classes are uneven, as if they were even
    errors = round((1 - right) * photos)
    steps = math.ceil(photos_to_learn / plan.batch_size)
    fewest = plan.epochs if plan.reasons.get("epochs") == YOURS else 1

    def after(seconds: float) -> Choice:
        return rules.epochs_after_probe(errors, photos, seconds, steps, plan.epochs, plan.budget_minutes, fewest)

    choice = after(0.0)
    if not choice.value:
        return choice
    return after(seconds_per_step(context.backbone, context.new_head(), plan, context.machine))


def _kept(context: FitContext) -> Choice | None:
    """What was decided before the run was interrupted; "probe" or "lp-ft" in runs of an older headstart."""
    kept = context.recall("auto")
    if not (isinstance(kept, list) and len(kept) == 2):
        return None
    epochs = {"probe": 0, "lp-ft": context.plan_for("lp-ft").epochs}
    return Choice(epochs.get(kept[0], 0) if isinstance(kept[0], str) else kept[0], kept[1])

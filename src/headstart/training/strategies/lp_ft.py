"""``lp-ft``: a linear probe, then fine-tuning from it (Kumar et al. 2022, "Fine-tuning can distort pretrained features
and underperform out-of-distribution", ICLR).
"""

from __future__ import annotations

from headstart.core.choice import Choice
from headstart.training.rules import Facts
from headstart.training.strategies.base import FitContext, FitResult
from headstart.training.strategies.finetune import FineTune, fine_tune
from headstart.training.strategies.probe import Probe


class LpFt(FineTune):
    """Fine-tuning whose head is the probe's at the start, so that large gradients of a random one spoil nothing."""

    summary = "a linear probe, then fine-tuning of the whole network from it"
    reads_train_features = True

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        return {
            "lr": Choice(3e-4, "the head already fits: small steps"),
            "lr_backbone": Choice(3e-4, "the head already fits: small steps keep what the weights know"),
            "batchnorm": Choice(
                "kept", "the head was fitted to features under these statistics; batches would shift them"
            ),
        }

    def fit(self, context: FitContext) -> FitResult:
        probe = Probe().fit(context.with_plan(context.plan_for("probe")))
        return fine_tune(context, start=probe)

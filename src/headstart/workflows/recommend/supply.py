"""Which candidates can be measured. In: candidates. Out: their backbones where the weights can be had, else the reason.

A home of weights that could not be reached once is not asked again: with no network, one attempt per home is what
waiting may cost, and whatever lies on the machine still counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.errors import OptionError, WeightsError
from headstart.models.backbone import Backbone
from headstart.models.providers import PROVIDERS, resolve
from headstart.training.config import TrainOptions
from headstart.training.preparation import make_backbone
from headstart.workflows.recommend.candidates import Candidate


@dataclass
class Supply:
    """Loads backbones; ``unreached``: providers that did not answer, and for whose weights they were asked."""

    common: TrainOptions
    unreached: dict[str, str] = field(default_factory=dict)

    def load(self, candidate: Candidate) -> Backbone:
        """The candidate's backbone.

        Raises:
            WeightsError: its weights cannot be had, or do not fit. OptionError: no such network, cut or option.
        """
        if not candidate.weights:
            self._provide(candidate)
        return make_backbone(candidate.options(self.common))

    def _provide(self, candidate: Candidate) -> None:
        entry = resolve(candidate.backbone)
        provider = PROVIDERS.get(entry.provider)
        if provider.at_hand(entry):
            return
        if entry.provider in self.unreached:
            first = self.unreached[entry.provider]
            raise WeightsError(f"its weights are not on this machine, and their home was not reached (see {first})")
        try:
            provider.fetch(entry)
        except OptionError as none_published:
            raise WeightsError(none_published.problem) from None
        except WeightsError:
            self.unreached[entry.provider] = candidate.name
            raise


def megabytes(backbone: Backbone) -> float:
    """Millions of bytes of the weights, as a classifier keeps them (float32)."""
    return sum(tensor.numel() * tensor.element_size() for tensor in backbone.state_dict().values()) / 1e6

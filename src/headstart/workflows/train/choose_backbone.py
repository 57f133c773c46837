"""``backbone="auto"``: the backbone that suits the photos, of those whose weights are on this machine."""

from __future__ import annotations

from dataclasses import replace

from headstart.core.events import Events
from headstart.errors import OptionError
from headstart.models.catalogue import KNOWN, STARTERS
from headstart.models.providers import PROVIDERS, resolve
from headstart.training.config import AUTO_BACKBONE, DEFAULT_BACKBONE, SAMPLE, TrainOptions, taken_by
from headstart.training.strategies import STRATEGIES
from headstart.workflows.recommend.candidates import Candidate
from headstart.workflows.recommend.ranking import Budget
from headstart.workflows.recommend.recommend import Ranking

MINUTES = 10.0
"""For one pass over all photos, at most, where ``budget_minutes`` does not say otherwise."""


def with_backbone(options: TrainOptions, events: Events) -> TrainOptions:
    """The options with the backbone that was chosen, which a message names with the reason.

    Cross-validated probes of a sample decide, as in ``recommend``; where they cannot tell backbones apart, the fastest
    is taken. Without other weights on this machine it is the default one.

    Raises:
        OptionError: options that name a backbone in another way. DataError: too few photos.
    """
    if options.backbone != AUTO_BACKBONE:
        return options
    for name in ("weights", "from_run", "cut", "mean", "std"):
        if getattr(options, name):
            problem = f"`backbone='auto'` chooses the network, and `{name}` belongs to one."
            raise OptionError(problem, "Give one of the two.", option=name)
    if not STRATEGIES.get(options.strategy).pretrained:
        events.message(f"Backbone: {DEFAULT_BACKBONE}: training from scratch uses no pretrained weights.")
        return replace(options, backbone=DEFAULT_BACKBONE)
    names = [name for name in KNOWN if _at_hand(name)]
    if not set(names) - set(STARTERS):
        events.message(f"Backbone: {DEFAULT_BACKBONE}: no other pretrained weights are on this machine.")
        return replace(options, backbone=DEFAULT_BACKBONE)
    if len(names) == 1:
        events.message(f"Backbone: {names[0]}: the only one whose weights are on this machine.")
        return replace(options, backbone=names[0])
    known = taken_by("recommend")
    settings = {name: value for name, value in options.settings.items() if name in known}
    asked = replace(
        TrainOptions(options.data), strategy="probe", settings=settings,
        **{name: getattr(options, name) for name in known if name in vars(options) and name != "settings"},
    )  # fmt: skip
    minutes = float(options.settings.get("budget_minutes", MINUTES))
    found = Ranking(asked, SAMPLE, Budget(None, None, 60 * minutes), events).run([Candidate(name) for name in names])
    events.message(f"Backbone: {found.answer}")
    return replace(options, backbone=found.chosen["backbone"])


def _at_hand(name: str) -> bool:
    entry = resolve(name)
    return PROVIDERS.get(entry.provider).at_hand(entry)

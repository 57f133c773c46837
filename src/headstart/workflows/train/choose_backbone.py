"""``backbone="auto"``: the backbone that suits the photos, of those whose weights are on this machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from headstart.core.events import Events
from headstart.core.text import quoted
from headstart.data.loading import find_photos, read, usual_side
from headstart.data.schema import Manifest
from headstart.errors import OptionError
from headstart.models.catalogue import KNOWN, STARTERS
from headstart.models.preprocessing import Preprocessing
from headstart.models.providers import PROVIDERS, resolve
from headstart.training.config import AUTO_BACKBONE, DEFAULT_BACKBONE, SAMPLE, TrainOptions, taken_by
from headstart.training.preparation import draw_splits
from headstart.training.rules import wanted_size
from headstart.training.strategies import STRATEGIES
from headstart.workflows.recommend.candidates import Candidate
from headstart.workflows.recommend.ranking import Budget
from headstart.workflows.recommend.recommend import Ranking

MINUTES = 10.0
"""For one pass over all photos, at most, where ``budget_minutes`` does not say otherwise."""


def with_backbone(options: TrainOptions, events: Events) -> TrainOptions:
    """The options with the backbone that was chosen, which a message names with the reason.

    Cross-validated probes of a sample of the photos for training and validation decide, as in ``recommend``; where they
    cannot tell backbones apart, the fastest is taken. Without other weights on this machine it is the default one; so
    it is where a class has one photo to choose by.

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
    usable = _for_choices(options, events)
    if rare := _rare(usable):
        name = DEFAULT_BACKBONE if DEFAULT_BACKBONE in names else names[0]
        events.message(
            f"Backbone: {name}: to choose one takes two training photos of each class, and {rare} has fewer."
        )
        return replace(options, backbone=name)
    known = taken_by("recommend")
    settings = {name: value for name, value in options.settings.items() if name in known}
    asked = replace(
        TrainOptions(options.data), strategy="probe", settings=settings,
        **{name: getattr(options, name) for name in known if name in vars(options) and name != "settings"},
    )  # fmt: skip
    minutes = float(options.settings.get("budget_minutes", MINUTES))
    ranking = Ranking(asked, SAMPLE, Budget(None, None, 60 * minutes), events, usable)
    found = ranking.run([Candidate(name) for name in names])
    events.message(f"Backbone: {found.answer}")
    return replace(options, backbone=found.chosen["backbone"])


def _for_choices(options: TrainOptions, events: Events) -> Manifest:
    """The photos that the training will have in train and val: those of test decide nothing. With folds all, since each
    of them is tested by probes that do not know it.
    """
    manifest = find_photos(options.data, events, for_training=options.min_per_class is None,
                           options=options.read_options)  # fmt: skip
    usual = Preprocessing()
    size = wanted_size(usual_side(manifest), usual.image_size)
    photos = read(manifest, size, usual.interpolation, options.on_bad, events)
    numbers = sorted(one.number for one in draw_splits(options, photos).samples if one.split != "test" or options.folds)
    return replace(manifest, photos=tuple(manifest.photos[number] for number in numbers))


def _rare(manifest: Manifest) -> str:
    """A class with one photo, quoted; else an empty string."""
    counts = Counter(photo.label for photo in manifest.photos)
    return next((quoted(label) for label, count in counts.items() if count < 2), "")


def _at_hand(name: str) -> bool:
    entry = resolve(name)
    return PROVIDERS.get(entry.provider).at_hand(entry)

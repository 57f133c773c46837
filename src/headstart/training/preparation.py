"""Everything before training: photos found, read and split, the backbone loaded, the plan resolved, all checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from headstart.core.events import Events
from headstart.core.text import listed, plural, quoted
from headstart.core.world import here
from headstart.data.duplicates.pairs import Leak, in_words, leaks
from headstart.data.filenames import shown
from headstart.data.folds import without_val
from headstart.data.images import DecodedImages, reading_key
from headstart.data.loading import LoadedImages, find_photos, read, usual_side
from headstart.data.schema import SPLITS, Leakage, Manifest, Split, SplitDataset
from headstart.data.splits import split_dataset
from headstart.errors import DataError, OptionError
from headstart.evaluation.metrics import uneven
from headstart.evaluation.objective import OBJECTIVES, Objective
from headstart.inference.classifier import load_backbone
from headstart.inference.device import Machine, find_machine
from headstart.inference.features import FeatureExtractor, FeatureVisitor, some_for_calibration
from headstart.inference.int8 import INT8
from headstart.inference.openvino import has_openvino
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.heads import check_head, is_closed_form
from headstart.models.own_network import own_backbone
from headstart.training import loggers, rules
from headstart.training.config import TrainOptions
from headstart.training.fold_rules import in_folds
from headstart.training.own_loss import checked_loss
from headstart.training.own_transform import check_transform
from headstart.training.parts import Parts
from headstart.training.plan import Plan, check_overrides
from headstart.training.planning import resolve
from headstart.training.rules import Facts
from headstart.training.strategies import STRATEGIES

NONE = Parts()


@dataclass(frozen=True)
class Prepared:
    """Everything that a training and its report need. ``facts``: what the plan's rules looked at; ``extractor``:
    features of the backbone before training; ``leakage``: what is done about pictures that the data's own splits share,
    ``leaked``: pairs of near-duplicates that they still share.
    """

    options: TrainOptions
    dataset: SplitDataset
    photos: LoadedImages
    pixels: dict[Split, DecodedImages]
    labels: dict[Split, np.ndarray]
    objective: Objective
    backbone: Backbone
    machine: Machine
    plan: Plan
    facts: Facts
    extractor: FeatureExtractor
    leakage: Leakage = "drop"
    leaked: int = 0
    parts: Parts = NONE

    def plan_for(self, strategy: str) -> Plan:
        """The plan of another strategy on the same data, by the same rules and with the same overrides."""
        facts = replace(self.facts, strategy=strategy)
        return self.parts.planned(resolve(facts, self.options.seed, None, self.options.settings))


def prepare(options: TrainOptions, events: Events, parts: Parts = NONE) -> Prepared:
    """Find, read, check and split the photos; load the backbone; resolve the plan; with the caller's own ``parts``.
    Raises DataError, WeightsError, OptionError.
    """
    check_overrides(options.settings)
    if options.log:
        loggers.check(options.log)
    check_head(options.head, options.dropout)
    find_machine(options.device)
    everything = options.min_per_class is None
    manifest = find_photos(options.data, events, for_training=everything, options=options.read_options)
    photos, backbone, machine = read_for(options, manifest, events, parts=parts)
    return split(options, photos, backbone, machine, events, parts)


def read_for(
    options: TrainOptions, manifest: Manifest, events: Events, on_bad: str | None = None, parts: Parts = NONE
) -> tuple[LoadedImages, Backbone, Machine]:
    """The photos read at the size that the backbone wants, the backbone, and where it will run.

    ``on_bad``: as for ``read``, where it is not what the options say. Raises DataError, WeightsError, OptionError.
    """
    machine = find_machine(options.device)
    backbone = make_backbone(options, parts)
    if parts.network is not None:
        events.message(_read_as(backbone))
    size, resize = input_size(options, manifest, backbone)
    backbone.check_image_size(size)
    visitor = _visitor(options, manifest, backbone, machine, resize)
    photos = read(manifest, resize, backbone.preprocessing.interpolation, on_bad or options.on_bad, events, visitor)
    return replace(photos, device=machine.products), backbone, machine


def _visitor(
    options: TrainOptions, manifest: Manifest, backbone: Backbone, machine: Machine, resize: int
) -> list[FeatureVisitor]:
    """What computes features while the photos are read, where the strategy will ask for those of a probe. The plan is
    that of about as many photos: should it differ from the final one, the features are computed again. Several
    processes divide the pass, once all know the photos.
    """
    if not STRATEGIES.get(options.strategy).begins_with_features or here().size > 1:
        return []
    facts = replace(facts_of(manifest, len(manifest.photos), 2, backbone, machine), strategy=options.strategy)
    plan = resolve(facts, options.seed, None, options.settings)
    if plan.engine == INT8:  # it needs photos that are read already
        return []
    expected = backbone.preprocessing.at(plan.image_size, plan.resize, None)
    extractor = FeatureExtractor(backbone, expected, machine, plan.precision, plan.engine)
    return [extractor.visiting(reading_key(resize, backbone.preprocessing.interpolation))]


def split(
    options: TrainOptions, photos: LoadedImages, backbone: Backbone, machine: Machine, events: Events,
    parts: Parts = NONE,
) -> Prepared:  # fmt: skip
    """The part of ``prepare`` that depends on seed, shots and strategy."""
    if options.folds:
        photos = replace(photos, manifest=without_val(photos.manifest))
    leaked = _leaked(photos, leakage := leakage_of(options, photos.manifest), events)
    dataset = draw_splits(options, photos)
    events.message(f"{photos.manifest.name} ({photos.manifest.layout}): {dataset.summary}")
    for note in dataset.notes:
        events.warning(note)
    members = {s: dataset.split(s) for s in SPLITS}
    pixels = {s: photos.pixels.take([m.number for m in members[s]]) for s in SPLITS}
    objective, classes = OBJECTIVES.get("multilabel" if dataset.several else "multiclass"), len(dataset.classes)
    labels = {
        s: objective.targets([m.label if m.labels is None else m.labels for m in members[s]], classes) for s in SPLITS
    }
    evaluated, closed_form = len(members["val"]) + len(members["test"]), is_closed_form(options.head, options.dropout)
    trained = options.strategy if options.folds is None else in_folds(options.strategy)
    held = [count for count in dataset.counts("train") if count]
    facts = replace(
        facts_of(photos.manifest, len(members["train"]), classes, backbone, machine),
        strategy=trained, evaluated=evaluated, closed_form=closed_form,
        largest=max(held), smallest=min(held), several=dataset.several,
    )  # fmt: skip
    plan = resolve(facts, options.seed, options.boundary, options.settings, options.folds or 0)
    parts.check_used(plan)
    plan = parts.planned(plan)
    if options.strategy != trained:
        events.message(f"`folds={options.folds}`: auto trains the probe alone, whose models can be averaged.")
    if uneven(np.array(held)) and not dataset.several:
        events.warning(_imbalance(dataset, plan))
    backbone.split_at(plan.boundary)  # raises for an unknown boundary before training
    preprocessing = backbone.preprocessing.at(plan.image_size, plan.resize, photos.pixels.ranges)
    extractor = FeatureExtractor(
        backbone, preprocessing, machine, plan.precision, plan.engine, calibration=some_for_calibration(pixels["train"])
    )
    if parts.loss is not None:
        some = torch.from_numpy(labels["train"][:8])
        parts = replace(parts, loss=checked_loss(parts.loss, len(dataset.classes), some, machine.device))
    if parts.transform is not None:
        check_transform(parts.transform, pixels["train"].row(0), plan.image_size)
    return Prepared(
        options, dataset, photos, pixels, labels, objective, backbone, machine, plan, facts, extractor, leakage, leaked,
        parts,
    )  # fmt: skip


def _imbalance(dataset: SplitDataset, plan: Plan) -> str:
    counts = dataset.counts("train")
    low, high = min(range(len(counts)), key=counts.__getitem__), max(range(len(counts)), key=counts.__getitem__)
    return (
        f"class imbalance: {counts[high]:,} training photos of {quoted(dataset.classes[high])}, {counts[low]:,} of"
        f" {quoted(dataset.classes[low])}. `balance={plan.balance!r}`; balanced accuracy says more than accuracy."
    )


def draw_splits(options: TrainOptions, photos: LoadedImages) -> SplitDataset:
    """The splits of a training. Raises DataError."""
    return split_dataset(
        photos.manifest, photos.pixels.digests, photos.bad, options.split_options, photos.alike,
        drop_near=leakage_of(options, photos.manifest) == "drop",
    )  # fmt: skip


def leakage_of(options: TrainOptions, manifest: Manifest) -> Leakage:
    """What is done about pictures that the data's own splits share. Published figures use the splits of a named set as
    they are.
    """
    if options.allow_leakage:
        return "keep"
    unless_chosen = "keep" if manifest.source == "named" else "drop"
    return cast(Leakage, options.leakage or unless_chosen)


def facts_of(manifest: Manifest, photos: int, classes: int, backbone: Backbone, machine: Machine) -> Facts:
    """The facts of a probe that trains on so many photos."""
    side, native = usual_side(manifest), backbone.preprocessing.image_size
    return Facts(
        photos, classes, side, native, "probe", machine.device.type,
        machine.fast_bf16, weights=sum(p.numel() for p in backbone.parameters()), openvino=has_openvino(),
        last_stage=backbone.last_stage, fitting_size=backbone.fitting_size(rules.wanted_size(side, native)),
    )  # fmt: skip


def _leaked(photos: LoadedImages, leakage: Leakage, events: Events) -> int:
    """How many pairs of near-duplicates the data's own splits share, and keep. Raises DataError where training is to
    stop at any shared picture.
    """
    found: list[Leak] = [] if leakage == "drop" else leaks(photos.manifest, photos.pixels.digests, photos.near)
    if not found:
        return 0
    pairs = plural(len(found), "pair of duplicates", "pairs of duplicates")
    words = f"{photos.manifest.name} has {pairs} across splits: {in_words(found, photos.manifest)}."
    if leakage == "stop":
        raise DataError(
            f"{words} The accuracy would be too high",
            "`hs.check(DATA, fix='clean.csv')` writes a list without them; `leakage='drop'` trains without them.",
            option="leakage",
        )
    if near := sum(not leak.exact for leak in found):
        kept = f"{plural(near, 'near duplicate')} {'stays' if near == 1 else 'stay'}"
        events.warning(f"{words} Identical files leave the earlier split; {kept}, and the accuracy is too high.")
    return near


def _read_as(backbone: Backbone) -> str:
    """What was found out of a network of the caller's, or assumed."""
    expected = backbone.preprocessing
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (expected.mean, expected.std))
    stages = listed(backbone.stage_names()) if len(backbone.block_names) > 1 else "one stage"
    return (
        f"Backbone {backbone.name}: {backbone.dim} features, {stages}. It expects {expected.image_size} px, the mean"
        f" {mean} and the standard deviation {std}."
    )


def make_backbone(options: TrainOptions, parts: Parts = NONE) -> Backbone:
    """The backbone of the options or of the ``parts``, with the options' preprocessing. Raises WeightsError,
    OptionError.
    """
    backbone: Backbone
    torch.manual_seed(options.seed)  # decides the random weights of scratch
    if parts.network is not None:
        backbone = own_backbone(parts.network, check_overrides(options.settings).get("image_size"))
        backbone = backbone.truncated(options.cut) if options.cut else backbone
    elif options.from_run:
        backbone = load_backbone(Path(options.from_run))
        backbone = backbone.truncated(options.cut) if options.cut else backbone
    else:
        weights = Path(options.weights) if options.weights else None
        pretrained = STRATEGIES.get(options.strategy).pretrained
        backbone = create(options.backbone, pretrained=pretrained, weights=weights, cut=options.cut)
    changes = {name: getattr(options, name) for name in ("mean", "std") if getattr(options, name)}
    backbone.preprocessing = replace(backbone.preprocessing, **changes)
    return backbone


def input_size(options: TrainOptions, manifest: Manifest, backbone: Backbone) -> tuple[int, int]:
    """(input size, shorter side to resize to), px: the user's, or by the plan's rule from the photos' sizes."""
    settings = check_overrides(options.settings)
    wanted = rules.wanted_size(usual_side(manifest), backbone.preprocessing.image_size)
    size = settings.get("image_size") or backbone.fitting_size(wanted)
    resize = settings.get("resize", size)
    if resize < size:
        problem = f"`resize={resize}` is below the input size of {size} px."
        raise OptionError(problem, "Leave out one of the two.", option="resize")
    return size, resize


def check_facts(prepared: Prepared) -> dict[str, Any]:
    """The content of check.json."""
    photos, dataset = prepared.photos, prepared.dataset
    bad = [{"path": shown(b.path, dataset.root), "reason": b.reason} for b in dataset.bad]
    left_out = [
        {"path": shown(p.path, dataset.root), "label": p.label, "split": p.split, "reason": p.reason}
        for p in dataset.left_out
    ]
    return {
        "summary": dataset.summary, "layout": dataset.layout, "photos": len(dataset.samples), "bad": bad,
        "conversions": photos.conversions, "notes": list(dataset.notes), "left_out": left_out,
        "leakage": {"handling": prepared.leakage, "near_duplicates_kept": prepared.leaked},
    }  # fmt: skip

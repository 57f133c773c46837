"""Everything before training. In: options. Out: ``Prepared``: image set, pixels per split, backbone, machine and
plan, all checked.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart import tracking
from headstart.backbone.backbone import Backbone
from headstart.backbone.head import check_dropout, parse_head
from headstart.checking.leakage import in_words, leaks, near_pairs
from headstart.data.draw import linked
from headstart.data.imageset import SPLITS, BadFile, ImageSet, Listing, Split
from headstart.data.names import shown
from headstart.data.pixels import Pixels, read_photos, sample_sizes
from headstart.data.scan import scan
from headstart.data.split import make_image_set
from headstart.device import Machine, find_machine
from headstart.engine import Forward, has_openvino
from headstart.errors import DataError, OptionError
from headstart.features import TrunkKey
from headstart.options import TrainOptions
from headstart.training import rules
from headstart.training.plan import Plan, check_overrides, resolve
from headstart.training.rules import Facts
from headstart.voice import Voice


@dataclass(frozen=True)
class Photos:
    """Photos that were found and read, before they are split: seeds and shots may differ, this does not."""

    listing: Listing
    pixels: Pixels
    bad: tuple[BadFile, ...]
    conversions: dict[str, int]

    @property
    def digest(self) -> str:
        """A hex digest of contents, labels and given splits: equal for equal photos wherever they lie."""
        rows = (
            f"{d} {p.label} {p.split} {p.group}" for d, p in zip(self.pixels.digests, self.listing.photos, strict=True)
        )
        return hashlib.blake2b("\n".join(sorted(rows)).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    @cached_property
    def near(self) -> np.ndarray:
        """Pairs of near copies [P, 2], by their places in the listing."""
        return near_pairs(self)

    @property
    def alike(self) -> list[int]:
        """A number per photo of the listing, the same for near copies."""
        return linked(len(self.listing.photos), self.near.tolist())


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, and all that its report tells."""

    options: TrainOptions
    image_set: ImageSet
    photos: Photos
    pixels: dict[Split, Pixels]
    labels: dict[Split, np.ndarray]
    backbone: Backbone
    machine: Machine
    plan: Plan
    facts: Facts
    leaked: int = 0
    ready: dict[TrunkKey, Forward] = field(default_factory=dict)

    def plan_for(self, strategy: str) -> Plan:
        """The plan of a part of ``auto``, by the same rules and with the same overrides."""
        facts = replace(self.facts, strategy=_kind(self.options, strategy))
        return resolve(facts, self.options.seed, None, self.options.settings)


def _kind(options: TrainOptions, strategy: str) -> str:
    """A probe whose head has hidden layers or dropout is no linear fit but a training of the head, with settings of
    its own.
    """
    linear = not parse_head(options.head) and not any(options.dropout)
    return "head" if strategy == "probe" and not linear else strategy


def prepare(options: TrainOptions, voice: Voice) -> Prepared:
    """Find, read, check and split the photos; load the backbone; resolve the plan.

    Raises:
        DataError, WeightsError, OptionError: see their messages.
    """
    check_overrides(options.settings)
    if options.log:
        tracking.check(options.log)
    check_dropout(options.dropout, len(parse_head(options.head)) + 1, options.head)
    photos, backbone, machine = read_for(options, find_photos(options.data, voice), voice)
    return split(options, photos, backbone, machine, voice)


def find_photos(data: str, voice: Voice, for_training: bool = True) -> Listing:
    """The labelled photos of ``data`` (see ``scan``), fetched if need be. Raises DataError, DownloadError."""
    return scan(
        data,
        for_training=for_training,
        progress=lambda done, total: voice.progress(f"fetching {data}", done, total or done + 1),
    )


def read_for(
    options: TrainOptions, listing: Listing, voice: Voice, on_bad: str | None = None
) -> tuple[Photos, Backbone, Machine]:
    """The photos read at the size that the backbone wants, the backbone, and where it will run.

    ``on_bad``: as for ``read``, where it is not what the options say. Raises DataError, WeightsError, OptionError.
    """
    machine = find_machine(options.device)
    backbone = make_backbone(options)
    size, resize = input_size(options, listing, backbone)
    backbone.check_image_size(size)
    return (
        read(listing, resize, backbone.preprocessing.interpolation, on_bad or options.on_bad, voice),
        backbone,
        machine,
    )


def split(options: TrainOptions, photos: Photos, backbone: Backbone, machine: Machine, voice: Voice) -> Prepared:
    """The part of ``prepare`` that depends on seed, shots and strategy."""
    leaked = _leakage(photos, options.allow_leakage, voice)
    image_set = make_image_set(photos.listing, photos.pixels.digests, photos.bad, options.split_options, photos.alike)
    voice.say(f"{photos.listing.name} ({photos.listing.layout}): {image_set.summary}")
    for note in image_set.notes:
        voice.warn(note)
    where = {photo.path: i for i, photo in enumerate(photos.listing.photos)}
    members = {s: image_set.split(s) for s in SPLITS}
    pixels = {s: photos.pixels.take([where[m.path] for m in members[s]]) for s in SPLITS}
    labels = {s: np.array([m.label for m in members[s]], dtype=np.int64) for s in SPLITS}
    facts = Facts(
        photos=len(members["train"]), classes=len(image_set.classes), side=usual_side(photos.listing),
        native_size=backbone.preprocessing.image_size, strategy=_kind(options, options.strategy),
        device=machine.device.type, fast_bf16=machine.fast_bf16, head=options.head,
        judged=len(members["val"]) + len(members["test"]), weights=sum(p.numel() for p in backbone.parameters()),
        openvino=has_openvino(),
    )  # fmt: skip
    plan = resolve(facts, options.seed, options.boundary, options.settings)
    backbone.split_at(plan.boundary)  # an unknown boundary is said before training
    return Prepared(options, image_set, photos, pixels, labels, backbone, machine, plan, facts, leaked)


def _leakage(photos: Photos, allowed: bool, voice: Voice) -> int:
    """How many near copies the data's own splits part. Splits of a named set are what others measure on: there, and
    where it is allowed, they are told of only.

    Raises:
        DataError: splits share pictures.
    """
    listing = photos.listing
    found = leaks(listing, photos.pixels.digests, photos.near)
    if not found:
        return 0
    known = listing.layout.startswith("named set")
    words = (
        f"{len(found)} pairs of one picture stand in two splits of {listing.name}: {in_words(found, listing)}."
        if len(found) > 1
        else f"One picture stands in two splits of {listing.name}: {in_words(found, listing)}."
    )
    if not (allowed or known):
        raise DataError(
            f"{words} The accuracy would flatter",
            "headstart check DATA --fix clean.csv writes a list without them; --allow-leakage goes on all the same.",
        )
    near = sum(not leak.exact for leak in found)
    if near:
        stay = "one near copy stays, and flatters" if near == 1 else f"{near} near copies stay, and flatter"
        voice.warn(f"{words} Same files leave the earlier split; {stay}.")
    return near


def make_backbone(options: TrainOptions) -> Backbone:
    """The backbone that the options ask for, its preprocessing overridden where they say so. Raises WeightsError,
    OptionError.
    """
    import torch

    from headstart.backbone.create import create
    from headstart.classifier import load_backbone

    torch.manual_seed(options.seed)  # decides the random weights of scratch
    if options.from_run:
        backbone = load_backbone(Path(options.from_run))
        backbone = backbone.truncated(options.cut) if options.cut else backbone
    else:
        weights = Path(options.weights) if options.weights else None
        backbone = create(options.backbone, pretrained=options.strategy != "scratch", weights=weights, cut=options.cut)
    changes = {name: getattr(options, name) for name in ("mean", "std") if getattr(options, name)}
    backbone.preprocessing = replace(backbone.preprocessing, **changes)
    return backbone


def input_size(options: TrainOptions, listing: Listing, backbone: Backbone) -> tuple[int, int]:
    """(input size, shorter side to resize to) in px; the plan's rule on the photos' headers, or the user's word."""
    settings = check_overrides(options.settings)
    facts = Facts(0, 0, usual_side(listing), backbone.preprocessing.image_size, options.strategy)
    size = settings.get("image_size") or rules.image_size(facts).value
    resize = settings.get("resize", size)
    if resize < size:
        raise OptionError(f"resize={resize} is below the input size of {size} px.", "Leave out one of the two.")
    return size, resize


def usual_side(listing: Listing) -> int:
    """The median shorter side of the photos (px), by the headers of some: known before anything is decoded."""
    return _side(sample_sizes([photo.path for photo in listing.photos]))


def _side(sizes: Sequence[tuple[int, int]]) -> int:
    sides = [min(size) for size in sizes if min(size) > 0]
    return int(statistics.median(sides)) if sides else 224


def read(listing: Listing, resize: int, interpolation: str, on_bad: str, voice: Voice) -> Photos:
    """Read every photo once and name those that cannot be used; ``on_bad`` "tell" leaves the telling to the caller.

    Raises:
        DataError: ``on_bad`` is "fail" and there are some, or nothing usable is left.
    """
    paths = [photo.path for photo in listing.photos]
    pixels = read_photos(
        paths, resize, interpolation, progress=lambda done, total: voice.progress("reading photos", done, total)
    )
    bad = tuple(BadFile(path, str(problem)) for path, problem in zip(paths, pixels.problems, strict=True) if problem)
    every = (*listing.skipped, *bad)
    if every and on_bad == "fail":
        raise DataError(
            f"{len(every)} files cannot be used:\n" + _lines(every, listing.root, len(every)),
            "Mend or remove them, or use --on-bad skip.",
        )
    if every and on_bad != "tell":
        voice.warn(f"{len(every)} files are left out:\n" + _lines(every, listing.root, 40))
    if len(bad) == len(paths):
        raise DataError(f"None of the {len(paths)} photos in {listing.name} can be read.", "See the reasons above.")
    conversions = Counter(remark for remarks in pixels.remarks for remark in remarks)
    return Photos(listing, pixels, bad, dict(conversions.most_common()))


def _lines(bad: Sequence[BadFile], root: Path, at_most: int) -> str:
    lines = [f"    {shown(b.path, root)}: {b.reason}" for b in bad[:at_most]]
    return "\n".join(
        [*lines, f"    … and {len(bad) - at_most} more (all are in check.json)"][: len(lines) + (len(bad) > at_most)]
    )


def check_facts(photos: Photos, image_set: ImageSet) -> dict[str, Any]:
    """What check.json says."""
    return {
        "summary": image_set.summary,
        "layout": image_set.layout,
        "photos": len(image_set.samples),
        "bad": [{"path": shown(b.path, image_set.root), "reason": b.reason} for b in image_set.bad],
        "conversions": photos.conversions,
        "notes": list(image_set.notes),
    }

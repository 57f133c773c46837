"""``embed``: the features of photos by a backbone or a run, as an array, a frame or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.paths import Place
from headstart.core.text import first_lines, joined, plural
from headstart.data.images import DecodedImages
from headstart.data.schema import ImageRef, Manifest, Photo
from headstart.data.sources.unlabelled import Found, find_files, tell_skipped
from headstart.errors import DataError, OptionError
from headstart.inference.classifier import Classifier, Model, name_of, name_of_run, path_of
from headstart.inference.device import find_machine
from headstart.inference.embedding import features_by
from headstart.reporting.console import console_events
from headstart.reporting.notebook import frame
from headstart.training.config import EmbedOptions, TrainOptions
from headstart.training.embeddings import embed_images
from headstart.training.plan import check_overrides
from headstart.training.preparation import read_for
from headstart.workflows.embed.files import check_target, write

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Embedded:
    """Features of photos: ``features`` float32 [N, D], a row per photo that could be read, in their order.

    ``names``: what each is called; ``network``: whose features they are, ``image_size``: px at which it saw them;
    ``bad``: photos that could not be read, with reasons; ``out``: the files that were written; ``members``: which of
    the photos the rows are of, ``pixels``: these, as read.
    """

    names: tuple[str, ...]
    features: np.ndarray
    network: str
    image_size: int = 0
    bad: Mapping[str, str] = field(default_factory=dict)
    out: tuple[Path, ...] = ()
    members: tuple[int, ...] = field(default=(), repr=False)
    pixels: DecodedImages | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The features, wherever NumPy takes an array."""
        return np.array(self.features, dtype=dtype) if copy or dtype else self.features

    def frame(self) -> DataFrame:
        """A row per photo as a pandas frame: path, then a column per feature (``f0``, ``f1``, …)."""
        columns = [f"f{i}" for i in range(self.features.shape[1])]
        paths = frame({"path": name} for name in self.names)
        return paths.join(frame([]).__class__(self.features, columns=columns))

    @property
    def text(self) -> str:
        """The result as lines."""
        what = f"{plural(len(self), 'photo')}: {self.features.shape[1]} features each, by {self.network}"
        return joined([what, *map(str, self.out)])

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints; the features themselves only where they are in no file."""
        rows = {} if self.out else {"features": [[round(float(v), 6) for v in row] for row in self.features]}
        return {
            "network": self.network, "features_per_photo": self.features.shape[1], "paths": list(self.names),
            "out": [str(path) for path in self.out], "bad": dict(self.bad), **rows,
        }  # fmt: skip


@typed
def embed(
    photos: Any,
    *,
    run: Model | None = None,
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[EmbedOptions],
) -> Embedded:
    """Compute the features (embeddings) of photos: the input of a head. They come from the cache where it has them.

    Args:
        photos: as the files of ``predict``; no labels are needed.
        run: whose backbone computes them, as for ``predict``; by default the pretrained one that the options name.
        out: a file to write: ``.npy`` (with the paths beside it, in ``.paths.csv``), ``.parquet`` or ``.csv``.
        overwrite: replace a file that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.EmbedOptions``: the backbone and how it is run; with ``run``, device
            alone.

    Returns:
        The features with the photos' names: an array, a frame, and the files.

    Raises:
        DataError: no photo that can be read.
        OptionError: an option that is unknown or has no use with a run, a file that exists, a package that is missing.
        WeightsError: pretrained weights that are missing or do not fit.
        RunError: no model there.
    """
    target = check_target(out, overwrite)
    asked = gathered(run, options)
    found = find_files(photos, "photos")
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        made = embedded(found, run, asked, events)
        if target:
            made = replace(made, out=write(made.names, made.features, target))
            events.message(f"Written: {', '.join(map(str, made.out))}")
    return made


def gathered(run: Model | None, options: EmbedOptions) -> TrainOptions:
    """The options, checked. Raises OptionError also for one that a run does not take: it has its own."""
    others = sorted(name for name, value in options.items() if value is not None and name != "device")
    if run is not None and others:
        problem = f"A run has a backbone and an input size of its own: it takes no `{others[0]}`."
        raise OptionError(problem, "Leave out one of the two.", option=others[0])
    asked = TrainOptions.gather("photos", None, options, "embed", strategy="probe")
    check_overrides(asked.settings)
    find_machine(asked.device)
    return asked


def embedded(found: Found, run: Model | None, asked: TrainOptions, events: Events) -> Embedded:
    """The features of photos that were found. Raises DataError where none can be read."""
    photos = listed_photos(found)
    if run is None:
        pixels, features, network, size = _by_backbone(photos, asked, events)
    else:
        classifier = Classifier.of(run, asked.device)
        pixels, _, features = features_by(classifier, photos, events)
        network, size = name_of_run(run), classifier.preprocessing.image_size
    names = [name_of(photo) for photo in photos]
    bad = {name: problem for name, problem in zip(names, pixels.problems, strict=True) if problem}
    if bad:
        lines = first_lines([f"{name}: {why}" for name, why in bad.items()])
        events.warning(f"{plural(len(bad), 'photo')} cannot be read:", lines)
    good = [i for i, problem in enumerate(pixels.problems) if not problem]
    return Embedded(tuple(names[i] for i in good), features, network, size, bad, (), tuple(good), pixels.take(good))


def listed_photos(found: Found) -> list[ImageRef]:
    """The photos, all of them known. Raises DataError where there is none."""
    photos = list(found.photos)
    if not photos:
        raise DataError("There are no photos.", "Name a folder of photos.")
    return photos


@dataclass(frozen=True)
class Loose(Photo):
    """A photo without a label, as whatever it is."""

    given: ImageRef = Path()

    @property
    def name(self) -> str:
        return self.given.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        return self.given.open(mode)


def loose(photos: Sequence[ImageRef]) -> Manifest:
    """Photos without labels as something to read."""
    found = tuple(Loose(path_of(photo), "", given=photo) for photo in photos)
    return Manifest(Path.cwd(), "photos", "photos", found)


def _by_backbone(
    photos: Sequence[ImageRef], asked: TrainOptions, events: Events
) -> tuple[DecodedImages, np.ndarray, str, int]:
    loaded, backbone, machine = read_for(asked, loose(photos), events, "defer")
    seen = embed_images(loaded, backbone, machine, asked, events)
    return loaded.pixels, seen.features, backbone.name, seen.plan.image_size

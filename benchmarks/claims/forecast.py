"""Do the bands of ``forecast`` hold the truth as often as they say?

    python benchmarks/claims/forecast.py ASSETS [--networks resnet18] [--sets animals,…] [--repeats 12] [--shots 40]
                                  [--drift 0.03] [--luck 0.04] [--keep FOLDER]

ASSETS holds data/ (animals, dogs-vs-cats, imagewoof160, cifar10, cifar100) and weights/NETWORK.fp16.safetensors. Each
repeat draws a test part and training photos anew, fits the curve to a quarter of the training photos, and asks it for
the accuracy of a probe of all of them. The truth is that of such a probe, strength chosen on val from the whole grid,
on the test part; so the band asked for is that of as many judged photos. Beside it, the band of someone who thinks that
accuracy stays as it is: what the quarter measured, with the binomial doubt of both sets of photos.

With --shots, so many training photos per class are all there are: the curve sees a quarter of those.

Repeats on one set share its photos, so intervals of coverage are a little too narrow. Measurements are kept in FOLDER
and not made again.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

from headstart.core.events import Events
from headstart.data.loading import find_photos
from headstart.data.schema import DEFAULT_FRACTION, Manifest
from headstart.data.stratify import assign, units
from headstart.evaluation.learning_curve import DRIFT, LUCK, fit, points
from headstart.evaluation.statistics import wilson
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_dataset
from headstart.training.strengths import L2_GRID
from headstart.workflows.forecast.measure import correct_of, measure

LEVELS = (0.8, 0.9)
SETS = {
    # name: (input size in px, share of test, at most so many photos of train and of test)
    "animals": (160, 0.3, None),
    "dogs-vs-cats": (160, 0.3, None),
    "imagewoof160": (160, 0.3, None),
    "cifar10": (128, 1 / 3, {"train": 10000, "test": 5000}),
    "cifar100": (128, 1 / 3, {"train": 10000, "test": 5000}),
}
OPTIONS_OF = {"mobilenetv2_100": "mobilenetv2_100:pad_type=same"}


@dataclass(frozen=True)
class LoadedImages:
    """Features [N, D], labels [N] and units [N] of a set, and the share of it to test on."""

    features: np.ndarray
    labels: np.ndarray
    unit: np.ndarray
    test: float

    def part(self, members: np.ndarray, shares: list[float], seed: int) -> np.ndarray:
        """A part of each member, drawn as everywhere in headstart."""
        names = [str(label) for label in self.labels[members]]
        return np.array(assign(names, self.unit[members].tolist(), shares, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--networks", default="resnet18")
    parser.add_argument("--sets", default="animals,dogs-vs-cats,imagewoof160,cifar10")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--shots", type=int)
    parser.add_argument("--drift", type=float, default=DRIFT, help="how roughly the law holds")
    parser.add_argument("--luck", type=float, default=LUCK, help="how far probes of one size differ")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    keep = asked.keep or Path(tempfile.mkdtemp())
    keep.mkdir(parents=True, exist_ok=True)
    everything = []
    print("Of each band: how often it held the truth, its mean width, its mean interval score (lower is better).")
    names = [*(f"{level:.0%} band" for level in LEVELS), f"as it is, {LEVELS[-1]:.0%}"]
    print(f"{'set and network':31}{'truth':>7}  {''.join(f'{name:24}' for name in names)}errors of the middles")
    for network in asked.networks.split(","):
        for name in asked.sets.split(","):
            rows = [judge(one, asked.drift, asked.luck) for one in measurements(name, network, asked, keep)]
            everything.append(np.array(rows))
            tell(f"{name}, {network}", everything[-1])
    tell("all", np.concatenate(everything))


def measurements(name: str, network: str, asked: argparse.Namespace, keep: Path) -> Iterator[dict[str, np.ndarray]]:
    """What each repeat measured, from the folder where it is there."""
    photos: LoadedImages | None = None
    for repeat in range(asked.repeats):
        file = keep / f"{name}-{network}-{f'{asked.shots}-shots-' if asked.shots else ''}{repeat}.npz"
        if not file.exists():
            photos = photos or load(name, network, asked.assets)
            np.savez_compressed(file, **measured(photos, repeat, asked.shots))
        with np.load(file) as kept:
            yield dict(kept)


def load(name: str, network: str, assets: Path) -> LoadedImages:
    """The photos of a set as the network sees them."""
    size, test, most = SETS[name]
    options = TrainOptions(
        str(assets / "data" / name), backbone=OPTIONS_OF.get(network, network), settings={"image_size": size},
        weights=str(assets / "weights" / f"{network}.fp16.safetensors"),
    )  # fmt: skip
    events = Events()
    manifest = find_photos(options.data, events)
    seen = embed_dataset(options, events, _some(manifest, most) if most else manifest)
    unit = units([None] * len(seen), seen.pixels.digests)
    return LoadedImages(seen.features, seen.labels, np.array(unit), test)


def _some(manifest: Manifest, most: dict[str, int]) -> Manifest:
    """The first photos of every class, as many of each."""
    classes, counts, kept = len({photo.label for photo in manifest.photos}), {}, []  # type: ignore[var-annotated]
    for photo in manifest.photos:
        key = (photo.split, photo.label)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= most[str(photo.split)] // classes:
            kept.append(photo)
    return replace(manifest, photos=tuple(kept))


def measured(photos: LoadedImages, repeat: int, shots: int | None) -> dict[str, np.ndarray]:
    """The curve of a quarter, and the truth of all."""
    total, classes = len(photos.labels), int(photos.labels.max()) + 1
    train = shots * classes / total if shots else 1 - photos.test
    shares = [photos.test, train / 4, 3 * train / 4, *([1 - photos.test - train] if shots else [])]
    part = photos.part(np.arange(total), shares, 1000 + repeat)
    test, quarter, rest = (np.flatnonzero(part == p) for p in range(3))
    found = measure(photos.features[quarter], photos.labels[quarter], photos.unit[quarter].tolist(), repeat)
    everyone = np.concatenate([quarter, rest])
    chosen = photos.part(everyone, [1 - DEFAULT_FRACTION, DEFAULT_FRACTION], repeat)
    train_val = everyone[chosen == 0], everyone[chosen == 1]
    return {
        "sizes": found.sizes, "right": found.correct, "unit": found.unit,
        "truth": correct_of(photos.features, photos.labels, *train_val, test, L2_GRID),
        "n": np.array(len(quarter)), "N": np.array(len(everyone)),
    }  # fmt: skip


def judge(one: dict[str, np.ndarray], drift: float, luck: float) -> list[float]:
    """Truth and error of the median; (inside, width, score) for each level; the same for "it stays as it is", and its
    error.
    """
    truth, judged = float(one["truth"].mean()), len(one["truth"])
    seen = points(one["sizes"], one["right"], one["unit"])
    curve = fit(seen, drift=drift, luck=luck)
    bands = [curve.bands(np.array([float(one["N"])]), level, judged)[0] for level in LEVELS]
    rows = [_held(truth, band.low, band.high, band.level) for band in bands]
    now, photos = float(seen.accuracy[-1]), int(one["n"])
    spread = max(now * (1 - now), 1 / photos) * (1 / photos + 1 / judged)
    half = NormalDist().inv_cdf(0.5 + LEVELS[-1] / 2) * math.sqrt(spread)
    naive = _held(truth, now - half, now + half, LEVELS[-1])
    return [truth, bands[0].value - truth, *rows[0], *rows[1], *naive, now - truth]


def _held(truth: float, low: float, high: float, level: float) -> tuple[bool, float, float]:
    """Whether the band held the truth, its width, and its interval score: the width, and 2 / (1 - level) times what it
    missed by (Gneiting and Raftery 2007, "Strictly proper scoring rules", section 6.2); lower is better.
    """
    missed = max(0.0, low - truth, truth - high)
    return low <= truth <= high, high - low, high - low + 2 / (1 - level) * missed


def tell(name: str, rows: np.ndarray) -> None:
    """One line: the truth; how often bands held it, their mean width and score; errors of the middles."""
    cells = [_cell(rows[:, column : column + 3]) for column in (2, 5, 8)]
    errors = f"{_error(rows[:, 1]):.4f}, {_error(rows[:, 11]):.4f}"
    print(f"{name:31}{rows[:, 0].mean():7.4f}  {''.join(f'{cell:24}' for cell in cells)}{errors}", flush=True)
    if name == "all":
        for level, column in zip(LEVELS, (2, 5), strict=True):
            held = wilson(int(rows[:, column].sum()), len(rows))
            print(f"  {level:.0%} band: held in {held.value:.3f} of {len(rows)} ({held.low:.3f} to {held.high:.3f})")


def _error(gaps: np.ndarray) -> float:
    return float(np.sqrt(np.square(gaps).mean()))


def _cell(rows: np.ndarray) -> str:
    inside, width, score = rows.T
    return f"{int(inside.sum())}/{len(rows)}, {width.mean():.4f}, {score.mean():.4f}"


if __name__ == "__main__":
    main()

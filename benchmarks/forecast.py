"""Do the bands of ``forecast`` hold the truth as often as they say?

    python benchmarks/forecast.py ASSETS [--networks resnet18] [--sets animals,…] [--repeats 12] [--keep FOLDER]

ASSETS holds data/ (animals, dogs-vs-cats, imagewoof160, cifar10, cifar100) and weights/NETWORK.fp16.safetensors. Each
repeat draws a test part and training photos anew, fits the curve to a quarter of the training photos, and asks it for
the accuracy of a probe of all of them. The truth is that of such a probe, strength chosen on val from the whole grid,
on the test part; so the band asked for is that of as many judged photos. Beside it, the band of someone who thinks that
accuracy stays as it is: what the quarter measured, with the binomial doubt of both sets of photos.

Repeats on one set share its photos, so intervals of coverage are a little too narrow. Measurements are kept in FOLDER
and not made again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

from headstart.data.draw import assign, units
from headstart.data.imageset import DEFAULT_FRACTION, Listing
from headstart.evaluation.intervals import wilson
from headstart.forecasting.learning_curve import fit, points
from headstart.forecasting.measuring import measure, right_answers
from headstart.options import TrainOptions
from headstart.prepare import find_photos
from headstart.survey import survey
from headstart.training.probe import L2_GRID
from headstart.voice import Voice

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
class Photos:
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
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    keep = asked.keep or Path(tempfile.mkdtemp())
    keep.mkdir(parents=True, exist_ok=True)
    everything = []
    print(f"{'set and network':30}{'truth':>7} {'error':>7}  {'80 % band':16}{'90 % band':16}{'as it is, 90 %':16}")
    for network in asked.networks.split(","):
        for name in asked.sets.split(","):
            rows = [judge(one) for one in measurements(name, network, asked.assets, asked.repeats, keep)]
            everything.append(np.array(rows))
            tell(f"{name}, {network}", everything[-1])
    tell("all", np.concatenate(everything))


def measurements(name: str, network: str, assets: Path, repeats: int, keep: Path) -> Iterator[dict[str, np.ndarray]]:
    """What each repeat measured, from the folder where it is there."""
    photos: Photos | None = None
    for repeat in range(repeats):
        file = keep / f"{name}-{network}-{repeat}.npz"
        if not file.exists():
            photos = photos or load(name, network, assets)
            np.savez_compressed(file, **measured(photos, repeat))
        with np.load(file) as kept:
            yield dict(kept)


def load(name: str, network: str, assets: Path) -> Photos:
    """The photos of a set as the network sees them."""
    size, test, most = SETS[name]
    options = TrainOptions(
        str(assets / "data" / name), backbone=OPTIONS_OF.get(network, network), settings={"image_size": size},
        weights=str(assets / "weights" / f"{network}.fp16.safetensors"),
    )  # fmt: skip
    voice = Voice()
    listing = find_photos(options.data, voice)
    seen = survey(options, voice, _some(listing, most) if most else listing)
    unit = units([None] * len(seen), seen.pixels.digests)
    return Photos(seen.features, seen.labels, np.array(unit), test)


def _some(listing: Listing, most: dict[str, int]) -> Listing:
    """The first photos of every class, as many of each."""
    classes, counts, kept = len({photo.label for photo in listing.photos}), {}, []  # type: ignore[var-annotated]
    for photo in listing.photos:
        key = (photo.split, photo.label)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= most[str(photo.split)] // classes:
            kept.append(photo)
    return replace(listing, photos=tuple(kept))


def measured(photos: Photos, repeat: int) -> dict[str, np.ndarray]:
    """The curve of a quarter, and the truth of all."""
    train = 1 - photos.test
    everyone = np.arange(len(photos.labels))
    part = photos.part(everyone, [photos.test, train / 4, 3 * train / 4], 1000 + repeat)
    test, quarter, all_of_it = part == 0, np.flatnonzero(part == 1), np.concatenate(
        [np.flatnonzero(part == 1), np.flatnonzero(part == 2)]
    )  # fmt: skip
    found = measure(photos.features[quarter], photos.labels[quarter], photos.unit[quarter].tolist(), repeat)
    chosen = photos.part(all_of_it, [1 - DEFAULT_FRACTION, DEFAULT_FRACTION], repeat)
    truth = right_answers(
        photos.features, photos.labels, all_of_it[chosen == 0], all_of_it[chosen == 1], np.flatnonzero(test), L2_GRID
    )
    return {
        "sizes": found.sizes, "right": found.right, "unit": found.unit, "truth": truth,
        "n": np.array(len(quarter)), "N": np.array(len(all_of_it)),
    }  # fmt: skip


def judge(one: dict[str, np.ndarray]) -> list[float]:
    """Truth, error of the median, then (inside, width) for each level, then the same for "it stays as it is"."""
    truth, judged = float(one["truth"].mean()), len(one["truth"])
    seen = points(one["sizes"], one["right"], one["unit"])
    curve, row = fit(seen), []
    for level in LEVELS:
        band = curve.bands(np.array([float(one["N"])]), level, judged)[0]
        row += [band.low <= truth <= band.high, band.high - band.low]
    now, photos = seen.accuracy[-1], int(one["n"])
    spread = max(now * (1 - now), 1 / photos) * (1 / photos + 1 / judged)
    half = NormalDist().inv_cdf(0.95) * float(np.sqrt(spread))
    return [truth, band.value - truth, *row, abs(now - truth) <= half, 2 * half, now - truth]


def tell(name: str, rows: np.ndarray) -> None:
    """One line: truth, root mean square error of the median, coverage and mean width of the bands."""
    cells = [_cell(rows[:, column], rows[:, column + 1]) for column in (2, 4, 6)]
    shown = f"{name:30}{rows[:, 0].mean():7.4f} {_error(rows[:, 1]):7.4f}  {''.join(f'{cell:16}' for cell in cells)}"
    print(f"{shown}(error {_error(rows[:, 8]):.4f})", flush=True)
    if name == "all":
        for level, column in zip(LEVELS, (2, 4), strict=True):
            held = wilson(int(rows[:, column].sum()), len(rows))
            print(f"  {level:.0%} band: held in {held.value:.3f} of {len(rows)} ({held.low:.3f} to {held.high:.3f})")


def _error(gaps: np.ndarray) -> float:
    return float(np.sqrt(np.square(gaps).mean()))


def _cell(inside: np.ndarray, width: np.ndarray) -> str:
    return f"{int(inside.sum())}/{len(inside)}, {width.mean():.4f}"


if __name__ == "__main__":
    main()

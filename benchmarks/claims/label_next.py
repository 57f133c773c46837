"""How many labels does ``suggest`` save? The figures and the plot of docs/guides/label-next.md.

    python benchmarks/claims/label_next.py ASSETS [--sets animals,cifar10,trashnet] [--methods margin,coverage]
                                    [--seeds 5] [--batch 20] [--labels 200] [--folds]
                                    [--keep FOLDER] [--plots FOLDER]

ASSETS holds data/SET and weights/resnet18.fp16.safetensors. Each seed draws three photos per class to begin with, and a
test part of 3 in 10 where the set has none. Then ``--batch`` photos of the pool are chosen, labelled by the truth, and
a probe is trained on all labelled photos as ``train`` does (15 % of them are val, which chooses L2), until there are
``--labels``. Random picking is drawn three times per seed. A method's labels are those at which its curve reaches the
accuracy that random picking has at the end; curves are made monotone first (isotonic regression). Also: how often
look-alikes, up to four of each photo, have its true class. Measurements are kept in FOLDER and not made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from label_next_methods import OTHERS
from scipy.optimize import isotonic_regression

from headstart.core.events import Events
from headstart.data.loading import find_photos
from headstart.data.schema import DEFAULT_FRACTION, Manifest
from headstart.data.stratify import assign
from headstart.evaluation.ood import unit_rows
from headstart.reporting.plots import Key, Plot, new_figure, percent_axis, standalone
from headstart.reporting.svg import COLOURS, to_svg
from headstart.training.config import TrainOptions
from headstart.training.cross_validation import folds_beside
from headstart.training.embeddings import embed_dataset
from headstart.training.linear_probe import fit_probe
from headstart.training.strengths import USUAL_L2
from headstart.workflows.suggest.groups import look_alikes
from headstart.workflows.suggest.probe import fit_few, probabilities
from headstart.workflows.suggest.ranking import METHODS, Situation

START = 3
DRAWS = 3
ALIKE = 4
SETS: dict[str, tuple[int, dict[str, int] | None, int]] = {
    # name: (input size in px, at most so many photos of each split, every so many-th class)
    "animals": (96, None, 1),
    "cifar10": (96, {"train": 2000, "test": 2000}, 1),
    "trashnet": (128, None, 1),
    "imagewoof160": (96, {"train": 2000, "val": 1000}, 1),
    "dogs-vs-cats": (96, {"train": 2000, "test": 1000}, 1),
    "cifar100": (96, {"train": 2000, "test": 1000}, 10),
}


@dataclass(frozen=True)
class Data:
    """Features [N, D], labels [N], whether each is of the pool [N] or None where the set has no splits."""

    features: np.ndarray
    labels: np.ndarray
    given: np.ndarray | None

    def parts(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the pool, shuffled, and of the test photos."""
        if self.given is not None:
            return rng.permutation(np.flatnonzero(self.given)), np.flatnonzero(~self.given)
        order = rng.permutation(len(self.labels))
        test = int(0.3 * len(order))
        return order[test:], order[:test]


def load(name: str, assets: Path) -> Data:
    """A set as ResNet-18 sees it; of exact duplicates, one."""
    size, most, step = SETS[name]
    options = TrainOptions(
        str(assets / "data" / name), backbone="resnet18", settings={"image_size": size},
        weights=str(assets / "weights" / "resnet18.fp16.safetensors"),
    )  # fmt: skip
    events = Events()
    manifest = _some(find_photos(options.data, events), most, step)
    seen = embed_dataset(options, events, manifest)
    once = np.sort(np.unique([str(d) for d in seen.pixels.digests], return_index=True)[1])
    splits = np.array([str(seen.photo(i).split) for i in range(len(seen))])[once]
    return Data(seen.features[once], seen.labels[once], splits == "train" if most else None)


def _some(manifest: Manifest, most: dict[str, int] | None, step: int) -> Manifest:
    """The first photos of every ``step``-th class, as many of each."""
    if most is None:
        return manifest
    classes = sorted({photo.label for photo in manifest.photos})[::step]
    counts, kept = dict[Any, int](), []
    for photo in manifest.photos:
        key = (photo.split, photo.label)
        counts[key] = counts.get(key, 0) + 1
        if photo.label in classes and counts[key] <= most[str(photo.split)] // len(classes):
            kept.append(photo)
    return replace(manifest, photos=tuple(kept))


def accuracy(data: Data, labelled: np.ndarray, test: np.ndarray, seed: int, folds: bool) -> float:
    """Of a probe that is trained as ``train`` does, or whose L2 is chosen by cross-validation, on the test photos."""
    x, y = data.features[labelled], data.labels[labelled]
    classes = int(data.labels.max()) + 1
    part = np.array(assign(list(map(str, y)), list(range(len(y))), [1 - DEFAULT_FRACTION, DEFAULT_FRACTION], seed))
    train, val = part == 0, part == 1
    if folds:
        probe = fit_few(x, y, classes, list(range(len(y))))
    elif val.any():
        beside = folds_beside(y[train], np.arange(int(train.sum())), int(val.sum()), seed)
        probe = fit_probe((x[train], y[train]), (x[val], y[val]), classes, folds=beside)
    else:
        probe = fit_probe((x, y), (x, y), classes, (USUAL_L2,))
    return float((probabilities(probe, data.features[test]).argmax(1) == data.labels[test]).mean())


def simulate(
    data: Data, method: str, seed: int, draw: int, batch: int, most: int, folds: bool
) -> Iterator[tuple[int, float, Any]]:
    """(labels, accuracy, [look-alikes, those with the class of their photo]) as labels come in."""
    pool, test = data.parts(np.random.default_rng(seed))
    classes = int(data.labels.max()) + 1
    labelled = np.concatenate([pool[data.labels[pool] == c][:START] for c in range(classes)])
    rest, rng = np.setdiff1d(pool, labelled), np.random.default_rng([seed, draw])
    alike: Any = None
    while True:
        yield len(labelled), accuracy(data, labelled, test, seed, folds), alike
        if len(labelled) >= most:
            return
        if method == "random":
            some = rng.permutation(rest)[: min(batch, most - len(labelled))]
            labelled, rest = np.concatenate([labelled, some]), np.setdiff1d(rest, some)
            continue
        x, y = data.features, data.labels
        probe = fit_few(x[labelled], y[labelled], classes, list(range(len(labelled))))
        sure = [probabilities(probe, x[part]) for part in (labelled, rest)]
        there = Situation(x[labelled], x[rest], *sure)
        chosen = (METHODS | OTHERS)[method](there, min(batch, most - len(labelled)), rng)
        others = look_alikes(unit_rows(there.pool - there.every.mean(0)), chosen, sure[1].argmax(1), ALIKE)
        same = [y[rest[j]] == y[rest[i]] for i, own in zip(chosen, others, strict=True) for j in own]
        alike = [len(same), int(sum(same))]
        labelled, rest = np.concatenate([labelled, rest[chosen]]), np.delete(rest, chosen)


def curves(name: str, method: str, asked: argparse.Namespace) -> np.ndarray:
    """[seeds, points, (labels, accuracy, look-alikes, those of one class)]; of random picking the mean of its draws."""
    data, found = None, []
    for seed in range(asked.seeds):
        drawn = []
        for draw in range(DRAWS if method == "random" else 1):
            file = (
                asked.keep / f"{name}-{method}-{asked.batch}-{asked.labels}-{seed}-{draw}{'-folds' * asked.folds}.json"
            )
            if not file.exists():
                data = data or load(name, asked.assets)
                steps = simulate(data, method, seed, draw, asked.batch, asked.labels, asked.folds)
                file.write_text(json.dumps([[n, value, *(alike or (0, 0))] for n, value, alike in steps]))
            drawn.append(json.loads(file.read_text()))
        found.append(np.mean(drawn, axis=0))
    return np.array(found)


def needed(labels: np.ndarray, values: np.ndarray, target: float) -> float:
    """The labels at which a curve, made monotone, reaches a target; infinite where it does not."""
    rising = isotonic_regression(values).x
    above = np.flatnonzero(rising >= target - 1e-9)
    if not len(above):
        return float("inf")
    k = int(above[0])
    if k == 0:
        return float(labels[0])
    part = (target - rising[k - 1]) / (rising[k] - rising[k - 1])
    return float(labels[k - 1] + part * (labels[k] - labels[k - 1]))


def tell(name: str, found: dict[str, np.ndarray]) -> None:
    """The table of one set."""
    base = found["random"]
    labels, middle = base[0, :, 0], base[:, :, 1].mean(0)
    target, most = isotonic_regression(middle).x[-1], labels[-1]
    print(f"\n{name}: random picking reaches {target:.4f} with {most:.0f} labels (from {middle[0]:.4f})")
    print("method       labels for it (saved)  at 60    at 100   at 200   its seeds' labels           look-alikes")
    for method, rows in found.items():
        need = needed(labels, rows[:, :, 1].mean(0), target)
        cells = [_cell(rows, labels, at) for at in (60, 100, most)]
        own = [needed(labels, r[:, 1], isotonic_regression(b[:, 1]).x[-1]) for r, b in zip(rows, base, strict=True)]
        alike, same = rows[:, :, 2].sum(), rows[:, :, 3].sum()
        saved = f"({1 - need / most:.0%})" if np.isfinite(need) else ""
        print(
            f"{method:12} {need:6.0f} {saved:>15}  {'  '.join(cells)}"
            f"  {' '.join('>200' if np.isinf(n) else f'{n:.0f}' for n in own):27}  {same:.0f} of {alike:.0f}",
            flush=True,
        )


def _cell(rows: np.ndarray, labels: np.ndarray, at: float) -> str:
    return f"{np.interp(at, labels, rows[:, :, 1].mean(0)):.3f}  "


LOOKS = {"random": ("muted", "dashed"), "margin": ("series-2", "solid"), "coverage": ("accent", "solid")}


def draw(name: str, found: dict[str, np.ndarray], file: Path) -> None:
    """The curves of a set, with bands of one standard deviation over seeds."""
    figure, axes = new_figure()
    words, key = [], []
    for method, (colour, line) in LOOKS.items():
        labels, values = found[method][0, :, 0], found[method][:, :, 1]
        middle, spread = values.mean(0), values.std(0, ddof=1)
        axes.fill_between(labels, middle - spread, middle + spread, color=COLOURS[colour], alpha=0.16, linewidth=0)
        dashes = (0, (4, 2.5)) if line == "dashed" else "solid"
        axes.plot(labels, middle, color=COLOURS[colour], linestyle=dashes, linewidth=1.8)
        words.append(f"{method} {middle[0]:.1%} to {middle[-1]:.1%}")
        key.append(Key(method, colour, line))
    axes.axhline(found["random"][:, -1, 1].mean(), color=COLOURS["muted"], linewidth=0.8)
    axes.set_xlabel("labels")
    percent_axis(axes, "y")
    heading = f"{name}: test accuracy by labels"
    plot = Plot(heading, to_svg(figure, f"label-next-{name}", f"{heading}: {', '.join(words)}"), tuple(key))
    file.write_text(standalone(plot), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--sets", default="animals,cifar10,trashnet")
    parser.add_argument("--methods", default="margin,coverage")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--folds", action="store_true", help="the judged probe, too, chooses L2 by cross-validation")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--plots", type=Path, help="a folder for SET.svg")
    asked = parser.parse_args()
    asked.keep = asked.keep or Path(tempfile.mkdtemp())
    asked.keep.mkdir(parents=True, exist_ok=True)
    for name in asked.sets.split(","):
        found = {m: curves(name, m, asked) for m in ("random", *asked.methods.split(","))}
        tell(name, found)
        if asked.plots:
            draw(name, found, asked.plots / f"label-next-{name}.svg")


if __name__ == "__main__":
    main()

"""Prints the figures of docs/explanation/measured-uncertainty.md: coverage of sets, calibration error, unknown photos.

    python benchmarks/claims/uncertainty.py ASSETS [--only cost,coverage,calibration,unknown,tuned] [--seeds 20]

ASSETS holds data/animals, data/imagewoof160, data/dogs-vs-cats, data/cifar10, data/cifar100 and weights/. Features are
those of a probe, at 160 px, and lie in the cache; each seed draws train, val and test anew. ``tuned`` trains networks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from probing import Probing
from scipy.stats import betabinom
from sklearn.metrics import roc_auc_score
from uncertainty_distances import DISTANCES

import headstart as hs
from headstart.core.events import Events
from headstart.data.schema import Manifest
from headstart.data.sources.detect import scan
from headstart.evaluation.conformal import label_set, least_probability, rank
from headstart.evaluation.metrics import calibration
from headstart.evaluation.ood import class_means
from headstart.evaluation.uncertainty import FILE, USUAL, Uncertainty
from headstart.models.network import softmax
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_dataset
from headstart.training.linear_probe import fit_probe
from headstart.workflows.demo import write_digits

SIZE = 160
HOMES = {"animals": "animals", "imagewoof160": "imagewoof160/train"}
SHOTS = (None, 20)
FOREIGN = {
    "dogs-vs-cats": ("dogs-vs-cats/test", ("cats", "dogs")), "imagewoof160": ("imagewoof160/train", ()),
    "cats, pandas": ("animals", ("cats", "panda")), "cifar10": ("cifar10/test", ()), "cifar100": ("cifar100/test", ()),
}  # fmt: skip
"""Name → folder, classes (all where none are named)."""
OWN = {"animals": ("cats, pandas",), "imagewoof160": ("imagewoof160",)}
"""What is no foreign set for a home, for its photos are the home's."""
MANY = 500
"""Foreign photos per set, drawn once."""


@dataclass(frozen=True)
class Bench:
    """Where things are, and how many seeds."""

    assets: Path
    backbone: str
    seeds: int
    scratch: Path

    @property
    def weights(self) -> str:
        return str(self.assets / "weights" / f"{self.backbone}.fp16.safetensors")

    def probing(self, home: str) -> Probing:
        data = str(self.assets / "data" / HOMES[home])
        asked = Namespace(data=data, backbone=self.backbone, weights=self.weights, seeds=self.seeds)
        return Probing(asked, {"image_size": SIZE})

    def foreign(self, home: str | None = None) -> dict[str, Manifest]:
        """Photos that may be foreign to a set: the other sets, drawn digits, noise."""
        drawn = {"drawn digits": write_digits(self.scratch / "digits", 30), "noise": self._noise()}
        found = {name: scan(str(folder)) for name, folder in drawn.items()}
        for name, (folder, labels) in FOREIGN.items():
            if name not in OWN.get(home or "", ()):
                manifest = scan(str(self.assets / "data" / folder))
                photos = tuple(photo for photo in manifest.photos if not labels or photo.label in labels)
                found[name] = replace(manifest, photos=photos)
        return found

    def _noise(self) -> Path:
        folder, rng = self.scratch / "noise", np.random.default_rng(0)
        for i in range(200):
            place = folder / f"half{i % 2}" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(place)
        return folder


def table(*head: str) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def coverage(bench: Bench) -> None:
    """How often sets hold the true class, beside what an exact method would do: a count of test photos that is
    beta-binomial in (k, n + 1 − k).
    """
    table(
        "set", "per class", "n val, n test", "accuracy", "asked", "holds, without the answer added", "an exact method",
        "sets as given", "labels per set",
    )  # fmt: skip
    for home in HOMES:
        probing = bench.probing(home)
        for shots in SHOTS:
            found: dict[float, list[tuple[float, float, float]]] = {level: [] for level in (0.8, 0.9, 0.95, 0.99)}
            right, n, m = [], 0, 0
            for classes, (train, val, test) in probing.draws(shots):
                head = fit_probe(train, val, classes)
                seen = [softmax(x @ head.weight.numpy().T + head.bias.numpy()) for x, _ in (val, test)]
                own = np.sort(seen[0][np.arange(len(val[1])), val[1]])
                right.append(float(np.mean(seen[1].argmax(1) == test[1])))
                n, m = len(val[1]), len(test[1])
                for level, figures in found.items():
                    figures.append(_holds(own, seen[1], test[1], level))
            for level, figures in found.items():
                k = rank(n, level)
                exact = betabinom(m, k, n + 1 - k) if k <= n else None
                wanted = f"{exact.mean() / m:.3f} ± {exact.std() / m:.3f}" if exact else "every class"
                bare, given, labels = (list(column) for column in zip(*figures, strict=True))
                row(
                    home, shots or "all", f"{n}, {m}", f"{np.mean(right):.3f}", level, spread(bare), wanted,
                    spread(given), f"{np.mean(labels):.2f}",
                )  # fmt: skip


def _holds(own: np.ndarray, p: np.ndarray, labels: np.ndarray, level: float) -> tuple[float, float, float]:
    """(coverage of the bare sets, of those that always hold the answer, their mean size)."""
    least = least_probability(own, level)
    sets = [label_set(one, least) for one in p]
    bare = float(np.mean(p[np.arange(len(labels)), labels] >= least))
    given = float(np.mean([label in chosen for label, chosen in zip(labels.tolist(), sets, strict=True)]))
    return bare, given, float(np.mean([len(chosen) for chosen in sets]))


def calibrated(bench: Bench) -> None:
    """Calibration error of probes on test, before and after the temperature."""
    table("set", "per class", "temperature", "ECE before", "ECE after", "better in", "log loss before", "after")
    for home in HOMES:
        probing = bench.probing(home)
        for shots in (None, 100, 20, 5):
            rows = []
            for classes, (train, val, test) in probing.draws(shots):
                head = fit_probe(train, val, classes)
                logits = test[0] @ head.weight.numpy().T + head.bias.numpy()
                before, after = (_error(softmax(z), test[1]) for z in (logits * head.temperature, logits))
                rows.append((head.temperature, *before, *after))
            t, ece, loss, ece2, loss2 = (list(column) for column in zip(*rows, strict=True))
            better = sum(b > a for b, a in zip(ece, ece2, strict=True))
            row(
                home, shots or "all", spread(t), spread(ece), spread(ece2), f"{better} of {len(rows)}",
                f"{np.mean(loss):.3f}", f"{np.mean(loss2):.3f}",
            )  # fmt: skip


def _error(p: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    own = p[np.arange(len(labels)), labels]
    return calibration(p.max(1), p.argmax(1) == labels)["ece"], float(-np.log(np.maximum(own, 1e-16)).mean())


def unknown(bench: Bench) -> None:
    """Which part of own test photos and of foreign photos is called unknown, by several distances."""
    for home in HOMES:
        probing = bench.probing(home)
        others = {name: _survey(bench, manifest) for name, manifest in bench.foreign(home).items()}
        for shots in SHOTS:
            print(f"\n{home}, {shots or 'all'} per class: AUROC / part called unknown, {bench.backbone}")
            table("distance", "own test photos", *others)
            draws = [splits for _, splits in probing.draws(shots)]
            for name, fit in DISTANCES.items():
                own, told = _judge_distance(fit, draws, list(others.values()))
                row(name, spread(own), *(f"{auc:.3f} / {part:.2f}" for auc, part in told))


def _some(manifest: Manifest, count: int) -> Manifest:
    chosen = sorted(np.random.default_rng(0).permutation(len(manifest.photos))[:count])
    return replace(manifest, photos=tuple(manifest.photos[i] for i in chosen))


def _survey(bench: Bench, manifest: Manifest) -> np.ndarray:
    """Features of some of the photos."""
    options = TrainOptions(
        manifest.name, backbone=bench.backbone, weights=bench.weights, settings={"image_size": SIZE}, on_bad="skip"
    )
    return embed_dataset(options, Events(), _some(manifest, MANY)).features


Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def _judge_distance(
    fit: Fit, draws: list[tuple[tuple[np.ndarray, np.ndarray], ...]], others: list[np.ndarray]
) -> tuple[list[float], list[tuple[float, float]]]:
    """(part of own test photos called unknown, per draw; (AUROC, part called unknown) per foreign set, means)."""
    own, told = [], []
    for train, val, test in draws:
        far = fit(*train)
        ordered, mine = np.sort(far(val[0])), far(test[0])
        k = rank(len(ordered), USUAL)
        limit = ordered[k - 1] if k <= len(ordered) else np.inf
        own.append(float((mine > limit).mean()))
        told.append([(_auroc(mine, theirs), float((theirs > limit).mean())) for theirs in map(far, others)])
    return own, [tuple(pair) for pair in np.mean(told, axis=0)]


def _auroc(own: np.ndarray, foreign: np.ndarray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(own), len(foreign)]), np.concatenate([own, foreign])))


TUNED = (("probe", {}), ("lp-ft", {}), ("finetune", {}), ("probe", {"head": "mlp:64"}), ("scratch", {}))


def tuned(bench: Bench) -> None:
    """Trained networks, through ``train`` and ``predict``: calibration before and after, sets, unknown photos."""
    others = {name: _some(manifest, 100) for name, manifest in bench.foreign("animals").items()}
    pictures = {name: [photo.path for photo in manifest.photos] for name, manifest in others.items()}
    table(
        "strategy", "accuracy", "temperature", "ECE val", "ECE test", "holds at 0.8, 0.9, 0.95", "labels per set",
        "own unknown", *(f"{name} unknown" for name in pictures),
    )  # fmt: skip
    for strategy, options in TUNED:
        figures = [_one(bench, strategy, dict(options), seed, pictures) for seed in range(bench.seeds)]
        mean = np.mean([f[0] for f in figures], axis=0)
        marks = np.mean([f[1] for f in figures], axis=0)
        acc, t, val1, val2, test1, test2, *rest = mean
        holds, labels = rest[:3], rest[3:]
        row(
            " ".join([strategy, *map(str, options.values())]), f"{acc:.3f}", f"{t:.2f}", f"{val1:.3f} → {val2:.3f}",
            f"{test1:.3f} → {test2:.3f}", " ".join(f"{v:.3f}" for v in holds), " ".join(f"{v:.2f}" for v in labels),
            *(f"{v:.2f}" for v in marks),
        )  # fmt: skip


def _one(
    bench: Bench, strategy: str, options: dict[str, object], seed: int, pictures: dict[str, list[Path]]
) -> tuple[list[float], list[float]]:
    """(figures of metrics.json, part of each picture set called unknown, own test photos first)."""
    weights = {} if strategy == "scratch" else {"weights": bench.weights}
    run = hs.train(
        bench.assets / "data" / "animals", out=bench.scratch / "run", overwrite=True, quiet=True, strategy=strategy,
        backbone=bench.backbone, seed=seed, shots=60, settings={"image_size": 96, "epochs": 6}, **weights, **options,
    )  # fmt: skip
    test = run.metrics["test"]
    errors = [run.metrics[s]["calibration"] for s in ("val", "test")]
    sets = test["certainty"]["sets"]
    figures = [test["accuracy"]["value"], run.metrics["training"]["temperature"]]
    figures += [value for c in errors for value in (c["before"]["ece"], c["ece"])]
    figures += [s["holds"] for s in sets] + [s["labels"] for s in sets]
    marks = [test["certainty"]["unknown"]]
    marks += [float(np.mean([bool(p.unknown) for p in hs.predict(run.path, files)])) for files in pictures.values()]
    return figures, marks


def cost(bench: Bench) -> None:
    """What the mark costs, whatever the photos show: time per photo in batches of 32, size of the file."""
    table("classes x features", "µs per photo", "kB")
    rng = np.random.default_rng(0)
    for classes, dim in ((3, 512), (100, 2048), (1000, 2048)):
        means = class_means(rng.random((classes, dim)), np.arange(classes))
        kept = Uncertainty(np.sort(rng.random(450)), np.sort(rng.random(450)), means)
        features, taken = rng.random((32, dim)).astype(np.float32), []
        for _ in range(50):
            began = time.perf_counter()
            kept.distances(features)
            taken.append(time.perf_counter() - began)
        kept.save(bench.scratch)
        size = (bench.scratch / FILE).stat().st_size / 1000
        row(f"{classes} x {dim}", f"{1e6 * np.median(taken) / 32:.1f}", f"{size:.0f}")


PARTS = {"cost": cost, "coverage": coverage, "calibration": calibrated, "unknown": unknown, "tuned": tuned}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--backbone", default="resnet18")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(asked.assets, asked.backbone, asked.seeds, Path(scratch))
        for part in asked.only.split(","):
            print(f"\n## {part}, {bench.seeds} seeds, {bench.backbone}")
            PARTS[part](bench)


if __name__ == "__main__":
    main()

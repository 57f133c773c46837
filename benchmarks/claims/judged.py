"""``headstart check`` against what people judged of CIFAR-10's test images. Out: Markdown for
docs/explanation/measured-check.md.

    python benchmarks/claims/judged.py ASSETS YARDSTICKS [--only labels|duplicates] [--write FOLDER]

labels: 54 of 275 labels that confident learning had flagged, a crowd of five called wrong (Northcutt et al. 2021,
"Pervasive label errors in test sets"; wrong: fewer than three chose the given label). Precision is that among those of
our photos that the crowd judged: nobody looked at the others. duplicates: test images with a copy in train or in test
(Barz & Denzler 2020, who judged one neighbour of each test image; judgement 1: the same picture, 2: nearly), found
without features and with them; by test image, for the order of the published train indices is not that of the files
everywhere. What is found and not listed is no error by itself: a mirrored copy was hardly a neighbour there.
--write: scores.csv and pairs.csv, for others to score again; and pairs.png, 72 test images beside their copy in train,
evenly by similarity, the surest first, for eyes to judge.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from check import montage

import headstart as hs
from headstart.core.events import Events
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import near_duplicates, upright_pairs
from headstart.data.duplicates.verify import alignment
from headstart.data.images import read_photos
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_dataset
from headstart.workflows.check.labels import WRONG, find_label_issues

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
FIRST = (25, 50, 100, 200, 400, 800, 1600)
TESTS = 10000
LEAST = (0, 0.6, 0.65, 0.7, 0.75, 0.8)
SHOWN = 72


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("yardsticks", type=Path)
    parser.add_argument("--only", choices=("labels", "duplicates"))
    parser.add_argument("--backbone", default="tf_efficientnet_lite2")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    for part, measure in {"labels": labels, "duplicates": duplicates}.items():
        if asked.only in (None, part):
            measure(asked)


def paths_of(asked: argparse.Namespace) -> list[Path]:
    """The test images in their original order."""
    given = np.load(asked.yardsticks / "cifar10_test_labels_in_original_order.npy").astype(int)
    nth = [int((given[:i] == c).sum()) for i, c in enumerate(given)]
    folder = asked.assets / "data/cifar10/test"
    return [folder / CLASSES[c] / f"{n:04d}.jpg" for c, n in zip(given, nth, strict=True)]


# -- labels --


def labels(asked: argparse.Namespace) -> None:
    verdicts = json.loads((asked.yardsticks / "cifar10_test_crowd_verdicts.json").read_text())
    place = {str(path): i for i, path in enumerate(paths_of(asked))}
    seen = _features(asked)
    manifest = seen.photos.manifest.photos
    number = np.array([place[str(manifest[i].path)] for i in seen.members])
    issues = find_label_issues(seen.features, seen.labels, len(CLASSES), list(range(len(number))))
    order = np.argsort(-issues.wrong, kind="stable")
    judged = np.isin(number[order], [v["id"] for v in verdicts]).cumsum()
    wrong = np.isin(number[order], [v["id"] for v in verdicts if v["mturk"]["given"] < 3]).cumsum()
    accuracy = (issues.probabilities.argmax(1) == seen.labels).mean()
    print(f"{asked.backbone}, accuracy of the probes {accuracy:.3f}; the surest photos:\n")
    print("| photos | judged by the crowd | wrong by the crowd | precision among the judged |\n|---|---|---|---|")
    flagged = int((issues.wrong > WRONG).sum())
    for count in sorted({*FIRST, flagged}):
        name = f"**{count} (reported)**" if count == flagged else str(count)
        share = wrong[count - 1] / max(1, judged[count - 1])
        print(f"| {name} | {judged[count - 1]} | {wrong[count - 1]} of {wrong[-1]} | {share:.2f} |")
    if asked.write:
        rows = [(int(number[i]), f"{issues.wrong[i]:.4f}", CLASSES[issues.better[i]]) for i in order]
        _write(asked.write / "scores.csv", ("test_image", "wrong", "better"), rows)


def _features(asked: argparse.Namespace) -> Any:
    weights = asked.assets / f"weights/{asked.backbone}.fp16.safetensors"
    size = {"image_size": asked.image_size} if asked.image_size else {}
    data = str(asked.assets / "data/cifar10/test")
    return embed_dataset(TrainOptions(data, backbone=asked.backbone, weights=str(weights), settings=size), Events())


# -- duplicates --


def duplicates(asked: argparse.Namespace) -> None:
    images = [*paths_of(asked), *sorted((asked.assets / "data/cifar10/train").glob("*/*"))]
    pixels = read_photos(images, 32)
    seen, features = fingerprints(pixels), _features_of(asked, images)
    print("\n| features | listed | judgement | test images | found |\n|---|---|---|---|---|")
    _table(asked, "none, as `train` does", near_duplicates(seen, pixels.digests)[0])
    pairs, similarity = near_duplicates(seen, pixels.digests, features)
    _table(asked, f"{asked.backbone}, as `check` does", pairs)
    candidates = upright_pairs(seen, features)
    likeness = alignment(seen.thumbs, candidates)
    print("\n| correlation of details, at least | test images with a copy in train | judged 1: found |\n|---|---|---|")
    same = [i for i, judgement in _listed(asked, "duplicates_cifar10").items() if judgement == 1]
    for least in LEAST:
        found = _tests(candidates[likeness >= least], "train")
        print(f"| {least or 'all candidates'} | {len(found)} | {len(found.intersection(same)) / len(same):.2f} |")
    if asked.write:
        root = asked.assets / "data/cifar10"
        names = [path.relative_to(root).as_posix() for path in images]
        every = zip(pairs.tolist(), similarity.tolist(), strict=True)
        rows = [(names[a], names[b], f"{like:.3f}") for (a, b), like in every if a < TESTS]
        _write(asked.write / "pairs.csv", ("one", "other", "similarity"), rows)
        across = _across(pairs, "train")
        order = np.flatnonzero(across)[np.argsort(-similarity[across], kind="stable")]
        first = np.sort(np.unique(pairs[order, 0], return_index=True)[1])  # of each test image the most similar pair
        spread = order[first][np.linspace(0, len(first) - 1, SHOWN).astype(int)]
        montage([[images[i] for i in pair] for pair in pairs[spread]], across=9, side=68).save(
            asked.write / "pairs.png"
        )


def _features_of(asked: argparse.Namespace, images: list[Path]) -> np.ndarray:
    weights = asked.assets / f"weights/{asked.backbone}.fp16.safetensors"
    size = {"image_size": asked.image_size} if asked.image_size else {}
    return hs.embed(images, backbone=asked.backbone, weights=weights, quiet=True, **size).features


def _table(asked: argparse.Namespace, features: str, pairs: np.ndarray) -> None:
    for name, other in (("duplicates_cifar10", "train"), ("duplicates_cifar10_test", "test")):
        found, listed = _tests(pairs, other), _listed(asked, name)
        for judgement in (1, 2):
            some = {i for i, verdict in listed.items() if verdict == judgement}
            share = len(some & found) / len(some)
            print(f"| {features} | copy in {other} | {judgement} | {len(some)} | {share:.2f} |")
        share = len(found & listed.keys()) / len(found)
        print(f"| {features} | copy in {other} | any, found | {len(found)} | listed: {share:.2f} |")


def _listed(asked: argparse.Namespace, name: str) -> dict[int, int]:
    """The judgement of each listed test image."""
    with (asked.yardsticks / f"{name}.csv").open() as file:
        return {int(row["TestID"]): int(row["Judgment"]) for row in csv.DictReader(file)}


def _across(pairs: np.ndarray, other: str) -> np.ndarray:
    """Which pairs are of a test image and one of ``other``."""
    return (pairs[:, 0] < TESTS) & ((pairs[:, 1] < TESTS) == (other == "test"))


def _tests(pairs: np.ndarray, other: str) -> set[int]:
    """The test images that have a copy in ``other``."""
    return {i for i in pairs[_across(pairs, other)].ravel().tolist() if i < TESTS}


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    print(f"\nwrote {path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

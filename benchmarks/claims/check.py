"""What ``headstart check`` finds. In: the folder of real photos and weights. Out: Markdown for
docs/explanation/measured-check.md.

    python benchmarks/claims/check.py ASSETS [--only planted|margins|real|growth] [--seeds 3] [--pictures docs/images]

planted: animals with copies across splits, wrong labels and photos of another world put in by a seed: precision and
recall of each kind. real: the copies in imagewoof160, and the share of CIFAR-10's test images that train holds nearly.
margins: how far duplicates and other pairs are apart by each measure. growth: time and memory over 2,500 and 25,000
photos, in processes of their own.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from headstart.core.events import Events
from headstart.data.duplicates.fingerprints import Fingerprints, fingerprints
from headstart.data.duplicates.pairs import near_duplicates, upright_pairs
from headstart.data.duplicates.verify import alignment, typical_similarity
from headstart.data.images import read_photos
from headstart.data.sources.detect import scan
from headstart.training.config import TrainOptions
from headstart.training.embeddings import EmbeddedDataset, embed_dataset
from headstart.workflows.check.check import check
from headstart.workflows.check.result import CheckResult
from headstart.workflows.demo import write_digits

WEIGHTS = "weights/resnet18.fp16.safetensors"
PARTS = ("planted", "margins", "real", "growth")
CIFAIR = 0.033
"""Of CIFAR-10's test images, those with a near copy in train (Barz & Denzler 2020, "Do we train on test data?")."""
# Classes of CIFAR-100 in which nothing lives.
THINGS = (
    "bed bicycle bottle bowl bridge bus can castle chair clock cloud couch cup house keyboard lamp lawn_mower "
    "motorcycle mountain pickup_truck plain plate road rocket sea skyscraper streetcar table tank "
    "telephone television tractor train wardrobe"
).split()
NATURAL = ("cats_00374", "cats_00556", "dogs_00065", "dogs_00403", "dogs_00414")
"""Four logos and a picture that says "No photo available": of another world by nature, and left out of the truth."""
EXACT, NEAR = 100, 160
"""Planted copies; the second: 20 of each kind."""
Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        _timed(asked.assets, asked.child)
        return
    for part, measure in {"planted": planted, "margins": margins, "real": real, "growth": growth}.items():
        if asked.only in (None, part):
            measure(asked)


def checked(assets: Path, data: Path, size: int | None = 160) -> CheckResult:
    with tempfile.TemporaryDirectory() as folder:
        return check(data, weights=assets / WEIGHTS, image_size=size, out=Path(folder) / "page.html")


# -- planted --


def planted(asked: argparse.Namespace) -> None:
    print("| seed | exact duplicates | near-duplicates | label errors | outliers |\n|---|---|---|---|---|")
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            truth = plant(asked.assets, Path(folder), np.random.default_rng(seed))
            found = told(checked(asked.assets, Path(folder) / "photos.csv"))
        cells = [_precision_recall(found[kind], truth[kind]) for kind in ("exact", "near", "label", "stranger")]
        print(f"| {seed} | {' | '.join(cells)} |", flush=True)
        extra = sorted(map(str, found["near"] - truth["near"]))
        print(f"near-duplicates that nobody planted, seed {seed}: {extra}", file=sys.stderr)


def plant(assets: Path, folder: Path, draw: np.random.Generator) -> dict[str, set[Any]]:
    """Write photos.csv and the photos that are new; returns what was planted: pairs of paths, or paths."""
    photos = sorted(p for p in (assets / "data/animals").glob("*/*") if p.stem not in NATURAL)
    order = draw.permutation(len(photos)).tolist()
    split = {i: ("train", "val", "test")[(n >= 2000) + (n >= 2500)] for n, i in enumerate(order)}
    rows: list[Row] = [(str(p), p.parent.name, split[i]) for i, p in enumerate(photos)]
    train, others = order[: EXACT + NEAR], order[EXACT + NEAR :]
    truth: dict[str, set[Any]] = {"exact": set(), "near": set(), "label": set(), "stranger": set()}
    for n, i in enumerate(train):
        kind = "exact" if n < EXACT else "near"
        copy = folder / f"copy-{n}{photos[i].suffix if kind == 'exact' else '.jpg'}"
        if kind == "exact":
            copy.write_bytes(photos[i].read_bytes())
        else:
            ALTERED[n % len(ALTERED)](Image.open(photos[i]).convert("RGB"), draw).save(copy, quality=80)
        rows.append((str(copy), photos[i].parent.name, ("val", "test")[n % 2]))
        truth[kind].add(frozenset((str(photos[i]), str(copy))))
    labels = sorted({label for _, label, _ in rows})
    for i in draw.permutation(others)[: len(photos) // 20]:
        path, label, where = rows[i]
        rows[i] = (path, str(draw.choice([other for other in labels if other != label])), where)
        truth["label"].add(path)
    for n, place in enumerate(draw.permutation(_things(assets))[:40]):
        rows.append((str(place), str(draw.choice(labels)), ("train", "test")[n % 2]))
        truth["stranger"].add(str(place))
    write_csv(folder / "photos.csv", rows)
    return truth


def _things(assets: Path) -> list[str]:
    return [str(p) for thing in THINGS for p in sorted((assets / "data/cifar100/test" / thing).glob("*"))[:5]]


def _again(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    packed = io.BytesIO()
    photo.save(packed, "jpeg", quality=int(draw.integers(30, 60)))
    return Image.open(packed)


def _resized(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    scale = draw.choice([0.5, 0.7, 1.5])
    return photo.resize((max(8, round(photo.width * scale)), max(8, round(photo.height * scale))))


def _mirrored(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(photo)


def _cropped(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    left, top, right, bottom = draw.uniform(0, 0.08, 4)
    width, height = photo.size
    return photo.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def _brightened(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(float(draw.choice([0.7, 1.3])))


def _turned(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    return photo.rotate(25 * draw.choice([-1, 1]), Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))


def _flipped(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    return ImageOps.flip(photo)


def _stretched(photo: Image.Image, draw: np.random.Generator) -> Image.Image:
    return photo.resize((round(photo.width * draw.choice([0.7, 1.4])), photo.height))


ALTERED: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (
    _again, _resized, _mirrored, _cropped, _brightened, _turned, _flipped, _stretched,
)  # fmt: skip


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])


def told(found: CheckResult) -> dict[str, set[Any]]:
    """What was found, as pairs of paths or paths."""
    manifest, every = found.photos.manifest.photos, {f.kind: f.cases for f in found.findings}
    pairs = {
        (frozenset(str(manifest[i].path) for i in case.photos), case.words)
        for kind in ("leakage", "conflict", "near-conflict", "copies")
        for case in every.get(kind, ())
    }
    single = {k: {str(manifest[c.photos[0]].path) for c in every.get(k, ())} for k in ("label", "stranger")}
    exact = {pair for pair, words in pairs if words == "the same file"}
    return {"exact": exact, "near": {pair for pair, _ in pairs} - exact, **single}


def _precision_recall(found: set[Any], truth: set[Any]) -> str:
    right = len(found & truth)
    return f"{right / max(1, len(found)):.2f} / {right / len(truth):.2f} ({len(found)} found)"


# -- margins --


def margins(asked: argparse.Namespace) -> None:
    """By features, hashes and details: what near copies reach at least, and what other pairs reach at most."""
    with tempfile.TemporaryDirectory() as folder:
        truth = plant(asked.assets, Path(folder), np.random.default_rng(0))["near"]
        seen = looked_at(asked.assets, Path(folder) / "photos.csv", 160)
        prints = fingerprints(seen.pixels)
        where = {str(seen.photo(i).path): i for i in range(len(seen))}
        planted_pairs = np.array([sorted(where[path] for path in pair) for pair in truth])
        order = [
            int(Path(seen.photo(int(max(pair))).path).stem.split("-")[-1]) % len(ALTERED) for pair in planted_pairs
        ]
        print("| pairs | cosine | bits that differ | likeness |\n|---|---|---|---|")
        for kind, alter in enumerate(ALTERED):
            _margin(alter.__name__.strip("_"), planted_pairs[np.array(order) == kind], seen.features, prints)
        same, _ = near_duplicates(prints, seen.pixels.digests, seen.features)
        known = {tuple(pair) for pair in (*planted_pairs.tolist(), *same.tolist())}
        first = {digest: i for i, digest in reversed(list(enumerate(map(str, seen.pixels.digests))))}
        near = map(tuple, upright_pairs(prints, seen.features).tolist())
        digests = seen.pixels.digests
        others = [p for p in near if p not in known and digests[p[0]] != digests[p[1]]]
        others = [p for p in others if first[str(digests[p[0]])] == p[0] and first[str(digests[p[1]])] == p[1]]
        _margin("nearest others", np.array(others), seen.features, prints)
    for name, size in (("animals", 160), ("imagewoof160", 160), ("cifar10", 32)):
        photos = scan(asked.assets / "data" / name).photos
        some = read_photos([p.path for p in photos[:: max(1, len(photos) // 1000)]], size)
        print(f"- half of all pairs of {name}: {typical_similarity(fingerprints(some).thumbs):.2f}")
    with tempfile.TemporaryDirectory() as folder:
        digits = read_photos(sorted(write_digits(Path(folder) / "digits", 100).glob("*/*")), 32)
        print(f"- half of all pairs of drawn digits: {typical_similarity(fingerprints(digits).thumbs):.2f}")


def looked_at(assets: Path, data: Path, size: int) -> EmbeddedDataset:
    options = TrainOptions(str(data), weights=str(assets / WEIGHTS), allow_leakage=True, settings={"image_size": size})
    return embed_dataset(options, Events())


def _margin(name: str, pairs: np.ndarray, features: np.ndarray, prints: Fingerprints) -> None:
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = (rows[pairs[:, 0]] * rows[pairs[:, 1]]).sum(1)
    one, other = prints.hashes[pairs[:, 0], :1], prints.hashes[pairs[:, 1]]
    bits = (one != other).sum(2).min(1)
    like = alignment(prints.thumbs, pairs)
    spans = (f"{cosine.min():.2f} to {cosine.max():.2f}", f"{bits.min()} to {bits.max()}")
    print(f"| {name} ({len(pairs)}) | {' | '.join(spans)} | {like.min():.2f} to {like.max():.2f} |", flush=True)


# -- real --


def real(asked: argparse.Namespace) -> None:
    woof = checked(asked.assets, asked.assets / "data/imagewoof160")
    for finding in woof.findings:
        print(f"- imagewoof160: {finding.severity}: {finding.sentence}")
        for case in finding.cases[:12] if finding.kind in {"leakage", "conflict", "near-conflict"} else ():
            print("  - " + " = ".join(woof.about(i)["path"] for i in case.photos) + f" ({case.words})")
    cifar = checked(asked.assets, asked.assets / "data/cifar10", None)
    cases = next(f.cases for f in cifar.findings if f.kind == "leakage")
    photos = cifar.photos.manifest.photos
    shared = {i for case in cases for i in case.photos if photos[i].split == "test"}
    every = sum(photo.split == "test" for photo in photos)
    print(f"- CIFAR-10: {len(shared)} of {every} test images ({len(shared) / every:.1%}) have a copy in train;")
    print(f"  published: {CIFAIR:.1%}")
    if asked.pictures:
        worst = [case for f in woof.findings if f.kind in {"leakage", "conflict"} for case in f.cases][:12]
        montage(_paths(woof, worst)).save(asked.pictures / "check-imagewoof.png")
        spread = [cases[i] for i in np.linspace(0, len(cases) - 1, 24).astype(int)]
        montage(_paths(cifar, spread)).save(asked.pictures / "check-cifar10.png")


def _paths(found: CheckResult, cases: Iterable[Any]) -> list[list[Path]]:
    photos = found.photos.manifest.photos
    return [[Path(photos[i].path) for i in case.photos] for case in cases]


def montage(pairs: Sequence[Sequence[Path]], across: int = 6, side: int = 96) -> Image.Image:
    """Pairs of photos side by side."""
    rows = -(-len(pairs) // across)
    sheet = Image.new("RGB", (across * (2 * side + 14), rows * (side + 10)), "white")
    for n, pair in enumerate(pairs):
        for k, path in enumerate(pair):
            photo = Image.open(path).convert("RGB").resize((side, side))
            sheet.paste(photo, ((n % across) * (2 * side + 14) + k * (side + 2), (n // across) * (side + 10)))
    return sheet


# -- growth --


def growth(asked: argparse.Namespace) -> None:
    """Photos of all sets as one, so that none is there twice but by nature."""
    folders = {p.parent for name in ("imagewoof160", "dogs-vs-cats", "animals", "cifar10") for p in _files(asked, name)}
    rows = [(str(p), f"{f.parents[0].name}-{f.name}", "") for f in sorted(folders) for p in sorted(f.glob("*"))]
    print("| photos | seconds | peak memory of its own | with mapped pages of the cache |\n|---|---|---|---|")
    for count in (2500, 25000):
        with tempfile.TemporaryDirectory() as folder:
            step = len(rows) / count
            chosen = [rows[int(i * step)][:2] for i in range(count)]
            table = Path(folder) / "photos.csv"
            with table.open("w", newline="") as file:
                csv.writer(file).writerows([("path", "label"), *chosen])
            words = [sys.executable, __file__, str(asked.assets), "--child", str(table)]
            cache = {**os.environ, "HEADSTART_CACHE": str(Path(folder) / "cache")}
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=cache)
        figures = json.loads(done.stdout.splitlines()[-1])
        cells = (f"{figures['seconds']:.0f}", f"{figures['own']:,.0f} MB", f"{figures['megabytes']:,.0f} MB")
        print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


def _files(asked: argparse.Namespace, name: str) -> Iterable[Path]:
    data = asked.assets / "data" / name
    return data.glob("*/*/*") if (data / "train").is_dir() else data.glob("*/*")


def _timed(assets: Path, table: Path) -> None:
    own: list[float] = []
    ended = threading.Event()
    watch = threading.Thread(target=lambda: [own.append(_own_megabytes()) for _ in iter(lambda: ended.wait(0.2), True)])
    watch.start()
    began = time.monotonic()
    checked(assets, table)
    seconds = time.monotonic() - began
    ended.set()
    watch.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "own": max(own), "megabytes": peak}))


def _own_megabytes() -> float:
    """Memory that is no page of a file (Linux): mapped pages of the cache can be taken away at any time."""
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()

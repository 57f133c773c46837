"""Thousands of damaged images of every format: each is decoded or named. In: nothing. Out: counts by outcome, the
slowest file, and the memory.

    python benchmarks/claims/mutated_images.py [--images 5000] [--seed 0] [--keep FOLDER]

The files are those of tests/fuzz/targets_upload.py and more of every format, with up to eight edits each, or cut, or
two joined. They are decoded one after the other in one process, as ``headstart train`` reads them: no bounds but the
usual ones. Leaves with 1 where something else than ``BadPhoto`` is raised, a file takes more than two seconds, or
memory grows in the second half.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fuzz.mutations import edited
from fuzz.targets_upload import CORPUS
from helpers import deep, hostile

from headstart.core.ranges import Ranges
from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode

SLOW_S, GROWTH_MB = 2.0, 60.0
_PIECES = (b"\0", b"\xff", b"\xff" * 4, b"\0" * 8, b"\x7f\xff\xff\xff", b"\x00\x01", b"\xff\xd9", b"\xff\xda", b"IEND")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to put findings")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    draw, bases = random.Random(asked.seed), corpus()
    print(f"{len(bases)} files to begin with")
    outcomes: Counter[str] = Counter()
    slowest, findings, half, began = (0.0, "", 0), 0, 0.0, time.perf_counter()
    for number in range(asked.images):
        name, base = draw.choice(bases)
        content = mutated(draw, base, bases)
        started = time.process_time()
        try:
            ranges = draw.choice([None, Ranges((0.0, 4095.0), (0.0, 1.0))])
            decode(content, 224, measure=draw.random() < 0.5, ranges=ranges)
            outcome = "decoded"
        except BadPhoto as bad:
            outcome = re.sub(r"[\d,.]+", "N", bad.problem.partition(":")[0].partition("(")[0]).strip()
        except Exception:  # noqa: BLE001 - what this looks for
            outcome = "CRASHED"
            traceback.print_exc()
        taken = time.process_time() - started
        outcomes[outcome] += 1
        if outcome == "CRASHED" or taken > SLOW_S:
            findings += 1
            print(f"finding {findings}: image {number}, from {name}: {outcome}, {taken:.1f} s")
            if asked.keep:
                asked.keep.mkdir(parents=True, exist_ok=True)
                (asked.keep / f"{number}-{name.replace(' ', '-')}").write_bytes(content)
        slowest = max(slowest, (taken, name, number))
        if number == asked.images // 2:
            half = peak_mb()
    for outcome, count in outcomes.most_common():
        print(f"{count:6,}  {outcome}")
    print(f"slowest: {slowest[0]:.2f} s of CPU, image {slowest[2]}, from {slowest[1]}")
    print(f"peak memory: {half:.0f} MB at half, {peak_mb():.0f} MB at the end")
    print(f"{asked.images:,} images in {time.perf_counter() - began:.0f} s, {findings} findings")
    return int(bool(findings) or peak_mb() > half + GROWTH_MB)


def mutated(draw: random.Random, base: bytes, bases: list[tuple[str, bytes]]) -> bytes:
    """``base`` with some edits, cut, or with the rest of another file."""
    way = draw.random()
    if way < 0.1:
        return base[: draw.randrange(len(base) + 1)]
    if way < 0.2:
        other = draw.choice(bases)[1]
        return base[: draw.randrange(len(base) + 1)] + other[draw.randrange(len(other) + 1) :]
    # Half of the edits are where the header is: that is what decides.
    places = [draw.random() * (min(1.0, 200 / len(base)) if draw.random() < 0.5 else 1.0) for _ in range(8)]
    edits = [
        (where, gone := draw.choice((0, 1, 1, 2, 4, 8)), draw.choice((draw.randbytes(gone or 1), draw.choice(_PIECES))))
        for where in places[: draw.randint(1, 8)]
    ]
    return edited(base, edits)


def corpus() -> list[tuple[str, bytes]]:
    """(name, content) of sound and hostile files of every format."""
    found = [(f"corpus {i}", content) for i, content in enumerate(CORPUS["image"])]
    y, x = np.mgrid[0:300, 0:400]
    noise = np.random.default_rng(0).integers(0, 40, (300, 400, 3))
    pixels = (np.stack([x * 200 // 400, y * 200 // 300, (x + y) % 200], axis=-1) + noise).astype(np.uint8)
    photo, frames = Image.fromarray(pixels), [Image.fromarray(np.roll(pixels, i * 20, 1)) for i in range(1, 4)]
    exif = Image.Exif()
    exif[0x0112] = 6
    ways: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        *((f"jpeg {q}", photo, "JPEG", {"quality": q, "exif": exif}) for q in (30, 90)),
        ("jpeg progressive", photo, "JPEG", {"progressive": True}),
        ("jpeg cmyk", photo.convert("CMYK"), "JPEG", {}),
        ("jpeg restarts", photo, "JPEG", {"restart_marker_rows": 1}),
        *((f"png {mode}", photo.convert(mode), "PNG", {"exif": exif}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *((f"tiff {c}", photo, "TIFF", {"compression": c}) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *((f"tiff {c}", photo.convert("1"), "TIFF", {"compression": c}) for c in ("group3", "group4", "packbits")),
        *((f"tiff {mode}", photo.convert(mode), "TIFF", {}) for mode in ("CMYK", "LAB", "YCbCr", "P", "LA")),
        ("tiff big", photo, "TIFF", {"big_tiff": True}),
        ("webp", photo, "WEBP", {}), ("webp lossless", photo.convert("RGBA"), "WEBP", {"lossless": True}),
        ("avif", photo, "AVIF", {}), ("j2k", photo, "JPEG2000", {}),
        ("j2k stream", photo, "JPEG2000", {"no_jp2": True}),
        ("gif", photo, "GIF", {}), ("bmp", photo, "BMP", {}), ("bmp P", photo.convert("P"), "BMP", {}),
        ("pcx", photo, "PCX", {}), ("ppm", photo, "PPM", {}), ("pgm", photo.convert("L"), "PPM", {}),
        ("pbm", photo.convert("1"), "PPM", {}), ("qoi", photo, "QOI", {}), ("dib", photo, "DIB", {}),
        *((f"animated {kind}", photo, kind, {"save_all": True, "append_images": frames})
          for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO")),
    ]  # fmt: skip
    for name, image, kind, how in ways:
        try:
            found.append((name, deep.saved(image, kind, **how)))
        except (OSError, KeyError) as error:  # this Pillow cannot write it
            print(f"left out: {name} ({error})")
    wide, size = pixels.astype(np.uint16) * 16, (400, 300)
    found += [
        ("png 16 RGB", deep.png(wide, 2)), ("png 16 RGBA", deep.png(np.dstack([wide, wide[..., :1]]), 6)),
        ("png 16 LA", deep.png(wide[..., :2], 4)), ("png 16 L", deep.saved(wide[..., 0], "PNG")),
        ("tiff 16 RGB", deep.tiff([wide.tobytes()], size, 16, 3, 2)),
        ("tiff 16 planes", deep.tiff([wide[..., c].tobytes() for c in range(3)], size, 16, 3, 2, planes=True)),
        ("tiff float", deep.saved((pixels[..., 0] / 255).astype(np.float32), "TIFF")),
        ("tiff int32", deep.saved(pixels[..., 0].astype(np.int32), "TIFF")),
        ("plain ppm", b"P3\n60 50\n255\n" + b"12 200 7 " * 3000), ("scan bomb", hostile.scan_bomb(450, (300, 300))),
        ("large plain pbm", hostile.plain_pbm(1000, 1000)), ("large qoi", hostile.qoi(1000, 1000)),
        ("large rle", hostile.rle_bmp(1000, 1000)), ("large other depth", hostile.ppm_of_other_depth(1000, 1000)),
    ]  # fmt: skip
    return found + heif(photo)


def heif(photo: Image.Image) -> list[tuple[str, bytes]]:
    """HEIC photos, where the package is installed."""
    try:
        import pillow_heif
    except ImportError:
        print("left out: HEIC (pip install 'headstart[heic]')")
        return []
    out = io.BytesIO()
    pillow_heif.encode("RGB", photo.size, photo.tobytes(), out, quality=80)
    tiles = io.BytesIO()
    pillow_heif.encode("RGB", photo.size, photo.tobytes(), tiles, quality=80, tile_size=128)
    return [("heic", out.getvalue()), ("heic of tiles", tiles.getvalue())]


def peak_mb() -> float:
    """The most memory that this process had, in MB (on Linux, where the unit is 1024 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())

"""Photos for the speed experiments. In: class folders. Out: the same split for all contestants, as folders of links;
many photos out of few; photos that are drawn.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import Failed

DRAWN_CLASSES = tuple(
    f"{shape}-{fill}" for shape in ("disc", "box", "wedge", "cross", "ring") for fill in ("few", "many")
)


@dataclass(frozen=True)
class Parted:
    """Photos in ``root/train/CLASS`` and ``root/JUDGED/CLASS``; ``digest`` names the judged photos."""

    root: Path
    judge: str
    classes: tuple[str, ...]
    train: int
    judged: int
    digest: str


def names_digest(names: Iterable[str]) -> str:
    """A digest of class/file names, whatever their order."""
    return hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=12).hexdigest()


def class_folders(source: Path, per_class: int) -> dict[str, list[Path]]:
    """The first ``per_class`` photos of each class, no two with the same bytes. Every file is read: nobody after this
    waits for the disk. Raises Failed where a class has too few.
    """
    seen: set[bytes] = set()
    found: dict[str, list[Path]] = {}
    for folder in sorted(p for p in source.iterdir() if p.is_dir()):
        kept = found.setdefault(folder.name, [])
        for path in sorted(folder.iterdir()):
            content = hashlib.blake2b(path.read_bytes()).digest()
            if len(kept) < per_class and content not in seen:
                seen.add(content)
                kept.append(path)
        if len(kept) < per_class:
            raise Failed(f"{folder} holds {len(kept)} different photos, not {per_class}.")
    return found


def part(source: Path, root: Path, per_class: int, judged_per_class: int, judge: str, seed: int = 0) -> Parted:
    """Draw the judged photos of each class by the seed and link all below ``root``."""
    judged: list[str] = []
    found = class_folders(source, per_class)
    for name, paths in found.items():
        shuffled = random.Random(f"{seed} {name}").sample(paths, len(paths))
        for split, members in ((judge, shuffled[:judged_per_class]), ("train", shuffled[judged_per_class:])):
            link_all(members, root / split / name)
        judged += [f"{name}/{path.name}" for path in shuffled[:judged_per_class]]
    trained = len(found) * (per_class - judged_per_class)
    return Parted(root, judge, tuple(found), trained, len(judged), names_digest(judged))


def take(source: Path, root: Path, per_class: int) -> list[Path]:
    """Link so many photos of each class below ``root``; returns the links."""
    links = []
    for name, paths in class_folders(source, per_class).items():
        links += link_all(paths, root / name)
    return links


def repeat(photos: Sequence[Path], root: Path, count: int) -> Path:
    """A folder with ``count`` links, over and over to the same photos; returns the folder."""
    folder = root / f"{count}"
    folder.mkdir(parents=True)
    for i in range(count):
        _link(photos[i % len(photos)], folder / f"{i:06}{photos[i % len(photos)].suffix}")
    return folder


def link_all(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Links of the same names in a new folder."""
    folder.mkdir(parents=True)
    links = [folder / path.name for path in paths]
    for path, link in zip(paths, links, strict=True):
        _link(path, link)
    return links


def _link(path: Path, link: Path) -> None:
    try:
        os.symlink(path.resolve(), link)
    except OSError:  # Windows, unless the user may make links
        shutil.copyfile(path, link)


def draw(root: Path, count: int, side: int = 64) -> Path:
    """A table of ``count`` photos of ``side`` px with coloured shapes, drawn below ``root`` where they are not yet and
    read once where they are, so that nobody after this waits for the disk; returns the table. Photo i is the same in
    every table.
    """
    rows = []
    for i in range(count):
        path = root / f"{i // 10_000:03}" / f"{i:07}.jpg"
        if path.exists():
            path.read_bytes()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _draw_one(i, side, path)
        rows.append((path.relative_to(root).as_posix(), DRAWN_CLASSES[i % len(DRAWN_CLASSES)]))
    written = root / f"photos-{count}.csv"
    with written.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return written


def _draw_one(i: int, side: int, path: Path) -> None:
    """One or several shapes in random colours on a random ground: what is drawn, and how often, is the class."""
    from PIL import Image, ImageDraw

    random_of = random.Random(i)
    shape, fill = DRAWN_CLASSES[i % len(DRAWN_CLASSES)].split("-")
    picture = Image.new("RGB", (side, side), _colour(random_of))
    pen = ImageDraw.Draw(picture)
    for _ in range(1 if fill == "few" else 5):
        width = random_of.randint(side // 5, side // 2)
        left, top = random_of.randint(0, side - width), random_of.randint(0, side - width)
        _shape(pen, shape, (left, top, left + width, top + width), _colour(random_of))
    temporary = path.with_suffix(".part")
    picture.save(temporary, "JPEG", quality=85)
    temporary.replace(path)  # a half-written photo would be taken for a whole one the next time


def _colour(random_of: random.Random) -> tuple[int, int, int]:
    return random_of.randrange(256), random_of.randrange(256), random_of.randrange(256)


def _shape(pen: Any, shape: str, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    if shape == "disc":
        pen.ellipse(box, fill=colour)
    elif shape == "box":
        pen.rectangle(box, fill=colour)
    elif shape == "wedge":
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=colour)
    elif shape == "cross":
        pen.line((left, top, right, bottom), fill=colour, width=5)
        pen.line((left, bottom, right, top), fill=colour, width=5)
    else:
        pen.ellipse(box, outline=colour, width=4)

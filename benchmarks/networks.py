"""What works with which of timm's networks: small ones of every family, random weights, tiny photos.

    python benchmarks/networks.py [NAME ...] [--out networks.jsonl]

Each network is a row of the file, written when it is done: started again, it goes on after the last. Without names, two
networks of each of timm's families. The table is printed at the end; a cell is "yes" or why not.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import headstart as hs
from headstart.errors import HeadstartError
from headstart.models.backbone import Backbone
from headstart.models.factory import create

SMALL = (
    "test",
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "xx_small",
    "_050",
    "tiny",
    "_t_",
    "_s0",
    "_b0",
    "small",
    "18",
    "_s",
)
"""Parts of names of small networks, the smallest first."""
COLUMNS = ("describe", "probe", "partial", "cut")


def main() -> None:
    """Try the networks that are not in the file yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("networks.jsonl"))
    asked = parser.parse_args()
    names = asked.names or every_family()
    logging.disable(logging.WARNING)
    done = read(asked.out)
    with tempfile.TemporaryDirectory() as folder:
        photos = draw(Path(folder) / "photos")
        for number, name in enumerate(names, 1):
            if name in done:
                continue
            done[name] = tried(name, photos)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[name]) + "\n")
            print(f"{number}/{len(names)} {done[name]}", flush=True)
    print_table([done[name] for name in names])


def every_family() -> list[str]:
    """Two names of each of timm's families: those that sound smallest."""

    def size(name: str) -> tuple[int, str]:
        return next((i for i, part in enumerate(SMALL) if part in name), len(SMALL)), name

    found = (sorted(timm.list_models(module=module), key=size)[:2] for module in timm.list_modules())
    return [name for names in found for name in names]


def read(path: Path) -> dict[str, dict[str, str]]:
    """The rows that are done, by network; a last line that was cut short is left out."""
    rows: dict[str, dict[str, str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["network"]] = row
    return rows


def draw(folder: Path) -> Path:
    """Two classes of 12 photos, 32 px: noise that is red or blue."""
    random = np.random.default_rng(0)
    for channel, label in ((0, "red"), (2, "blue")):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def tried(name: str, photos: Path) -> dict[str, str]:
    """The row of one network."""
    row = {"network": name, "stages": "", **dict.fromkeys(COLUMNS, "no backbone")}
    torch.manual_seed(0)
    try:
        backbone = create(name, pretrained=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the table is to show
        return row | {"describe": words(error)}
    row |= {"describe": "yes", "stages": str(len(backbone.stage_names())), "cut": outcome(lambda: cut(backbone))}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_file({key: t.clone().contiguous() for key, t in backbone.state_dict().items()}, weights)

        def train(strategy: str) -> None:
            settings = {"epochs": 1, "views": 1} if strategy == "partial" else {}
            hs.train(
                photos, backbone=name, weights=weights, strategy=strategy, settings=settings, device="cpu", quiet=True,
                out=Path(folder) / strategy,
            )  # fmt: skip

        row["probe"] = outcome(lambda: train("probe"))
        row["partial"] = outcome(lambda: train("partial"))
    return row


def cut(backbone: Backbone) -> None:
    """The network cut after the stage before its last one, and run on a photo."""
    stages = backbone.stage_names()
    last = stages.index(backbone.last_stage) if backbone.last_stage else 0
    short = backbone.truncated(stages[max(0, last - 1)] if len(stages) > 1 else "body.0")
    short.check_image_size(short.facts.trial_size)


def outcome(work: Callable[[], None]) -> str:
    """ "yes", or in a few words why not."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - as above
        return words(error)
    return "yes"


def words(error: Exception) -> str:
    """One line; a name in front where it is an error that headstart does not foresee."""
    first = str(error).partition("\n")[0][:110]
    return first if isinstance(error, HeadstartError) else f"{type(error).__name__}: {first}"


def print_table(rows: list[dict[str, str]]) -> None:
    """The table as Markdown, and how many networks do each thing."""
    print("\n| network | stages | " + " | ".join(COLUMNS) + " |\n|---|---:|" + "---|" * len(COLUMNS))
    for row in rows:
        print(f"| {row['network']} | {row['stages']} | " + " | ".join(row[c] for c in COLUMNS) + " |")
    print(f"\nof {len(rows)}: " + ", ".join(f"{c} {sum(row[c] == 'yes' for row in rows)}" for c in COLUMNS))


if __name__ == "__main__":
    main()

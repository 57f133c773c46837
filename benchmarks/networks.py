"""What works with which of timm's networks: small ones of every family, random weights, tiny photos.

    python benchmarks/networks.py [NAME ...] [--quick] [--seconds 3600] [--out networks.jsonl] [--table PAGE.md]

Each network is a row of the file, written when it is done: started again, it goes on after the last. Without names, two
networks of each of timm's families, the smallest first; ``--seconds`` ends it after the network in hand. ``--quick``
tries what takes no training, in seconds for each network; a later start without it trains those too. The table is
printed at the end, or put into a document between two marks; a cell is "yes", empty where it was not tried, or why not.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import headstart as hs
from headstart.core.events import EpochEnd
from headstart.errors import HeadstartError, Interrupted, OptionError
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.maps import maps_boundary

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
QUICK = ("built", "boundary", "cut", "maps")
TRAINED = ("probe", "partial", "finetune", "lp-ft", "resume", "describe", "explain", "export", "int8")
COLUMNS = QUICK + TRAINED
MARKS = ("<!-- networks -->", "<!-- /networks -->")


def main() -> None:
    """Try the networks that are not in the file yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("networks.jsonl"))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--millions", type=float, default=float("inf"), help="of parameters, at most")
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    names = asked.names or every_family()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    done, began = read(asked.out), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        photos = draw(Path(folder) / "photos")
        for number, name in enumerate(names, 1):
            known = QUICK if asked.quick else COLUMNS
            if known[-1] in done.get(name, {}) or time.monotonic() - began > asked.seconds:
                continue
            if millions(name) > asked.millions:
                continue
            done[name] = tried(name, photos, asked.quick)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[name]) + "\n")
            print(f"{number}/{len(names)} {done[name]}", flush=True)
    text = table([done[name] for name in names if name in done], len(names))
    if asked.table is None:
        print(text)
    else:
        page = asked.table.read_text(encoding="utf-8")
        before, after = page.partition(MARKS[0])[0], page.partition(MARKS[1])[2]
        asked.table.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


def every_family() -> list[str]:
    """Two names of each of timm's families, those that sound smallest; of all families the first, then the second."""

    def size(name: str) -> tuple[int, str]:
        return next((i for i, part in enumerate(SMALL) if part in name), len(SMALL)), name

    found = [sorted(timm.list_models(module=module), key=size)[:2] for module in timm.list_modules()]
    return [names[place] for place in (0, 1) for names in found if len(names) > place]


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows that are done, by network; a last line that was cut short is left out."""
    rows: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["network"]] = row
    return rows


def draw(folder: Path) -> Path:
    """Two classes of 6 photos, 32 px: noise that is red or blue."""
    random = np.random.default_rng(0)
    for channel, label in ((0, "red"), (2, "blue")):
        (folder / label).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def millions(name: str) -> float:
    """Parameters of a network, in millions; nothing is allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters()) / 1e6


def tried(name: str, photos: Path, quick: bool) -> dict[str, Any]:
    """The row of one network."""
    began = time.monotonic()
    row: dict[str, Any] = {"network": name}
    torch.manual_seed(0)
    try:
        backbone = create(name, pretrained=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the table is to show
        return row | dict.fromkeys(COLUMNS, "") | {"built": words(error)}
    row |= {
        "stages": len(backbone.inner) or len(backbone.stage_names()),
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "built": "yes",
        "boundary": backbone.last_stage or "none",
        "cut": outcome(partial(cut, backbone)),
        "maps": outcome(partial(maps, backbone)),
    }
    if not quick:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.safetensors"
            save_file({key: t.clone().contiguous() for key, t in backbone.state_dict().items()}, weights)
            row |= trained(Trial(name, photos, weights, Path(folder)))
    return row | {"seconds": round(time.monotonic() - began, 1)}


@dataclass(frozen=True)
class Trial:
    """One network's trainings: its weights, the photos, and where the runs go."""

    name: str
    photos: Path
    weights: Path
    folder: Path

    def train(self, strategy: str, out: str = "", **more: Any) -> hs.Run:
        """A run of the strategy, two epochs and one view."""
        settings = {} if strategy == "probe" else {"epochs": 2, "batch_size": 4}
        if strategy == "partial":
            settings["views"] = 1
        asked: dict[str, Any] = {"strategy": strategy, "settings": settings, **more}
        return hs.train(
            self.photos, backbone=self.name, weights=self.weights, device="cpu", quiet=True,
            out=self.folder / (out or strategy), **asked,
        )  # fmt: skip

    def resume(self) -> None:
        """Interrupted after an epoch and resumed, a training ends with the weights of one that was not."""

        def stop(event: object) -> None:
            if isinstance(event, EpochEnd):
                raise KeyboardInterrupt

        with suppress(Interrupted, KeyboardInterrupt):
            self.train("finetune", "stopped", listener=stop)
        resumed = hs.resume(self.folder / "stopped", quiet=True).classifier.network.state_dict()
        whole = hs.open_run(self.folder / "finetune").classifier.network.state_dict()
        if not all(torch.equal(resumed[key], tensor) for key, tensor in whole.items()):
            raise ValueError("other weights than of an uninterrupted training")

    def export(self, **more: Any) -> None:
        """An ONNX file that answers as the run does; with ``int8``, one of integers."""
        made = hs.export(self.folder / "probe", out=self.folder / f"{len(more)}.onnx", quiet=True, **more)
        if not more and made.parity.largest > 1e-3:
            raise ValueError(f"probabilities differ by {made.parity.largest:.4f}")


def trained(trial: Trial) -> dict[str, str]:
    """The cells that take a run. A batch has as many photos as there are, and pages, alike for all, are left out."""
    with (
        patch("headstart.inference.device.BATCH", 4),
        patch("headstart.workflows.train.report.run_page", return_value=""),
    ):
        return of_runs(trial)


def of_runs(trial: Trial) -> dict[str, str]:
    """As above."""
    photo = next(trial.photos.glob("*/*.png"))
    return {
        "probe": outcome(lambda: trial.train("probe")),
        "partial": outcome(lambda: trial.train("partial")),
        "finetune": outcome(lambda: trial.train("finetune")),
        "lp-ft": outcome(lambda: trial.train("lp-ft")),
        "resume": outcome(trial.resume),
        "describe": outcome(lambda: hs.describe(trial.folder / "probe")),
        "explain": outcome(
            lambda: hs.explain(trial.folder / "probe", [photo], out=trial.folder / "explained", quiet=True)
        ),
        "export": outcome(trial.export),
        "int8": outcome(lambda: trial.export(int8=True)),
    }


def cut(backbone: Backbone) -> None:
    """The network cut after the stage before its last one, and run on a photo; an undivided one after its first."""
    stages = backbone.stage_names()
    at = next(iter(backbone.inner)) if backbone.undivided else stages[max(0, stages.index(backbone.last_stage) - 1)]
    short = backbone.truncated(at)
    short.check_image_size(short.facts.trial_size)


def maps(backbone: Backbone) -> None:
    """Where the features read their last maps, for a photo of a small size."""
    if not maps_boundary(backbone, backbone.fitting_size(max(96, backbone.facts.trial_size))):
        raise OptionError("it has no feature maps that headstart can read")


def outcome(work: Callable[[], Any]) -> str:
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


def table(rows: list[dict[str, Any]], listed: int) -> str:
    """The table as Markdown, how many networks do each thing, and below it what the others are told."""
    notes: dict[str, str] = {}

    def cell(row: dict[str, Any], column: str) -> str:
        told = str(row.get(column, ""))
        if told in ("", "yes") or column == "boundary":
            return told
        # One note for all networks that are told the same.
        return notes.setdefault(told.replace(row["network"], "NETWORK"), f"[{len(notes) + 1}]")

    lines = [f"| network | millions | stages | {' | '.join(COLUMNS)} |", "|---|---:|---:|" + "---|" * len(COLUMNS)]
    for row in sorted(rows, key=lambda row: str(row["network"])):
        size = f"{row['parameters'] / 1e6:.1f}" if "parameters" in row else ""
        lines.append(
            f"| {row['network']} | {size} | {row.get('stages', '')} | {' | '.join(cell(row, c) for c in COLUMNS)} |"
        )
    sums = ", ".join(
        f"{column} {sum(row[column] == 'yes' for row in tried_rows)} of {len(tried_rows)}"
        for column in COLUMNS
        if column != "boundary" and (tried_rows := [row for row in rows if row.get(column)])
    )
    told = [f"- {number} {text}" for text, number in notes.items()]
    return "\n".join([f"{len(rows)} of {listed} networks were tried: {sums}.", "", *lines, "", *told]).rstrip()


if __name__ == "__main__":
    main()

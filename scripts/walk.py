"""The first steps of a newcomer with the installed command: photos in folders, a training, a prediction.

``python scripts/walk.py`` in an empty folder. It uses the backbone that ships, so nothing is downloaded.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"lime": (110, 190, 60), "plum": (110, 50, 110)}


def draw(folder: Path, each: int = 24) -> None:
    """A folder of ``each`` noisy photos per colour."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            noise = rng.normal(0, 40, (48, 64, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def say(*words: str) -> str:
    """What ``headstart WORDS`` prints; ends the walk where it fails."""
    print("$ headstart", *words, flush=True)
    done = subprocess.run(["headstart", *words], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def main() -> int:
    """Walk; returns the exit code."""
    draw(Path("photos"))
    run = Path("runs") / "walk"
    say("train", "photos", "--backbone", "starter", "--strategy", "probe", "--out", str(run))
    told = say("predict", str(run), "photos/lime/0.png", "photos/plum/0.png", "--csv")
    labels = [line.split(",")[1] for line in told.splitlines()[1:]]
    return 0 if labels == ["lime", "plum"] and (run / "report.html").is_file() else 1


if __name__ == "__main__":
    sys.exit(main())

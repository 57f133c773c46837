"""Prints the figures of docs/explanation/results.md, on real photos and real weights, through the command line.

    python benchmarks/claims/results.py ASSETS [--only probe,head,strategies,cost,kill] [--seeds 3]

ASSETS holds data/animals, data/dogs-vs-cats and weights/resnet18 and resnet50 (.fp16.safetensors). Everything runs in
turn, in fresh processes, with a cache of its own, so nothing is warm that should be cold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADSTART = [sys.executable, "-c", "from headstart.cli.app import main; main()"]


class Bench:
    """Where the assets and the scratch folder are, and how to run a command."""

    def __init__(self, assets: Path, seeds: int, scratch: Path) -> None:
        self.assets, self.seeds, self.scratch = assets, seeds, scratch
        self.env = {**os.environ, "HEADSTART_CACHE": str(scratch / "cache")}
        self.runs = 0

    def data(self, name: str) -> str:
        return str(self.assets / "data" / name)

    def weights(self, name: str) -> list[str]:
        return ["--backbone", name, "--weights", str(self.assets / "weights" / f"{name}.fp16.safetensors")]

    def train(self, *words: str) -> dict[str, Any]:
        """``headstart train`` with JSON output, plus the seconds of the whole process."""
        self.runs += 1
        out = self.scratch / f"run{self.runs}"
        began = time.perf_counter()
        done = subprocess.run(
            [*HEADSTART, "train", *words, "--out", str(out), "--json", "--quiet"],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
        return {**json.loads(done.stdout), "seconds": time.perf_counter() - began}


def probe(bench: Bench) -> None:
    """Issue figure 1: animals, resnet18, probe, over seeds; all photos, 100 and 10 per class."""
    for name, words in (("all photos", []), ("100 per class", ["--shots", "100"]), ("10 per class", ["--shots", "10"])):
        runs = [
            bench.train(
                bench.data("animals"), *bench.weights("resnet18"), "--strategy", "probe", "--seed", str(seed), *words
            )
            for seed in range(bench.seeds)
        ]
        values = [run["metrics"]["test"]["accuracy"]["value"] for run in runs]
        say(f"animals, resnet18, probe, {name}: test accuracy {mean_spread(values)}")


def head(bench: Bench) -> None:
    """Issue figure 2: dogs-vs-cats, resnet50 and its MLP head."""
    run = bench.train(
        bench.data("dogs-vs-cats"), *bench.weights("resnet50"), "--head", "mlp:1024,256", "--dropout", "0.5,0.3"
    )
    from headstart.evaluation.metrics import format_report

    test = run["metrics"]["test"]
    say(
        f"dogs-vs-cats, resnet50, mlp:1024,256, strategy {run['strategy']} (auto), {run['seconds']:.0f} "
        f"s:\n{format_report(test, run['classes'])}"
    )


def strategies(bench: Bench) -> None:
    """Issue figure 3: fine-tuning against the probe with all photos; scratch against both at 10 per class."""
    for shots, arms, seeds in (("", "probe,lp-ft,finetune", 1), ("10", "probe,finetune,scratch", bench.seeds)):
        words = [
            bench.data("animals"),
            *bench.weights("resnet18"),
            "--arms",
            arms,
            "--seeds",
            str(seeds),
            "--image-size",
            "160",
            "--quiet",
        ]
        out = ["--out", str(bench.scratch / f"compare{shots}"), *(["--shots", shots] if shots else [])]
        done = subprocess.run(
            [*HEADSTART, "compare", *words, *out], env=bench.env, capture_output=True, text=True, check=True
        )
        say(done.stdout)


PASS = """
import sys, time, glob, pathlib
from concurrent.futures import ThreadPoolExecutor
import numpy as np, torch, timm
from PIL import Image
from safetensors.torch import load_file
from headstart.inference.device import cpu_has_bf16
data, weights, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
net = timm.create_model("resnet18", num_classes=0).eval().to(memory_format=torch.channels_last)
net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()}, strict=False)
mean, std = torch.tensor([.485, .456, .406]).view(1, 3, 1, 1), torch.tensor([.229, .224, .225]).view(1, 3, 1, 1)
paths = sorted(p for p in pathlib.Path(data).rglob("*.jpg"))
def photo(path):
    picture = Image.open(path).convert("RGB")
    w, h = picture.size
    longer = [max(size, round(side * size / min(w, h))) for side in (w, h)]
    picture = picture.resize(longer, Image.Resampling.BILINEAR)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))
began = time.perf_counter()
bf16 = torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bf16())
with ThreadPoolExecutor(2) as pool, torch.inference_mode(), bf16:
    for i in range(0, len(paths), 32):
        x = torch.from_numpy(np.stack(list(pool.map(photo, paths[i:i + 32])))).permute(0, 3, 1, 2).float()
        net((x / 255 - mean) / std)
print(time.perf_counter() - began)
"""
OURS = """
import sys, time
import headstart as hs, headstart.workflows.train.train, headstart.workflows.train.report
import timm, matplotlib.figure, scipy.stats
began = time.perf_counter()
size = {"image_size": int(sys.argv[3])}
hs.train(
    sys.argv[1], weights=sys.argv[2], strategy="probe", out=sys.argv[4], overwrite=True, quiet=True, settings=size,
)
print(time.perf_counter() - began)
"""


def cost(bench: Bench, size: int = 224, rounds: int = 3) -> None:
    """Issue figure 4: the probe's cost in bare passes; the second command; the help."""
    arguments = [bench.data("animals"), str(bench.assets / "weights" / "resnet18.fp16.safetensors"), str(size)]
    ratios = []
    for n in range(rounds):
        env = {**bench.env, "HEADSTART_CACHE": str(bench.scratch / f"cold{n}")}
        bare = seconds_printed(PASS, arguments, env)
        ours = seconds_printed(OURS, [*arguments, str(bench.scratch / "cost")], env)
        ratios.append(ours / bare)
        say(
            f"round {n + 1}: bare pass (decode + bf16 forward, {size} px) {bare:.1f} s, probe from photos to "
            f"report, cold {ours:.1f} s: ratio {ours / bare:.2f}"
        )
    say(f"probe / bare pass: median {statistics.median(ratios):.2f} of {rounds}")
    words = [bench.data("animals"), *bench.weights("resnet18"), "--strategy", "probe", "--image-size", str(size)]
    bench.train(*words)
    warm = [bench.train(*words)["seconds"] for _ in range(rounds)]
    say(f"the same command again, cache warm, whole process: {mean_spread(warm, ' s', 1)}")
    helps = [timed(lambda: subprocess.run([*HEADSTART, "--help"], capture_output=True, check=True)) for _ in range(5)]
    say(f"headstart --help: median {statistics.median(helps):.2f} s of 5")


def kill(bench: Bench, kills: int = 10) -> None:
    """Issue figure 5: SIGKILL at random moments of a fine-tune, some before its first state, resumed each time."""
    shape = "--strategy finetune --shots 100 --image-size 96 --epochs 24".split()
    words = ["train", bench.data("animals"), *bench.weights("resnet18"), *shape]
    plain, hurt = bench.scratch / "plain", bench.scratch / "hurt"
    subprocess.run([*HEADSTART, *words, "--out", str(plain), "--quiet"], env=bench.env, capture_output=True, check=True)
    draw, done = random.Random(0), 0
    command = [*HEADSTART, *words, "--out", str(hurt), "--quiet"]
    for _ in range(kills):
        if (hurt / "request.json").exists():
            command = [*HEADSTART, "train", "--resume", str(hurt), "--quiet"]
        process = subprocess.Popen(command, env=bench.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=draw.uniform(8, 40))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
    subprocess.run(
        [*HEADSTART, "train", "--resume", str(hurt), "--quiet"], env=bench.env, capture_output=True, check=True
    )
    from safetensors.torch import load_file

    a, b = load_file(plain / "model.safetensors"), load_file(hurt / "model.safetensors")
    same = a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)
    say(f"killed {done} times: the weights are {'the same, bit for bit' if same else 'NOT THE SAME'}")


def seconds_printed(code: str, arguments: list[str], env: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def mean_spread(values: list[float], unit: str = "", digits: int = 4) -> str:
    spread = f" (each {', '.join(f'{v:.{digits}f}' for v in values)})"
    return f"mean {statistics.mean(values):.{digits}f}{unit}{spread}"


def say(text: str) -> None:
    print(text, flush=True)


PARTS: dict[str, Callable[[Bench], None]] = {
    "probe": probe,
    "head": head,
    "strategies": strategies,
    "cost": cost,
    "kill": kill,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(asked.assets, asked.seeds, Path(scratch))
        for name in asked.only.split(","):
            say(f"\n## {name}")
            PARTS[name](bench)


if __name__ == "__main__":
    main()

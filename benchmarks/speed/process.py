"""``probe``, ``start``, ``predict``, ``growth``: what whole commands cost. In: photos and weights. Out: seconds and
peak memory, beside the least that has to be done with the photos.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench import HEADSTART, SMALL, Bench, Finished, expect, installed, ratios, rotated, run, say, spread, table
from photos import draw, repeat, take

NETWORK = "resnet18"
BARE = ("folded, bf16, channels_last", "OpenVINO, bf16")
WHOLE = "the command, whole process"


def train_words(bench: Bench, data: Path, out: Path, size: int) -> list[str]:
    """``headstart train`` with a probe, its result as JSON."""
    weights = ["--backbone", NETWORK, "--weights", bench.weights(NETWORK), "--image-size", str(size)]
    return ["train", str(data), *weights, "--strategy", "probe", "--out", str(out), "--overwrite", "--json", "--quiet"]


def trained(bench: Bench, data: Path, size: int, photos: int, env: dict[str, str]) -> tuple[Finished, Path, float]:
    """(the finished command, its run folder, its test accuracy); the number of photos is checked."""
    out = bench.folder("run") / "run"
    done = bench.headstart(train_words(bench, data, out, size), env)
    found = json.loads(done.output)
    expect(len((out / "splits.csv").read_text().splitlines()) - 1, photos, "photos of a training")
    expect(json.loads((out / "plan.json").read_text())["image_size"], size, "input size of a training")
    return done, out, found["metrics"]["test"]["accuracy"]["value"]


def bare_ways() -> list[str]:
    return [way for way in BARE if "OpenVINO" not in way or installed("openvino")]


def bare_pass(bench: Bench, experiment: str, number: int, data: Path, photos: int) -> None:
    """Decode and forward of all photos of a folder, in each way; the network is ready before the clock starts."""
    asked = {"data": str(data), "network": NETWORK, "weights": bench.weights(NETWORK), "size": bench.sizes.image_size}
    for way in rotated(bare_ways(), number):
        with bench.cold() as env:
            figures = bench.child("bare_pass_child", "bare", {**asked, "way": way}, env)
        expect(figures["photos"], photos, f"photos of the bare pass, {way}")
        bench.keep(experiment, f"bare pass: {way}", number, figures)


def best_bare(bench: Bench, experiment: str) -> list[float]:
    """Seconds of the quicker bare pass, by round."""
    every = [bench.values(experiment, f"bare pass: {way}", "seconds") for way in bare_ways()]
    return [min(several) for several in zip(*every, strict=True)]


# -- probe --


def probe(bench: Bench) -> None:
    """A probe from photos to report with an empty cache, against the bare pass over the same photos."""
    data, size = bench.folder("probe") / "animals", bench.sizes.image_size
    count = len(take(bench.data("animals"), data, bench.sizes.per_class))
    for number in range(bench.rounds):
        for work in rotated([bare_pass, _probe_inside, _probe_whole], number):
            work(bench, "probe", number, data, count)
    _print_probe(bench, size, count)


def _probe_inside(bench: Bench, experiment: str, number: int, data: Path, photos: int) -> None:
    options = {"backbone": NETWORK, "weights": bench.weights(NETWORK), "strategy": "probe"}
    options["image_size"] = bench.sizes.image_size
    with bench.cold() as env:
        asked = {"data": str(data), "out": str(bench.folder("run")), "options": options}
        figures = bench.child("headstart_child", "train", asked, env)
    found = (sum(figures["photos"].values()), figures["image_size"], figures["weights"])
    expect(found, (photos, bench.sizes.image_size, f"file {NETWORK}.fp16.safetensors"), "probe")
    bench.keep(experiment, "headstart, cold, imports left out", number, figures)


def _probe_whole(bench: Bench, experiment: str, number: int, data: Path, photos: int) -> None:
    with bench.cold() as env:
        for state in ("cold", "warm"):
            done, _, accuracy = trained(bench, data, bench.sizes.image_size, photos, env)
            figures = {"seconds": done.seconds, "peak_mb": done.peak_mb, "accuracy": accuracy}
            bench.keep(experiment, f"{WHOLE}, {state}", number, figures)


def _print_probe(bench: Bench, size: int, count: int) -> None:
    say(f"\n### A probe: {NETWORK}, {count} photos, {size} px")
    bare = best_bare(bench, "probe")
    names = [f"bare pass: {way}" for way in bare_ways()]
    names += ["headstart, cold, imports left out", f"{WHOLE}, cold", f"{WHOLE}, warm"]
    rows = []
    for name in names:
        seconds = bench.values("probe", name, "seconds")
        accuracy = spread([r["accuracy"] for r in bench.kept("probe", name)], 4) if "bare" not in name else ""
        rows.append([name, spread(seconds), spread(ratios(seconds, bare)), accuracy])
    table(["what", "seconds", "times the quicker bare pass", "test accuracy"], rows)
    say("The bare pass: photos decoded in threads while the network, ready before the clock starts, works.")


# -- start --


def start(bench: Bench) -> None:
    """What one waits for before anything happens, and the second command on the same photos."""
    data, size = bench.folder("start") / "animals", bench.sizes.image_size
    count = len(take(bench.data("animals"), data, bench.sizes.per_class))
    python = [sys.executable, "-c"]
    simple = {
        "python, nothing imported": [*python, "pass"],
        "import torch": [*python, "import torch"],
        "headstart --help": [*HEADSTART, "--help"],
    }
    again = "headstart train, the second time"
    with bench.cold() as env:
        trained(bench, data, size, count, env)
        for number in range(max(bench.sizes.starts, bench.rounds)):
            for name in rotated([*simple, again], number):
                done = run(simple[name], env) if name in simple else trained(bench, data, size, count, env)[0]
                bench.keep("start", name, number, {"seconds": done.seconds, "peak_mb": done.peak_mb})
    _print_start(bench, [*simple, again], size, count)


def _print_start(bench: Bench, names: list[str], size: int, count: int) -> None:
    torch = bench.values("start", "import torch", "seconds")
    say(f"\n### Start: whole processes; the training is a probe on {count} photos, {size} px, all cached")
    rows = []
    for name in names:
        seconds = bench.values("start", name, "seconds")
        share = f"{100 * statistics.median(ratios(torch, seconds)):.0f} %" if name.startswith("headstart train") else ""
        rows.append([name, spread(seconds), share])
    table(["process", "seconds", "of that `import torch`"], rows)


# -- predict --


def predict(bench: Bench) -> None:
    """``headstart predict`` over few and many photos: does its pace hold, and its memory stay flat?"""
    data, size = bench.folder("predict") / "animals", bench.sizes.image_size
    photos = take(bench.data("animals"), data, bench.sizes.per_class)
    with bench.cold() as env:
        _, model, _ = trained(bench, data, size, len(photos), env)
    folders = {count: repeat(photos, bench.folder("repeated"), count) for count in bench.sizes.predict}
    for number in range(bench.rounds):
        for count in rotated(bench.sizes.predict, number):
            bare_pass(bench, f"predict {count}", number, folders[count], count)
            _predict_inside(bench, number, model, folders[count], count)
            _predict_whole(bench, number, model, folders[count], count)
    _print_predict(bench, size)


def _predict_inside(bench: Bench, number: int, model: Path, data: Path, count: int) -> None:
    with bench.cold() as env:
        asked = {"run": str(model), "data": str(data)}
        figures = bench.child("headstart_child", "predict", asked, env)
    expect((figures["photos"], figures["unread"]), (count, 0), "photos named by predict")
    bench.keep(f"predict {count}", "imports left out", number, figures)


def _predict_whole(bench: Bench, number: int, model: Path, data: Path, count: int) -> None:
    with bench.cold() as env:
        done = bench.headstart(["predict", str(model), str(data), "--csv"], env)
    expect(len(done.output.splitlines()) - 1, count, "lines of predict")
    bench.keep(f"predict {count}", WHOLE, number, {"seconds": done.seconds, "peak_mb": done.peak_mb})


def _print_predict(bench: Bench, size: int) -> None:
    say(f"\n### Naming photos: {NETWORK}, {size} px")
    rows = []
    for count in bench.sizes.predict:
        experiment = f"predict {count}"
        bare = best_bare(bench, experiment)
        rows.append([f"{count}", "the quicker bare pass", *_pace(count, bare, bare), ""])
        for what in ("imports left out", WHOLE):
            seconds, peak = (bench.values(experiment, what, figure) for figure in ("seconds", "peak_mb"))
            memory = _memory(peak) if what == WHOLE else ""  # the other process imports more than the command does
            rows.append([f"{count}", f"headstart predict, {what}", *_pace(count, seconds, bare), memory])
    table(["photos", "what", "seconds", "images/s", "times the bare pass", "peak memory, MB"], rows)


def _pace(count: int, seconds: list[float], bare: list[float]) -> list[str]:
    rates = [count / s for s in seconds]
    return [spread(seconds), spread(rates, 0), spread(ratios(seconds, bare))]


def _memory(peaks: list[Any]) -> str:
    """Empty where the system does not say."""
    return spread(peaks, 0) if all(peaks) else ""


# -- growth --


def growth(bench: Bench) -> None:
    """A probe on ever more photos, and its head alone on features: seconds and memory."""
    tables = {count: draw(bench.drawn, count) for count in bench.sizes.growth}
    for number in range(bench.rounds):
        for count, data in tables.items():
            with bench.cold() as env:
                for state in ("cold", "warm"):
                    done, _, accuracy = trained(bench, data, 64, count, env)
                    figures = {"seconds": done.seconds, "peak_mb": done.peak_mb, "accuracy": accuracy}
                    bench.keep(f"growth {state}", f"{count}", number, figures)
    _print_growth(bench)
    _head(bench)


def _print_growth(bench: Bench) -> None:
    say(f"\n### Growth: a probe on drawn photos of 64 px, {NETWORK} at 64 px, whole processes")
    rows = []
    for count in bench.sizes.growth:
        cells = []
        for state in ("cold", "warm"):
            seconds, peak = (bench.values(f"growth {state}", f"{count}", f) for f in ("seconds", "peak_mb"))
            cells += [spread(seconds, 1), _memory(peak)]
        accuracy = spread(bench.values("growth cold", f"{count}", "accuracy"), 3)
        rows.append([f"{count}", *cells, accuracy])
    header = ["photos", "cold, s", "cold, peak MB", "warm, s", "warm, peak MB", "test accuracy"]
    table(header, rows)
    say("The peak counts pages of files that are mapped, which the system may drop.")


def _head(bench: Bench) -> None:
    """Once: at the full size it takes long."""
    photos, width, classes = bench.sizes.head
    with bench.cold() as env:
        figures = bench.child("headstart_child", "head", {"size": bench.sizes.head}, env)
    bench.keep("head", f"{photos} x {width}, {classes} classes", 0, figures)
    say(f"\n### The head alone: {figures['strengths']} strengths on {photos} x {width} features, {classes} classes")
    table(
        ["seconds", "peak memory, MB", "before the fit, MB", "accuracy on val"],
        [
            [
                f"{figures['seconds']:.1f}",
                _memory([figures["peak_mb"]]),
                _memory([figures["before_mb"]]),
                f"{figures['accuracy']:.3f}",
            ]
        ],
    )
    if bench.sizes.head == SMALL.head:
        say("(Small: only to see that it works.)")


EXPERIMENTS = {"probe": probe, "start": start, "predict": predict, "growth": growth}

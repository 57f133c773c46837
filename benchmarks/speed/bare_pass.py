"""``pass``: what a frozen network costs, in the ways that a user might run it. In: photos that are decoded already.
Out: images per second, the time to get ready, and how far the outputs are from float32's.
"""

from __future__ import annotations

import shutil

from bench import Bench, expect, installed, ratios, rotated, say, spread, table
from photos import class_folders

NAME = "pass"
WAYS = (
    "float32",
    "bf16 autocast, channels_last",
    "folded, bf16, channels_last",
    "torch.compile, frozen",
    "OpenVINO, bf16",
    "headstart, engine torch",
    "headstart, engine openvino",
)


def frozen_pass(bench: Bench) -> None:
    """Each way in a process of its own, in an order that turns from round to round."""
    for network, size, count in bench.sizes.passed:
        _one(bench, network, size, count, _runnable())


def _runnable() -> list[str]:
    lacking = {
        way: "openvino is not installed" for way in WAYS if "openvino" in way.lower() and not installed("openvino")
    }
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        lacking["torch.compile, frozen"] = "there is no C++ compiler"
    for way, reason in lacking.items():
        say(f"\n{way} is left out: {reason}.\n")
    return [way for way in WAYS if way not in lacking]


def _one(bench: Bench, network: str, size: int, count: int, ways: list[str]) -> None:
    found = class_folders(bench.data("animals"), bench.sizes.per_class)
    photos = [str(path) for several in zip(*found.values(), strict=True) for path in several][:count]
    asked = {"network": network, "size": size, "weights": bench.weights(network), "photos": photos}
    asked["reference"] = str(bench.folder("reference") / "float32.npy")
    experiment = f"{NAME} {network} {size}"
    for number in range(bench.rounds):
        for way in rotated(ways, number):
            with bench.cold() as env:
                figures = bench.child("bare_pass_child", "way", {**asked, "way": way}, env)
            expect((figures["photos"], figures["image_size"]), (count, size), f"{experiment}, {way}")
            bench.keep(experiment, way, number, figures)
    _print(bench, experiment, f"{network}, {size} px, {count} photos in batches of 32", ways)


def _print(bench: Bench, experiment: str, what: str, ways: list[str]) -> None:
    say(f"\n### The frozen pass: {what}")
    base = bench.values(experiment, "float32", "rate")
    rows = []
    for way in ways:
        rate, ready, error, agree = (bench.values(experiment, way, f) for f in ("rate", "ready", "error", "agree"))
        times = spread(ratios(rate, base))
        rows.append([way, spread(rate, 0), times, spread(ready, 1), f"{error[0]:.1e}", f"{100 * agree[0]:.1f} %"])
    table(
        ["how", "images/s", "times float32", "ready after, s", "relative error", "same ImageNet class"],
        rows,
    )
    say(
        "Ready: from the network with its weights to the end of its first batch, compilation or conversion included. "
        "The error is the median over the photos of the features' distance from float32's, relative to their norm."
    )

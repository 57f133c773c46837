"""Commands that train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import headstart as hs
from headstart.cli.base import Device, Devices, Executor, Out, Overwrite, Say, Shown, Texts, argument, load, option
from headstart.cli.options import whole_numbers
from headstart.core.text import joined, printable
from headstart.errors import OptionError
from headstart.reporting.command import command_line, flag
from headstart.training.config import ARMS, SEEDS, TRIALS


def train(
    say: Say,
    data: Annotated[
        str | None, argument("DATA", "Folder, CSV, .zip/.tar, shards, s3://… or named dataset (cifar10, …).")
    ] = None,
    out: Out = None,
    resume: Annotated[Path | None, option("Resume an interrupted training.", panel="Output", metavar="RUN")] = None,
    overwrite: Overwrite = False,
    devices: Devices = None,
    **options: Any,
) -> Shown:
    """Train a classifier on labelled photos, test it, and write its report."""
    if (data is None) == (resume is None):
        raise OptionError("Give DATA to train on, or --resume RUN to resume a training.", "headstart train photos/")
    if resume is not None and (out or overwrite or options):
        raise OptionError(
            "--resume takes no other options than --devices: it uses those of the run.", "Leave them out."
        )
    load("train", say, data or resume)
    from headstart.evaluation.metrics import JUDGED, accuracies, format_report, judged_on, spread

    if resume is not None:
        run = hs.resume(resume, devices=devices, **say)
    else:
        run = hs.train(str(data), out=out, overwrite=overwrite, devices=devices, **say, **options)
    split = judged_on(run.metrics)
    figures, folds = run.metrics[split], run.metrics.get("folds")
    text = f"{format_report(figures, run.classifier.classes)}\n\n"
    if folds:
        first = JUDGED[split] if split == "folds" else f"{split} {accuracies(figures)}\nout-of-fold"
        text += (
            f"{first} {accuracies(folds)}\n"
            f"{spread(folds)}: each photo was judged by the model that did\nnot see it;"
            f" the classifier is the average of the {len(folds['each'])} models\n"
        )
    else:
        text += f"{split} {accuracies(figures)}\n"
    text += f"report: {printable(run.path / 'report.html')}"
    return Shown(text, run.summary, f"{command_line('predict', run.path, {})} photo.jpg")


def compare(
    say: Say,
    data: Annotated[str, argument("DATA", "As for train.")],
    arms: Annotated[str, option("Strategies to compare.")] = ",".join(ARMS),
    seeds: Annotated[int, option("Seeds per arm: each draws splits, shots, order and random weights anew.")] = SEEDS,
    shots: Annotated[str, option("Photos per class; several (5,10) give a table for each. [default: all]")] = "",
    executor: Executor = "local",
    out: Out = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> Shown:
    """Compare strategies on the same splits over several seeds, with confidence intervals: did pretraining help?"""
    load("compare", say, data)
    from headstart.training.strategies import STRATEGIES

    names: list[Any] = [name.strip() for name in arms.split(",") if name.strip()]
    numbers = whole_numbers("shots", shots)
    found = hs.compare(
        data, arms=names, seeds=seeds, shots=numbers, out=out, overwrite=overwrite, executor=executor, **say, **options
    )
    best = max(found.rows, key=lambda row: row["mean"])["arm"]
    way = STRATEGIES.get(best)
    no_use = [] if way.boundary.use == "required" else ["boundary"]
    no_use += [] if way.pretrained else ["weights", "from_run"]
    asked = {name: value for name, value in options.items() if name not in no_use}
    return Shown(found.text, found.summary, command_line("train", data, {**asked, "strategy": best}))


def tune(
    say: Say,
    data: Annotated[str, argument("DATA", "As for train.")],
    trials: Annotated[int, option("Finished trials in all, those of earlier calls included.")] = TRIALS,
    time: Annotated[str | None, option("Longest time of the search: 90s, 10m, 2h. [default: no limit]")] = None,
    storage: Annotated[
        str | None,
        option("File, or URL of a database, that several machines may share. [default: a file in --out]"),
    ] = None,
    executor: Executor = "local",
    out: Out = None,
    **options: Any,
) -> Shown:
    """Search for better settings of the plan on val, then train a run with the best. Repeat the command to continue."""
    load("tune", say, data)
    found = hs.tune(data, trials=trials, time=time, storage=storage, executor=executor, out=out, **say, **options)
    return Shown(found.text, found.summary, f"{command_line('predict', found.run.path, {})} photo.jpg")


def study(
    say: Say,
    name: Annotated[str | None, argument("NAME", "A study of --list, or a recipe.yaml.")] = None,
    list_all: Annotated[bool, option("List the studies that ship.", "--list")] = False,
    show: Annotated[bool, option("Print the recipe.")] = False,
    data: Annotated[Texts, option("Photos: NAME=PATH, or PATH where there is one dataset. May be repeated.")] = None,
    weights: Annotated[Texts, option("Checkpoint: BACKBONE=FILE, or FILE where there is one. May be repeated.")] = None,
    seeds: Annotated[int | None, option("Seeds per arm. [default: the recipe's]")] = None,
    quick: Annotated[bool, option("A small version, to try it out.")] = False,
    settings: Annotated[Texts, option("Change the recipe: scratch.epochs=3, test_photos=500. May be repeated.")] = None,
    device: Device = "auto",
    executor: Executor = "local",
    out: Out = None,
    overwrite: Overwrite = False,
) -> Shown:
    """Reproduce a published experiment from its recipe: several arms over seeds, beside the published figures."""
    from headstart.workflows.experiment.catalogue import find, shipped

    if list_all:
        found = [{"name": name, "about": file.summary} for name, file in shipped().items()]
        return Shown(joined(f"{one['name']:16}{one['about']}" for one in found), found)
    if name is None:
        raise OptionError("Which study? Give a name or a recipe.yaml.", "headstart study --list shows those that ship.")
    if show:
        text = find(name).text
        return Shown(text.rstrip("\n"), {"recipe": text})
    load("study", say, name)
    done = hs.study(
        name, data=_named(data or (), "data"), weights=_named(weights or (), "weights"), seeds=seeds, quick=quick,
        settings=settings or (), out=out, overwrite=overwrite, device=device, executor=executor, **say,
    )  # fmt: skip
    return Shown(done.text, done.summary, "headstart compare photos/ compares strategies on your own photos")


def _named(given: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=PATH`` or ``PATH`` of a repeated option; an existing path may hold an equals sign."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, path = text.partition("=")
        name, path = (name, path) if sign and not os.path.exists(os.path.expanduser(text)) else ("", text)
        if name in found:
            what = f"{flag(option)} names {name or 'a path without a name'} twice."
            raise OptionError(what, f"Write {flag(option)} NAME=PATH.")
        found[name] = path
    return found


def backbones(
    pattern: Annotated[str | None, argument("PATTERN", "Part of a name, or a glob.")] = None,
) -> Shown:
    """List the pretrained backbones: parameters, size, ImageNet accuracy, and which weights are on this machine."""
    found = hs.backbones(pattern)
    width = max(len("backbone"), *(len(info.name) for info in found))
    lines = [f"{'backbone':{width}}    px  parameters   MB  ImageNet  here  licence"]
    for info in found:
        size = f"{info.parameters / 1e6:.1f} M" if info.parameters else ""
        mb, accuracy = ("" if value is None else f"{value:.{n}f}" for value, n in ((info.mb, 0), (info.imagenet, 1)))
        here = "yes" if info.at_hand else ""
        cells = f"{info.image_size:4d}  {size:>10}  {mb:>3}  {accuracy:>8}  {here:4}  {info.license or ''}"
        lines.append(f"{info.name:{width}}  {cells}".rstrip())
    return Shown(joined(lines), [asdict(info) for info in found])


def demo(say: Say, out: Out = None) -> Shown:
    """See it work, offline: probe, fine-tuning and training from scratch on handwritten digits, in about a minute."""
    load("demo", say)
    found = hs.demo(out=out, **say)
    return Shown(found.text, found.summary, "headstart check photos/, then headstart train photos/")


COMMANDS = (train, compare, tune, study)
MORE = (backbones, demo)

"""Commands that look at photos before training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import headstart as hs
from headstart.cli.base import Overwrite, Say, Shown, Texts, argument, load, option
from headstart.cli.options import whole_numbers
from headstart.reporting.command import command_line
from headstart.training.config import BAND_LEVEL, SAMPLE, SHARD_MB, DataOptions, ShardFormat

_BUDGET = "Budget"


def check(
    say: Say,
    data: Annotated[str, argument("DATA", "As for train.")],
    fix: Annotated[Path | None, option("Write a cleaned CSV, and a CSV of the removed photos with reasons.")] = None,
    quick: Annotated[
        bool, option("Without a neural network: files, classes, spurious correlations and duplicates only.")
    ] = False,
    out: Annotated[Path | None, option("The page. [default: runs/…-check.html]", panel="Output")] = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> Shown:
    """Audit a dataset: duplicates, label errors, outliers, bad files. Exits with 1 if it should not be trained on."""
    load("check", say, data)
    found = hs.check(data, out=out, fix=fix, quick=quick, overwrite=overwrite, **say, **options)
    asked = _reading(options)
    then = command_line("train", fix or data, {"labels": options.get("labels")} if fix else asked)
    if not found.fit and not fix:
        then = command_line("check", data, {"fix": "clean.csv", **asked})
    return Shown(found.text(3), found.summary, then, 0 if found.fit else 1)


def recommend(
    say: Say,
    data: Annotated[str, argument("DATA", "Labelled photos, as for train.")],
    backbones: Annotated[
        Texts,
        option(
            "Names, separated by commas; NAME@STAGE cuts one after that stage. train's --weights, --cut, --mean, --std "
            'and --image-size may follow in the same quotes: "resnet50@layer3 --weights FILE". May be repeated. '
            "[default: a short list]",
        ),
    ] = None,
    sample: Annotated[int, option("About how many photos to use: at least 5 of each class.")] = SAMPLE,
    max_ms: Annotated[
        float | None, option("Slowest pass: milliseconds per photo on this machine.", panel=_BUDGET)
    ] = None,
    max_mb: Annotated[float | None, option("Largest weights, in MB.", panel=_BUDGET)] = None,
    time: Annotated[
        str | None, option("Longest time of one pass over all photos: 90s, 10m, 1h30m.", panel=_BUDGET)
    ] = None,
    **options: Any,
) -> Shown:
    """Rank pretrained backbones for these photos before any training, with the uncertainty of the ranking."""
    load("recommend", say, data)
    budget: Any = {"max_ms": max_ms, "max_mb": max_mb, "time": time}
    found = hs.recommend(data, backbones=backbones or (), sample=sample, **budget, **say, **options)
    return Shown(found.text, found.summary)  # the text ends with the command to go on with


def forecast(
    say: Say,
    data: Annotated[str, argument("DATA | RUN", "Photos as for train, or a run's folder.")],
    more: Annotated[
        str, option("Photos per class to add; several: 100,200,400. [default: as many again, and three times]")
    ] = "",
    target: Annotated[float | None, option("An accuracy to reach (0.99): how many photos does it take?")] = None,
    level: Annotated[float, option("Coverage of the prediction bands.")] = BAND_LEVEL,
    out: Annotated[
        Path | None, option("Write a page: a folder, or a file that ends in .html. [default: none]", panel="Output")
    ] = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> Shown:
    """Extrapolate the learning curve: the accuracy that a probe would reach with more photos, with bands."""
    numbers = whole_numbers("more", more)
    load("forecast", say, data)
    found = hs.forecast(data, more=numbers, target=target, level=level, out=out, overwrite=overwrite, **say, **options)
    of_run = (Path(data) / "request.json").is_file()
    return Shown(found.text, found.summary, "" if of_run else command_line("train", data, _reading(options)))


def pack(
    say: Say,
    data: Annotated[str, argument("DATA", "Labelled photos, as for train.")],
    out: Annotated[str, argument("OUT", "A new folder, here or in an object store (s3://bucket/photos).")],
    format: Annotated[ShardFormat, option("tar shards (WebDataset), or Parquet.")] = "webdataset",
    shard_mb: Annotated[int, option("Size of a shard, in MB.")] = SHARD_MB,
    overwrite: Annotated[bool, option("Replace the shards of other photos in OUT.")] = False,
    **options: Any,
) -> Shown:
    """Write photos into shards, which every command reads in place. Repeat an interrupted command to continue."""
    load("pack", say, data)
    made = hs.pack(data, out, format=format, shard_mb=shard_mb, overwrite=overwrite, **say, **options)
    return Shown(made.text, made.summary, command_line("train", made.out, {"labels": options.get("labels")}))


def _reading(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say how the photos are read: the next command needs them, too."""
    return {name: options[name] for name in (*DataOptions.__annotations__, "labels") if name in options}


COMMANDS = (check, recommend, forecast, pack)

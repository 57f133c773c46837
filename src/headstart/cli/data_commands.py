"""Commands that look at photos before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.common import Overwrite, Say, Shown, loading
from headstart.cli.options import whole_numbers
from headstart.reporting.command import command_line
from headstart.training.config import BAND_LEVEL, SAMPLE

_BUDGET = "Budget"
_SHOWN = 3
"""Cases of a finding that are named on a terminal; the page shows them."""


def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.", show_default=False)],
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", help="Write a cleaned CSV, and a second CSV of the removed photos with reasons.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Files, classes and duplicates only, without a network.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=r"The page. \[default: runs/…-check.html]", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    *,
    say: Say,
    **options: Any,
) -> Shown:  # fmt: skip
    """Audit a dataset: duplicates, label errors, outliers, bad files. Exits with 1 if it should not be trained on."""
    with loading(say, f"check {data}"):
        from headstart.workflows.check.check import check as look

    found = look(data, out=out, fix=fix, quick=quick, overwrite=overwrite, **say, **options)
    then = command_line("train", fix, {}) if fix else command_line("train", data, {})
    if not found.fit and not fix:
        then = command_line("check", data, {"fix": "clean.csv"})
    return Shown(found.text(_SHOWN), found.summary, then, 0 if found.fit else 1)


def recommend(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled photos, as for train.", show_default=False)],
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            "--backbones",
            help="Names by commas; NAME@STAGE ends one there. train's --weights, --cut, --mean, --std and "
            '--image-size may follow in the same quotes: "resnet50@layer3 --weights FILE". May be repeated. '
            "\\[default: a short list]",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", help="Photos to use, about: at least 5 of each class.")] = SAMPLE,
    max_ms: Annotated[
        float | None,
        typer.Option("--max-ms", help="Milliseconds per photo on this machine, at most.", rich_help_panel=_BUDGET),
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option("--max-mb", help="Megabytes of weights, at most.", rich_help_panel=_BUDGET)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", help="For one pass over all photos, at most: 90s, 10m, 1h30m.", rich_help_panel=_BUDGET),
    ] = None,
    *,
    say: Say,
    **options: Any,
) -> Shown:
    """Rank pretrained backbones for these photos before any training, with the uncertainty of the ranking."""
    with loading(say, f"recommend {data}"):
        from headstart.workflows.recommend.recommend import recommend as rank

    found = rank(
        data, backbones=backbones or (), sample=sample, max_ms=max_ms, max_mb=max_mb, time=time, **say, **options
    )
    return Shown(found.text, found.summary)  # the text ends with the command to go on with


def forecast(
    data: Annotated[
        str, typer.Argument(metavar="DATA | RUN", help="Photos as for train, or a run's folder.", show_default=False)
    ],
    more: Annotated[
        str,
        typer.Option(
            "--more", help="Photos per class to add; several: 100,200,400. \\[default: as many again, and three times]"
        ),
    ] = "",
    target: Annotated[
        float | None, typer.Option("--target", help="An accuracy to reach (0.99): how many photos does it take?")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Coverage of the prediction intervals.")] = BAND_LEVEL,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help=r"Write a page: a folder, or a file that ends in .html. \[default: none]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    *,
    say: Say,
    **options: Any,
) -> Shown:
    """Extrapolate the learning curve: the accuracy that a probe would reach with more photos, with intervals."""
    numbers = whole_numbers("more", more)
    with loading(say, f"forecast {data}"):
        from headstart.workflows.forecast.forecast import forecast as look_ahead

    found = look_ahead(data, more=numbers, target=target, level=level, out=out, overwrite=overwrite, **say, **options)
    return Shown(found.text, found.summary, "" if _is_run(data) else command_line("train", data, {}))


def _is_run(data: str) -> bool:
    return (Path(data) / "request.json").is_file()


COMMANDS = (check, recommend, forecast)

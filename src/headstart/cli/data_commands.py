"""The commands that judge photos before training, or between two. In: photos, or a run. Out: typer commands, for
``cli``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.common import Json, Overwrite, Quiet, loading, print_json
from headstart.cli.options import OPTIONS, train_arguments, unasked, with_train_options
from headstart.errors import OptionError

_OF_TRAINING = (
    "val", "test", "shots", "fraction", "head", "dropout", "strategy", "boundary", "epochs", "batch_size", "lr",
    "augment", "log", "allow_leakage",
)  # fmt: skip
_SEEN = ("seed", "on_bad", "image_size", "precision", "settings", "device")
"""The options of ``train`` that decide what a frozen network sees."""
_BUDGET = "Budget"
_SHOWN = 3
"""Cases of a finding that are named on a terminal; the page shows them."""


@with_train_options(leave_out=(*_OF_TRAINING, "seed", "on_bad"))
def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.", show_default=False)],
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", help="Write a CSV of the photos that are in nobody's way, and one of those left out.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Files, classes and copies only, without a network.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=r"The page. \[default: runs/…-check.html]", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Are these photos fit to learn from? Duplicates, wrong labels, strangers, bad files; ends with 1 if not."""
    with loading():
        from headstart.workflows.check.check import check as look

    asked = train_arguments(options or {})
    found = look(data, out=out, fix=fix, quick=quick, overwrite=overwrite, quiet=quiet, **asked)
    print_json(found.summary) if as_json else print(found.text(_SHOWN))
    if not found.fit:
        sys.exit(1)


@with_train_options(leave_out=tuple(option.name for option in OPTIONS if option.name not in _SEEN))
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
    sample: Annotated[int, typer.Option("--sample", help="Photos to look at, about: at least 5 of each class.")] = 1000,
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
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Which pretrained backbone suits these photos? Ranked before any training, and how sure the ranking is."""
    asked = train_arguments(options or {})
    with loading():
        from headstart.workflows.recommend.recommend import recommend as judge

    found = judge(
        data, backbones=backbones or (), sample=sample, max_ms=max_ms, max_mb=max_mb, time=time, quiet=quiet, **asked
    )
    print_json(found.summary) if as_json else print(found.text)


@with_train_options(leave_out=_OF_TRAINING)
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
    level: Annotated[float, typer.Option("--level", help="How often a band should hold the truth.")] = 0.9,
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
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:
    """How many more photos are needed? A learning curve of a probe, with bands, and what more photos would bring."""
    numbers = tuple(int(m) if m.strip().isdigit() else _bad_more(m) for m in more.split(",") if m.strip())
    with loading():
        from headstart.workflows.forecast.forecast import forecast as look_ahead

    found = look_ahead(
        data,
        more=numbers,
        target=target,
        level=level,
        out=out,
        overwrite=overwrite,
        quiet=quiet,
        **_asked(options or {}),
    )
    print_json(found.summary) if as_json else print(found.text)


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """What was typed, and no default: a run takes few options, and has to know which were meant."""
    usual = unasked()
    return train_arguments({name: value for name, value in options.items() if value != usual[name]})


def _bad_more(text: str) -> int:
    raise OptionError(f"--more {text!r} is not a whole number.", "Write it like --more 100,200.")


COMMANDS = (check, recommend, forecast)

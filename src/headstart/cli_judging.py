"""The commands that judge photos before training. In: photos. Out: typer commands, for ``cli``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headstart.cli_options import OPTIONS, train_arguments, with_train_options
from headstart.cli_parts import Json, Quiet, loading, print_json

_OF_TRAIN = ("seed", "on_bad", "image_size", "precision", "settings", "device")
"""The options of ``train`` that decide what a frozen network sees."""
_BUDGET = "Budget"


@with_train_options(leave_out=tuple(option.name for option in OPTIONS if option.name not in _OF_TRAIN))
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
        from headstart.recommending.recommending import recommend as judge

    found = judge(
        data, backbones=backbones or (), sample=sample, max_ms=max_ms, max_mb=max_mb, time=time, quiet=quiet, **asked
    )
    print_json(found.summary) if as_json else print(found.text)


COMMANDS = (recommend,)

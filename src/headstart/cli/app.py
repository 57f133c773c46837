"""The command line. In: arguments. Out: messages on standard error, results on standard output, an exit code. Heavy
libraries load inside commands.

Exit codes: 0 done, 2 something about the request or the data (one clear message), 130 interrupted, 1 a defect of
headstart itself (from check: photos that should not be trained on as they are).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from headstart._version import __version__
from headstart.cli import data_commands as cli_judging
from headstart.cli import model_commands as cli_using
from headstart.cli.common import Device, Json, Out, Overwrite, Quiet, SomeUnread, loading, print_json
from headstart.cli.options import train_arguments, unasked, with_train_options
from headstart.errors import HeadstartError, OptionError


class _Commands(TyperGroup):
    """Meets what typer would end in its own way: an interruption without a word, a reader that went away as an
    error.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()  # here, where a reader that has gone can still be met
            return done
        except KeyboardInterrupt:
            _fail("Interrupted.", 130)
        except BrokenPipeError:  # as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


app = typer.Typer(
    name="headstart",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Transfer learning for image classification: labelled photos in; a classifier, and the proof that "
    "pretraining helped, out.",
    epilog="Try it: headstart demo",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.command()
@with_train_options()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="Folder, CSV, .zip/.tar or named set (cifar10, imagewoof, …).", show_default=False
        ),
    ] = None,
    out: Out = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with an interrupted training.", rich_help_panel="Output"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Train the best classifier that these photos allow, and write its report."""
    asked = train_arguments(options or {})
    if (data is None) == (resume is None):
        raise OptionError("Give DATA to train on, or --resume RUN to go on with a training.", "headstart train photos/")
    if resume is not None and (out or overwrite or asked != train_arguments(unasked())):
        raise OptionError("--resume goes on with what was asked before: it takes no other options.", "Leave them out.")
    with loading():
        from headstart.workflows.train.train import resume as go_on
        from headstart.workflows.train.train import train as begin

    run = go_on(resume, quiet=quiet) if resume else begin(str(data), out=out, overwrite=overwrite, quiet=quiet, **asked)
    if as_json:
        print_json(run.summary)
    else:
        from headstart.evaluation.metrics import format_report

        split = "test" if "test" in run.metrics else "val"
        found = run.metrics[split]["accuracy"]
        print(format_report(run.metrics[split], run.classifier.classes))
        print(
            f"\n{split} accuracy {found['value']:.4f} (95 % interval {found['low']:.4f} to {found['high']:.4f})   "
            f"report: {run.path / 'report.html'}"
        )


@app.command()
@with_train_options(leave_out=("strategy", "shots", "log"))
def compare(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.", show_default=False)],
    arms: Annotated[str, typer.Option("--arms", help="Strategies to set side by side.")] = "probe,finetune,scratch",
    seeds: Annotated[
        int, typer.Option("--seeds", help="Seeds per arm: splits, shots, order and random weights are drawn anew.")
    ] = 3,
    shots: Annotated[
        str, typer.Option("--shots", help="Photos per class; several (5,10) give a table for each. \\[default: all]")
    ] = "",
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Did the pretraining help, and how sure is that? Several strategies on the same splits, over seeds."""
    with loading():
        from headstart.workflows.experiment.compare import compare as run

    shot_list = [int(s) if s.strip().isdigit() else _bad_shots(s) for s in shots.split(",") if s.strip()]
    comparison = run(
        data,
        arms=[a.strip() for a in arms.split(",") if a.strip()],
        seeds=seeds,
        shots=shot_list,
        out=out,
        overwrite=overwrite,
        quiet=quiet,
        **train_arguments(options or {}),
    )
    print_json(comparison.summary) if as_json else print(comparison.text)


def _bad_shots(text: str) -> int:
    raise OptionError(f"--shots {text!r} is not a whole number.", "Write it like --shots 5,10.")


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study of --list, or a recipe.yaml.", show_default=False)
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the studies that ship.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe.")] = False,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Photos: NAME=PATH, or PATH where there is one set. May be repeated."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", help="Checkpoint: BACKBONE=FILE, or FILE where there is one. May be repeated."),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Seeds per arm. \\[default: the recipe's]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small form of it, for trying.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe: epochs=3, scratch.epochs=3, test_photos=500. May be repeated."),
    ] = None,
    device: Device = "auto",
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a published experiment from its recipe: several arms over seeds, published figures beside measured ones."""
    from headstart.workflows.experiment.catalogue import find, shipped

    if list_all:
        _print_studies(shipped(), as_json)
        return
    if name is None:
        raise OptionError("Which study? Give a name or a recipe.yaml.", "headstart study --list shows those that ship.")
    if show:
        print(find(name).text, end="")
        return
    with loading():
        from headstart.workflows.experiment.study import study as run

    found = run(
        name, data=_named(data or (), "--data"), weights=_named(weights or (), "--weights"), seeds=seeds, quick=quick,
        settings=settings or (), out=out, overwrite=overwrite, quiet=quiet, device=device,
    )  # fmt: skip
    print_json(found.summary) if as_json else print(found.text)


def _print_studies(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json([{"name": name, "about": file.summary} for name, file in found.items()])
        return
    for name, file in found.items():
        print(f"{name:16}{file.summary}")


def _named(given: Sequence[str], flag: str) -> dict[str, str]:
    """``NAME=PATH`` or ``PATH`` of a repeated option; a path may hold an equals sign where it exists so."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, path = text.partition("=")
        name, path = (name, path) if sign and not os.path.exists(text) else ("", text)
        if name in found:
            raise OptionError(f"{flag} names {name or 'a path without a name'} twice.", f"Write {flag} NAME=PATH.")
        found[name] = path
    return found


for _command in (*cli_judging.COMMANDS, *cli_using.COMMANDS):
    app.command()(_command)


@app.command()
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(metavar="[PATTERN]", help="Part of a name, or a glob.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the pretrained backbones."""
    from dataclasses import asdict

    from headstart.models.listing import backbones as find

    found = find(pattern)
    if as_json:
        print_json([asdict(info) for info in found])
        return
    width = max(len(info.name) for info in found)
    for info in found:
        print(f"{info.name:{width}}  {info.image_size:4d} px  {info.family:20}  {info.weights}")


@app.command()
def demo(out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """See it work, offline: probe, fine-tuning and training from scratch on handwritten digits, in under a minute."""
    from headstart.workflows.demo import demo as run

    comparison = run(out=out, quiet=quiet)
    print_json(comparison.summary) if as_json else print(comparison.text)


def main() -> None:
    """Run the command line; a user's mistake ends in one message, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not stop the work
    try:
        app()
    except HeadstartError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code == 2 and "--json" in sys.argv and not isinstance(stop, SomeUnread):  # a mistyped option
            print_json({"error": "the command line was not understood: see standard error", "exit_code": 2})
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _fail(
            f"{error.filename or 'A file'}: {error.strerror}.\n  Free some space, or choose a folder that may be "
            "written.",
            2,
        )


def _fail(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": message, "exit_code": code})
    print(f"headstart: {message}", file=sys.stderr)
    sys.exit(code)

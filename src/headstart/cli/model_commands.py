"""The commands that use a trained model. In: a run and what it is to be used on. Out: typer commands, for ``cli``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.common import Device, Json, Overwrite, Quiet, RunFolder, SomeUnread, loading, print_json
from headstart.errors import OptionError


def predict(
    run: RunFolder,
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Photos, folders and globs.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per photo and line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a column per class.")] = False,
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage", help="Also sets of labels that hold the true class for this part of the photos: 0.95."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Name new photos with a trained classifier; those unlike its training photos are marked unknown."""
    if as_json and as_csv:
        raise OptionError("--json and --csv are two forms of one output: give one.")
    with loading():
        from headstart.cli.predictions import print_predictions

    problems = print_predictions(run, files, "json" if as_json else "csv" if as_csv else "text", coverage, device)
    if problems:
        raise SomeUnread(2)


def evaluate(
    run: RunFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled photos, as for train.", show_default=False)],
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="train, val, test or all. \\[default: test where there is one]", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a trained classifier on other labelled photos."""
    with loading():
        from headstart.evaluation.metrics import format_report
        from headstart.workflows.predict import evaluate as measure

    figures = measure(run, data, split=split, device=device, quiet=quiet)
    if as_json:
        print_json(figures)
        return
    found = figures["accuracy"]
    print(format_report(figures, figures["classes"]))
    print(
        f"\naccuracy {found['value']:.4f} (95 % interval {found['low']:.4f} to {found['high']:.4f}) on "
        f"{figures['photos']} photos of {figures['data']}"
    )
    if figures.get("certainty", {}).get("unknown") is not None:
        print(f"unlike the training photos: {figures['certainty']['unknown']:.1%}")
    for bad in figures["bad"]:
        print(f"left out: {bad['path']}: {bad['reason']}", file=sys.stderr)


def export(
    run: RunFolder,
    format: Annotated[str, typer.Option("--format", help="onnx, torch or openvino.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help=r"The file. \[default: model.onnx, .pt2 or .xml in RUN]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits, calibrated on training photos; onnx and openvino.")
    ] = False,
    photos: Annotated[
        list[str] | None,
        typer.Option("--photos", help="Photos to check it on. May be repeated. \\[default: the run's val and test]"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the whole classifier, preprocessing included, as one file that runs without headstart."""
    with loading():
        from headstart.workflows.export.export import export as write

    made = write(run, format=format, out=out, int8=int8, photos=photos or (), overwrite=overwrite, quiet=quiet)
    print_json(made.summary) if as_json else print(made.text)


def describe(run: RunFolder, as_json: Json = False) -> None:
    """Print the architecture of a run: its modules, and a table of its stages."""
    with loading():
        from headstart.workflows.predict import describe as in_words

    text = in_words(run)
    print_json({"run": str(run), "architecture": text}) if as_json else print(text)


def explain(
    run: RunFolder,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS", help="Photos, folders and globs.", show_default=False)
    ],
    label: Annotated[
        str | None, typer.Option("--class", help="The class to explain. \\[default: each photo's own answer]")
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", help="Nearest training photos to show; 0 for none.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=r"A folder. \[default: explained in RUN]", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show where the network looked in photos, and which training photos are most like them."""
    with loading():
        from headstart.workflows.explain.explain import explain as look

    found = look(
        run, photos, out=out, label=label, neighbours=neighbours, overwrite=overwrite, device=device, quiet=quiet
    )
    if as_json:
        print_json(found.summary)
        return
    for one in found.photos:
        print(f"{one.prediction.path}  {one.prediction.label}  {one.prediction.confidence:.4f}  {one.image}")
    for path, reason in found.bad.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    print(f"page: {found.page}")


def push(
    run: RunFolder,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository a private one.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Upload a model with its card to the Hugging Face hub; photos, and what names them, stay here."""
    with loading():
        from headstart.workflows.push import push as upload

    address = upload(run, repo, private=private, quiet=quiet)
    print_json({"address": address}) if as_json else print(address)


def serve(
    run: RunFolder,
    host: Annotated[
        str, typer.Option("--host", help="Who may connect: this machine alone by default, anyone with 0.0.0.0.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Answer over HTTP: a page for people, and POST /predict for programs."""
    with loading():
        from headstart.serving.server import serve as answer

    answer(run, host=host, port=port, device=device, quiet=quiet)


COMMANDS = (predict, evaluate, explain, export, serve, push, describe)

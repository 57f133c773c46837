"""Commands that use a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

from headstart.cli.common import Device, Overwrite, RunFolder, Say, Shown, SomeUnread, Texts, argument, loading, option
from headstart.errors import OptionError
from headstart.reporting.command import command_line
from headstart.training.config import HOST, NEIGHBOURS, PORT


def predict(
    run: RunFolder,
    files: Annotated[list[str], argument("FILES", "Photos, folders and globs.")],
    as_json: Annotated[bool, option("One JSON object per photo and line.", "--json")] = False,
    as_csv: Annotated[bool, option("CSV with a column per class.", "--csv")] = False,
    coverage: Annotated[
        float | None,
        option("Also a prediction set per photo (conformal): the true class is in this share of them: 0.95."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Classify new photos; those unlike the training photos (out of distribution) are marked unknown."""
    if as_json and as_csv:
        raise OptionError("--json and --csv are two forms of one output: give one.")
    with loading():
        from headstart.cli.predictions import print_predictions

    problems = print_predictions(run, files, "json" if as_json else "csv" if as_csv else "text", coverage, device)
    if problems:
        raise SomeUnread(2)


def evaluate(
    say: Say,
    run: RunFolder,
    data: Annotated[str, argument("DATA", "Labelled photos, as for train.")],
    split: Annotated[str | None, option("train, val, test or all. [default: test where there is one]")] = None,
    device: Device = "auto",
) -> Shown:
    """Evaluate a trained classifier on other labelled photos."""
    with loading(say, f"evaluate {run} {data}"):
        from headstart.evaluation.metrics import format_report
        from headstart.workflows.predict import evaluate as measure

    figures = measure(run, data, split=cast(Any, split), device=device, **say)
    found = figures["accuracy"]
    text = (
        f"{format_report(figures, figures['classes'])}\n"
        f"\naccuracy {found['value']:.4f} (95 % interval {found['low']:.4f} to {found['high']:.4f}) on "
        f"{figures['photos']} photos of {figures['data']}"
    )
    if figures.get("certainty", {}).get("unknown") is not None:
        text += f"\nunlike the training photos: {figures['certainty']['unknown']:.1%}"
    for bad in figures["bad"]:
        print(f"left out: {bad['path']}: {bad['reason']}", file=sys.stderr)
    return Shown(text, figures, f"{command_line('explain', run, {})} PHOTOS")


def export(
    say: Say,
    run: RunFolder,
    format: Annotated[str, option("onnx, torch or openvino.")] = "onnx",
    out: Annotated[Path | None, option("The file. [default: model.onnx, .pt2 or .xml in RUN]", panel="Output")] = None,
    int8: Annotated[bool, option("Quantize to 8 bits, calibrated on training photos; onnx and openvino.")] = False,
    photos: Annotated[
        Texts, option("Photos to check it on. May be repeated. [default: the run's val and test]")
    ] = None,
    overwrite: Overwrite = False,
) -> Shown:
    """Write the whole classifier, preprocessing included, as one file that runs without headstart."""
    with loading(say, f"export {run}"):
        from headstart.workflows.export.export import export as write

    made = write(run, format=cast(Any, format), out=out, int8=int8, photos=photos or (), overwrite=overwrite, **say)
    return Shown(made.text, made.summary, f"{made.path.name} runs without headstart: see docs/guides/deploy.md")


def describe(run: RunFolder) -> Shown:
    """Print the architecture of a run: its modules, and a table of its stages."""
    with loading():
        from headstart.workflows.predict import describe as in_words

    text = in_words(run)
    return Shown(text, {"run": str(run), "architecture": text})


def explain(
    say: Say,
    run: RunFolder,
    photos: Annotated[list[str], argument("PHOTOS", "Photos, folders and globs.")],
    label: Annotated[str | None, option("The class to explain. [default: each photo's prediction]")] = None,
    neighbours: Annotated[int, option("Nearest training photos to show; 0 for none.")] = NEIGHBOURS,
    out: Annotated[Path | None, option("A folder. [default: explained in RUN]", panel="Output")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> Shown:
    """Draw saliency maps (Grad-CAM) of photos, and find the training photos most like them."""
    with loading(say, f"explain {run}"):
        from headstart.workflows.explain.explain import explain as look

    found = look(run, photos, out=out, label=label, neighbours=neighbours, overwrite=overwrite, device=device, **say)
    for path, reason in found.bad.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    lines = [
        f"{one.prediction.path}  {one.prediction.label}  {one.prediction.confidence:.4f}  {one.image}"
        for one in found.photos
    ]
    return Shown("\n".join([*lines, f"page: {found.page}"]), found.summary, command_line("serve", run, {}))


def push(
    say: Say,
    run: RunFolder,
    repo: Annotated[str, argument("REPO", "owner/name on the hub.")],
    private: Annotated[bool, option("Make a new repository private.")] = False,
) -> Shown:
    """Upload a model with its model card to the Hugging Face hub; no photo and no file that names one is uploaded."""
    with loading(say, f"push {run} {repo}"):
        from headstart.workflows.push import push as upload

    address = upload(run, repo, private=private, **say)
    name = repo.removeprefix("hf:")
    return Shown(address, {"address": address}, f"{command_line('predict', f'hf:{name}', {})} photo.jpg")


def serve(
    say: Say,
    run: RunFolder,
    host: Annotated[str, option("Address to listen on; 0.0.0.0 lets other machines connect.")] = HOST,
    port: Annotated[int, option("0 takes a free one.")] = PORT,
    device: Device = "auto",
) -> None:
    """Serve predictions over HTTP: a page for people, and POST /predict for programs."""
    with loading():  # the first line is the address: programs wait for it
        from headstart.serving.server import serve as answer

    answer(run, host=host, port=port, device=device, **say)


COMMANDS = (predict, evaluate, explain, export, serve, push, describe)

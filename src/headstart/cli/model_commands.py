"""Commands that use a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import headstart as hs
from headstart.cli import process
from headstart.cli.base import (
    Device,
    Overwrite,
    RunFolder,
    Say,
    Shown,
    SomeUnread,
    Texts,
    argument,
    csv_output,
    load,
    option,
    print_json,
    told,
)
from headstart.cli.messages import render
from headstart.core.events import Events
from headstart.core.text import joined, printable
from headstart.errors import OptionError
from headstart.inference.uses import NEAREST, NEIGHBOURS
from headstart.reporting.command import command_line
from headstart.training.config import HOST, PORT

PHOTOS = "Photos, folders, globs, archives; a CSV of paths, or - for paths from standard input."


def predict(
    run: RunFolder,
    files: Annotated[list[str], argument("FILES", PHOTOS)],
    as_json: Annotated[bool, option("One JSON object per photo and line.", "--json")] = False,
    as_csv: Annotated[bool, option("CSV with a column per class.", "--csv")] = False,
    coverage: Annotated[float | None, option("Add conformal prediction sets of this coverage: 0.95.")] = None,
    device: Device = "auto",
) -> None:
    """Classify new photos; those unlike the training photos (out of distribution) are marked unknown."""
    if as_json and as_csv:
        raise OptionError("--json and --csv are two forms of one output: give one.")
    load("predict")
    from headstart.data.sources.unlabelled import tell_skipped
    from headstart.reporting.console import Console

    predictions = hs.predict(run, files, coverage=coverage, device=device)
    console = Console(words=render)
    tell_skipped(predictions, Events(console))
    if predictions.promise is not None:
        console.warning(predictions.promise)
    row = csv_output() if as_csv else None
    if row:
        sets = [] if coverage is None else ["labels"]
        row(["path", "label", "confidence", *predictions.columns, "problem", "unknown", "distance", *sets])
    unread = False
    for one in predictions:
        if as_json:
            print_json(_as_json(one, predictions.classes), None)
        elif row:
            row(_csv_row(one, len(predictions.classes), coverage is not None))
        elif one.problem is None:
            labels = "" if one.labels is None else f"  {{{', '.join(one.labels)}}}"
            unknown = "  unknown?" if one.unknown else ""
            print(printable(f"{one.name}  {one.label}  {one.confidence:.3f}{labels}{unknown}"))
        if one.problem is not None:
            unread = True
            told(f"headstart: {one.name}: {one.problem}")
    if unread:
        raise SomeUnread(2)


def _as_json(prediction: hs.Prediction, classes: tuple[str, ...]) -> dict[str, object]:
    """A prediction as JSON: probabilities by class name, or the problem."""
    if prediction.problem is not None:
        return {"path": prediction.name, "label": None, "confidence": None, "problem": prediction.problem}
    far = prediction.distance
    return {
        "path": prediction.name, "label": prediction.label,
        "confidence": round(float(prediction.confidence or 0), 6),
        **({} if prediction.labels is None else {"labels": list(prediction.labels)}),
        "unknown": prediction.unknown, "distance": None if far is None else round(far, 4),
        "probabilities": dict(zip(classes, (round(p, 6) for p in prediction.probabilities), strict=True)),
    }  # fmt: skip


def _csv_row(prediction: hs.Prediction, classes: int, sets: bool) -> list[object]:
    if prediction.problem is not None:
        return [prediction.name, "", "", *[""] * classes, prediction.problem, "", "", *[""] * sets]
    far = prediction.distance
    return [
        prediction.name, prediction.label, f"{prediction.confidence:.6f}",
        *[f"{p:.6f}" for p in prediction.probabilities], "",
        *(["", ""] if far is None else ["yes" if prediction.unknown else "no", f"{far:z.4f}"]),
        *(["|".join(prediction.labels or ())] if sets else []),
    ]  # fmt: skip


def evaluate(
    say: Say,
    run: RunFolder,
    data: Annotated[str, argument("DATA", "Labelled photos, as for train.")],
    split: Annotated[str | None, option("train, val, test or all. [default: test where there is one]")] = None,
    device: Device = "auto",
    **options: Any,
) -> Shown:
    """Evaluate a trained classifier on other labelled photos."""
    load("evaluate", say, run, data)
    from headstart.evaluation.metrics import accuracies, few_per_class, format_report

    figures = hs.evaluate(run, data, split=cast(Any, split), device=device, **say, **options)
    text = (
        f"{format_report(figures, figures['classes'])}\n"
        f"\n{accuracies(figures)} on {figures['photos']} photos of {printable(figures['data'])}"
    )
    if figures.get("certainty", {}).get("unknown") is not None:
        text += f"\nunlike the training photos: {figures['certainty']['unknown']:.1%}"
    if caution := few_per_class(figures):
        text += f"\n{caution}"
    for bad in figures["bad"]:
        told(f"left out: {bad['path']}: {bad['reason']}")
    return Shown(text, figures, f"{command_line('explain', run, {})} PHOTOS")


def export(
    say: Say,
    run: RunFolder,
    format: Annotated[str, option("onnx, torch or openvino.")] = "onnx",
    out: Annotated[Path | None, option("The file. [default: model.onnx, .pt2 or .xml in RUN]", panel="Output")] = None,
    int8: Annotated[bool, option("Quantize to 8 bits, calibrated on training photos; onnx and openvino.")] = False,
    photos: Annotated[
        Texts, option("Photos to test it on, as for predict. May be repeated. [default: val and test]")
    ] = None,
    overwrite: Overwrite = False,
) -> Shown:
    """Write the whole classifier, preprocessing included, as one file that runs without headstart."""
    load("export", say, run)
    made = hs.export(run, format=cast(Any, format), out=out, int8=int8, photos=photos or (), overwrite=overwrite, **say)
    return Shown(made.text, made.summary, f"{made.path.name} runs without headstart: see docs/guides/deploy.md")


def describe(run: RunFolder) -> Shown:
    """Print the architecture of a run: its modules, and a table of its stages."""
    load("describe")
    text = hs.describe(run)
    return Shown(text, {"run": str(run), "architecture": text})


def explain(
    say: Say,
    run: RunFolder,
    photos: Annotated[list[str], argument("PHOTOS", PHOTOS)],
    label: Annotated[str | None, option("The class to explain. [default: each photo's prediction]")] = None,
    neighbours: Annotated[int, option("Nearest training photos to show; 0 for none.")] = NEIGHBOURS,
    out: Annotated[Path | None, option("A folder. [default: explained in RUN]", panel="Output")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> Shown:
    """Draw saliency maps (Grad-CAM) of photos, and find the training photos most like them."""
    load("explain", say, run)
    found = hs.explain(
        run, photos, out=out, label=label, neighbours=neighbours, overwrite=overwrite, device=device, **say
    )
    for path, reason in found.bad.items():
        told(f"left out: {path}: {reason}")
    seen = ((one.prediction, one.image) for one in found.photos)
    lines = [f"{one.name}  {one.label}  {one.confidence:.4f}  {image}" for one, image in seen]
    return Shown(joined([*lines, f"page: {found.page}"]), found.summary, command_line("serve", run, {}))


def embed(
    say: Say,
    data: Annotated[list[str], argument("DATA", PHOTOS)],
    run: Annotated[Path | None, option("A run folder, in place of a backbone.")] = None,
    out: Annotated[
        Path | None,
        option("File: .npy (paths beside it), .parquet or .csv. [default: features.npy]", panel="Output"),
    ] = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> Shown:
    """Compute the features of photos by a pretrained backbone, or by that of a run."""
    load("embed", say, *data[:3])
    target = out or Path("features.npy")
    made = hs.embed(data, run=run, out=target, overwrite=overwrite, **say, **options)
    return Shown(made.text, made.summary)


def search(
    say: Say,
    photo: Annotated[str, argument("PHOTO", "One photo.")],
    within: Annotated[list[str], option("The photos to search, as for predict. May be repeated.")],
    run: Annotated[Path | None, option("A run folder, in place of a backbone.")] = None,
    most: Annotated[int, option("How many to find.")] = NEAREST,
    **options: Any,
) -> Shown:
    """Find the photos most like one photo, by the features of a backbone or a run; duplicates are set aside."""
    load("search", say, photo)
    found = hs.search(photo, within, run=run, most=most, **say, **options)
    return Shown(found.text, found.summary)


def push(
    say: Say,
    run: RunFolder,
    repo: Annotated[str, argument("REPO", "owner/name on the hub.")],
    private: Annotated[bool, option("Make a new repository private.")] = False,
) -> Shown:
    """Upload a model with its model card to the Hugging Face hub; no photo and no file that names one is uploaded."""
    load("push", say, run, repo)
    address = hs.push(run, repo, private=private, **say)
    name = repo.removeprefix("hf:")
    return Shown(address, {"address": address}, f"{command_line('predict', f'hf:{name}', {})} photo.jpg")


def serve(
    say: Say,
    run: RunFolder,
    host: Annotated[str, option("Address to listen on; 0.0.0.0 lets other machines connect.")] = HOST,
    port: Annotated[int, option("0 takes a free one.")] = PORT,
    allow_host: Annotated[
        list[str], option("A name by which clients reach it, behind a proxy say (repeatable).", metavar="NAME")
    ] = [],  # noqa: B006 - typer's form
    allow_origin: Annotated[list[str], option("Another site whose pages may use it (repeatable).", metavar="URL")] = [],  # noqa: B006 - typer's form
    device: Device = "auto",
) -> None:
    """Serve predictions over HTTP: a web page, and POST /predict."""
    load("serve")  # without a message: the first line is the address, for which programs wait
    process.leave_signals()
    hs.serve(run, host=host, port=port, hosts=allow_host, origins=allow_origin, device=device, **say)


COMMANDS = (predict, evaluate, explain, embed, search, export, serve, push, describe)

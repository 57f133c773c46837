"""Commands that use a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import headstart as hs
from headstart.cli import process
from headstart.cli.base import (
    Device,
    Executor,
    Overwrite,
    RunFolder,
    Say,
    Shown,
    Texts,
    argument,
    load,
    option,
    told,
)
from headstart.cli.predict_command import PHOTOS, predict
from headstart.core.text import joined, printable
from headstart.errors import OptionError
from headstart.inference.uses import NEAREST, NEIGHBOURS
from headstart.reporting.command import command_line
from headstart.training.config import HOST, PORT, STUDIO_PORT, SUGGESTED


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
        f"\n{accuracies(figures)}\non {figures['photos']} photos of {printable(figures['data'])}"
    )
    if figures.get("certainty", {}).get("unknown") is not None:
        text += f"\nmarked unknown (unlike the training photos): {figures['certainty']['unknown']:.1%}"
    if caution := few_per_class(figures):
        text += f"\n{caution}"
    for bad in figures["bad"]:
        told(f"left out: {bad['path']}: {bad['reason']}")
    return Shown(text, figures, f"{command_line('explain', run, {})} PHOTOS")


def export(
    say: Say,
    run: RunFolder,
    format: Annotated[str, option("onnx, torch, openvino, litert, executorch, or web: a folder with a page.")] = "onnx",
    out: Annotated[
        Path | None, option("The file, or folder. [default: model.onnx and so on in RUN]", panel="Output")
    ] = None,
    int8: Annotated[bool, option("Quantize to 8 bits, calibrated on training photos; onnx, openvino, web.")] = False,
    photos: Annotated[
        Texts, option("Photos to check the file on, as for predict. May be repeated. [default: val and test]")
    ] = None,
    web_runtime: Annotated[
        Path | None, option("onnxruntime-web's npm package, folder or .tgz, for web. [default: downloaded once]")
    ] = None,
    overwrite: Overwrite = False,
) -> Shown:
    """Write the whole classifier, preprocessing included, as one file that runs without headstart, or as a web page."""
    load("export", say, run)
    made = hs.export(
        run, format=cast(Any, format), out=out, int8=int8, photos=photos or (), web_runtime=web_runtime,
        overwrite=overwrite, **say,
    )  # fmt: skip
    return Shown(made.text, made.summary, f"{made.path.name} runs without headstart: see docs/guides/deploy.md")


def runs(
    folder: Annotated[Path, argument("FOLDER", "Where the runs are. [default: runs]")] = Path("runs"),
) -> Shown:
    """List runs: accuracy with its interval, photos, backbone, strategy, date, and how each plan differs."""
    load("list_runs")
    found = hs.list_runs(folder)
    return Shown(found.text, found.summary)


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
    lines = [f"{one.name}  {one.label or '(no label)'}  {one.confidence:.3f}  {image}" for one, image in seen]
    return Shown(joined([*lines, f"page: {found.page}"]), found.summary, command_line("serve", run, {}))


def embed(
    say: Say,
    data: Annotated[list[str], argument("DATA", PHOTOS)],
    run: Annotated[Path | None, option("A run folder, in place of a backbone.")] = None,
    out: Annotated[
        Path | None,
        option(
            "File: .npy (paths beside it), .parquet or .csv; or, for many photos, a folder of Parquet files (repeat"
            " an interrupted command to continue). [default: features.npy]",
            panel="Output",
        ),
    ] = None,
    overwrite: Overwrite = False,
    executor: Executor = "local",
    **options: Any,
) -> Shown:
    """Compute the features of photos by a pretrained backbone, or by that of a run."""
    load("embed", say, *data[:3])
    target = out or Path("features.npy")
    if executor != "local" and target.suffix:
        problem = f"`executor={executor!r}` writes Parquet files into a folder."
        raise OptionError(problem, "Name one, without a suffix: `out=features`.", option="out")
    if not target.suffix:
        many = hs.embed_shards(data, target, run=run, overwrite=overwrite, executor=executor, **say, **options)
        return Shown(many.text, many.summary, code=2 if many.unread else 0)
    made = hs.embed(data, run=run, out=target, overwrite=overwrite, **say, **options)
    return Shown(made.text, made.summary)


def search(
    say: Say,
    photo: Annotated[str, argument("PHOTO", "One photo.")],
    within: Annotated[list[str] | None, option("The photos to search, as for predict. May be repeated.")] = None,
    run: Annotated[Path | None, option("A run folder, in place of a backbone.")] = None,
    most: Annotated[int, option("How many to find.")] = NEAREST,
    **options: Any,
) -> Shown:
    """Find the photos most like one photo, by the features of a backbone or a run; duplicates are set aside."""
    if not within:
        raise OptionError("Give `within`: the photos to search.", "headstart search new.jpg --in photos/")
    load("search", say, photo)
    found = hs.search(photo, within, run=run, most=most, **say, **options)
    return Shown(found.text, found.summary)


def suggest(
    say: Say,
    data: Annotated[str, argument("DATA | RUN", "Labelled photos as for train, or a run's folder.")],
    pool: Annotated[list[str], argument("POOL", "Photos without labels, as for predict.")],
    count: Annotated[int, option("How many to suggest.")] = SUGGESTED,
    alike: Annotated[
        int, option("At most this many similar photos to list with each suggestion, to label together.")
    ] = 0,
    method: Annotated[
        str, option("coverage (uncertain photos that stand for many others), margin (the most uncertain) or random.")
    ] = "coverage",
    out: Annotated[
        Path | None, option("A CSV of the suggestions, which train reads once corrected.", panel="Output")
    ] = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> Shown:
    """Rank unlabelled photos by how much their labels would improve a classifier, each with a suggested label."""
    load("suggest", say, data)
    found = hs.suggest(
        data, pool, count=count, alike=alike, method=cast(Any, method), out=out, overwrite=overwrite, **say, **options
    )
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
        list[str], option("A name by which clients reach it, behind a proxy for example (repeatable).", metavar="NAME")
    ] = [],  # noqa: B006 - typer's form
    allow_origin: Annotated[list[str], option("Another site whose pages may use it (repeatable).", metavar="URL")] = [],  # noqa: B006 - typer's form
    root_path: Annotated[str, option("URL path under which a proxy publishes the server: /pets.", metavar="PATH")] = "",
    api_key: Annotated[
        str | None,
        option("The key that requests must send: a file, or env:NAME for a variable.", metavar="FILE|env:NAME"),
    ] = None,
    device: Device = "auto",
) -> None:
    """Serve predictions over HTTP: a web page, and POST /predict."""
    load("serve")  # without a message: the first line is the address, for which programs wait
    process.leave_signals()
    hs.serve(
        run, host=host, port=port, hosts=allow_host, origins=allow_origin, root_path=root_path, api_key=api_key,
        device=device, **say,
    )  # fmt: skip


def studio(
    say: Say,
    folder: Annotated[
        Path | None, argument("FOLDER", "A project, or photos to open as one: a folder, table or archive.")
    ] = None,
    projects: Annotated[
        Path | None, option("The folder of projects. [default: headstart-studio in your home folder]")
    ] = None,
    host: Annotated[str, option("Address to listen on; other machines then need the token.")] = HOST,
    port: Annotated[
        int, option("0 takes any free one; without --port, the first free one from 8765 on.")
    ] = STUDIO_PORT,
    no_browser: Annotated[bool, option("Print the address, and open no browser.")] = False,
) -> None:
    """Label, check, train, try and export in a browser, without a terminal."""
    process.leave_signals()
    hs.studio(folder, projects=projects, host=host, port=port, browser=not no_browser, **say)


COMMANDS = (predict, evaluate, explain, embed, search, suggest, export, serve, studio, push, runs, describe)

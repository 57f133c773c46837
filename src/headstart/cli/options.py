"""The options that train and compare share. In: one table. Out: command-line parameters, and ``TrainOptions`` from what
was typed.

The table says each option's type, panel and help once; its default is that of ``TrainOptions``. Nothing heavy is
imported here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, NamedTuple

import typer

from headstart.errors import OptionError
from headstart.training.config import ON_BAD, TrainOptions, numbers
from headstart.training.loggers import KINDS
from headstart.training.strategies import STRATEGIES


class Option(NamedTuple):
    """One option: its type, the panel of the help it stands in, its help, and which names it goes by."""

    name: str
    kind: Any
    panel: str
    help: str
    flag: str = ""


_DATA, _MODEL, _TRAINING, _MACHINE = "Photos", "Backbone and head", "Training", "Machine"
OPTIONS = (
    Option("val", float, _DATA, "Part of the photos to choose by, where the data brings no val split. [default: 0.15]"),
    Option(
        "test",
        float,
        _DATA,
        "Part of the photos that is read once, at the end. [default: 0.15 where the data brings no splits]",
    ),
    Option("shots", int, _DATA, "Train on this many photos per class (and choose on at most as many)."),
    Option("fraction", float, _DATA, "Train on this part of the train photos."),
    Option("seed", int, _DATA, "Decides splits, shots, order, crops and random weights."),
    Option("on_bad", str, _DATA, f"What to do with files that cannot be used: {' or '.join(ON_BAD)}."),
    Option(
        "allow_leakage",
        bool,
        _DATA,
        "Go on although splits of the data share pictures. Same files leave the earlier split; near copies stay, and"
        " the report counts them.",
    ),
    Option(
        "backbone",
        str,
        _MODEL,
        "resnet18 … resnet152 (torchvision's ImageNet weights), starter (ships with headstart), or any timm name, with"
        " options for timm after a colon (mobilenetv2_100:pad_type=same).",
    ),
    Option("weights", str, _MODEL, "A checkpoint file for the backbone (.safetensors, .pth), instead of a download."),
    Option("from_run", str, _MODEL, "Start from the backbone of an earlier run (a folder, or hf:REPO).", "--from"),
    Option("cut", str, _MODEL, "End the backbone after this stage or block (layer2.2) and pool."),
    Option("head", str, _MODEL, "linear, or mlp:1024,256 (hidden widths)."),
    Option("dropout", str, _MODEL, "Dropout before each linear layer of the head: 0.5,0.3."),
    Option(
        "mean", str, _MODEL, "Mean per channel that the weights expect: 0.485,0.456,0.406. [default: the weights' own]"
    ),
    Option("std", str, _MODEL, "Standard deviation per channel. [default: the weights' own]"),
    Option(
        "strategy", str, _TRAINING, f"{', '.join(STRATEGIES.names())}. auto: a probe first, then whatever val says."
    ),
    Option(
        "boundary",
        str,
        _TRAINING,
        "Where training begins: with partial [default: the last stage], finetune and lp-ft [default: the start].",
    ),
    Option("image_size", int, _TRAINING, "Input size in px. [default: from weights and photos]"),
    Option("epochs", int, _TRAINING, "Times that each photo is seen. [default: from the number of photos]"),
    Option("batch_size", int, _TRAINING, "Photos per step. [default: from the number of photos]"),
    Option("lr", float, _TRAINING, "Peak learning rate of the head. [default: from the strategy]"),
    Option(
        "augment",
        str,
        _TRAINING,
        "none, flip, crop (never mirrored: text, digits), mild, light or strong. [default: light]",
    ),
    Option("precision", str, _TRAINING, "bf16 or float32. [default: bf16 where the hardware has it]"),
    Option(
        "settings",
        list[str],
        _TRAINING,
        "Any setting of the plan by name: --set weight_decay=0.01. May be repeated.",
        "--set",
    ),
    Option("log", str, "Output", f"Write the scalars of history.csv to {', '.join(KINDS)} as well."),
    Option("device", str, _MACHINE, "auto, cpu, cuda, cuda:1 or mps."),
)
PLAN_FLAGS = ("image_size", "epochs", "batch_size", "lr", "augment", "precision")
"""Options that are settings of the plan with a flag of their own."""
_LISTS = ("dropout", "mean", "std")


def with_train_options(leave_out: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every option of the table; it receives them as one dict, ``options``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        shared = [_parameter(option) for option in OPTIONS if option.name not in leave_out]

        def run(**given: Any) -> None:
            command(**{n: given[n] for n in own if n != "options"}, options={p.name: given[p.name] for p in shared})

        parameters = [p for p in own.values() if p.name != "options"] + shared
        run.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


_DEFAULTS = {f.name: f.default for f in fields(TrainOptions) if f.name not in {"data", "settings"}}


def _parameter(option: Option) -> inspect.Parameter:
    default = _DEFAULTS.get(option.name)
    default = None if default == () else default
    kind = option.kind if default is not None else option.kind | None
    flag = option.flag or "--" + option.name.replace("_", "-")
    shown = default is not None
    words = option.help.replace("[", r"\[")  # rich would take [default: …] for markup
    info = typer.Option(flag, help=words, rich_help_panel=option.panel, show_default=shown)
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def unasked() -> dict[str, Any]:
    """The options of a command line that names none."""
    return {option.name: _parameter(option).default for option in OPTIONS}


def train_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """What was typed as keyword arguments of ``TrainOptions``.

    Raises:
        OptionError: a list or a ``--set`` that cannot be read.
    """
    given = {
        name: value
        for name, value in options.items()
        if value is not None and name not in PLAN_FLAGS and name != "settings"
    }
    for name in _LISTS:
        if name in given:
            given[name] = numbers(name, given[name])
    settings = dict(_pair(text) for text in options.get("settings") or ())
    settings |= {name: options[name] for name in PLAN_FLAGS if options.get(name) is not None}
    return {**given, "settings": settings}


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise OptionError(f"--set {text!r} is not NAME=VALUE.", "Write it like --set weight_decay=0.01.")
    return name.strip().replace("-", "_"), value.strip()

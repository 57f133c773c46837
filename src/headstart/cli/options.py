"""From a function with the parameters of a command to a command of typer: shared options, messages, and how results are
printed.

Options of a training come from ``headstart.training.config``; nothing heavy is imported here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typer.models import OptionInfo

from headstart.cli import messages
from headstart.cli.common import Json, Quiet, Shown, option, print_json
from headstart.errors import OptionError
from headstart.reporting.command import flag
from headstart.reporting.console import Console
from headstart.training.config import Help, TrainOptions, numbers, taken_by

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def command(function: Callable[..., Shown | None]) -> Callable[..., None]:
    """What typer makes a command of. To the function's own parameters it adds

    - where it takes ``**options``: the options of a training that its namesake in Python takes. It is given those that
      were typed.
    - where it takes ``say``: ``--quiet``. It is given the arguments that make a function of headstart report here.
    - where it returns ``Shown``: ``--json``, and prints it.
    """
    name = function.__name__
    signature = inspect.signature(function, eval_str=True)
    own = dict(signature.parameters)
    shared = [_parameter(one, hint) for one, hint in taken_by(name).items() if _help(hint)]
    says, _ = own.pop("say", None), own.pop("options", None)
    prints = signature.return_annotation is Shown
    parameters = [
        *own.values(),
        *([inspect.Parameter("as_json", KEYWORD, default=False, annotation=Json)] if prints else []),
        *([inspect.Parameter("quiet", KEYWORD, default=False, annotation=Quiet)] if says else []),
        *shared,
    ]

    def run(**given: Any) -> None:
        quiet, as_json = given.pop("quiet", False), given.pop("as_json", False) if prints else False
        asked = {p.name: given.pop(p.name) for p in shared if p.name in given}
        console = Console(quiet, messages.render)
        if says:
            given["say"] = {"quiet": True, "listener": console}
        try:
            shown = function(**given, **_typed(asked))
        finally:
            console.close()
        if shown is not None:
            _print(shown, as_json, quiet)

    messages.COMMANDS.add(name)
    messages.OPTIONS.update(p.name for p in parameters if isinstance(get_args(p.annotation)[1], OptionInfo))
    run.__signature__ = inspect.Signature([p.replace(kind=KEYWORD) for p in parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__name__, run.__doc__ = name, function.__doc__
    return run


def _print(shown: Shown, as_json: bool, quiet: bool) -> None:
    print_json(shown.summary) if as_json else print(messages.render(shown.text))
    if shown.next and not quiet:
        sys.stdout.flush()
        print(f"next: {shown.next}", file=sys.stderr)
    if shown.code:
        sys.exit(shown.code)


def _help(hint: Any) -> Help | None:
    return next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Help)), None)


def _parameter(name: str, hint: Any) -> inspect.Parameter:
    """An option of the table as typer takes it; None where it was not typed."""
    about = _help(hint)
    assert about is not None
    default = getattr(TrainOptions, name, None)
    told = default not in (None, ()) and default is not False and "[default" not in about.text
    words = f"{about.text} [default: {default}]" if told else about.text
    info = option(flag(name), words, panel=about.panel)
    return inspect.Parameter(name, KEYWORD, default=None, annotation=Annotated[_kind(hint) | None, info])


def _kind(hint: Any) -> Any:
    """The type on the command line: lists of numbers are typed as text, settings as NAME=VALUE."""
    kind = get_args(hint)[0]
    if get_origin(kind) in (Literal, Union, UnionType, Sequence):
        return str
    return list[str] if get_origin(kind) is Mapping else kind


def _typed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as keyword arguments.

    Raises:
        OptionError: a list or a ``--set`` that cannot be read.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    for name in ("dropout", "mean", "std"):
        if name in given:
            given[name] = numbers(name, given[name])
    if "settings" in given:
        given["settings"] = dict(map(_pair, given["settings"]))
    return given


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise OptionError(f"--set {text!r} is not NAME=VALUE.", "Write it like --set weight_decay=0.01.")
    return name.strip().replace("-", "_"), value.strip()


def whole_numbers(name: str, text: str) -> list[int]:
    """The numbers of a list as it is typed, ``5,10``. Raises OptionError that names the option."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not part.isdigit():
            raise OptionError(f"{flag(name)} {part!r} is not a whole number.", f"Write it like {flag(name)} 5,10.")
    return [int(part) for part in parts]

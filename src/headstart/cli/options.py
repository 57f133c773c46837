"""From a function with the parameters of a command to a command of typer. Options of a training come from
``headstart.training.config``; nothing heavy is imported here.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typer import Context
from typer.models import OptionInfo

from headstart.cli import config_file, messages
from headstart.cli.base import Config, Json, Quiet, SaveConfig, Shown, option, print_json, told
from headstart.core.paths import place
from headstart.core.text import printable
from headstart.errors import OptionError
from headstart.reporting.command import flag
from headstart.training.config import Help, TrainOptions, taken_by
from headstart.training.typed_text import READ

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def command(function: Callable[..., Shown | None]) -> Callable[..., None]:
    """What typer makes a command of. To the function's own parameters it adds

    - where it takes ``**options``: the options of a training that its namesake in Python takes, and ``--config`` and
      ``--save-config``; the function gets those that were typed, or that the file holds. So it is with its own options,
      and with ``data``, if no other argument comes after it.
    - where it takes ``say``: ``--quiet``; the function gets the arguments that send events to the command's console.
    - where it returns ``Shown``: ``--json``, and prints it.
    """
    name = function.__name__
    signature = inspect.signature(function, eval_str=True)
    own = dict(signature.parameters)
    shared = [p for one, hint in taken_by(name).items() if (p := _parameter(one, hint))]
    says, _ = own.pop("say", None), own.pop("options", None)
    held = _OptionFile.of(name, own.values(), bool(shared))
    if held.data and own["data"].default is inspect.Parameter.empty:
        own["data"] = own["data"].replace(default=None, annotation=_optional(own["data"].annotation))
    prints = signature.return_annotation is Shown
    parameters = [
        *own.values(),
        *([inspect.Parameter("as_json", KEYWORD, default=False, annotation=Json)] if prints else []),
        *([inspect.Parameter("quiet", KEYWORD, default=False, annotation=Quiet)] if says else []),
        *shared,
        *(inspect.Parameter(n, KEYWORD, default=None, annotation=kind) for n, kind in _FILES.items() if shared),
    ]
    for p in parameters:
        _name(p)

    def run(context: Context, **given: Any) -> None:
        from headstart.reporting.console import Console

        quiet, as_json = given.pop("quiet", False), given.pop("as_json", False) if prints else False
        asked = {p.name: given.pop(p.name) for p in shared if p.name in given}
        config, keep = (given.pop(one, None) for one in _FILES)
        console = Console(quiet, messages.render)
        if says:
            given["say"] = {"quiet": True, "listener": console}
        try:
            typed = {n: given[n] for n in held.kinds if _was_typed(context, n)}
            shown = function(**held.filled(config, keep, given, _typed(asked), typed))
        finally:
            console.close()
        if shown is None:
            return
        print_json(shown.summary) if as_json else print(printable(messages.render(shown.text), keep="\n"))
        if shown.next and not quiet:
            sys.stdout.flush()
            told(f"next: {shown.next}")
        if shown.code:
            sys.exit(shown.code)

    messages.COMMANDS.add(name)
    parameters.append(inspect.Parameter("context", KEYWORD, annotation=Context))
    run.__signature__ = inspect.Signature([p.replace(kind=KEYWORD) for p in parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__name__, run.__doc__ = name, function.__doc__
    return run


_FILES = {"config": Config, "save_config": SaveConfig}


@dataclass(frozen=True)
class _OptionFile:
    """What ``--config`` and ``--save-config`` hold of a command, beside the options of a training: ``kinds``, the types
    of its own options; ``data``, whether that is among them. ``needed``: the arguments that are given in any case.
    """

    command: str
    kinds: Mapping[str, Any]
    data: bool
    needed: Sequence[str]

    @classmethod
    def of(cls, command: str, own: Iterable[inspect.Parameter], trains: bool) -> _OptionFile:
        kinds = {p.name: get_args(p.annotation)[0] for p in own if trains and _is_kept(p)}
        arguments = {p.name: str(get_args(p.annotation)[1].metavar) for p in own if not _is_option(p)}
        data = trains and list(arguments)[-1:] == ["data"]
        return cls(command, kinds, data, list(arguments.values())[: -1 if data else None])

    def filled(
        self, config: Path | None, keep: Path | None, given: dict[str, Any], options: dict[str, Any],
        typed: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        """The arguments of the function: those ``given``, with what the file ``config`` holds and was not ``typed``.
        They are written to ``keep``. Raises OptionError.
        """
        if config is not None:
            options, typed = config_file.with_file(config, self.command, options, typed, self.kinds)
            data = options.pop("data", None)
            if data is not None and not self.data:
                raise OptionError(f"{config}: 'data' is given with the command, not in a file.", option="config")
            if self.data and given["data"] is None and given.get("resume") is None:
                given["data"] = data
            given |= typed
        if self.data and given["data"] is None and "resume" not in given:
            raise OptionError("Give DATA: labelled photos, as for train.", f"headstart {self.command} photos/")
        if keep is not None:
            call = " ".join([self.command, *self.needed])
            config_file.save(keep, call, given.get("data"), options, typed, self.data)
        return {**given, **options}


def _name(p: inspect.Parameter) -> None:
    """Give a parameter its flag, and the reader of paths where it is one."""
    kind, info = get_args(p.annotation)[:2]
    if isinstance(info, OptionInfo):
        messages.OPTIONS.add(p.name)
        if info.default is ...:  # no flag of its own
            info.param_decls = (flag(p.name),)
    if _names_files(kind, info):
        shown = flag(p.name) if isinstance(info, OptionInfo) else str(info.metavar)
        info.parser = _path(p.name, shown, Path if Path in (kind, *get_args(kind)) else str)


def _is_option(p: inspect.Parameter) -> bool:
    return isinstance(get_args(p.annotation)[1], OptionInfo)


def _is_kept(p: inspect.Parameter) -> bool:
    return _is_option(p) and p.name not in config_file.OF_A_CALL


def _was_typed(context: Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _optional(annotation: Any) -> Any:
    kind, *rest = get_args(annotation)
    return Annotated[(kind | None, *rest)]


def _names_files(kind: Any, info: Any) -> bool:
    """Whether a parameter takes paths: all arguments do, but for two."""
    if isinstance(info, OptionInfo):
        return Path in (kind, *get_args(kind))
    return info.metavar not in ("REPO", "PATTERN")


def _path(name: str, shown: str, kind: type) -> Callable[[str], Any]:
    """Reads a path as it is typed: a shell leaves ``--out=~/run`` as it is. The help shows the function's name."""

    def path(text: str) -> Any:
        return kind(place(text, name, shown))

    return path


def _parameter(name: str, hint: Any) -> inspect.Parameter | None:
    """An option of a training as typer takes it, None by default; no parameter for an option without a help text."""
    about = next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Help)), None)
    if about is None:
        return None
    default = getattr(TrainOptions, name, None)
    show = default not in (None, ()) and default is not False and "[default" not in about.text
    text = f"{about.text} [default: {default}]" if show else about.text
    kind: Any = get_args(hint)[0]
    if any(get_origin(one) is os.PathLike for one in get_args(kind)):
        kind = Path
    elif kind == Sequence[str]:
        kind = list[str]
    elif get_origin(kind) in (Literal, Union, UnionType) or name in READ:
        kind = str
    elif get_origin(kind) is Mapping:  # NAME=VALUE
        kind = list[str]
    annotation: Any = Annotated[kind | None, option(text, panel=about.panel)]
    return inspect.Parameter(name, KEYWORD, default=None, annotation=annotation)


def _typed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as keyword arguments. Raises OptionError for a text or a ``--set`` that cannot be read."""
    given = {name: value for name, value in asked.items() if value is not None and value != []}
    for name in given.keys() & READ.keys():
        given[name] = READ[name](name, given[name])
    if "settings" in given:
        pairs = {}
        for text in given["settings"]:
            key, sign, value = text.partition("=")
            if not sign:
                raise OptionError(f"--set {text!r} is not NAME=VALUE.", "Write it like --set weight_decay=0.01.")
            pairs[key.strip().replace("-", "_")] = value.strip()
        given["settings"] = pairs
    return given


def whole_numbers(name: str, text: str) -> list[int]:
    """The numbers of a list as it is typed, ``5,10``. Raises OptionError that names the option."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not (part.isdecimal() and len(part) < 19):  # Python reads no more than 4,300 digits
            raise OptionError(f"{flag(name)} {part[:40]!r} is not a whole number.", f"Write it like {flag(name)} 5,10.")
    return [int(part) for part in parts]

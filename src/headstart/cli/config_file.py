"""``--config`` and ``--save-config``: the options of a command in a file. In: YAML, a run or its request.json. Out:
keyword arguments, those of the command line over those of the file; YAML that reads back as the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_origin

from headstart.core.arguments import read
from headstart.core.files import read_json, write_text
from headstart.core.text import brief, elided
from headstart.errors import OptionError, RunError, did_you_mean
from headstart.reporting.command import FLAGS, flag
from headstart.training.config import TrainOptions, taken_by
from headstart.training.typed_text import READ

OF_A_CALL = ("out", "overwrite", "resume")
"""What a file does not say, and a request.json is not asked: where one run is."""


def with_file(
    file: Path, command: str, asked: Mapping[str, Any], typed: Mapping[str, Any], kinds: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the file with those that were ``asked`` over them; ``data`` among them, where the file names it.
    Settings of the plan are replaced one by one. And the command's own options likewise, with those that were ``typed``
    over them; ``kinds``: their types. Raises OptionError.
    """
    found, own = _known(_read(file), command, file, kinds)
    settings = {**found.get("settings", {}), **asked.get("settings", {})}
    for name in asked.keys() - {"settings"}:  # of a setting that the file holds and --epochs, the latter counts
        settings.pop(name, None)
    return {**found, **asked, **({"settings": settings} if settings else {})}, {**own, **typed}


def save(
    file: Path, call: str, data: Any, asked: Mapping[str, Any], own: Mapping[str, Any], keeps_data: bool = True
) -> None:
    """Write the options as YAML, ``own``: those of this command alone; ``call``: the command with the arguments that no
    file gives; ``data`` is kept where a file can give it. Raises OptionError where the options are impossible, or the
    file holds something else.
    """
    command = call.split()[0]
    if isinstance(data, str):
        from headstart.training.plan import check_overrides

        check_overrides(TrainOptions.gather(data, None, asked, command).settings)
    kept = {} if data is None or not keeps_data else {"data": data}
    typed = {flag(name).strip("-") if name in FLAGS else name: value for name, value in own.items()}
    values = {name: _plain(value) for name, value in {**kept, **typed, **asked}.items()}
    text = f"# headstart {call} --config {elided(file.name)}\n{_yaml(values)}"
    try:
        same = file.read_bytes() == text.encode() if file.exists() else True
    except OSError:
        same = False
    if not same:
        raise OptionError(f"`save_config={str(file)!r}` exists.", "Choose another name.", option="save_config")
    try:
        write_text(file, text)
    except RunError as error:
        raise OptionError(error.problem, "Choose another place for the options.", option="save_config") from None


def _read(file: Path) -> dict[str, Any]:
    """What the file, or the run, holds by name; defaults of a request.json are left out. Raises OptionError."""
    place = file / "request.json" if file.is_dir() else file
    try:
        if place.suffix.lower() != ".json":
            return _mapping(_yaml_of(place), place)
        values = _mapping(read_json(place), place)
    except OSError as error:
        problem = f"{place} cannot be read: {error.strerror or error}."
        if file.is_dir() and not place.exists():  # a comparison, a study, any folder
            problem = f"{file} holds no request.json, as a run does."
        raise OptionError(problem, "Give a YAML file, a request.json or a run folder.", option="config") from None
    except RunError as error:
        raise OptionError(error.problem, error.hint, option="config") from None
    if "options" not in values:
        return values
    if values.get("mistakes"):
        problem = f"{place} is of a study's run with deliberate mistakes, which no option asks for."
        raise OptionError(problem, "Choose another file.", option="config")
    plain = asdict(TrainOptions("."))
    options = _mapping(values["options"], place).items()
    return {name: v for name, v in options if name not in OF_A_CALL and v not in (plain.get(name, None), [])}


def _mapping(values: Any, place: Path) -> dict[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        problem = f"{place} holds no options by name."
        raise OptionError(problem, "Write lines like strategy: finetune.", option="config")
    return values


def _yaml_of(place: Path) -> Any:
    from headstart.core.files import open_regular
    from headstart.workflows.experiment.recipe_yaml import MAX_BYTES
    from headstart.workflows.experiment.recipe_yaml import read as read_yaml

    with open_regular(place) as source:
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OptionError(f"{place} is larger than {MAX_BYTES:,} bytes: no file of options.", option="config")
    try:
        return read_yaml(content.decode("utf-8-sig"), str(place))
    except UnicodeDecodeError:
        raise OptionError(f"{place} is no text in UTF-8.", option="config") from None


def _known(
    values: Mapping[str, Any], command: str, file: Path, kinds: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values by the names of Python, and those of the command's own options. Raises OptionError that names every
    key that the command does not take.
    """
    known, names = taken_by(command), {words.strip("-"): name for name, words in FLAGS.items()}
    found, own = dict[str, Any](), dict[str, Any]()
    wrong = []
    for key, value in values.items():
        name = names.get(key, key.replace("-", "_"))
        plain = key.replace("-", "_")
        if (mine := plain if plain in kinds else name) in kinds:  # first: of tune, ``time`` is its own
            own |= {} if value is None else {mine: _of_kind(value, kinds[mine], f"{file}: {brief(key)}")}
        elif name in OF_A_CALL:
            wrong.append(f"{brief(key)!r} is given with the command, not in a file")
        elif name != "data" and name not in known:
            words = f"{command} takes no option {brief(key)!r}. {did_you_mean(name, ['data', *known, *kinds])}".strip()
            wrong.append(words.removesuffix("."))
        elif value is not None:
            typed = isinstance(value, str) or key in names  # as the command line has it
            value = READ[name](name, str(value)) if name in READ and typed else value
            found[name] = value if name in ("data", "settings") else read(name, value, known[name])
    if wrong:
        every = "; ".join(wrong)
        raise OptionError(f"{file}: {every}{'' if every.endswith('?') else '.'}", option="config")
    if not isinstance(found.get("settings", {}), dict):
        raise OptionError(f"{file}: settings are names with values.", "Write settings: {epochs: 5}.", option="config")
    return found, own


def _of_kind(value: Any, kind: Any, where: str) -> Any:
    """A value of a file as the command line would give it to an option of this type. Raises OptionError."""
    kinds = {one for one in (get_origin(k) or k for k in (get_args(kind) or (kind,))) if one is not type(None)}
    if list in kinds or get_origin(kind) is list:
        return [str(one) for one in (value if isinstance(value, list) else [value])]
    if bool in kinds:
        fits = isinstance(value, bool)
    elif kinds & {int, float}:
        fits = isinstance(value, int | (float if float in kinds else int)) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str | int | float | list)
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        value = Path(text).expanduser() if Path in kinds else text
    if not fits:
        wanted = "true or false" if bool in kinds else "a number" if kinds & {int, float} else "a text"
        raise OptionError(f"{where} is {brief(value)!r} there, not {wanted}.", option="config")
    return value


def _plain(value: Any) -> Any:
    """A value as YAML has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _yaml(values: Any) -> str:
    import yaml

    from headstart.workflows.experiment.recipe_yaml import read as read_yaml

    class Dumper(yaml.SafeDumper):
        """Quotes each text that would be read as something else."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        try:
            same = read_yaml(value, "") == value
        except OptionError:
            same = False
        node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if same else '"')
        return node

    Dumper.add_representer(str, text)
    return str(yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True))

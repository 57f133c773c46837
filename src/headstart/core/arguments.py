"""The one door for what a caller passes to a public function: every argument in the type that its annotation names, or
one OptionError that names each argument that cannot be read so, before any work.

A path is expanded (``place``). Of a number, what is one elsewhere is taken as well: NumPy's, an array or a tensor of
one number, digits as text; of a list, any iterable, and a single value. None means the default.
"""

from __future__ import annotations

import inspect
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from types import SimpleNamespace, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)  # fmt: skip

from headstart.core.paths import place, told
from headstart.errors import OptionError

P = ParamSpec("P")
R = TypeVar("R")


class _ByName(type):
    """Of a class that is known by its name, so that nothing heavy is imported to ask what is of it."""

    known: tuple[str, str]

    def __instancecheck__(cls, value: object) -> bool:
        return any((one.__module__, one.__qualname__) == cls.known for one in type(value).__mro__)


def class_named(module: str, name: str) -> Any:
    """A stand-in for a class in annotations: ``isinstance`` works, and imports nothing."""
    return _ByName(name, (), {"known": (module, name)})


if TYPE_CHECKING:
    import torch
    from torch.nn import Module as Module

    Device = str | torch.device
else:
    Device = Annotated[str, "device"]
    Module = class_named("torch.nn.modules.module", "Module")

_MOST = 100_000
"""Values of a list: more are a slip, or an iterator without an end."""


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """The function with every argument read as its annotation says (see ``read``). Raises OptionError."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound, hints, problems = signature.bind(*args, **kwargs), _hints(function), list[OptionError]()
        for name, value in list(bound.arguments.items()):
            parameter = signature.parameters[name]
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                known = get_type_hints(get_args(hints[name])[0], include_extras=True)
                asked = value.items()
                # An option that the function does not take is named by it, with the nearest that it takes.
                bound.arguments[name] = {n: _tried(n, v, known.get(n, Any), True, problems) for n, v in asked}
            else:
                optional = parameter.default is not inspect.Parameter.empty
                bound.arguments[name] = _tried(name, value, hints.get(name, Any), optional, problems)
                if value is None and optional:
                    del bound.arguments[name]
        if problems:
            raise problems[0] if len(problems) == 1 else OptionError("; ".join(p.problem.rstrip(".") for p in problems))
        return function(*bound.args, **bound.kwargs)

    return call


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each parameter; not of what is returned, which only a type checker may know."""
    said = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=said), function.__globals__, include_extras=True)


def _tried(name: str, value: Any, hint: Any, optional: bool, problems: list[OptionError]) -> Any:
    if value is None and optional:
        return None
    try:
        return read(name, value, hint)
    except OptionError as error:
        problems.append(error)
        return None


def read(name: str, value: Any, hint: Any) -> Any:
    """The value of the argument ``name`` as its annotation says. Raises OptionError."""
    try:
        return _read(name, value, hint)
    except OptionError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as error:
        words = str(error) if isinstance(error, _Wrong) else "cannot be read"
        raise OptionError(f"{told(name, value)} {words}.", option=name) from None


class _Wrong(ValueError):  # noqa: N818 - it says so of a value
    """Says what a value is not: "is not a whole number"."""


_A_CLASS = "is a class: an object of it is needed"


def _read(name: str, value: Any, hint: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        device = "device" in inner[1:] and (type(value).__module__, type(value).__name__) == ("torch", "device")
        if "data" in inner[1:] and not isinstance(value, str | os.PathLike):  # see data.sources.given.named
            return value
        return str(value) if device else _read(name, value, inner[0])
    if origin in (Union, UnionType):
        return _read_any(name, value, inner)
    if origin is Literal:  # which ones there are, registries say
        return _text(value)
    if origin in (Sequence, Iterable, tuple):
        return _list(name, value, inner[0])
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _Wrong("is not a mapping of names to values")
        return {str(key): _read(name, one, inner[1]) for key, one in value.items()}
    if origin is Callable:
        if isinstance(value, type):
            raise _Wrong(_A_CLASS)
        if not callable(value):
            raise _Wrong("is not a function")
        return value
    return _PLAIN[hint](value) if hint in _PLAIN else _instance(value, hint)


def _read_any(name: str, value: Any, hints: Sequence[Any]) -> Any:
    """The value as the first of the types that takes it."""
    if value is None and type(None) in hints:
        return None
    classes = (one for one in hints if isinstance(one, type) and one not in _PLAIN)
    if any(getattr(one, "_is_runtime_protocol", True) and isinstance(value, one) for one in classes):
        return value
    if any(get_origin(one) is os.PathLike for one in hints):
        others = [one for one in hints if get_origin(one) in (Mapping, Iterable)]
        fits = next((one for one in others if isinstance(value, get_origin(one)) and not isinstance(value, str)), None)
        return _read(name, value, fits) if fits else place(value, name)
    wrong = []
    for hint in (one for one in hints if one is not type(None)):
        try:
            return _read(name, value, hint)
        except _Wrong as error:
            wrong.append(str(error))
    raise _Wrong(" and ".join(dict.fromkeys(wrong)))


def _list(name: str, value: Any, hint: Any) -> list[Any]:
    if isinstance(value, str) and get_origin(hint) is Literal:  # names, as they are typed
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, Mapping | bytes | bytearray) or (isinstance(value, str) and hint is float):
        raise _Wrong("is not a list of numbers" if hint is float else "is not a list")
    single = isinstance(value, str) or not hasattr(value, "__iter__") or getattr(value, "ndim", 1) == 0
    found = [_read(name, one, hint) for one, _ in zip([value] if single else value, range(_MOST + 1), strict=False)]
    if len(found) > _MOST:
        raise _Wrong(f"has more than {_MOST:,} values")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("is not a text")
    return str(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # NumPy's
        raise _Wrong("is neither True nor False")
    return bool(value)


def _number(value: Any) -> float:
    if isinstance(value, bool | bytes) or not (isinstance(value, str) or hasattr(value, "__float__")):
        raise _Wrong("is not a number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # an array of several
        raise _Wrong("is not a number") from None
    if not math.isfinite(number):
        raise _Wrong("is not a finite number")
    return number


def _whole(value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    try:
        number = _number(value)
        if number == int(number):
            return int(number)
    except _Wrong:
        pass
    raise _Wrong("is not a whole number")


def _instance(value: Any, kind: Any) -> Any:
    """What is of a class; a protocol and what is not a class, a type checker knows alone."""
    if isinstance(kind, type) and not getattr(kind, "_is_protocol", False) and not isinstance(value, kind):
        raise _Wrong(_A_CLASS if isinstance(value, type) else f"is not a {kind.__name__}")
    return value


_PLAIN: dict[Any, Callable[[Any], Any]] = {str: _text, bool: _truth, int: _whole, float: _number}

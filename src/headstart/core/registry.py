"""Named parts that other packages can add: strategies, heads, sources, export formats and the like.

An installed package adds parts by entry points of the registry's group::

    [project.entry-points."headstart.strategies"]
    bitfit = "my_package.bitfit:BitFit"

A part is imported when it is asked for by name. ``register`` adds a part to the running process only: a class in a
notebook, or in a test.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Generic, TypeVar

from headstart.core.text import brief
from headstart.errors import OptionError, did_you_mean

T = TypeVar("T")
OWN = "own-"
"""Begins the name of a part that is an object of the caller's, which no file holds: ``own-BitFit``."""


def own_name(part: object) -> str:
    """The name of an object of the caller's: that of its class."""
    return f"{OWN}{type(part).__name__[:80]}"


def own_part(kind: str, name: str, option: str | None) -> OptionError:
    """What to say where such an object is needed, and only its name is there."""
    words = f"The {kind} {name!r} is an object that `train` was given in Python; no file holds it."
    return OptionError(words, f"Give the object itself: `hs.train(DATA, {option or 'part'}=…)`.", option=option)


class Registry(Generic[T]):
    """Parts of one kind by name, in the order in which they were added; headstart's own come first.

    Args:
        kind: the word for a part in messages, such as "strategy".
        group: the entry points' group, such as "headstart.strategies".
        own: headstart's own parts: name to "module:object".
        option: the option that names a part, where there is one.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str], option: str | None = None) -> None:
        self.kind, self.group, self.own, self.option = kind, group, own, option
        self._loaded: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """The name of every part; none is imported."""
        return tuple(dict.fromkeys([*self.own, *self._installed, *self._loaded]))

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._loaded or name in self._installed

    def __iter__(self) -> Iterator[T]:
        """Every part, imported."""
        return (self.get(name) for name in self.names())

    def get(self, name: str) -> T:
        """The part of that name. Raises OptionError where there is none, or its package cannot be imported."""
        if name in self._loaded:
            return self._loaded[name]
        place = self.own.get(name) or self._installed.get(name)
        if place is None:
            if name.startswith(OWN):
                raise own_part(self.kind, name, self.option)
            known = self.names()
            hint = did_you_mean(name, known) or f"Known: {', '.join(known)}."
            raise OptionError(f"There is no {self.kind} {name!r}.", hint, option=self.option)
        try:
            found = pkgutil.resolve_name(place)
        except (ImportError, AttributeError) as error:
            if name in self.own:  # the error of a missing dependency names it
                raise
            raise OptionError(
                f"The {self.kind} {name!r} ({place}) cannot be imported: {brief(error)}.",
                "Install or update the package that provides it.",
            ) from error
        part: T = found() if isinstance(found, type) else found
        self._loaded[name] = part
        return part

    def register(self, name: str, part: T) -> T:
        """Add a part to this process and return it. Raises ValueError where the name is used."""
        if name in self:
            raise ValueError(f"there is a {self.kind} {name!r} already")
        self._loaded[name] = part
        return part

    def unregister(self, name: str) -> None:
        """Remove a part that ``register`` added."""
        self._loaded.pop(name, None)

    @contextmanager
    def lent(self, part: T | None) -> Iterator[None]:
        """Know an object of the caller's by its ``own_name`` for as long as this lasts; None: nothing happens.

        Raises OptionError where the process uses another object of that name at the same time.
        """
        if part is None:
            yield
            return
        if (name := own_name(part)) in self:
            problem = f"Another training in this process uses a {self.kind} {name!r}."
            raise OptionError(problem, "Train one after the other, or name one class otherwise.", option=self.option)
        self.register(name, part)
        try:
            yield
        finally:
            self.unregister(name)

    @cached_property
    def _installed(self) -> dict[str, str]:
        """Entry points of other packages; one with the name of an own part is ignored."""
        from importlib.metadata import entry_points  # imported here: reading all packages takes 30 ms

        return {e.name: e.value for e in entry_points(group=self.group) if e.name not in self.own}

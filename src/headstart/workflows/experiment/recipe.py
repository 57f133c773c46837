"""What a study is. In: a recipe's mapping (YAML, overrides applied). Out: a ``Recipe``, checked: every mistake in it is
told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from headstart.errors import HeadstartError, OptionError, did_you_mean
from headstart.models.heads import check_head
from headstart.training.config import TrainOptions
from headstart.training.plan import SETTINGS, check_overrides
from headstart.training.strategies import STRATEGIES

MISTAKES = ("sigmoid",)
"""Mistakes that an arm can make on purpose, to show what they cost (``docs/pitfalls.md``)."""
SWEEPS = ("shots", "fraction", "cut", "image_size")
"""Options of which an arm may name a list: it is run at each."""
_RECIPE_KEYS = ("name", "title", "about", "images", "every_arm", "arms", "pairs", "seeds", "quick")
_IMAGES_KEYS = ("home", "words", "judge_on", "test_photos")
_OWN_KEYS = ("images", "from", "published", "said", "expected", "note", "mistakes", "seeds")
_NOT_FOR_ARMS = {"data", "out", "weights", "from_run", "seed", "device", "on_bad", "log", "settings"}
_OPTION_KINDS = {f.name: str(f.type).split(" ")[0] for f in fields(TrainOptions) if f.name not in _NOT_FOR_ARMS}
ARM_KEYS = (*_OWN_KEYS, *_OPTION_KINDS, *SETTINGS)
_KINDS: dict[str, tuple[Any, str]] = {"int": (int, "a whole number"), "float": ((int, float), "a number")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Images:
    """An image set of a recipe. ``home``: the named set it is fetched as (None: only the user has it, ``words`` say
    where from); ``judge_on``: the given split that is read once, at the end; ``test_photos``: at most so many of those.
    """

    name: str
    home: str | None = None
    words: str = ""
    judge_on: str = "test"
    test_photos: int | None = None


@dataclass(frozen=True)
class Arm:
    """One way of training. ``options``: of ``train``; ``sweep``: an option and the values it is run at; ``source``: the
    arm whose network it starts from; ``seeds``: with how many it is run; the rest is for the table.
    """

    name: str
    images: str
    options: dict[str, Any]
    sweep: tuple[str, tuple[Any, ...]] | None = None
    source: str | None = None
    published: float | None = None
    said: str = ""
    expected: tuple[float, float] | None = None
    note: str = ""
    mistakes: tuple[str, ...] = ()
    seeds: int = 1

    def points(self) -> list[tuple[str, dict[str, Any]]]:
        """(label, options) of every point: one without a label where nothing is swept."""
        if self.sweep is None:
            return [("", self.options)]
        key, values = self.sweep
        return [(f"{value}", {**self.options, key: value}) for value in values]


@dataclass(frozen=True)
class Recipe:
    """A whole study. ``pairs``: arms whose difference is told; arms stand in an order in which sources come first."""

    name: str
    title: str
    images: dict[str, Images]
    arms: tuple[Arm, ...]
    about: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def seeds(self) -> int:
        """The most that any arm is run with."""
        return max(arm.seeds for arm in self.arms)

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


def parse(raw: Any, where: str) -> Recipe:
    """The recipe that ``raw`` (what YAML read) describes; ``where`` names it in messages.

    Raises:
        OptionError: manifest every mistake, with suggestions.
    """
    if not isinstance(raw, Mapping):
        raise OptionError(f"{where} is not a recipe: it must be a mapping with the keys {', '.join(_RECIPE_KEYS)}.")
    wrong = [*_unknown("", raw, _RECIPE_KEYS), *_missing(raw)]
    images = {str(name): _images(str(name), spec, wrong) for name, spec in _mapping(raw, "images", wrong).items()}
    _mapping(raw, "quick", wrong)
    every = {"seeds": _seeds("", raw, wrong), **_mapping(raw, "every_arm", wrong)}
    arms = [_arm(str(name), own, every, images, wrong) for name, own in _mapping(raw, "arms", wrong).items()]
    wrong += _source_mistakes(arms)
    pairs = tuple(_pairs(raw.get("pairs"), [arm.name for arm in arms], wrong))
    if wrong:
        count = f"{len(wrong)} mistakes" if len(wrong) > 1 else "a mistake"
        raise OptionError(f"{where} has {count}:\n" + "\n".join(f"    {line}" for line in dict.fromkeys(wrong)))
    name = str(raw["name"])
    return Recipe(
        name, str(raw.get("title", name)), images, tuple(_sources_first(arms)), str(raw.get("about", "")).strip(),
        pairs, raw,
    )  # fmt: skip


def _missing(raw: Mapping[str, Any]) -> list[str]:
    wrong = [f"{key}: is missing" for key in ("name", "images", "arms") if not raw.get(key)]
    if raw.get("name") and not _NAME.fullmatch(str(raw["name"])):
        wrong.append(f"name: {raw['name']!r} must be letters, digits and hyphens")
    return wrong


def _mapping(raw: Mapping[str, Any], key: str, wrong: list[str]) -> Mapping[str, Any]:
    found = raw.get(key) or {}
    if isinstance(found, Mapping):
        return found
    wrong.append(f"{key}: must be a mapping, not {found!r}")
    return {}


def _unknown(place: str, given: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for key in given:
        if key not in known:
            hint = did_you_mean(str(key), known) or f"Known: {', '.join(known)}."
            yield f"{place}unknown key {key!r}. {hint}"


def _images(name: str, spec: Any, wrong: list[str]) -> Images:
    place = f"images.{name}: "
    spec = spec or {}
    if not isinstance(spec, Mapping):
        wrong.append(f"{place}must be a mapping with the keys {', '.join(_IMAGES_KEYS)}")
        return Images(name)
    wrong.extend(_unknown(place, spec, _IMAGES_KEYS))
    if (judge := spec.get("judge_on", "test")) not in ("test", "val"):
        wrong.append(f"{place}judge_on: {judge!r} is neither test nor val")
    photos = spec.get("test_photos")
    if photos is not None and (not isinstance(photos, int) or isinstance(photos, bool) or photos < 1):
        wrong.append(f"{place}test_photos: {photos!r} is not a whole number of at least 1")
    home = spec.get("home")
    return Images(name, None if home is None else str(home), str(spec.get("words", "")).strip(), judge, photos)


def _arm(name: str, own: Any, every: Mapping[str, Any], images: Mapping[str, Images], wrong: list[str]) -> Arm:
    place = f"arms.{name}: "
    if not _NAME.fullmatch(name):
        wrong.append(f"{place}a name must be letters, digits and hyphens")
    if not isinstance(own or {}, Mapping):
        wrong.append(f"{place}must be a mapping of options, not {own!r}")
        own = {}
    given = {**every, **(own or {})}
    wrong.extend(_unknown(place, given, ARM_KEYS))
    which = given.get("images", next(iter(images), ""))
    if str(which) not in images:
        wrong.append(f"{place}images: {which!r} is not in images. {did_you_mean(str(which), images)}".strip())
    options = {k: v for k, v in given.items() if k in ARM_KEYS and k not in _OWN_KEYS and v is not None}
    sweep = _sweep(place, options, wrong)
    options = {k: v for k, v in options.items() if k not in SWEEPS or not isinstance(v, list)}
    wrong.extend(place + line for line in _option_mistakes(options, sweep))
    arm = Arm(
        name, str(which), options, sweep, _text(given.get("from")), *_figures(place, given, wrong),
        str(given.get("note", "")).strip(), _intended(place, given, wrong), _seeds(place, given, wrong),
    )  # fmt: skip
    chosen = options.get("strategy", "auto")
    strategy = STRATEGIES.get(chosen) if chosen in STRATEGIES else None
    if arm.source and strategy and not strategy.pretrained:
        wrong.append(f"{place}strategy {chosen} starts from random weights: leave out from")
    if arm.mistakes and strategy and not strategy.trains_backbone:
        wrong.append(f"{place}mistakes: are made where the network is trained, by finetune, partial, lp-ft or scratch")
    return arm


def _seeds(place: str, given: Mapping[str, Any], wrong: list[str]) -> int:
    seeds = given.get("seeds", 1)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        wrong.append(f"{place}seeds: {seeds!r} is not a whole number of at least 1")
        return 1
    return seeds


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _sweep(place: str, options: Mapping[str, Any], wrong: list[str]) -> tuple[str, tuple[Any, ...]] | None:
    listed = [key for key, value in options.items() if isinstance(value, list) and key in SWEEPS]
    if len(listed) > 1:
        wrong.append(f"{place}{' and '.join(listed)} both name several values: an arm can be run along one")
    if not listed:
        return None
    values = tuple(options[listed[0]])
    if not values or len(set(map(str, values))) < len(values):
        wrong.append(f"{place}{listed[0]}: a list needs values, each once")
    return listed[0], values


def _figures(
    place: str, given: Mapping[str, Any], wrong: list[str]
) -> tuple[float | None, str, tuple[float, float] | None]:
    """(published, said, expected) of an arm."""
    published, expected = given.get("published"), given.get("expected")
    if published is not None and not _is_share(published):
        wrong.append(f"{place}published: {published!r} is not an accuracy between 0 and 1")
    if expected is not None and not _is_range(expected):
        wrong.append(f"{place}expected: {expected!r} is not a range such as [0.90, 0.95]")
        expected = None
    return published, str(given.get("said", "")), tuple(expected) if expected else None


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_share, value)) and value[0] < value[1]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _intended(place: str, given: Mapping[str, Any], wrong: list[str]) -> tuple[str, ...]:
    asked = given.get("mistakes") or []
    if not isinstance(asked, list):
        wrong.append(f"{place}mistakes: must be a list such as [{MISTAKES[0]}]")
        return ()
    for one in asked:
        if one not in MISTAKES:
            hint = did_you_mean(str(one), MISTAKES) or f"Known: {', '.join(MISTAKES)}."
            wrong.append(f"{place}mistakes: {one!r} is not known. {hint}")
    return tuple(map(str, asked))


def _option_mistakes(options: Mapping[str, Any], sweep: tuple[str, tuple[Any, ...]] | None) -> Iterator[str]:
    """What is wrong with an arm's options, at each of its points."""
    for value in sweep[1] if sweep else (None,):
        at = {**options, sweep[0]: value} if sweep else dict(options)
        badly_typed = dict(_type_mistakes(at))
        yield from badly_typed.values()
        if "strategy" in badly_typed:
            at.pop("boundary", None)  # whether it goes with the strategy cannot be told
        at = {k: v for k, v in at.items() if k not in badly_typed}
        settings = {k: at.pop(k) for k in SETTINGS if k in at}
        for check in (partial(check_overrides, settings), partial(_check_head, at), partial(_gather, at)):
            try:
                check()
            except HeadstartError as error:
                yield error.problem


def _gather(options: Mapping[str, Any]) -> None:
    TrainOptions.gather("photos", None, options)


def _check_head(options: Mapping[str, Any]) -> None:
    check_head(options.get("head", "linear"), options.get("dropout", ()))


def _type_mistakes(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it)."""
    for key, value in options.items():
        kind = _OPTION_KINDS.get(key, "")
        if kind.startswith("tuple"):
            if not isinstance(value, list) or not all(_is_number(v) for v in value):
                yield key, f"{key}: {value!r} is not a list of numbers"
        elif kind in _KINDS:
            types, words = _KINDS[kind]
            if not isinstance(value, types) or isinstance(value, bool):
                yield key, f"{key}: {value!r} is not {words}"
        elif kind == "str" and not isinstance(value, str):
            yield key, f"{key}: {value!r} is not a text"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _source_mistakes(arms: Sequence[Arm]) -> Iterator[str]:
    by_name = {arm.name: arm for arm in arms}
    for arm in arms:
        if arm.source is None:
            continue
        source = by_name.get(arm.source)
        if source is None:
            yield f"arms.{arm.name}: from: no arm is named {arm.source!r}. {did_you_mean(arm.source, by_name)}".strip()
        elif source.sweep:
            yield f"arms.{arm.name}: from: {arm.source} is run at several points; it must be one network"
        elif source.seeds < arm.seeds:
            yield f"arms.{arm.name}: from: {arm.source} is run with fewer seeds ({source.seeds}) than it ({arm.seeds})"
        elif _goes_round(arm, by_name):
            yield f"arms.{arm.name}: from: starts, by way of others, from itself"


def _goes_round(arm: Arm, by_name: Mapping[str, Arm]) -> bool:
    seen, at = set(), arm
    while at.source is not None and at.source in by_name:
        if at.name in seen:
            return True
        seen.add(at.name)
        at = by_name[at.source]
    return False


def _pairs(given: Any, arms: Sequence[str], wrong: list[str]) -> Iterator[tuple[str, str]]:
    if given is None:
        return
    if not isinstance(given, list):
        wrong.append("pairs: must be a list such as [[probe, scratch]]")
        return
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            wrong.append(f"pairs: {pair!r} is not a pair of arms such as [probe, scratch]")
            continue
        for name in pair:
            if name not in arms:
                wrong.append(f"pairs: no arm is named {name!r}. {did_you_mean(str(name), arms)}".strip())
        yield str(pair[0]), str(pair[1])


def _sources_first(arms: Sequence[Arm]) -> list[Arm]:
    """The arms in their order, but each after the one that it starts from."""
    by_name, placed = {arm.name: arm for arm in arms}, dict[str, Arm]()

    def place(arm: Arm) -> None:
        if arm.source:
            place(by_name[arm.source])
        placed.setdefault(arm.name, arm)

    for arm in arms:
        place(arm)
    return list(placed.values())

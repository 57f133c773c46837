"""Recipes: image sets, arms and seeds of a study. ``parse`` names every problem of one at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from headstart.core.text import as_written, first_lines
from headstart.data.schema import ReadOptions
from headstart.errors import HeadstartError, OptionError, did_you_mean
from headstart.models.heads import check_head
from headstart.training.config import TrainOptions
from headstart.training.plan import SETTINGS, check_overrides
from headstart.training.strategies import STRATEGIES

DELIBERATE_BUGS = ("sigmoid",)
"""Bugs that an arm can train with on purpose, to show what they cost (``docs/explanation/pitfalls.md``)."""
SWEEPS = ("shots", "fraction", "cut", "image_size")
"""Options that may be a list in an arm: it is run at each value."""
_RECIPE_KEYS = ("name", "title", "about", "images", "every_arm", "arms", "pairs", "seeds", "quick")
_IMAGES_KEYS = ("home", "words", "judge_on", "test_photos")
_OWN_KEYS = ("images", "from", "published", "said", "expected", "note", "mistakes", "seeds")
# Of a whole study, not of an arm; image sets are read once for all arms.
_NOT_FOR_ARMS = {"data", "out", "weights", "from_run", "seed", "device", "on_bad", "log", "settings", "folds"} | {
    f.name for f in fields(ReadOptions)
}
_OPTION_KINDS = {f.name: str(f.type).split(" ")[0] for f in fields(TrainOptions) if f.name not in _NOT_FOR_ARMS}
ARM_KEYS = (*_OWN_KEYS, *_OPTION_KINDS, *SETTINGS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")  # a folder has this name and more
MAX_ARMS, MAX_POINTS, MAX_SEEDS, MAX_TRAININGS = 100, 100, 1000, 10_000
"""Arms of a recipe, values of a sweep, seeds of an arm, trainings of a study: a larger number is a slip."""
QUICK = (
    "This is the quick form of the study, for trying it out: few photos and epochs, small inputs. Its accuracies are "
    "not those of the study; published ones are not shown beside them."
)
_MANY = 100
"""Problems that are told; there are no suggestions for those after them, which take time to find."""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # a bool is none


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


Check = tuple[Callable[[Any], bool], str]
_COUNT: Check = (lambda v: type(v) is int and v >= 1, "is not a whole number of at least 1")
_TEXT: Check = (lambda v: isinstance(v, str | int | float), "is not a text")  # "title: 2024" is one
_OF_KIND: dict[str, Check] = {
    "int": (lambda v: type(v) is int, "is not a whole number"),
    "float": (_is_number, "is not a number"),
    "str": (lambda v: isinstance(v, str), "is not a text"),
    "bool": (lambda v: isinstance(v, bool), "is neither true nor false"),
    "tuple[float,": (_is_numbers, "is not a list of numbers"),
}
_CHECKS: dict[str, Check] = {
    **{name: _OF_KIND[kind] for name, kind in _OPTION_KINDS.items() if kind in _OF_KIND},
    **dict.fromkeys(("name", "title", "about", "words", "home", "said", "note", "from", "images"), _TEXT),
    "seeds": (lambda v: type(v) is int and 1 <= v <= MAX_SEEDS, f"is not a whole number from 1 to {MAX_SEEDS:,}"),
    "test_photos": _COUNT,
    "judge_on": (("test", "val").__contains__, "is neither test nor val"),
    "published": (lambda v: _is_number(v) and 0 <= v <= 1, "is not an accuracy between 0 and 1"),
    "expected": (
        lambda v: _is_numbers(v) and len(v) == 2 and 0 <= v[0] < v[1] <= 1, "is not a range such as [0.90, 0.95]",
    ),
}  # fmt: skip
"""Key to (check of its value, message where it fails)."""


@dataclass(frozen=True)
class Images:
    """An image set of a recipe.

    home         the named dataset that is downloaded; None: the user gives a path, ``words`` say where to get it
    judge_on     the split of the data that is used as the test set: "test" or "val"
    test_photos  test on at most this many photos
    """

    name: str
    home: str | None = None
    words: str = ""
    judge_on: str = "test"
    test_photos: int | None = None


@dataclass(frozen=True)
class Arm:
    """One way of training.

    images           name of its image set
    options          of ``train``; ``sweep``: one more, and the values at which the arm is run
    source           the arm whose network it starts from
    published, said  the published accuracy, as a number and as it is shown
    expected         range of the accuracy at full size
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
    deliberate_bugs: tuple[str, ...] = ()
    seeds: int = 1

    def points(self) -> list[tuple[str, dict[str, Any]]]:
        """(label, options) of every point; a single one with an empty label where nothing is swept."""
        if self.sweep is None:
            return [("", self.options)]
        key, values = self.sweep
        return [(f"{value}", {**self.options, key: value}) for value in values]


@dataclass(frozen=True)
class Recipe:
    """A whole study. Arms come after the one that they start from; ``pairs``: arms whose difference is reported (where
    it is empty, all that use the same images). ``quick``: of the small form, what it is.
    """

    name: str
    title: str
    images: dict[str, Images]
    arms: tuple[Arm, ...]
    about: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)
    quick: str = ""

    @property
    def seeds(self) -> int:
        """The largest number of seeds of an arm."""
        return max(arm.seeds for arm in self.arms)

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


def as_quick(recipe: Recipe) -> Recipe:
    """The recipe as its small form: without what others published, which is of the full size, and without arms that the
    changes made the same as another, or as points of its sweep.
    """
    kept: list[Arm] = []
    same: dict[str, str] = {}
    sources = {arm.source for arm in recipe.arms}
    for arm in sorted(recipe.arms, key=lambda arm: -len(arm.points())):
        twin = next((each.name for each in kept if arm.name not in sources and _within(arm, each)), None)
        if twin:
            same[arm.name] = twin
        else:
            kept.append(arm)
    pairs = [(same.get(a, a), same.get(b, b)) for a, b in recipe.pairs]
    arms = tuple(replace(arm, published=None, said="") for arm in recipe.arms if arm in kept)
    left_out = ", ".join(f"{arm} ({twin})" for arm, twin in same.items())
    words = f"{QUICK} Left out, since here they are the same as others: {left_out}." if same else QUICK
    small = replace(recipe, arms=arms, about="", quick=words)
    return replace(small, pairs=tuple(dict.fromkeys(p for p in pairs if p[0] != p[1])))


def _within(arm: Arm, other: Arm) -> bool:
    """Whether every point of ``arm`` is trained as one of ``other``."""
    alike = (arm.images, arm.source, arm.deliberate_bugs) == (other.images, other.source, other.deliberate_bugs)
    theirs = [options for _, options in other.points()]
    return alike and arm.seeds <= other.seeds and all(options in theirs for _, options in arm.points())


def parse(raw: Any, where: str) -> Recipe:
    """The recipe that ``raw`` (what YAML read) describes; ``where`` names it in messages.

    Raises:
        OptionError: lists every problem, with suggestions.
    """
    if not isinstance(raw, Mapping):
        raise OptionError(f"{where} is not a recipe: it must be a mapping with the keys {', '.join(_RECIPE_KEYS)}.")
    return _Parser(where).recipe(raw)


class _Parser:
    """Reads a recipe and collects its problems."""

    def __init__(self, where: str) -> None:
        self.where, self.problems = where, list[str]()

    def recipe(self, raw: Mapping[str, Any]) -> Recipe:
        self.unknown("", raw, _RECIPE_KEYS)
        self.problems += [f"{key}: is missing" for key in ("name", "images", "arms") if not raw.get(key)]
        name, title, about = (self.text("", raw, key) for key in ("name", "title", "about"))
        if name and not _NAME.fullmatch(name):
            self.problems.append(f"name: {as_written(raw['name'])} must be letters, digits and hyphens, at most 60")
        images = {str(name): self.images(str(name), spec) for name, spec in self.mapping(raw, "images").items()}
        self.mapping(raw, "quick")  # the catalogue applies it
        every = {"seeds": self.value("", raw, "seeds", 1), **self.mapping(raw, "every_arm")}
        given = self.mapping(raw, "arms")
        if len(given) > MAX_ARMS:
            self.problems.append(f"arms: {len(given):,} of them; a recipe has at most {MAX_ARMS}")
            given = {}
        arms = [self.arm(str(name), own, every, images) for name, own in given.items()]
        self.problems += _source_problems(arms)
        pairs = tuple(self.pairs(raw.get("pairs"), [arm.name for arm in arms]))
        trainings = sum(len(arm.points()) * arm.seeds for arm in arms)
        if trainings > MAX_TRAININGS:
            words = f"{trainings:,} trainings (arms x values x seeds); a study has at most {MAX_TRAININGS:,}"
            self.problems.append(f"arms: {words}")
        if self.problems:
            raise _refused(self.where, self.problems)
        return Recipe(name, title or name, images, tuple(_sources_first(arms)), about, pairs, raw)

    def mapping(self, raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        found = raw.get(key) or {}
        if isinstance(found, Mapping):
            return found
        self.problems.append(f"{key}: must be a mapping, not {as_written(found)}")
        return {}

    def unknown(self, place: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in given:
            if key not in known:
                hint = self.hint(key, known) or f"Known: {', '.join(known)}."
                self.problems.append(f"{place}unknown key {as_written(key)}. {hint}")

    def hint(self, word: Any, known: Iterable[str]) -> str:
        return did_you_mean(str(word)[:60], known) if len(self.problems) < _MANY else ""

    def text(self, place: str, given: Mapping[str, Any], key: str) -> str:
        """A text, also where YAML read it as a number."""
        return str(self.value(place, given, key, "")).strip()

    def value(self, place: str, given: Mapping[str, Any], key: str, default: Any = None) -> Any:
        """The value of a key of ``_CHECKS``; the default where it is left out or wrong."""
        value, (check, words) = given.get(key), _CHECKS[key]
        if value is not None and not check(value):
            self.problems.append(f"{place}{key}: {as_written(value)} {words}")
            return default
        return default if value is None else value

    def images(self, name: str, spec: Any) -> Images:
        place, spec = f"images.{name[:60]}: ", spec or {}
        if not isinstance(spec, Mapping):
            self.problems.append(f"{place}must be a mapping with the keys {', '.join(_IMAGES_KEYS)}")
            return Images(name)
        self.unknown(place, spec, _IMAGES_KEYS)
        home, words = self.text(place, spec, "home") or None, self.text(place, spec, "words")
        judge_on, photos = self.value(place, spec, "judge_on", "test"), self.value(place, spec, "test_photos")
        return Images(name, home, words, judge_on, photos)

    def arm(self, name: str, own: Any, every: Mapping[str, Any], images: Mapping[str, Images]) -> Arm:
        place = f"arms.{name[:60]}: "
        if not _NAME.fullmatch(name):
            self.problems.append(f"{place}a name must be letters, digits and hyphens, at most 60")
        if not isinstance(own or {}, Mapping):
            self.problems.append(f"{place}must be a mapping of options, not {as_written(own)}")
            own = {}
        given = {**every, **(own or {})}
        self.unknown(place, given, ARM_KEYS)
        which = given.get("images", next(iter(images), ""))
        if str(which) not in images:
            self.problems.append(
                f"{place}images: {as_written(which)} is not in images. {self.hint(which, images)}".strip()
            )
        options = {k: v for k, v in given.items() if k in ARM_KEYS and k not in _OWN_KEYS and v is not None}
        sweep = self.sweep(place, options)
        options = {k: v for k, v in options.items() if k not in SWEEPS or not isinstance(v, list)}
        self.problems += [place + line for line in _option_problems(options, sweep)]
        source, bugs = self.text(place, given, "from") or None, self.bugs(place, given)
        chosen = str(options.get("strategy", "auto"))
        strategy = STRATEGIES.get(chosen) if chosen in STRATEGIES else None
        if source and strategy and not strategy.pretrained:
            self.problems.append(f"{place}strategy {chosen} starts from random weights: leave out from")
        if bugs and strategy and not strategy.trains_backbone:
            self.problems.append(f"{place}mistakes: need a strategy that trains: finetune, partial, lp-ft or scratch")
        expected = self.value(place, given, "expected")
        return Arm(
            name, str(which), options, sweep, source, self.value(place, given, "published"),
            self.text(place, given, "said"), tuple(expected) if expected else None, self.text(place, given, "note"),
            bugs, self.value(place, given, "seeds", 1),
        )  # fmt: skip

    def sweep(self, place: str, options: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]] | None:
        listed = [key for key, value in options.items() if isinstance(value, list) and key in SWEEPS]
        if len(listed) > 1:
            self.problems.append(f"{place}{' and '.join(listed)} both name several values: an arm can sweep one option")
        if not listed:
            return None
        values = tuple(options[listed[0]])
        if not values or len(set(map(str, values))) < len(values):
            self.problems.append(f"{place}{listed[0]}: a list needs values, each once")
        if len(values) > MAX_POINTS:
            self.problems.append(f"{place}{listed[0]}: a list has at most {MAX_POINTS} values, not {len(values):,}")
        return listed[0], values[:MAX_POINTS]

    def bugs(self, place: str, given: Mapping[str, Any]) -> tuple[str, ...]:
        asked = given.get("mistakes") or []
        if not isinstance(asked, list):
            self.problems.append(f"{place}mistakes: must be a list such as [{DELIBERATE_BUGS[0]}]")
            return ()
        for one in asked:
            if one not in DELIBERATE_BUGS:
                hint = self.hint(one, DELIBERATE_BUGS) or f"Known: {', '.join(DELIBERATE_BUGS)}."
                self.problems.append(f"{place}mistakes: {as_written(one)} is not known. {hint}")
        return tuple(map(str, asked))

    def pairs(self, given: Any, arms: Sequence[str]) -> Iterator[tuple[str, str]]:
        if given is not None and not isinstance(given, list):
            self.problems.append("pairs: must be a list such as [[probe, scratch]]")
            return
        for pair in given or ():
            if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
                self.problems.append(f"pairs: {as_written(pair)} is not a pair of arms such as [probe, scratch]")
                continue
            for name in pair:
                if name not in arms:
                    self.problems.append(f"pairs: no arm is named {as_written(name)}. {self.hint(name, arms)}".strip())
            yield str(pair[0]), str(pair[1])


def _option_problems(options: Mapping[str, Any], sweep: tuple[str, tuple[Any, ...]] | None) -> Iterator[str]:
    """What is wrong with an arm's options, at each of its points."""
    for value in sweep[1] if sweep else (None,):
        at = {**options, sweep[0]: value} if sweep else dict(options)
        badly_typed = [key for key, value in at.items() if key in _CHECKS and not _CHECKS[key][0](value)]
        yield from (f"{key}: {as_written(at[key])} {_CHECKS[key][1]}" for key in badly_typed)
        if "strategy" in badly_typed:
            badly_typed.append("boundary")  # unknown whether it fits the strategy
        at = {k: v for k, v in at.items() if k not in badly_typed}
        settings = {k: at.pop(k) for k in SETTINGS if k in at}
        head = (at.get("head", "linear"), at.get("dropout", ()))
        checks = ((check_overrides, (settings,)), (check_head, head), (TrainOptions.gather, ("photos", None, at)))
        for check, arguments in checks:
            try:
                check(*arguments)
            except HeadstartError as error:
                yield error.problem.splitlines()[0][:300]


def _refused(where: str, problems: Sequence[str]) -> OptionError:
    lines = list(dict.fromkeys(problems))
    count = f"{len(lines):,} problems" if len(lines) > 1 else "a problem"
    return OptionError(f"{where} has {count}:", lines=first_lines(lines, _MANY))


def _source_problems(arms: Sequence[Arm]) -> Iterator[str]:
    by_name = {arm.name: arm for arm in arms}
    for arm in arms:
        if arm.source is None:
            continue
        source, place = by_name.get(arm.source), f"arms.{arm.name}: from: "
        if source is None:
            yield f"{place}no arm is named {as_written(arm.source)}. {did_you_mean(arm.source, by_name)}".strip()
        elif source.sweep:
            yield f"{place}{arm.source} is run at several points; it must be one network"
        elif source.seeds < arm.seeds:
            yield f"{place}{arm.source} is run with fewer seeds ({source.seeds}) than it ({arm.seeds})"
        elif len(_chain(arm, by_name)) > len(arms):
            yield f"{place}the arms form a cycle"


def _chain(arm: Arm, by_name: Mapping[str, Arm]) -> list[Arm]:
    """The arm, the one that it starts from, the one that this one starts from …: longer than all arms in a cycle."""
    chain = [arm]
    while (source := by_name.get(chain[-1].source or "")) and len(chain) <= len(by_name):
        chain.append(source)
    return chain


def _sources_first(arms: Sequence[Arm]) -> list[Arm]:
    """The arms in their order, but each after the one that it starts from."""
    by_name = {arm.name: arm for arm in arms}
    names = dict.fromkeys(each.name for arm in arms for each in reversed(_chain(arm, by_name)))
    return [by_name[name] for name in names]

"""Where recipes come from: those that ship, files of the user's, and the changes that a call makes to them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.core.text import as_written
from headstart.errors import OptionError, did_you_mean
from headstart.workflows.experiment import recipe_yaml
from headstart.workflows.experiment.recipe import ARM_KEYS, Recipe, as_quick, parse

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class RecipeFile:
    """A recipe file and its text."""

    path: Path
    text: str

    @property
    def summary(self) -> str:
        """The first sentence of the opening comment."""
        lines = [line.lstrip("# ").strip() for line in self.text.splitlines() if line.startswith("#")]
        return lines[0] if lines else ""


def shipped() -> dict[str, RecipeFile]:
    """The recipes that come with headstart, by name."""
    return {path.stem: find(path.stem) for path in sorted(RECIPES.glob("*.yaml"))}


def find(name: str) -> RecipeFile:
    """A recipe that ships, or a file of the user's. Raises OptionError."""
    known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{name}.yaml" if name in known else Path(name)
    if path.suffix not in {".yaml", ".yml"} and not os.path.isfile(path):
        hint = did_you_mean(name, known) or f"Studies that ship: {', '.join(known)}; or give a recipe.yaml."
        raise OptionError(f"There is no study {as_written(name)}.", hint)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device may never end
            raise OptionError(f"{path} cannot be read: it is not a file.")
        with path.open("rb") as file:
            content = file.read(recipe_yaml.MAX_BYTES + 1)
        if len(content) > recipe_yaml.MAX_BYTES:
            raise OptionError(f"{path} is not a recipe: it has more than {recipe_yaml.MAX_BYTES // 1000} kB.")
        return RecipeFile(path, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise OptionError(f"{path} is not text in UTF-8: a recipe is a YAML file.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise OptionError(f"{str(path)[:200]} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def load(name: str, settings: Sequence[str] = (), quick: bool = False, seeds: int | None = None) -> Recipe:
    """The recipe ``name`` with its quick form, the number of seeds and the settings applied, in this order.

    Raises:
        OptionError: lists every problem.
    """
    file = find(name)
    raw = recipe_yaml.read(file.text, str(file.path))
    if isinstance(raw, Mapping):
        changes = raw.get("quick") if quick else None
        if isinstance(changes, Mapping):
            raw = _change(raw, changes, f"{file.path.name}, quick")
        raw = _change(raw, {} if seeds is None else {"seeds": seeds}, "`seeds`")
        raw = _change(raw, dict(map(_setting, settings)), "`settings`")
    recipe = parse(raw, file.path.name)
    if quick or settings:  # what is expected holds for the recipe as it is written
        recipe = replace(recipe, arms=tuple(replace(arm, expected=None) for arm in recipe.arms))
    return as_quick(recipe) if quick else recipe


def _setting(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        hint = "Write it like `settings=['epochs=3']`, or `settings=['scratch.epochs=3']`."
        raise OptionError(f"`settings`: {as_written(text)} is not NAME=VALUE.", hint, option="settings")
    try:
        return name.strip(), recipe_yaml.read(value, "`settings`")
    except OptionError:
        return name.strip(), value


def _change(raw: Mapping[str, Any], changes: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Apply ``epochs: 3`` (every arm), ``scratch.epochs: 3`` (one arm), ``test_photos: 500`` (every image set) and
    ``seeds: 1``. What is not a mapping where one should be is left for ``parse`` to name.
    """
    given = {str(name): own for name, own in _as_mapping(raw.get("arms")).items()}
    arms = {name: dict(own or {}) for name, own in given.items() if isinstance(own or {}, Mapping)}
    changed, wrong = dict(raw), []
    for name, value in changes.items():
        arm, dot, key = str(name).rpartition(".")
        key = key.replace("-", "_") if key.replace("-", "_") in (*ARM_KEYS, "test_photos") else key
        if dot and arm not in arms:
            wrong.append(f"{name[:60]}: no arm is named {as_written(arm)}. {did_you_mean(arm, arms)}".strip())
        elif key == "seeds" and not dot:
            changed |= {"seeds": value, "every_arm": _without(changed.get("every_arm"), "seeds")}
            arms = {each: _without(own, "seeds") for each, own in arms.items()}
        elif key == "test_photos" and not dot:
            images = _as_mapping(changed.get("images"))
            changed["images"] = {
                each: {**(own or {}), key: value} if isinstance(own or {}, Mapping) else own
                for each, own in images.items()
            } or changed.get("images")
        elif key not in ARM_KEYS:
            hint = did_you_mean(key, ARM_KEYS if dot else (*ARM_KEYS, "test_photos"))
            wrong.append(f"{name[:60]}: unknown key {as_written(key)}. {hint}".strip())
        else:
            # Shots and fraction both say how much to train on: the new one replaces the other.
            other = {"shots": "fraction", "fraction": "shots"}.get(key, "")
            unset = {other: None} if other in _as_mapping(changed.get("every_arm")) else {}
            for each in [arm] if dot else arms:
                arms[each] = {**_without(arms[each], other), **unset, key: value}
    if wrong:
        raise OptionError(f"{origin}: " + "; ".join(wrong))
    return {**changed, "arms": {**given, **arms} or raw.get("arms")}


def _as_mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _without(value: Any, key: str) -> Any:
    return {k: v for k, v in value.items() if k != key} if isinstance(value, Mapping) else value

"""Any bytes as a recipe end in a recipe or in one clear message, soon and in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz.targets_recipe import CORPUS, TARGETS
from helpers.recipes import WRONG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.errors import OptionError
from headstart.workflows.experiment import recipe_yaml
from headstart.workflows.experiment.recipe import ARM_KEYS

SEEDS = [(name, number) for name, seeds in CORPUS.items() for number in range(len(seeds))]
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("name", "number"), SEEDS)
def test_what_was_found_once_stays_mended(tmp_path: Path, name: str, number: int) -> None:
    TARGETS[name](CORPUS[name][number], tmp_path)


@pytest.mark.parametrize("kind", ["laughs", "laughs by merging", "a list in itself"])
def test_no_alias_fills_the_memory(kind: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(OptionError):
            recipe_yaml.read(WRONG[kind][0], "own.yaml")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


_WORDS = st.sampled_from(
    ["a", "b", "p", "probe", "scratch", "layer3", "mlp:64", "no", "sigmoid", "test", "val", "none"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | _WORDS | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
_ARM = st.none() | st.dictionaries(st.sampled_from(ARM_KEYS), _VALUES, max_size=6) | _VALUES
_RECIPES = st.fixed_dictionaries(
    {"name": _WORDS | _VALUES, "images": st.dictionaries(_WORDS, st.none() | _VALUES, max_size=3),
     "arms": st.dictionaries(_WORDS, _ARM, max_size=4) | _VALUES},
    optional={"every_arm": _ARM, "quick": _VALUES, "pairs": _VALUES, "seeds": _VALUES, "title": _VALUES},
).map(lambda value: yaml.dump(value, allow_unicode=True).encode("utf-8", "surrogatepass"))  # fmt: skip


@st.composite
def _changed(draw: st.DrawFn, name: str) -> bytes:
    """A seed with some of its bytes replaced by others, or by a part of itself."""
    seed = draw(st.sampled_from([one for one in CORPUS[name] if len(one) < 5000]))
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(seed))] * 2)))
    middle: Any = draw(st.binary(max_size=20) | st.integers(0, 30).map(lambda n: seed[first:last] * n))
    return (seed[:first] + middle + seed[last:])[:120_000]


@FEW
@given(content=_changed("recipe") | _RECIPES | st.binary(max_size=60))
def test_any_recipe_ends_well(tmp_path: Path, content: bytes) -> None:
    TARGETS["recipe"](content, tmp_path)


@FEW
@given(content=_changed("recipe_setting") | st.binary(max_size=40))
def test_any_setting_ends_well(tmp_path: Path, content: bytes) -> None:
    TARGETS["recipe_setting"](content, tmp_path)

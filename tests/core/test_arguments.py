"""What a caller passes, in the type that the annotation names: the values that mean one, and those that do not."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core.arguments import Device, _hints, read, typed
from headstart.core.paths import Place
from headstart.errors import HeadstartError, OptionError


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, np.int64(3), 3), (int, np.array(3), 3), (int, torch.tensor(3), 3), (int, 3.0, 3), (int, "3", 3),
        (float, np.float32(0.5), 0.5), (float, 1, 1.0), (float, "1e-3", 1e-3), (float, np.array(0.5), 0.5),
        (bool, True, True), (bool, np.True_, True), (str, np.str_("a"), "a"), (int | None, None, None),
        (Device, "cuda:1", "cuda:1"), (Device, torch.device("cpu"), "cpu"), (Device | None, torch.device("cpu"), "cpu"),
        (Sequence[float], 0.5, [0.5]), (Sequence[int], 5, [5]), (Sequence[int], range(3), [0, 1, 2]),
        (Sequence[int], np.array([5, 10]), [5, 10]), (Sequence[int], (n for n in (1, 2)), [1, 2]),
        (Sequence[Literal["probe", "scratch"]], "probe, scratch", ["probe", "scratch"]),
        (Sequence[str], "epochs=3,4", ["epochs=3,4"]), (Iterable[str], ["a", "b"], ["a", "b"]),
        (str | float, "10m", "10m"), (str | float, 90, 90.0), (Mapping[str, int], {"a": np.int8(1)}, {"a": 1}),
        (Place, "~/x", "/home/me/x"), (Place | None, Path("~/x"), "/home/me/x"), (Place, "cifar10", "cifar10"),
        (Place, "hf:owner/name", "hf:owner/name"), (Place, "a/~/b", "a/~/b"),
        (Mapping[str, Place] | Place | None, {"a": Path("~")}, {"a": "/home/me"}),
    ],
)  # fmt: skip
def test_values_that_mean_it(hint: Any, value: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    found = read("x", value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (int, True, "`x=True` is not a whole number"), (int, 2.5, "is not a whole number"),
        (int, "many", "`x='many'` is not a whole number"), (int, np.array([1, 2]), "`x`, of the type ndarray, is not"),
        (int, range(3), "is not a whole number"), (float, float("nan"), "is not a finite number"),
        (float, "inf", "is not a finite number"), (float, b"1", "is not a number"),
        (float | None, float("nan"), "is not a finite number.$"),
        (float, 10**400, "is not a number"),
        (bool, 1, "is neither True nor False"), (bool, "yes", "is neither"), (str, 3, "is not a text"),
        (str, b"a", "is not a text"), (Sequence[int], {"a": 1}, "is not a list"), (Sequence[int], [1, "x"], "whole"),
        (Sequence[int], iter(int, 1), "more than 100,000 values"), (Mapping[str, int], [1], "is not a mapping"),
        (Mapping[str, int], {1: 1}, "is not a mapping"), (Callable[[Any], None], 3, "is not a function"),
        (Place, "", "`x` is empty"), (Place, "  ", "`x` is empty"), (Place, None, "`x=None` is not a path"),
        (Place, b"photos", "is not a path"), (Place, ["a"], "is not a path"), (Place, "a\0b", "holds a character"),
        (Place, "\ud800", "holds a character"), (str | float, object(), "is not a text and is not a number"),
    ],
)  # fmt: skip
def test_values_that_do_not(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words.replace("(", r"\(")) as caught:
        read("x", value, hint)
    assert caught.value.option == "x"


def test_all_problems_are_said_at_once_and_none_means_the_default() -> None:
    @typed
    def function(a: int, b: float = 0.5, *, c: Sequence[int] = (7,), d: Place | None = None) -> tuple[Any, ...]:
        return a, b, c, d

    assert function(1, None, c=None) == (1, 0.5, (7,), None)  # type: ignore[arg-type]
    assert list(inspect.signature(function).parameters) == ["a", "b", "c", "d"]
    with pytest.raises(OptionError, match=r"`a=None` is not a whole number; `b='x'` is not a number; `d` is empty"):
        function(None, "x", d="")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword"):
        function(1, e=3)  # type: ignore[call-arg]


FUNCTIONS = [name for name in hs.__all__ if inspect.isfunction(getattr(hs, name)) and name != "demo"]
FIXED: dict[str, dict[str, Any]] = {
    "evaluate": {"run": "no run", "data": "nowhere"}, "explain": {"run": "no run", "photos": "none.jpg"},
    "predict": {"run": "no run", "files": "none.jpg"}, "push": {"run": "no run", "repo": "a/b"},
    "embed": {"photos": "none.jpg"}, "search": {"photo": np.zeros((8, 8, 3), np.uint8), "within": "none.jpg"},
    "pack": {"data": "nowhere", "out": "shards"}, "embed_shards": {"photos": "none.jpg", "out": "shards"},
    "predict_shards": {"run": "no run", "files": "none.jpg", "out": "shards"},
    "suggest": {"data": "nowhere", "pool": "none.jpg"},
    "study": {"recipe": "animals"}, "backbones": {}, "list_runs": {}, "studio": {"folder": "nowhere"},
    **{name: {"run": "no run"} for name in ("resume", "open_run", "describe", "export", "serve")},
    "compare": {"data": "nowhere", "backbone": "starter"},
}  # fmt: skip


PICTURES = ("files", "photos", "photo", "within", "pool")


def options_of(name: str) -> list[str]:
    hints = _hints(inspect.unwrap(getattr(hs, name)))
    of_training = get_type_hints(get_args(hints["options"])[0]) if "options" in hints else {}
    return [one for one in (*hints, *of_training) if one != "options"]


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in FUNCTIONS for option in options_of(name)])
def test_a_value_of_a_wrong_type_is_named_before_any_work(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe_run: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = FIXED.get(name, {"data": "nowhere"})
    if (option in PICTURES and name != "suggest") or name == "evaluate":  # the run says how labels are read
        fixed = {**fixed, "run": probe_run}
    picture = option in PICTURES  # bytes and arrays are pictures there
    for wrong in (object(), {1: 2}, *(() if picture else (b"\xff", np.zeros((2, 2)))), np.full((2, 2), -1)):
        with pytest.raises(OptionError) as caught:
            getattr(hs, name)(**{**fixed, option: wrong})
        assert option in str(caught.value)
    for odd in ("a\0b", "", float("nan"), -3, [None]) if fixed else ():  # some of them are values of some options
        with pytest.raises(HeadstartError):
            getattr(hs, name)(**{**fixed, option: odd})
    assert os.listdir(tmp_path) in ([], ["own-cache"])

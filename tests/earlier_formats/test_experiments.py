"""Studies, comparisons and the cache of headstart 0.1.0 still serve; see ``test_runs.py``."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.earlier import (
    LAST_ARM,
    STORED,
    Answer,
    Earlier,
    assert_same_answers,
    files_below,
    read,
    unfinish,
)

from headstart.core.eviction import trim

# -- a study --


def test_a_finished_study_trains_nothing_anew(study: Path, again: Callable[..., Answer]) -> None:
    before, told = files_below(study / "arms"), read(study / "study.json")
    said = again("study", "--json")
    assert said.code == 0, said.err
    assert files_below(study / "arms") == before
    now = read(study / "study.json")
    assert now.keys() == told.keys()
    for mine, theirs in zip(now["arms"], told["arms"], strict=True):
        computed = ("low", "high", "method")  # of seeds, which were said to be independent
        assert {k: v for k, v in mine.items() if k not in computed} == {
            k: v for k, v in theirs.items() if k not in computed
        }
    assert all(theirs.keys() <= now["differences"][0].keys() for theirs in told["differences"])


def test_a_study_that_lacks_its_last_training_does_that_one_only(study: Path, again: Callable[..., Answer]) -> None:
    told = read(study / "study.json")
    unfinish(study)
    before = files_below(study / "arms")
    said = again("study")
    assert said.code == 0, said.err
    after = files_below(study / "arms")
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} == {LAST_ARM.name}
    for mine, theirs in zip(read(study / "study.json")["arms"], told["arms"], strict=True):
        assert mine["arm"] == theirs["arm"]
        old = len(mine["values"]) - (mine["arm"] == LAST_ARM.name.rpartition("-")[0])  # the last is by today's rules
        assert mine["values"][:old] == pytest.approx(theirs["values"][:old])


def test_a_study_that_was_stopped_in_a_training_goes_on_within_it(
    study: Path, earlier: Earlier, again: Callable[..., Answer]
) -> None:
    answers = unfinish(study)
    earlier("study-interrupted")
    before = files_below(study / "arms")
    said = again("study")
    assert said.code == 0, said.err
    after = files_below(study / "arms")
    assert {n for n in before if after.get(n) != before[n]} <= {n for n in before if n.startswith(LAST_ARM.name)}
    assert not (study / LAST_ARM / "state").exists()
    assert read(study / LAST_ARM / "request.json")["mistakes"] == ["sigmoid"]
    reasons = read(study / LAST_ARM / "plan.json")["reasons"]
    assert reasons["augment"] != reasons["epochs"] == "you chose it"  # of a rule that has changed, and of the user
    assert_same_answers(study / LAST_ARM, answers)


def test_a_study_reads_the_state_of_the_training_that_it_was_stopped_in(
    study: Path, earlier: Earlier, again: Callable[..., Answer]
) -> None:
    unfinish(study)
    earlier("study-interrupted")
    state = study / LAST_ARM / "state" / "finetune" / "last.safetensors"
    state.write_bytes(state.read_bytes()[:500])
    said = again("study")
    assert said.code == 2
    assert "last.safetensors" in said.err


# -- a comparison --


def test_a_finished_comparison_is_not_made_anew(earlier: Earlier, again: Callable[..., Answer]) -> None:
    path = earlier("photos", "comparison")
    before = files_below(path)
    said = again("comparison")
    assert (said.code, "--overwrite" in said.err) == (2, True)
    assert files_below(path) == before


def test_an_interrupted_comparison_goes_on_and_ends_as_it_would_have(
    earlier: Earlier, again: Callable[..., Answer], tmp_path: Path
) -> None:
    path = earlier("photos", "comparison-interrupted")
    before = files_below(path / "arms")
    assert len(before) == 4
    said = again("comparison", "--json")
    assert said.code == 0, said.err
    after = files_below(path / "arms")
    assert {name: after[name] for name in before} == before
    assert len(after) == 6
    assert not list((path / "state").glob("*"))
    whole = json.loads(zipfile.ZipFile(STORED / "comparison.zip").read("comparison/comparison.json"))
    for mine, theirs in zip(json.loads(said.out)["arms"], whole["arms"], strict=True):
        assert (mine["group"], mine["arm"]) == (theirs["group"], theirs["arm"])
        assert mine["values"] == pytest.approx(theirs["values"])
    for mine, theirs in zip(read(path / "comparison.json")["differences"], whole["differences"], strict=True):
        assert theirs.keys() <= mine.keys()
        assert [mine[key] for key in ("group", "first", "second")] == [
            theirs[key] for key in ("group", "first", "second")
        ]
        assert mine["mean"] == pytest.approx(theirs["mean"])


def test_a_comparison_reads_the_state_of_the_training_that_it_was_stopped_in(
    earlier: Earlier, again: Callable[..., Answer]
) -> None:
    path = earlier("photos", "comparison-interrupted")
    (state,) = (path / "state").rglob("last.safetensors")
    state.write_bytes(state.read_bytes()[:500])
    said = again("comparison")
    assert said.code == 2
    assert "last.safetensors" in said.err


# -- the cache --


@pytest.mark.parametrize("name", ["run", "partial"])
def test_a_cache_without_checksums_is_left_alone_and_its_rows_are_computed_once_more(
    earlier: Earlier, again: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cache = earlier("photos", "cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    before = {name: content for name, (content, _) in files_below(cache).items()}
    assert len(before) == 24
    said = again(name)
    assert said.code == 0, said.err
    after = {name: content for name, (content, _) in files_below(cache).items()}
    assert {name: after.get(name) for name in before} == before
    assert {Path(name).suffix for name in after.keys() - before.keys()} == {".index", ".values"}
    assert again(name, "--overwrite").code == 0
    assert {name: content for name, (content, _) in files_below(cache).items()} == after


def test_a_cache_without_checksums_counts_and_is_evicted_first(earlier: Earlier) -> None:
    cache = earlier("cache")
    size = sum(len(content) for content, _ in files_below(cache).values())
    assert trim(cache=cache, limit=0) == size
    assert files_below(cache) == {}

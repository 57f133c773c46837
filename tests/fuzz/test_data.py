"""The sources of data and the cache bear any bytes: the corpus of former findings, and some new ones each time."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzz.targets_data import CORPUS, TARGETS, mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = [(name, number) for name, seeds in CORPUS.items() for number in range(len(seeds))]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=12)), max_size=6)
CELL = st.one_of(
    st.sampled_from(["a.png", "b.png", "./a.png", "..\\a.png", "path", "label", "train", "'=", "=1", "", " "]),
    st.text(max_size=12),
)


def drive(name: str, data: bytes) -> None:
    with TemporaryDirectory() as place:
        TARGETS[name](data, Path(place))


@pytest.mark.parametrize(("name", "number"), CASES)
def test_former_findings(name: str, number: int) -> None:
    drive(name, CORPUS[name][number])


@QUICK
@given(name=st.sampled_from(sorted(TARGETS)), data=st.binary(max_size=2000))
def test_any_bytes(name: str, data: bytes) -> None:
    drive(name, data)


@settings(QUICK, max_examples=150)
@given(
    seed=st.sampled_from([(name, seed) for name, seeds in CORPUS.items() for seed in seeds if len(seed) < 1 << 16]),
    edits=EDITS,
    end=st.none() | st.integers(0, 1 << 16),
)
def test_former_findings_with_changes(seed: tuple[str, bytes], edits: list[tuple[int, bytes]], end: int | None) -> None:
    drive(seed[0], mutated(seed[1], edits, end))


@QUICK
@given(
    rows=st.lists(st.lists(CELL, max_size=5), max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_table(rows: list[list[str]], delimiter: str, encoding: str, end: str) -> None:
    text = end.join(delimiter.join(row) for row in (["path", "label"], ["a.png", "x"], *rows))
    drive("table", text.encode(encoding, "replace"))


@settings(QUICK, max_examples=100)
@given(data=st.binary(min_size=1, max_size=40), way=st.integers(0, 7))
def test_any_damage_to_a_shard(data: bytes, way: int) -> None:
    drive("cache", bytes([way]) + data)

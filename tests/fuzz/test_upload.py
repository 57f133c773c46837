"""Every seed, and a small budget of mutations; ``make fuzz`` goes on for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.mutations import mutations
from fuzz.targets_upload import CORPUS, TARGETS
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str, tmp_path: Path) -> None:
    for content in CORPUS[name]:
        TARGETS[name](content, tmp_path)


QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@QUIET
@given(content=mutations(CORPUS["image"]))
def test_images(content: bytes) -> None:
    TARGETS["image"](content, Path())


@QUIET
@given(content=mutations(CORPUS["form"]))
def test_forms(content: bytes) -> None:
    TARGETS["form"](content, Path())

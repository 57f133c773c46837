"""Every seed, and a small budget of mutations, on the files of a model."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzz.mutations import mutations
from fuzz.targets_model import CORPUS, TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize(("name", "number"), [(name, n) for name in TARGETS for n in range(len(CORPUS[name]))])
def test_seeds(name: str, number: int, tmp_path: Path) -> None:
    """A target raises for anything but a refusal."""
    TARGETS[name](CORPUS[name][number], tmp_path)


@QUICK
@given(data=st.data(), name=st.sampled_from(sorted(TARGETS)))
def test_mutations(data: st.DataObject, name: str) -> None:
    with TemporaryDirectory() as folder:
        TARGETS[name](data.draw(mutations(CORPUS[name])), Path(folder))

"""Photos that are shown to a model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import headstart as hs
from headstart.workbench import trying
from headstart.workbench.trying import answer


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    trying._loaded.clear()
    yield
    trying._loaded.clear()


def test_a_run_that_was_trained_anew_answers_with_its_new_model(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(probe_run, run)
    photo = next(photos.rglob("*.png")).read_bytes()
    assert set(answer(str(run), photo, "", ())["probabilities"]) == {"cat", "dog", "owl"}
    two = tmp_path / "two"
    for name in ("cat", "owl"):
        shutil.copytree(photos / name, two / f"new {name}")
    hs.train(two, out=run, overwrite=True, backbone="starter", strategy="probe", quiet=True)
    assert set(answer(str(run), photo, "", ())["probabilities"]) == {"new cat", "new owl"}


def test_a_run_without_its_model_is_an_answer(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(probe_run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    found = answer(str(tmp_path / "run"), next(photos.rglob("*.png")).read_bytes(), None, ())
    assert "model.safetensors" in found["error"]

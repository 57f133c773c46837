"""What study tests share: recipes in files, small studies of the starter backbone."""

from __future__ import annotations

import gc
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.training import trainer as loop
from headstart.workflows.experiment.results import Study
from headstart.workflows.experiment.study import study

WriteRecipe = Callable[..., Path]

HEAD = """
name: small
title: A small study
images: {drawn: {words: "Any coloured shapes."}}
every_arm: {backbone: starter, image_size: 32, batch_size: 8, precision: float32, epochs: 2}
"""


@pytest.fixture(scope="session", autouse=True)
def _quick_collections() -> Iterator[None]:
    """A study collects garbage after every training; most of that time would go into the objects of libraries."""
    import timm  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _plain_run_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the page of every run takes longer than these trainings do; it has tests of its own."""
    monkeypatch.setattr("headstart.workflows.train.report.run_page", lambda *_: "a page")


@pytest.fixture
def recipe_file(tmp_path: Path) -> WriteRecipe:
    """``recipe_file(text, name="own.yaml")`` writes a recipe."""

    def write(text: str, name: str = "own.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


@pytest.fixture
def small(
    recipe_file: WriteRecipe, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """``small(arms, seeds=2, out="out", page=False, ...)``: a study of the starter on the drawn photos; ``arms`` is
    YAML. Its page is drawn where asked: that takes longer than the trainings, too.
    """

    def run(arms: str, *, out: str = "out", page: bool = False, **options: Any) -> Study:
        recipe = recipe_file(HEAD + "arms:\n" + textwrap.indent(textwrap.dedent(arms), "  "))
        asked = {"data": photos, "weights": weights, "device": "cpu", "quiet": True, **options}
        with monkeypatch.context() as patch:
            if not page:
                for drawing in ("study_report", "write_page"):
                    patch.setattr(f"headstart.workflows.experiment.report.{drawing}", lambda *_, **__: None)
            return study(str(recipe), out=tmp_path / out, **asked)

    return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder names of all trainings, as they begin."""
    from headstart.workflows.train import train as run

    names: list[str] = []
    real = run.fit

    def watched(task: Any) -> Any:
        names.append(task.state.parent.name)
        return real(task)

    monkeypatch.setattr(run, "fit", watched)
    return names


@pytest.fixture
def count_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """``count_steps(stop=9)``: the list grows by one with every training step; Ctrl-C before step 9."""
    real = loop.Trainer._step

    def count(stop: int | None = None) -> list[int]:
        steps: list[int] = []

        def step(self: loop.Trainer, *rest: Any) -> Any:
            if len(steps) + 1 == stop:
                raise KeyboardInterrupt
            steps.append(self.state.batch)
            return real(self, *rest)

        monkeypatch.setattr(loop.Trainer, "_step", step)
        return steps

    return count

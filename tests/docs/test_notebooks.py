"""The notebooks run from top to bottom: on the digits, and on drawn photos in the place of the studies' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.workflows.experiment.catalogue import shipped

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def run(name: str, settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook, executed with other settings in its one cell for them."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (cell,) = [c for c in book.cells if "settings" in c.metadata.get("tags", [])]
    cell.source += "\n" + settings
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return book


def shown(book: Any) -> list[str]:
    """The HTML of each cell that shows something."""
    return [
        output.data["text/html"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if output.output_type == "execute_result" and "text/html" in output.data
    ]


def test_there_is_one_for_every_study() -> None:
    assert {*shipped(), "ten-minutes"} == set(ALL)


@pytest.mark.slow
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = run("ten-minutes", "EPOCHS, SEEDS = 2, 1", tmp_path, monkeypatch)
    html = shown(book)
    assert len(html) == 7
    assert "1000 photos" in html[0]
    assert html[1].count("<svg") == 2
    images = [o.data for c in book.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 1  # the figure of scratch


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_study(
    name: str,
    quick_forms: dict[str, Any],
    class_folder: Callable[..., Path],
    resnets: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sets, backbones, changes = quick_forms[name]
    data = {dataset: str(class_folder(dataset, **layout)) for dataset, layout in sets.items()}
    weights = {backbone: str(resnets[backbone]) for backbone in backbones}
    settings = f"DATA = {data!r}\nWEIGHTS = {weights!r}\nCHANGES = {[*changes, 'test_photos=4']!r}"
    html = shown(run(name, settings, tmp_path, monkeypatch))
    assert "<img" in html[0]
    assert "<table" in html[1]

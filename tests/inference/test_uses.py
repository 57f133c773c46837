"""A run, its classifier and its folder are interchangeable, and the methods are the functions."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.errors import HeadstartError, OptionError, RunError
from headstart.inference.classifier import Classifier
from headstart.inference.uses import Uses

METHODS = [name for name in vars(Uses) if not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_the_function_takes(name: str) -> None:
    function = dict(inspect.signature(getattr(hs, name)).parameters)
    method = dict(inspect.signature(getattr(Uses, name)).parameters)
    function.pop("run")
    if name in ("embed", "search"):  # of a network that is no run's; of these options a run takes device alone
        function.pop("options")
        assert method.pop("device").default == "auto"
    method.pop("self")
    assert [(p.name, p.kind, p.default) for p in method.values()] == [
        (p.name, p.kind, p.default) for p in function.values()
    ]


def forms(run: Path) -> dict[str, Any]:
    return {
        "text": str(run), "path": run, "run": hs.open_run(run, "cpu"), "classifier": Classifier.load(run, "cpu"),
        "unpickled": pickle.loads(pickle.dumps(Classifier.load(run, "cpu"))),
    }  # fmt: skip


@pytest.mark.slow
def test_every_form_of_a_run_gives_the_same(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    photo = photos / "cat" / "cat_00.png"
    figures, maps = [], []
    for name, run in forms(probe_run).items():
        assert [p.label for p in hs.predict(run, photo)] == [p.label for p in hs.predict(probe_run, photo)]
        assert hs.describe(run) == hs.describe(probe_run)
        figures.append(hs.evaluate(run, photos, quiet=True)["accuracy"]["value"])
        found = hs.explain(run, photo, out=tmp_path / name, neighbours=2, quiet=True)
        maps.append((found.photos[0].heat.tobytes(), [n.shown for n in found.photos[0].neighbours]))
        assert hs.open_run(run, "cpu").metrics == hs.open_run(probe_run, "cpu").metrics
        assert hs.resume(run, quiet=True).path == probe_run
        made = hs.export(run, format="torch", out=tmp_path / f"{name}.pt2", photos=photo, quiet=True)
        assert made.parity.same == 1
    assert len(set(figures)) == len(set(map(str, maps))) == 1


def test_methods_work_with_the_network_in_memory(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    photo = photos / "cat" / "cat_00.png"
    run = hs.open_run(probe_run, "cpu")
    for model in (run, run.classifier):
        assert model.predict(photo).frame().label[0] == "cat"
        assert model.evaluate(photos, split="all", quiet=True)["photos"] == 36
        folder = tmp_path / type(model).__name__
        assert model.explain(photo, out=folder, quiet=True).page.is_file()
        before = run.classifier.logits(np.zeros((32, 32, 32, 3), np.uint8))
        assert model.export(format="torch", out=folder / "model.pt2", photos=photo, quiet=True).path.is_file()
        assert np.array_equal(run.classifier.logits(np.zeros((32, 32, 32, 3), np.uint8)), before)


def test_a_classifier_in_memory_alone_says_what_it_lacks(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    alone, photo = Classifier.load(probe_run, "cpu"), photos / "cat" / "cat_00.png"
    alone.home = None
    assert alone.predict(photo).frame().label[0] == "cat"
    for call in (lambda: alone.explain(photo), lambda: alone.export(photos=photo)):
        with pytest.raises(OptionError, match="`out`"):
            call()
    with pytest.raises(RunError, match="neighbours=0"):
        alone.explain(photo, out=tmp_path / "maps", quiet=True)
    assert alone.explain(photo, out=tmp_path / "maps", neighbours=0, quiet=True).photos
    with pytest.raises(HeadstartError, match="in memory alone"):
        hs.describe(alone)
    alone.save(tmp_path / "saved")
    assert Classifier.load(alone, "cpu").classes == alone.classes

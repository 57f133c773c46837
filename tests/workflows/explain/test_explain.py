"""``explain``: pictures, nearest training photos, a page; and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.errors import DataError, OptionError, RunError


def test_each_photo_gets_a_picture_and_its_neighbours(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    asked = sorted((photos / "dog").glob("*.png"))[:3]
    found = hs.explain(probe_run, asked, out=tmp_path / "why", neighbours=4, quiet=True)
    answers = list(hs.predict(probe_run, asked))
    assert [one.prediction.label for one in found.photos] == [a.label for a in answers]
    for one, answer in zip(found.photos, answers, strict=True):
        assert one.prediction.confidence == pytest.approx(answer.confidence, abs=1e-4)
        assert one.label == answer.label
        assert one.image is not None
        assert Image.open(one.image).size == (32, 32)
        assert [n.similarity for n in one.neighbours] == sorted((n.similarity for n in one.neighbours), reverse=True)
        assert len(one.neighbours) == 4
    page = found.page.read_text(encoding="utf-8")
    assert page.count("<article") == 3
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_training_photo_is_its_own_nearest(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    from headstart.runs.images import run_photos

    member = run_photos(probe_run, ("train",))[5]
    found = hs.explain(probe_run, [member.path], out=tmp_path / "why", neighbours=1, quiet=True)
    (nearest,) = found.photos[0].neighbours
    assert nearest.shown == member.shown
    assert nearest.label == member.label
    assert nearest.similarity == pytest.approx(1, abs=1e-4)


def test_another_class_can_be_asked_for(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    asked = [next((photos / "dog").glob("*.png"))]
    dog = hs.explain(probe_run, asked, out=tmp_path / "dog", label="dog", neighbours=0, quiet=True).photos[0]
    owl = hs.explain(probe_run, asked, out=tmp_path / "owl", label="owl", neighbours=0, quiet=True).photos[0]
    assert (dog.label, owl.label) == ("dog", "owl")
    assert dog.prediction == owl.prediction
    assert not np.allclose(dog.heat, owl.heat)
    with pytest.raises(OptionError, match="no such class"):
        hs.explain(probe_run, asked, out=tmp_path / "x", label="fox", quiet=True)
    with pytest.raises(OptionError, match="negative"):
        hs.explain(probe_run, asked, out=tmp_path / "x", neighbours=-1, quiet=True)
    assert not (tmp_path / "x").exists()


def test_bad_photos_are_named_and_a_full_folder_is_kept(
    cli: Callable[..., Any], probe_run: Path, photos: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a photo")
    good = next((photos / "cat").glob("*.png"))
    answer = cli("explain", probe_run, good, tmp_path / "bad.jpg", "--out", tmp_path / "why", "--json", "--quiet")
    assert answer.code == 0, answer
    found = json.loads(answer.out)
    assert list(found["bad"]) == [str(tmp_path / "bad.jpg")]
    assert [Path(p["path"]) for p in found["photos"]] == [good]
    refused(cli("explain", probe_run, good, "--out", tmp_path / "why"), "--overwrite")
    assert cli("explain", probe_run, good, "--out", tmp_path / "why", "--overwrite").code == 0
    with pytest.raises(DataError, match="None"):
        hs.explain(probe_run, [tmp_path / "bad.jpg"], out=tmp_path / "other", quiet=True)
    with pytest.raises(RunError, match="could not be written"):
        hs.explain(probe_run, good, out=tmp_path / "bad.jpg" / "in a file", quiet=True)

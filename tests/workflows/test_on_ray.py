"""Studies and predictions on a Ray cluster of two nodes, one of which is killed in the middle, against the same without
Ray. The nodes are network namespaces where those are permitted; else they differ in ports (``helpers.ray_nodes``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import ray_nodes

import headstart as hs

pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Ray calls clusters on other systems experimental"),
]
SOURCE = str(Path(hs.__file__).parents[1])
RECIPE = """
name: small
title: A small study
images: {drawn: {words: "Any coloured shapes."}}
seeds: 2
every_arm: {backbone: starter, image_size: 32, batch_size: 8, precision: float32}
arms:
  tuned: {strategy: finetune, epochs: 8}
  later: {strategy: probe, from: tuned}
"""
MANY = """
import sys, headstart as hs
run, photos, out, address = sys.argv[1:]
print(hs.predict_shards(run, photos, out, part=3, device="cpu", executor=f"ray:{address}").text)
"""
Ended = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    made = ray_nodes.TwoNodes()
    print(f"\ntwo nodes by {made.kind}")
    yield made
    made.close()


def ended(process: subprocess.Popen[bytes], log: Path) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    try:
        code = process.wait(240)
    finally:
        process.kill()
    return code, log.with_suffix(".out").read_text("utf-8"), log.with_suffix(".err").read_text("utf-8")


def test_a_study_on_two_nodes_of_which_one_is_killed(
    nodes: Any, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for drawing in ("train.report.run_page", "experiment.report.study_report", "experiment.report.write_page"):
        monkeypatch.setattr(f"headstart.workflows.{drawing}", lambda *_, **__: "a page")  # slower than the trainings
    Path("own.yaml").write_text(RECIPE, encoding="utf-8")
    nodes.fresh(SOURCE)
    words = ["-m", "headstart", "study", "own.yaml", "--data", photos, "--weights", weights, "--device", "cpu"]
    process = ray_nodes.begin(nodes, [*words, "--out", "there", "--executor", f"ray:{nodes.address}"], tmp_path / "log")
    ray_nodes.kill_when_busy(nodes, tmp_path / "log", process, "1 of 4")
    code, out, err = ended(process, tmp_path / "log")
    assert code == 0, err
    assert "Ray: 2 nodes, 2 jobs at a time, 1 core each" in err
    assert "raylet" not in (out + err).lower()
    here = hs.study("own.yaml", data=photos, weights=weights, device="cpu", out="here", quiet=True)
    there = hs.study("own.yaml", data=photos, weights=weights, device="cpu", out="there", quiet=True)  # reads it
    assert [row.values for row in there.rows] == [row.values for row in here.rows]
    for result in here.results:
        own, others = (Path(place, "arms", result.job.folder.name) for place in ("here", "there"))
        assert (own / "predictions.csv").read_text() == (others / "predictions.csv").read_text()


def test_predictions_on_two_nodes_of_which_one_is_killed(
    nodes: Any, photos: Path, probe_run: Path, tmp_path: Path
) -> None:
    nodes.fresh(SOURCE)
    many = tmp_path / "many"
    for number in range(8):  # enough parts that the second node is met at work
        shutil.copytree(photos, many / str(number))
    asked = ["-c", MANY, probe_run, many, tmp_path / "there", nodes.address]
    process = ray_nodes.begin(nodes, asked, tmp_path / "log")
    ray_nodes.kill_when_busy(nodes, tmp_path / "log", process, " nodes, ")
    code, out, err = ended(process, tmp_path / "log")
    assert code == 0, err
    assert "288 photos in 96 Parquet files" in out
    here = hs.predict_shards(probe_run, many, tmp_path / "here", part=3, device="cpu", quiet=True)
    there = hs.predict_shards(probe_run, many, tmp_path / "there", part=3, device="cpu", quiet=True)
    assert there.computed == 0
    assert there.frame().equals(here.frame())


def test_a_node_without_headstart_is_named(nodes: Any, photos: Path, weights: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking" / "headstart"
    lacking.mkdir(parents=True)
    (lacking / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'headstart'\")\n")
    nodes.fresh(os.fspath(lacking.parent))
    words = ["-m", "headstart", "compare", photos, "--backbone", "starter", "--weights", weights, "--arms", "probe"]
    out = ["--out", tmp_path / "out", "--executor", f"ray:{nodes.address}"]
    code, _, err = ended(ray_nodes.begin(nodes, [*words, *out], tmp_path / "log"), tmp_path / "log")
    assert code == 2, err
    assert f"{nodes.other}: headstart is not installed there." in err
    assert "Traceback" not in err

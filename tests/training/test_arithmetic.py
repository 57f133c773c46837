"""A training that is resumed computes as it began, and says where it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.core.events import Event, Events, Warned
from headstart.inference.device import Machine
from headstart.training.arithmetic import as_begun

CPU = Machine(torch.device("cpu"), False, "a CPU")
# In: what to do (whole, begin or go on), photos, weights, folder. Ctrl-C stops each training in its second epoch.
CHILD = """
import os, signal, sys
from pathlib import Path
import headstart as hs
from headstart.core.events import EpochEnd, Progress
from headstart.errors import Interrupted

what, photos, weights, out = sys.argv[1:]
if what == "go-on" and hasattr(os, "sched_setaffinity"):  # on one core too
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
settings = {"precision": "float32", "epochs": 3, "batch_size": 8}

def stop(event):
    if what == "begin" and isinstance(event, EpochEnd) and event.row.epoch == 1:
        signal.raise_signal(signal.SIGINT)

def training(name, **options):
    run = Path(out) / name
    try:
        if what == "go-on":
            hs.resume(run, quiet=True)
        else:
            options |= {} if name == "scratch" else {"weights": weights}
            hs.train(photos, out=run, backbone="starter", quiet=True, listener=stop, settings=settings, **options)
    except Interrupted:
        assert what == "begin"

for strategy in ("finetune", "partial", "lp-ft", "scratch"):
    training(strategy, strategy=strategy)
training("head", strategy="probe", head="mlp:16")

def between(event):  # the first training of a comparison, and of a study, has ended
    if what == "begin" and isinstance(event, Progress) and event.task == "trainings" and event.done == 1:
        raise KeyboardInterrupt

Path(out, "own.yaml").write_text(
    "name: own\\nimages: {p: }\\nevery_arm: {backbone: starter, precision: float32, epochs: 2}\\n"
    "arms: {first: {strategy: finetune}, second: {strategy: finetune, from: first}}\\n")
for work in (
    lambda: hs.compare(photos, arms=("finetune", "scratch"), seeds=1, epochs=2, out=Path(out) / "compare", quiet=True,
                       backbone="starter", weights=weights, settings={"precision": "float32"}, listener=between),
    lambda: hs.study(os.path.join(out, "own.yaml"), data=photos, weights=weights, out=Path(out) / "study", quiet=True,
                     listener=between),
):
    try:
        work()
    except Interrupted:
        assert what == "begin"
"""


def child(what: str, threads: int, *words: object) -> None:
    # Threads that spin while they wait take the core that the other needs, wherever something else runs beside.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, what, *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_begun_with_two_threads_and_resumed_with_one_it_ends_with_the_same_bits(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, steps in (("whole", [("whole", 2)]), ("parts", [("begin", 2), ("go-on", 1)]), ("one", [("whole", 1)])):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / folder / "cache"))
        for what, threads in steps:
            child(what, threads, photos, weights, tmp_path / folder)

    def bits(folder: str) -> dict[str, bytes]:
        names = sorted((tmp_path / folder).rglob("model.safetensors"))
        return {str(name.relative_to(tmp_path / folder)): name.read_bytes() for name in names}

    whole, parts, one = map(bits, ("whole", "parts", "one"))
    assert len(whole) == 7
    assert whole == parts
    assert whole["finetune/model.safetensors"] != one["finetune/model.safetensors"]  # the number of threads does matter
    for name in ("all-finetune-0.json", "all-scratch-0.json"):
        kept = [json.loads((tmp_path / w / "compare" / "arms" / name).read_text()) for w in ("whole", "parts")]
        for figures in kept:
            del figures["seconds"]
        assert kept[0] == kept[1]
    assert not list((tmp_path / "parts").rglob("state"))


def heard() -> tuple[list[str], Events]:
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.text)

    return said, Events(listen)


def test_threads_are_as_at_the_beginning_and_afterwards_as_before(tmp_path: Path) -> None:
    said, events = heard()
    before = torch.get_num_threads()
    with as_begun(tmp_path, CPU, events):
        assert torch.get_num_threads() == before
    kept = json.loads((tmp_path / "arithmetic.json").read_text())
    (tmp_path / "arithmetic.json").write_text(json.dumps({**kept, "threads": 3}))
    with contextlib.suppress(KeyError), as_begun(tmp_path, CPU, events):
        assert torch.get_num_threads() == 3
        raise KeyError
    assert torch.get_num_threads() == before
    assert said == []


def test_what_else_has_changed_is_told_in_one_line(tmp_path: Path) -> None:
    said, events = heard()
    with as_begun(tmp_path, CPU, events):
        pass
    kept = json.loads((tmp_path / "arithmetic.json").read_text())
    (tmp_path / "arithmetic.json").write_text(json.dumps({**kept, "torch": "1.0", "processor": "a Z80", "more": "x"}))
    with as_begun(tmp_path, CPU, events):
        pass
    (line,) = said
    assert f"torch: 1.0, now {torch.__version__.split('+')[0]}" in line
    assert "processor: a Z80, now " in line
    assert "openvino" not in line


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"threads": 0}', '{"threads": 1e9}', '{"threads": true}', '{"threads": 99999999}', "7"]
)
def test_a_file_that_cannot_be_used_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "arithmetic.json").write_text(content)
    said, events = heard()
    before: Any = torch.get_num_threads()
    with as_begun(tmp_path, CPU, events):
        assert torch.get_num_threads() == before
    assert json.loads((tmp_path / "arithmetic.json").read_text())["threads"] == before
    assert said == []

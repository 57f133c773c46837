"""One training by several processes: what one process does, by any strategy, and clear words where one is lost."""

from __future__ import annotations

import csv
import importlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.ranks import SECONDS, Ended, ended, free_port, start, together
from safetensors.torch import load_file

import headstart as hs
from headstart.core.array_store import INDEX, RowStore
from headstart.core.events import EpochEnd, Event, Events, Message
from headstart.core.world import World
from headstart.data.loading import find_photos
from headstart.errors import DataError, Interrupted, OptionError
from headstart.training import preparation
from headstart.training.config import TrainOptions
from headstart.workflows.train.devices import to_start

pytestmark = pytest.mark.slow
# Statistics that move make a float32 training part from another by rounding alone; tests/training/test_exchange.py
# compares them in float64.
KEPT = ("--set", "batchnorm=kept")
STRATEGIES: dict[str, tuple[str, ...]] = {
    "probe": (), "probe of a cut": ("--cut", "layer3"), "a trained head": ("--head", "mlp:8", "--dropout", "0.5"),
    "folds": ("--folds", "3"), "partial": KEPT, "finetune": (*KEPT, "--head", "mlp:8", "--dropout", "0.3,0.2"),
    "lp-ft": (), "scratch": KEPT, "auto": ("--epochs", "2"),
}  # fmt: skip
SAME = ("probe", "probe of a cut", "a trained head", "folds")


def words(photos: Path, weights: Path, out: Path, name: str, *more: object) -> list[object]:
    strategy = name if name in ("partial", "finetune", "lp-ft", "scratch", "auto") else "probe"
    first = () if strategy == "scratch" else ("--weights", weights)
    return [
        "train", photos, "--backbone", "starter", *first, "--precision", "float32", "--device", "cpu", "--out", out,
        "--strategy", strategy, "--quiet", *(() if name == "auto" else ("--epochs", 3)), *STRATEGIES[name], *more,
    ]  # fmt: skip


def losses(run: Path) -> list[float]:
    with (run / "history.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) for name in ("train_loss", "val_loss")]


def furthest(one: Path, other: Path) -> float:
    mine, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert mine.keys() == others.keys()
    return max(float((mine[name].double() - others[name].double()).abs().max()) for name in mine)


# Several commands in one process, which imports everything once. In: commands as JSON.
COMMANDS = """
import json, sys
from headstart.cli.app import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["headstart", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


@pytest.fixture(scope="module")
def runs(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Size → a folder with a run of each strategy by so many processes; three share no cache."""
    place = tmp_path_factory.mktemp("sizes")
    (place / "commands.py").write_text(COMMANDS)
    for size in (1, 2, 3):
        asked = [[*map(str, words(photos, weights, place / str(size) / name, name))] for name in STRATEGIES]
        port, processes = free_port(), []
        for rank in range(size):
            cache = {"HEADSTART_CACHE": str(place / f"cache{size}{rank if size == 3 else ''}")}
            processes += start([place / "commands.py", json.dumps(asked)], [rank], size, port, cache)
        done = ended(processes)
        assert [one.code for one in done] == [0] * size, done
        assert done[0].out.count("report: ") == len(STRATEGIES)
        assert [one.out + one.err for one in done[1:]] == [""] * (size - 1)
    return {size: place / str(size) for size in (1, 2, 3)}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_processes_end_as_one(name: str, size: int, runs: dict[int, Path]) -> None:
    one, run = runs[1] / name, runs[size] / name
    assert losses(run) == pytest.approx(losses(one), abs=1e-5)
    assert furthest(one, run) == 0 if name in SAME else furthest(one, run) <= 1e-4
    assert name not in SAME or (run / "predictions.csv").read_bytes() == (one / "predictions.csv").read_bytes()


def test_without_a_shared_cache_each_process_has_every_row(runs: dict[int, Path]) -> None:
    rows = [sorted((runs[3].parent / f"cache3{rank}" / "rows").glob("features-*")) for rank in range(3)]
    names = [[store.name for store in of_one] for of_one in rows]
    assert names[0] == names[1] == names[2] != []
    for stores in zip(*rows, strict=True):
        first, second, third = (set(RowStore(store.name, kind_of(store), store.parent)._rows) for store in stores)
        assert second == third <= first
        assert len(first) - len(second) in (0, 6)  # the photos of test, which rank 0 may read alone, at the end


def kind_of(store: Path) -> str:
    """Maps of a boundary are kept as bfloat16, features as float32."""
    content = next(store.glob(f"*{INDEX}")).read_bytes()
    with np.load(io.BytesIO(content[content.index(b"PK") :]), allow_pickle=False) as saved:
        return str(saved["dtype"])


# -- interruptions --

RESUMED = """
import os, signal, sys
from pathlib import Path
import headstart as hs
from headstart.core.events import EpochEnd
from headstart.errors import Interrupted

photos, weights, run, after = sys.argv[1:]
heard = 0

def listen(event):
    global heard
    heard += isinstance(event, EpochEnd)
    if isinstance(event, EpochEnd) and event.row.epoch == int(after):
        signal.raise_signal(signal.SIGINT)

settings = {"epochs": 4, "batch_size": 9, "precision": "float32", "batchnorm": "kept"}
try:
    if Path(run, "request.json").exists():
        hs.resume(run, quiet=True, listener=listen)
    else:
        hs.train(photos, out=run, backbone="starter", weights=weights, strategy="finetune", device="cpu", quiet=True,
                 listener=listen, settings=settings)
    print("whole", heard)
except Interrupted as error:
    print("stopped", heard)
"""


def test_a_training_goes_on_in_another_number_of_processes(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Two stop after the first epoch, one goes on to the second, three end it: as one process that was not stopped."""
    script = tmp_path / "part.py"
    script.write_text(RESUMED)

    def part(size: int, run: str, after: int) -> list[Ended]:
        return together([script, photos, weights, tmp_path / run, after], size)

    assert part(1, "whole", 0)[0].out == "whole 4\n"
    first, second, third = (part(size, "run", after) for size, after in ((2, 1), (1, 2), (3, 0)))
    assert [one.code for one in (*first, *second, *third)] == [0] * 6, third
    assert (first[0].out, second[0].out) == ("stopped 1\n", "stopped 1\n")
    assert third[0].out == "whole 2\n"
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    assert furthest(tmp_path / "run", tmp_path / "whole") <= 1e-4


LONG = ("--epochs", 400, "--batch-size", 9)


def wait_for(what: Path, processes: list[Any]) -> None:
    end = time.monotonic() + SECONDS
    while not what.exists() and time.monotonic() < end and all(one.poll() is None for one in processes):
        time.sleep(0.05)
    time.sleep(6)  # the first steps
    assert all(one.poll() is None for one in processes)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize(("lost", "how"), [(1, "KILL"), (0, "KILL"), (1, "STOP")])
def test_a_rank_that_is_lost_is_named(lost: int, how: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    processes = start(words(photos, weights, run, "finetune", *LONG), range(2), 2, free_port())
    wait_for(run / "state" / "plan.json", processes)
    processes[lost].send_signal(getattr(signal, f"SIG{how}"))
    other = processes[1 - lost]
    _, said = other.communicate(timeout=SECONDS)
    processes[lost].kill()
    assert other.returncode == 2
    assert "Traceback" not in said
    assert f"Rank {lost} of 2" in said, said
    assert f"process {processes[lost].pid}" in said
    assert "--resume goes on" in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_a_signal_to_one_process_stops_all_at_a_batch(photos: Path, weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    longer = ("--epochs", 4000, "--batch-size", 9)
    processes = start(words(photos, weights, run, "finetune", *longer), range(2), 2, free_port())
    wait_for(run / "state" / "finetune" / "last.safetensors", processes)  # before the first step each would just end
    processes[1].send_signal(signal.SIGINT)
    done = ended(processes)
    assert [one.code for one in done] == [130, 130], done
    assert f"nothing in {run} is lost" in done[0].err
    assert done[1].err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no sh")
def test_pods_that_start_again_resume(tmp_path: Path) -> None:
    """The command of deploy/train-kubernetes.yaml."""
    text = (Path(__file__).parents[3] / "deploy" / "train-kubernetes.yaml").read_text(encoding="utf-8")
    _, job = yaml.safe_load_all(text)
    shell, flag, script = job["spec"]["template"]["spec"]["containers"][0]["command"]
    script = script.replace("/data", str(tmp_path)).replace("exec python", "echo")

    def said() -> str:
        return subprocess.run([shell, flag, script], capture_output=True, text=True, check=True).stdout.strip()

    assert said() == f"-m headstart train {tmp_path}/photos --out {tmp_path}/run --strategy finetune"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "request.json").touch()
    assert said() == f"-m headstart train --resume {tmp_path}/run"


# -- what is wrong --


def test_data_that_differs_is_named(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Each process reads the photos by the same path, which need not be the same photos on every host."""
    script = tmp_path / "other.py"
    script.write_text(
        "import sys, os\nfrom headstart.training import preparation\nown = preparation.facts_of\n"
        "from dataclasses import replace\n"
        "if os.environ['RANK'] == '1':\n"
        "    preparation.facts_of = lambda *a: replace(own(*a), photos=3000)\n"
        "from headstart.cli.app import main\nmain()\n"
    )
    done = together([script, *words(photos, weights, tmp_path / "run", "finetune")], 2)
    assert [one.code for one in done] == [2, 2]
    assert "Rank 1 has other --batch-size than rank 0" in done[0].err
    assert not (tmp_path / "run").exists()


def test_more_processes_than_photos_of_a_batch(photos: Path, weights: Path, tmp_path: Path) -> None:
    done = together(words(photos, weights, tmp_path / "run", "finetune", "--batch-size", 2), 3)
    assert {one.code for one in done} == {2}
    assert "3 processes, and a batch has 2 photos" in done[0].err


@pytest.mark.slow
def test_a_mistake_is_told_once(photos: Path, weights: Path, tmp_path: Path) -> None:
    done = together(["train", tmp_path / "nowhere", "--out", tmp_path / "run"], 2)
    assert [one.code for one in done] == [2, 2]
    assert done[0].err.count("no such folder or file") == 1
    assert done[1].err == ""


# -- devices --


def test_devices_start_processes(runs: dict[int, Path], photos: Path, weights: Path, tmp_path: Path) -> None:
    one, heard = runs[1] / "finetune", list[Event]()
    run = hs.train(
        photos, out=tmp_path / "run", devices=2, backbone="starter", weights=str(weights), strategy="finetune",
        device="cpu", quiet=True, listener=heard.append, head="mlp:8", dropout=(0.3, 0.2),
        settings={"epochs": 3, "precision": "float32", "batchnorm": "kept"},
    )  # fmt: skip
    assert furthest(one, run.path) <= 1e-4
    assert [event.row.epoch for event in heard if isinstance(event, EpochEnd)] == [1, 2, 3]
    assert any("2 processes share this training" in event.text for event in heard if isinstance(event, Message))
    assert not (run.path / "state").exists()


def test_several_processes_are_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(OptionError, match="`devices=2`: training in several processes does not work on Windows"):
        to_start(2)
    assert to_start(1) == to_start(None) == 0


def test_devices_that_make_no_sense(photos: Path, cli: Callable[..., Any], refused: Callable[..., None]) -> None:
    refused(cli("train", photos, "--devices", 0), "--devices 0")
    with pytest.raises(OptionError, match="loss"):
        hs.train(photos, devices=2, loss=torch.nn.CrossEntropyLoss(), strategy="finetune", quiet=True)
    with pytest.raises(OptionError, match="memory"):
        hs.train(([], []), devices=2, quiet=True)


@pytest.mark.slow
def test_a_mistake_in_a_process_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        hs.train(tmp_path / "nowhere", out=tmp_path / "run", devices=2, quiet=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_the_processes_of_devices(
    number: int, code: int, photos: Path, weights: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "headstart", *map(str, words(photos, weights, run, "finetune", *LONG))]
    parent = subprocess.Popen([*command, "--devices", "2"], stderr=subprocess.PIPE, text=True)
    wait_for(run / "state" / "plan.json", [parent])
    parent.send_signal(number)
    _, said = parent.communicate(timeout=SECONDS)
    assert parent.returncode == code, said
    assert "is lost" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_ctrl_c_is_heard_while_an_event_is_passed_on(photos: Path, weights: Path, tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, EpochEnd) and event.row.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises((Interrupted, KeyboardInterrupt)) as found:  # the latter would end pytest
        hs.train(
            photos, out=tmp_path / "run", devices=2, backbone="starter", weights=str(weights), strategy="finetune",
            device="cpu", quiet=True, listener=listen, settings={"epochs": 400, "batch_size": 9},
        )  # fmt: skip
    assert "is lost" in str(found.value)
    assert (tmp_path / "run" / "state" / "finetune" / "last.safetensors").exists()


def test_where_one_process_cannot_be_started_none_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, real = list[subprocess.Popen[str]](), subprocess.Popen

    def popen(*words: Any, **more: Any) -> subprocess.Popen[str]:
        if started:
            raise OSError(11, "Resource temporarily unavailable")
        started.append(real(*words, **more))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="Resource"):
        hs.train(tmp_path / "nowhere", out=tmp_path / "run", devices=2, quiet=True)
    assert started[0].poll() is not None


def test_the_run_of_devices_is_opened_on_the_device_asked_for(probe_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, opened = importlib.import_module("headstart.workflows.train.train"), list[str]()
    monkeypatch.setattr(module, "run_on", lambda *_: probe_run)
    monkeypatch.setattr(module, "open_run", lambda path, device="auto": opened.append(device))
    hs.train("photos", devices=2, device="cpu", quiet=True)
    asked = json.loads((probe_run / "request.json").read_text())["options"]["device"]
    hs.resume(probe_run, devices=2, quiet=True)
    assert opened == ["cpu", asked]


def test_several_processes_do_not_each_compute_all_features(
    photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they read, they do not know yet which photos the others have."""
    visitors = list[int]()
    options = TrainOptions(str(photos), backbone="starter", weights=str(weights), device="cpu")
    manifest, several = find_photos(options.data, Events()), World()
    real = preparation.read

    def watched(*given: Any) -> Any:
        visitors.append(len(given[-1]))
        return real(*given)

    monkeypatch.setattr(preparation, "read", watched)
    several.size = 2
    for world in (World(), several):
        monkeypatch.setattr(preparation, "here", lambda world=world: world, raising=False)
        preparation.read_for(options, manifest, Events())
    assert visitors == [1, 0]

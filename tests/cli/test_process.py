"""A command as a process: streams that are closed, full or left by their reader, and signals to end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import said_by

import headstart as hs
from headstart.cli.app import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells, devices and signals are others there")

HEADSTART = f"{shlex.quote(sys.executable)} -m headstart"
CLOSED = (">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-")
FULL = (">/dev/full", "2>/dev/full")
LEFT = ("| true", "2>&1 | true")


def shell(words: str, redirection: str, folder: Path) -> tuple[int, str]:
    """(exit code of the command, what it wrote on standard error where that was not redirected)."""
    told = folder / "told.txt"
    kept = "" if "2>" in redirection else f"2>{shlex.quote(str(told))}"
    script = f"{HEADSTART} {words} {kept} {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return done.returncode, (told.read_text(encoding="utf-8") if kept else "") + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "full"),
    [("--version", 0, 2), ("train nowhere --json", 2, 2), ("nonsense", 2, 2)],
)
def test_no_stream_ends_a_command_in_a_traceback(words: str, code: int, full: int, tmp_path: Path) -> None:
    for redirection in (*CLOSED, *FULL, *LEFT):
        found, said = shell(words, redirection, tmp_path)
        assert "Traceback" not in said, redirection
        assert "Exception ignored" not in said, redirection
        assert found == (full if redirection == ">/dev/full" else code), redirection


def test_a_full_disk_is_told_in_one_message(tmp_path: Path) -> None:
    code, said = shell("study animals --show", ">/dev/full", tmp_path)
    assert code == 2
    assert said.startswith("headstart: standard output: No space left on device.")
    assert len(said.splitlines()) <= 2


@pytest.mark.slow
def test_with_every_stream_closed_files_hold_what_belongs_in_them(
    photos: Path, weights: Path, probe_run: Path, tmp_path: Path
) -> None:
    """Else the first file that is opened is standard output, and gets what is printed."""
    words = f"--backbone starter --weights {weights} --strategy probe --precision float32 --out {tmp_path / 'run'}"
    code, _ = shell(f"train {photos} {words}", "<&- >&- 2>&-", tmp_path)
    assert code == 0
    for path in (tmp_path / "run").glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (probe_run / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_predictions_stop_when_their_reader_leaves(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    for form in ("", "--jsonl", "--csv"):
        code, said = shell(f"predict {probe_run} {photos} {form}", "| head -1", tmp_path)
        assert code == 0
        assert not said or said.startswith("36 photos\nclass ")  # the counts, where all was written before it left


# -- signals --


def heed_signals() -> None:
    """As in a terminal: under nohup, or behind a shell's &, tests inherit that SIGHUP or SIGINT is ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(*words: object, until: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A command that has said something."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env={**os.environ, **(environment or {})},
        preexec_fn=heed_signals if os.name == "posix" else None,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:
        if until in line:
            return process
    raise AssertionError(f"it ended with {process.wait()} and never said {until!r}")


def ended(process: subprocess.Popen[str], *signals: signal.Signals) -> tuple[int, str]:
    for each in signals:
        process.send_signal(each)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said
    return process.returncode, said


@pytest.fixture
def long_training(photos: Path, weights: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """A fine-tune that would take minutes, in its first epochs."""
    words = ("--backbone", "starter", "--weights", weights, "--strategy", "finetune", "--precision", "float32")
    return lambda: started("train", photos, *words, "--epochs", 5000, "--out", tmp_path / "run", until="epoch   2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (getattr(signal, "SIGHUP", 1), 129)]
)
def test_a_training_that_is_told_to_end_stops_at_a_batch_and_says_how_to_go_on(
    long_training: Callable[[], subprocess.Popen[str]], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    found, said = ended(long_training(), number)
    assert found == code
    run = tmp_path / "run"
    assert f"headstart: Stopped; nothing in {run} is lost.\n  Go on with headstart train --resume {run}." in said
    assert (run / "state" / "finetune" / "last.safetensors").exists()
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.slow
def test_two_signals_end_it_at_once_in_one_message(
    long_training: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    found, said = ended(long_training(), signal.SIGINT, signal.SIGTERM)
    assert found in (130, 143, -signal.SIGINT)  # the second may come when it is ending already
    assert said.count("headstart: ") <= 1
    assert (tmp_path / "run" / "request.json").exists()


@pytest.mark.parametrize("command", ["compare", "study", "check", "forecast", "recommend"])
def test_every_long_command_ends_in_one_message(photos: Path, weights: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nimages: {p: }\nevery_arm: {backbone: starter, epochs: 5000}\narms: {a: {strategy: finetune}}\n"
    )
    out = ("--out", tmp_path / "out")
    words: dict[str, tuple[tuple[Any, ...], str]] = {
        "compare": ((photos, "--backbone", "starter", "--weights", weights, "--epochs", 5000, *out), "36 photos"),
        "study": ((tmp_path / "own.yaml", "--data", photos, "--weights", weights, *out), "headstart study"),
        "check": ((photos, "--backbone", "starter", *out), "headstart check"),
        "forecast": ((photos, "--backbone", "starter"), "headstart forecast"),
        "recommend": ((photos,), "headstart recommend"),
    }  # fmt: skip
    given, until = words[command]
    found, said = ended(started(command, *given, until=until), signal.SIGTERM)
    assert found == 143, said
    assert said.count("headstart: ") == 1, said
    assert any(word in said for word in ("headstart: Stopped; ", "headstart: Interrupted."))


@pytest.mark.slow
def test_what_a_shell_runs_in_the_background_can_be_ended(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Ctrl-C is ignored there, and a request to end must not be."""
    words = (
        f"train {photos} --backbone starter --weights {weights} --strategy finetune --epochs 5000 --out {tmp_path}/run"
    )
    script = f"{HEADSTART} {words} 2>{tmp_path}/told.txt & echo $!; wait $!; echo $?"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    number = int(process.stdout.readline())
    while "epoch   1" not in (Path(tmp_path, "told.txt").read_text() if Path(tmp_path, "told.txt").exists() else ""):
        assert process.poll() is None
    os.kill(number, signal.SIGTERM)
    assert process.communicate(timeout=60)[0].strip() == "143"
    assert "Go on with headstart train --resume" in (tmp_path / "told.txt").read_text()


# -- words on a terminal, and completion --


def test_a_message_is_broken_between_words_and_a_command_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.cli.process import wrapped

    monkeypatch.setenv("COLUMNS", "60")
    long = "headstart: " + "these words are too many for one line of a terminal " * 3
    lines = wrapped(f"{long.strip()}\n    indented {'words ' * 15}").split("\n")
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == " ".join(f"{long} indented {'words ' * 15}".split())
    assert lines[-1].startswith("    words")
    command = f"  Go on with headstart train --resume {'folder/' * 12}run."
    assert wrapped(command) == command
    path = f"headstart: {'folder/' * 12}photo.jpg exists."
    assert "folder/" * 12 + "photo.jpg" in wrapped(path)


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str, number: int) -> str:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(number), "_HEADSTART_COMPLETE": "complete_bash"}
        code = "import sys; sys.argv = ['headstart']; from headstart.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, timeout=120
        )
        return done.stdout.strip()

    assert completed("headstart pre", 1) == "predict"
    assert completed("headstart predict --sort", 2) == "--sort-into"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], ""), (["train", "photos"], ""),  # rank 0 tells the same
        (["predict", "nowhere", "photos"], "nowhere"), (["describe", "nowhere"], "nowhere"),
    ],
)  # fmt: skip
def test_only_a_training_is_silent_after_the_first_process(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pod or a cluster's shell has such variables whatever runs there."""

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hs, "train", stopped)
    monkeypatch.setattr(sys, "argv", ["headstart", *words])
    code, out, err = said_by(main, capsys)
    assert code == (130 if words[1:] == ["photos"] else 2)
    assert out == ""
    assert told in err if told else err == ""


@pytest.mark.parametrize("command", ["compare", "study", "tune"])
def test_several_processes_share_one_training_and_not_several(
    command: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    recipe = "few-shot" if command == "study" else str(photos)
    monkeypatch.setattr(sys, "argv", ["headstart", command, recipe, "--quiet"])
    code, out, err = said_by(main, capsys)
    assert (code, out) == (2, "")
    assert "This is process 2 of 2, says WORLD_SIZE" in err

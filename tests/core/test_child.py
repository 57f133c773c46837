"""Processes that headstart starts: the code that they run, and what reaches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.core.child import apart, command, environment


def test_a_child_runs_the_code_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "json.py").write_text("raise SystemExit('the working folder was read')")
    (tmp_path / "here" / "own.py").write_text("import json, os, sys\nprint(sys.argv[1:], os.environ['MORE'])")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    done = subprocess.run(
        command("own", "a", "b"), env=environment(MORE="x"), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("['a', 'b'] x\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX's")
def test_a_child_is_in_a_session_of_its_own() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, **apart())
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        child.communicate(b"\n", timeout=60)

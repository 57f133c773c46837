"""What killed processes left is deleted by the next one that writes there; what others are writing is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.core.array_store import RowStore
from headstart.core.files import work_folder, write_json
from headstart.core.temporary import delete_left, ending

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="whether a process runs is asked in another way there")

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from headstart.core.array_store import RowStore
from headstart.core.files import replacing, work_folder
folder = Path(sys.argv[1])
store = RowStore("k", "uint8", folder)
with replacing(folder / "a.json") as temporary, work_folder(folder) as work, store.writing() as w:
    temporary.write_text("half of")
    (work / "draft").write_text("half of")
    w.add("digest", np.zeros(3, np.uint8))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_next_writer_leaves_its_own_alone(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4  # with the lock of the folder
    write_json(tmp_path / "a.json", 1)
    with work_folder(tmp_path):
        pass
    with RowStore("k", "uint8", tmp_path).writing():
        pass
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["a.json"]


def test_what_is_alive_of_another_machine_or_nobodys_stays(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    machine = ending().partition("-")[0]
    names = [
        f".a{ending()}", f".a{machine}-{other.pid}.tmp", ".a.00000000-999999999.tmp", ".a.999999999.tmp", "a.tmp",
        f".a{machine}-999999999.tmp.txt", f".b{machine}-999999999.tmp",
    ]  # fmt: skip
    for name in [*names, f".a{machine}-999999999.tmp"]:
        (tmp_path / name).write_text("")
    try:
        delete_left(tmp_path, ".a.")
        assert sorted(os.listdir(tmp_path)) == sorted(names)
    finally:
        other.communicate(b"\n")
    delete_left(tmp_path / "nowhere")

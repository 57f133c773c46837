"""``headstart studio`` as a command."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import HeadstartError, OptionError
from headstart.serving.sockets import listen


def test_it_answers_without_torch(studio: Any) -> None:
    with urllib.request.urlopen(studio.address, timeout=30) as page:
        assert b"headstart studio" in page.read()
    modules = "import sys, headstart.workbench.app, headstart.workbench.server; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=str(port)):
            hs.studio(projects=tmp_path, port=port, browser=False)
        free = listen("127.0.0.1", port, tries=20)
        assert free.getsockname()[1] > port
        free.close()


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(HeadstartError):
        hs.studio(tmp_path / "empty", projects=tmp_path / "projects", browser=False)
    assert not (tmp_path / "projects").exists()

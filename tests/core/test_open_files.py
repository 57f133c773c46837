"""The limit of open files: raised as far as the system allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
from headstart.core.open_files import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard}))
print(raise_open_files({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("hard", "wanted", "then"), [(600, 400, 400), (300, 400, 300), (300, 50, 100)])
def test_the_limit_is_raised_as_far_as_the_system_allows(hard: int, wanted: int, then: int) -> None:
    code = CODE.format(hard=hard, wanted=wanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(then)] * 2

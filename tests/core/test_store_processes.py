"""Several processes on one store, one of which keeps damaging it: rows are right or computed again, never wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINES = """
import contextlib, logging, sys
import numpy as np
from pathlib import Path
from headstart.core.array_store import RowStore
from headstart.core.eviction import trim

root, seed = Path(sys.argv[1]), int(sys.argv[2])
logging.getLogger("headstart").setLevel(logging.ERROR)
rng = np.random.default_rng(seed)
digests = [f"{n:04d}" for n in range(40)]
for turn in range(60):
    store = RowStore("k", "float32", root / "rows")
    missing = store.missing(digests)
    if missing:
        with store.writing() as writer:
            for i in missing:
                writer.add(digests[i], np.full(2000, i, np.float32), i)
    assert (store.gather(digests) == np.arange(40, dtype=np.float32)[:, None]).all()
    if seed == 0:
        for path in sorted((root / "rows" / "k").glob("*.values")) + sorted((root / "rows" / "k").glob("*.index")):
            if rng.random() < 0.3:  # another file of that name: the mapped one stays whole
                with contextlib.suppress(FileNotFoundError):
                    content = bytearray(path.read_bytes())
                    content[int(rng.integers(len(content)))] ^= 255
                    path.with_suffix(".new").write_bytes(content)
                    path.with_suffix(".new").replace(path)
    if seed == 1:
        trim(cache=root, limit=int(rng.integers(0, 400_000)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that is mapped")
def test_processes_that_damage_evict_and_read_one_store(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", LINES, str(tmp_path), str(seed)], stderr=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    told = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(told)

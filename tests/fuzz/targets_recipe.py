"""What fuzzing throws at recipes: any bytes as a recipe's file, and as the change of one.

A target takes bytes and a folder, and returns where they ended in a recipe or in one clear message; it raises where
they ended in anything else, took long, or made more trainings than a study has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from helpers.recipes import BIG, HEAD, WRONG

from headstart.core.text import json_text
from headstart.errors import HeadstartError
from headstart.workflows.experiment.catalogue import load, shipped
from headstart.workflows.experiment.jobs import assign_paths, make_jobs
from headstart.workflows.experiment.recipe import MAX_TRAININGS

SECONDS = 2.0  # of this thread's own work, so that other work on the machine does not count
LONGEST_LINE = 1000  # of a message: names in it are cut short


def recipe(content: bytes, folder: Path) -> None:
    """``content`` is the file of a recipe."""
    (folder / "own.yaml").write_bytes(content)
    _read(folder)


def setting(content: bytes, folder: Path) -> None:
    """``content`` is what follows ``--set``."""
    (folder / "own.yaml").write_text(f"{HEAD}arms: {{a: {{strategy: probe}}, b: }}\nquick: {{epochs: 1}}\n", "utf-8")
    _read(folder, content.decode("utf-8", "surrogateescape"))


def _read(folder: Path, *settings: str) -> None:
    began = time.thread_time()
    try:
        found = load(str(folder / "own.yaml"), settings, quick=True)
        places = assign_paths(found, {name: str(folder) for name in found.images})
        jobs = make_jobs(found, places, {}, folder / "out")
        assert len(jobs) <= MAX_TRAININGS
        json_text(found.raw)  # study.json holds it
    except HeadstartError as error:
        if max(map(len, str(error).splitlines())) > LONGEST_LINE:
            raise AssertionError(f"a message too long to read: {str(error)[:5000]}") from error
    assert time.thread_time() - began < SECONDS


TARGETS: dict[str, Callable[[bytes, Path], None]] = {"recipe": recipe, "recipe_setting": setting}
CORPUS: dict[str, list[bytes]] = {
    "recipe": [
        *(text.encode() for text, _ in WRONG.values()), *((HEAD + text).encode() for text, _ in BIG.values()),
        *(file.text.encode() for file in shipped().values()), b"", b"\xef\xbb\xbf" + HEAD.encode(),
        f"{HEAD}arms: {{a: {{note: 2024-01-01}}, no: , 0777: }}\n".encode(), "name: größe".encode("latin-1"),
        f"{HEAD}every_arm: &all {{epochs: 3}}\narms: {{a: {{<<: [*all, {{lr: 1e-3}}]}}}}\n".encode(),
        "name: own".encode("utf-16"), b"? " * 30_000, b"- " * 30_000, b"&a " * 30_000, b"{a: " * 20_000,
        b"[a, " * 20_000, b"'" * 90_000, b"a: |\n" + b" x\n" * 30_000, b"%YAML 9.9\n---\n", b"a: " * 30_000,
        *(f"{HEAD}arms: {{a: }}\nseeds: {digits * 60_000}\n".encode() for digits in ("9", "0x", "0xf", "1_", "1:")),
        f"{HEAD}arms: {{a: {{seeds: {':'.join(['59'] * 30_000)}}}}}".encode(),
        f"{HEAD}arms: {{a: {{cut: [{', '.join(f'layer{n}' for n in range(4000))}]}}}}".encode(),
        f"{HEAD}arms: {{a: , b: }}\npairs: [{', '.join(['[a, c]'] * 3000)}]".encode(),
        f"{HEAD}arms: {{{', '.join(f'a{n}: {{from: a{(n + 1) % 100}}}' for n in range(100))}}}".encode(),
        (f"{HEAD}arms: {{" + ", ".join(
            f"a{n}: {{shots: [{', '.join(map(str, range(1, 60)))}]}}" for n in range(90)) + "}").encode(),
    ],
    "recipe_setting": [
        b"epochs=3", b"a.shots=[1, 2]", b"seeds=10000000", b"test_photos=.inf", b"a.epochs=!!python/object:os.x []",
        b"=", b".=", b"a.=1", b"\0=1", b"\xff=\xff", b"epochs=" + b"[" * 5000, b"x" * 9000 + b"=1", b"epochs=1e999",
        b"shots=&a [*a]", b"a.from=a", b"b.head=mlp:9,9", b"a.mistakes=[sigmoid]", b"images=q", b"quick.epochs=3",
    ],
}  # fmt: skip

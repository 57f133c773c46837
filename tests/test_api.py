"""``import headstart``: quick, and its names stay what they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headstart as hs

FUNCTIONS = ("train", "resume", "open_run", "compare", "predict", "evaluate", "describe", "backbones", "study")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_name_is_the_function_though_a_subpackage_has_it(name: str) -> None:
    from headstart.evaluation import metrics
    from headstart.models import stages
    from headstart.training import trainer as loop

    assert all((stages, metrics, loop))  # imported before
    for _ in range(2):
        assert callable(getattr(hs, name))
        assert getattr(hs, name).__name__ == name


def test_all_names_are_listed_and_others_are_not_there() -> None:
    assert set(FUNCTIONS) <= set(hs.__all__)
    with pytest.raises(AttributeError, match="trian"):
        hs.trian  # noqa: B018


@pytest.mark.parametrize("first", ["predict", "train", "evaluate"])
def test_in_a_fresh_process_too(first: str) -> None:
    code = f"import headstart as hs; hs.{first}; assert all(callable(getattr(hs, n)) for n in {FUNCTIONS})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, headstart, headstart.cli.app; print(sorted({'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

"""What a command waits for before it begins: no library is imported that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# timm imports all of its models and torchvision, torchvision imports torch's compiler, and that sympy: two seconds of
# work together. Lightning, for the epoch loop alone, costs another one.
NEVER = {"timm", "torchvision", "torch._dynamo", "sympy", "huggingface_hub", "lightning", "sklearn", "scipy"}
REPORT = {"matplotlib", "jinja2"}
RUNNER = """
import gc, json, sys
from headstart.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["headstart", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()
print()
print(json.dumps(sorted(sys.modules)))
"""


def imported_by(*commands: list[str]) -> set[str]:
    """The names of all modules that a fresh process holds after these commands."""
    done = subprocess.run([sys.executable, "-c", RUNNER, json.dumps(commands)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_describing_and_predicting_need_neither_timm_nor_what_reports_are_made_with(
    probe_run: Path, photos: Path
) -> None:
    photo = next(photos.rglob("*.png"))
    found = imported_by(["describe", str(probe_run)], ["predict", str(probe_run), str(photo)])
    assert "torch" in found
    assert not (NEVER | REPORT) & found


@pytest.mark.slow
def test_a_probe_needs_no_timm_and_no_epoch_loop(photos: Path, weights: Path, tmp_path: Path) -> None:
    asked = ["--backbone", "starter", "--weights", str(weights), "--strategy", "probe", "--out", str(tmp_path / "run")]
    found = imported_by(["train", str(photos), *asked, "--quiet"])
    assert found >= REPORT
    assert not (NEVER - {"scipy"}) & found  # its cosine transform is needed the first time that photos are read
    again = imported_by(["train", str(photos), *asked, "--quiet", "--overwrite"])
    assert not NEVER & again


def test_torchvisions_resnets_are_made_without_timm() -> None:
    making = "from headstart.models.factory import create; create('resnet18', pretrained=False)"
    code = f"import sys; {making}; print(sorted({NEVER!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

"""What is published carries what it must: metadata, addresses, the citation, and a wheel with its data."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helpers.scripts import script

from headstart import __version__

ROOT = Path(__file__).resolve().parents[2]
DATA = {
    "models/starter.safetensors", "py.typed", "reporting/templates/style.css", "serving/page/docs.html.j2",
    "reporting/templates/page.js", "workflows/digits.npz", "workflows/experiment/recipes/animals.yaml",
    "workflows/export/page/sw.js", "workflows/train/run.html.j2",
}  # fmt: skip


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


@pytest.fixture(scope="module")
def set_address() -> ModuleType:
    return script("set_address")


def test_the_citation_has_the_version_and_licence(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]


def test_workflows_test_every_python_that_the_classifiers_name(project: dict[str, Any]) -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    named = {c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c}
    assert set(yaml.safe_load(text)["jobs"]["tests"]["strategy"]["matrix"]["python"]) == named
    assert f">={min(named, key=lambda v: int(v[2:]))}" == project["requires-python"]


def test_lint_runs_what_make_check_runs() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["jobs"]["lint"]
    run = {step.get("run", "").removeprefix("python ") for step in job["steps"]}
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck:")[1].split("\n\n")[0]
    wanted = [line.strip().removeprefix("$(PY) ").removeprefix("$(BIN)/") for line in rule.splitlines()[1:]]
    assert {step for step in wanted if "pytest" not in step} <= run


def test_a_release_has_no_relative_link_and_no_placeholder(set_address: ModuleType, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CITATION.cff", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    assert set_address.main(["https://example.org/me/headstart", "v1.2.3"], tmp_path) == 0
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "](https://example.org/me/headstart/raw/v1.2.3/docs/images/report.png)" in readme
    assert "](https://example.org/me/headstart/blob/v1.2.3/docs/tutorial.md)" in readme
    assert "](docs/" not in readme
    for name in ("pyproject.toml", "CITATION.cff"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert '"https://headstart.example' not in text
        assert "https://example.org/me/headstart" in text


@pytest.mark.parametrize("arguments", [[], ["https://example.org/me/headstart"], ["example.org/me", "v1"]])
def test_an_address_that_is_none_changes_nothing(
    set_address: ModuleType, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("[a](b)", encoding="utf-8")
    assert set_address.main(arguments, tmp_path) == 2
    assert "usage" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "[a](b)"


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(tmp_path: Path) -> None:
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("setuptools is older than the one that builds headstart")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        p.relative_to(source / "src").as_posix() for p in (source / "src" / "headstart").rglob("*") if p.is_file()
    }
    assert held == wanted
    assert {f"headstart/{name}" for name in DATA} <= held

"""``import headstart``: quick, its names stay what they are, and an editor and mypy see every option."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

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


PUBLIC = [name for name in hs.__all__ if inspect.isfunction(getattr(hs, name))]
LONG = "train resume compare study check recommend forecast evaluate explain export push demo serve".split()
SECTION = re.compile(r"^(Args|Returns|Raises):$", re.M)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_has_a_line_in_the_docstring(name: str) -> None:
    text = inspect.getdoc(getattr(hs, name)) or ""
    _, *rest = SECTION.split(text)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    told = re.findall(r"^    (\*{0,2}\w+): \S", sections.get("Args", ""), re.M)
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    parameters = inspect.signature(getattr(hs, name)).parameters.values()
    assert told == [stars.get(p.kind, "") + p.name for p in parameters]
    assert {"Raises", *(() if name in {"serve", "studio"} else ["Returns"])} <= set(sections)


@pytest.mark.parametrize("name", LONG)
def test_long_work_takes_a_listener(name: str) -> None:
    assert inspect.signature(getattr(hs, name)).parameters["listener"].default is None


def test_a_listener_hears_of_a_check(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[object] = []
    found = hs.check(photos, quick=True, out=tmp_path / "page.html", quiet=True, listener=heard.append)
    findings = [event for event in heard if type(event).__name__ == "Finding"]
    assert len(findings) == len(found.findings)
    assert {"Progress", "Message"} <= {type(event).__name__ for event in heard}
    assert capsys.readouterr().err == ""


CALLS = """
import headstart as hs
import torch
from pathlib import Path
from headstart.training.strategies.base import FitContext, FitResult, Strategy

class Own(Strategy):
    summary = "nothing"

    def fit(self, context: FitContext) -> FitResult:
        raise NotImplementedError

run = hs.train("photos", shots=5, strategy="lp-ft", epochs=3, weights=Path("w"), mean=(0.5, 0.5, 0.5), seed=1)
hs.train(Path("photos"), out="runs/x", settings={"lr": 0.1}, allow_leakage=True, log="tensorboard", on_bad="fail")
hs.compare("photos", arms=["probe", "scratch"], shots=[5, 10], augment="crop", backbone="starter", quiet=True)
hs.check("photos", fix="clean.csv", precision="float32", engine="torch", listener=lambda event: print(event))
hs.recommend("photos", backbones=["resnet18", {"backbone": "resnet50", "cut": "layer3"}], time="10m", image_size=160)
hs.forecast("photos", more=[100], target=0.9, cut="layer3", device="cpu").figure()
hs.study("animals", data={"animals": Path("a")}, settings=["epochs=3"], seeds=1)
hs.evaluate(run.path, "photos", split="test")["accuracy"]
hs.export(run.path, format="openvino", int8=True)
[p.label for p in hs.predict(run.path, ["a.jpg"], coverage=0.95)]
hs.train("photos", backbone=torch.nn.Identity(), strategy=Own(), loss=torch.nn.functional.cross_entropy)
hs.train("photos", callbacks=[print], transform=lambda picture: picture.rotate(90))
hs.train("photos", backbone=3)  # wrong
hs.train("photos", loss=3)  # wrong
hs.train("photos", callbacks=[3])  # wrong
hs.train("photos", shot=5)  # wrong
hs.train("photos", strategy="finetun")  # wrong
hs.train("photos", epochs="many")  # wrong
hs.train("photos", on_bad="ignore")  # wrong
hs.train("photos", log="wandbb")  # wrong
hs.train("photos", precision="half")  # wrong
hs.compare("photos", arms=["auto"])  # wrong
hs.compare("photos", strategy="probe")  # wrong
hs.check("photos", augment="crop")  # wrong
hs.recommend("photos", epochs=3)  # wrong
hs.forecast("photos", shots=5)  # wrong
hs.study("animals", quik=True)  # wrong
hs.evaluate(run.path, "photos", split="tset")  # wrong
hs.export(run.path, format="onx")  # wrong
hs.explain(run.path, ["a.jpg"], neighbors=3)  # wrong
hs.train("photos", listener=3)  # wrong
"""


@pytest.mark.slow
def test_a_misspelt_option_or_choice_fails_type_checking(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(CALLS, encoding="utf-8")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(script)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    wrong = {int(line) for line in re.findall(r"script\.py:(\d+): error", done.stdout)}
    expected = {n for n, line in enumerate(CALLS.splitlines(), 1) if line.endswith("# wrong")}
    assert wrong == expected, done.stdout + done.stderr

"""Messages of the library in the words of the command line, and the rule that the library knows none."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.cli import app  # fills the names of commands and options
from headstart.cli.messages import COMMANDS, OPTIONS, render
from headstart.training.config import taken_by

SOURCE = Path(app.__file__).parents[1]

RENDERED = {
    "`shots=0` must be at least 1": "--shots 0 must be at least 1",
    "Use `overwrite=True`, or choose another with `out`.": "Use --overwrite, or choose another with --out.",
    "`weights` and `from_run` both say it": "--weights and --from both say it",
    "`label='cat'`: no such class": "--class cat: no such class",
    "`on_bad='skip'`": "--on-bad skip",
    "`weight_decay=0.01`": "--set weight_decay=0.01",
    "choose a larger `weight_decay`": "choose a larger --set weight_decay",
    "`image_size=160`": "--image-size 160",
    "`dropout=(0.5, 0.3)`": "--dropout 0.5,0.3",
    "`shots=[5, 10]`": "--shots 5,10",
    "`out=my runs/x` exists": "--out 'my runs/x' exists",
    "`backbones='resnet18 --weights FILE'`": "--backbones 'resnet18 --weights FILE'",
    "Go on with `hs.resume('runs/x')`.": "Go on with headstart train --resume runs/x.",
    "`resume('my runs/x')`": "headstart train --resume 'my runs/x'",
    "`hs.check(DATA, fix='clean.csv')` writes a list": "headstart check DATA --fix clean.csv writes a list",
    "`hs.predict(RUN, ['a.jpg', 'b c.jpg'])`": "headstart predict RUN a.jpg 'b c.jpg'",
    '`hs.train("it\'s", overwrite=True)`': """headstart train 'it'"'"'s' --overwrite""",
    "`hs.backbones()` lists them": "headstart backbones lists them",
    "`hs.forecast` estimates it": "headstart forecast estimates it",
    "as `hs.resume`": "as headstart train --resume",
    "`$HOME/x`, `out=$(rm -rf x)`": "`$HOME/x`, --out '$(rm -rf x)'",
    "`out='~/{a,b}'` exists": "--out '~/{a,b}' exists",
    r"`hs.resume('two\nlines\x1b[2J')`": r"headstart train --resume $'two\nlines\x1b[2J'",
    "`hs.train('--help')`": "headstart train ./--help",
    "`hs.predict(RUN, ['-x.jpg', 'größe.jpg'])`": "headstart predict RUN ./-x.jpg größe.jpg",
}
LEFT = (
    "no code at all", "`resnet18` and `model.json`", "`Prediction.labels`", "`overwrite=False`", "`print(1)`",
    "`hs.open_run('x')`", "`hs.photos('x')`", "`hs.check(`", "`hs.check() + hs.train()`", "`unknown_option=3`", "``",
    "`", "a`b", "`shots=0", "`shots\n=0`", "`a(" + "(" * 300 + ")`", "`hs.check('\0')`", "`hs.train(*data)(1)`",
    "`os.system('x')`", "`runs`", "`hs.Run`", "`hs.open_run`", "`forecast`",
)  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="quoted for bash")
@pytest.mark.parametrize(("text", "rendered"), RENDERED.items(), ids=RENDERED)
def test_options_and_calls_are_written_for_a_shell(text: str, rendered: str) -> None:
    assert render(text) == rendered


@pytest.mark.parametrize("text", LEFT, ids=range(len(LEFT)))
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert render(text) == text


def test_names_of_files_cannot_spoil_the_message_around_them() -> None:
    """A backtick or a line break in a name ends the code there; what stands before and after is still told."""
    for name in ("we`ird", "two\nlines", "`shots=1`", "'quoted'", "-rf", "`" * 7):
        said = render(f"`out={name}` exists. Use `overwrite=True`.")
        assert said.endswith(("exists. Use --overwrite.", "exists. Use `overwrite=True`."))


# -- all strings of the library --

COMMAND_LINES = ("cli", "reporting/command.py", "runs/model_card.py")
"""Where command lines are written; everything else names options and calls as Python does."""
COMMAND_LINE = re.compile(rf"(?<![\w(-])--[a-z][a-z-]*|\bheadstart ({'|'.join(sorted(COMMANDS))})\b")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string but docstrings; what an f-string fills in is an ellipsis."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            values = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone | parts:
            yield node.lineno, node.value


def test_the_library_knows_no_command_line() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(COMMAND_LINES):
            continue
        for line, text in literals(path):
            without = re.sub(r"`\w+=[^`]*`", "", text)  # a value may hold anything
            if COMMAND_LINE.search(without):
                wrong.append(f"{name}:{line}: {text}")
    assert not wrong, "\n".join(wrong)


def test_every_option_and_call_that_a_message_names_exists() -> None:
    wrong = []
    known = OPTIONS | set(taken_by("train")) | {"background", "callbacks", "part"}  # of Python alone
    for path in sorted(SOURCE.rglob("*.py")):
        for line, text in literals(path):
            options = re.findall(r"`([a-z_]\w*)=[^`]*`", text)
            calls = re.findall(r"`hs\.(\w+)\([^`]*\)`", text)
            unknown = [name for name in options if name not in known]
            unknown += [name for name in calls if name not in COMMANDS | {"resume", "open_run", "photos"}]
            wrong += [f"{path.relative_to(SOURCE)}:{line}: {name}" for name in unknown]
    assert not wrong, "\n".join(wrong)


def test_lists_below_a_message_are_not_line_breaks_in_it() -> None:
    """A line break in a text is one of a quoted name, and is escaped: what is listed goes to ``lines=``."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        wrong += [f"{name}:{line}: {text}" for line, text in literals(path) if re.search(r":\n|\n {2,}", text)]
    assert [one for one in wrong if not one.startswith("cli/app.py")] == []

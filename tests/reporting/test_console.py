"""What a console shows: time left, lines between words, a heartbeat in a log file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console as RichConsole

from headstart.core.events import Events, Finding, Message, Progress, Warned
from headstart.reporting import console
from headstart.reporting.console import Clock, Console, console_events


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``clock(seconds)`` lets time go by."""
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


@pytest.fixture
def terminal() -> Iterator[tuple[Console, io.StringIO]]:
    """A console on a terminal of 40 columns, and what it wrote."""
    written = io.StringIO()
    shown = Console()
    shown.console = RichConsole(file=written, force_terminal=True, width=40, highlight=False, soft_wrap=False)
    shown.live = True
    yield shown, written
    shown.close()


def test_the_time_left_is_told_after_the_first_measurable_part(clock: Callable[[float], None]) -> None:
    found = Clock(0)
    found.update(Progress("a", 0, 10))
    assert found.text() == ""
    clock(0.1)
    found.update(Progress("a", 1, 10))
    assert found.text() == ""  # too soon to tell
    clock(59.9)
    found.update(Progress("a", 2, 10))
    assert found.text() == "about 4 min left"
    clock(200)
    assert found.text() == "about 40 s left"  # it runs down though nothing was heard
    clock(500)
    assert found.text() == "about 5 s left"


def test_what_the_work_estimates_itself_comes_first(clock: Callable[[float], None]) -> None:
    found = Clock(3)
    found.update(Progress("a", 3, 10, seconds_left=9000))
    assert found.text() == "about 2.5 h left"
    clock(5)
    found.update(Progress("a", 4, 10, seconds_left=20))
    assert found.text() == "about 20 s left"


def test_only_what_was_done_since_it_began_counts(clock: Callable[[float], None]) -> None:
    found = Clock(90)
    clock(10)
    found.update(Progress("a", 95, 100))
    assert found.text() == "about 10 s left"


def test_a_bar_on_a_terminal_shows_it(terminal: tuple[Console, io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "MEASURABLE_SECONDS", 0.0)
    shown, written = terminal
    shown(Progress("reading", 0, 4))
    shown(Progress("reading", 1, 4, seconds_left=300))
    assert shown._bars is not None
    shown._bars.refresh()
    assert "min left" in written.getvalue()
    assert "-:--" not in written.getvalue()
    shown(Progress("reading", 4, 4))
    assert shown._bars is None


def test_a_terminal_breaks_lines_between_words_and_a_log_file_does_not(
    terminal: tuple[Console, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "Five photographs of the collection were classified with considerable confidence."
    shown, written = terminal
    shown(Message(sentence))
    lines = written.getvalue().splitlines()
    assert len(lines) > 1
    assert [word for line in lines for word in line.split()] == sentence.split()
    Console()(Message(sentence))
    assert capsys.readouterr().err.splitlines() == [sentence]


def test_a_log_file_has_a_line_now_and_then_with_the_time_left(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Console()
    shown(Progress("arms", 0, 10))
    clock(60)
    shown(Progress("arms", 2, 10, "seed 0"))
    clock(1)
    shown(Progress("arms", 3, 10))  # too soon after the last line
    assert capsys.readouterr().err.splitlines() == ["  arms: 2 of 10   seed 0   about 4 min left"]


def test_quiet_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Console(quiet=True)
    for event in (Message("news"), Progress("a", 1, 2), Finding("label", "warning", "one"), Warned("careful")):
        shown(event)
    assert capsys.readouterr().err == "Note: careful\n"


def test_texts_are_put_in_the_words_of_the_reader(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Console(words=str.upper)
    Events(shown).table("Plan", ("setting", "value"), [("epochs", 0.5)])
    shown(Warned("careful"))
    assert capsys.readouterr().err.split() == ["Plan", "setting", "value", "EPOCHS", "0.5", "Note:", "CAREFUL"]


def test_a_listener_hears_all_and_with_quiet_alone(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[object] = []
    with console_events(False, heard.append) as events:
        events.message("one")
    with console_events(True, heard.append) as events:
        events.warning("two")
    with console_events(True) as events:
        events.warning("three")
    assert heard == [Message("one"), Warned("two")]
    assert capsys.readouterr().err == "one\nNote: three\n"


@pytest.mark.parametrize("live", [False, True], ids=["log", "terminal"])
def test_names_are_neither_markup_nor_commands_to_the_terminal(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "[red]a[/] [/] :smile: \x1b[31m\u202e\nb"
    seen = r"[red]a[/] [/] :smile: \x1b[31m\u202e\nb"
    if live:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    shown, written = Console(), io.StringIO()
    shown.console.file = written
    assert shown.live == live
    events = Events(shown)
    events.message(name)
    events.warning(name, [name, name])
    events.table(name, (name,), [(name,)])
    events.progress(name, 1, 2, name)
    events.progress(name, 2, 2, name)
    shown(Message(name.replace("\n", "")))  # from a sender of its own
    shown.close()
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written.getvalue())  # without Rich's own
    assert said.count(seen) >= 7
    assert not [char for char in said if char != "\n" and not char.isprintable()]

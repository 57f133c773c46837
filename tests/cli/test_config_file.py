"""``--config``, ``--save-config`` and ``--time``: options in files, and which win."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.cli.config_file import save, with_file
from headstart.cli.messages import render

Cli = Callable[..., Any]
Refused = Callable[..., None]


def plan(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    return found


def request(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "request.json").read_text(encoding="utf-8"))["options"]
    return {name: value for name, value in found.items() if name != "out"}


def test_a_saved_command_repeats_the_training(cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path) -> None:
    saved, first, again, third = (tmp_path / name for name in ("own.yaml", "a", "b", "c"))
    asked = ("--strategy", "finetune", "--epochs", 1, "--set", "weight_decay=0.01", "--dropout", "0.5", "--time", "20m")
    answer = cli(
        "train", photos, *asked, *starter, "--ignore", "owl_00.png", "--save-config", saved, "--out", first, "-q"
    )
    assert answer.code == 0, answer
    assert plan(first)["budget_minutes"] == 20
    assert cli("train", "--config", saved, "--out", again, "-q").code == 0
    assert request(again) == request(first)
    assert plan(again) == plan(first)
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    # What is typed wins, also over a setting below `settings`.
    winning = ("--epochs", 2, "--set", "weight_decay=0.03", "--time", "90s")
    assert cli("train", "--config", first, *winning, "--out", third, "-q").code == 0
    assert (plan(third)["epochs"], plan(third)["weight_decay"], plan(third)["budget_minutes"]) == (2, 0.03, 1.5)
    rest = ("data", "strategy", "dropout", "ignore", "weights", "backbone")
    assert {name: request(third)[name] for name in rest} == {name: request(first)[name] for name in rest}


def test_every_text_reads_back_as_it_was(tmp_path: Path) -> None:
    odd = ["no", "1e3", "007", "~", "a: b", "größe", "x # y", "- z", "{", "0.5", "null", "two\nlines", "", "'", '"']
    asked = {"ignore": tuple(odd), "label_column": "5", "seed": 7, "settings": {"epochs": 3}, "dropout": (0.5, 0.25)}
    save(tmp_path / "a.yaml", "train", "007", asked, {"devices": 2})
    found, own = with_file(tmp_path / "a.yaml", "train", {}, {}, {"devices": int | None})
    assert own == {"devices": 2}
    assert found == {"data": "007", **asked, "ignore": odd, "dropout": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "strateggy: probe\nepoch: 3\n": ("'strateggy'", "Did you mean 'strategy'", "'epoch'", "'epochs'"),
        "- probe\n": ("holds no options by name",),
        "strategy: [\n": ("is not YAML",),
        "settings: 3\n": ("settings",),
        "epochs: many\n": ("epochs",),
        "strategy: prob\n": ("'probe'",),
        "quiet: true\n": ("'quiet'",),
    }.items(),
)
def test_what_is_wrong_in_a_file_is_named(
    cli: Cli, refused: Refused, photos: Path, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    refused(cli("train", photos, "--config", tmp_path / "own.yaml", "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


def test_files_that_are_none(cli: Cli, refused: Refused, photos: Path, tmp_path: Path) -> None:
    refused(cli("train", photos, "--config", tmp_path / "none.yaml"), "none.yaml", "cannot be read")
    refused(cli("train", photos, "--config", tmp_path), "holds no request.json", "run folder")
    (tmp_path / "own.yaml").write_text("mine", encoding="utf-8")
    refused(cli("train", photos, "--strategy", "probe", "--save-config", tmp_path / "own.yaml"), "exists")
    assert (tmp_path / "own.yaml").read_text() == "mine"
    refused(cli("train", photos, "--shots", 0, "--save-config", tmp_path / "b.yaml"), "--shots 0")
    assert not (tmp_path / "b.yaml").exists()
    refused(cli("train", photos, "--time", "soon"), "--time soon", "10m")
    refused(cli("train", photos, "--time", "20"), "20 for --time has no unit", "20m")
    refused(cli("train", photos, "--time", "0m"), "--time 0m must be above zero")


def test_other_commands_take_a_file_too(
    cli: Cli, refused: Refused, photos: Path, probe_run: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(f"backbone: starter\nweights: {weights}\nset: {{precision: float32}}\n")
    words = ("--config", tmp_path / "own.yaml", "--out", tmp_path / "f.npy")
    assert cli("embed", photos, *words, "-q").code == 0
    (tmp_path / "own.yaml").write_text("shots: 5\n")
    refused(cli("embed", photos, *words), "embed takes no option 'shots'")


@pytest.mark.parametrize("text", ["dropout: 0.5", 'shots: "5"', 'min_per_class: "2"', "mean: [0.5, 0.5, 0.5]"])
def test_what_a_file_may_hold_can_be_saved_again(
    cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path, text: str
) -> None:
    (tmp_path / "a.yaml").write_text(f"strategy: probe\n{text}\n")
    words = ("--config", tmp_path / "a.yaml", *starter, "-q")
    assert cli("train", photos, *words, "--out", tmp_path / "a").code == 0
    answer = cli("train", photos, *words, "--out", tmp_path / "b", "--save-config", tmp_path / "b.yaml")
    assert answer.code == 0, answer
    assert request(tmp_path / "b") == request(tmp_path / "a")
    assert cli("train", "--config", tmp_path / "b.yaml", "--out", tmp_path / "c", "-q").code == 0
    assert request(tmp_path / "c") == request(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    ["seed: 2024-01-01", "val: no", "val: 0.2x", "fraction: yes", "mean: 0.5", "mean: [a, b, c]", "shots: [1, 2]",
     "log: [wandb]", "class_folders: [outer]", "settings: {nosuch: 1}", "settings: {epochs: -1}"],
)  # fmt: skip
def test_what_no_training_takes_is_not_saved(
    cli: Cli, refused: Refused, photos: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    words = ("--config", tmp_path / "a.yaml", "--save-config", tmp_path / "b.yaml", "--out", tmp_path / "run")
    refused(cli("train", photos, *words), "")
    assert not (tmp_path / "b.yaml").exists()


def test_a_place_that_cannot_be_written_is_named(cli: Cli, refused: Refused, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for command, flag in (("forecast", "--out"), ("check", "--out"), ("check", "--fix"), ("tune", "--out")):
        target = tmp_path / "file" / ("clean.csv" if flag == "--fix" else "page.html")
        refused(cli(command, photos, "--backbone", "starter", flag, target), str(tmp_path / "file"), flag)
    target = tmp_path / "file" / "own.yaml"
    refused(cli("train", photos, "--strategy", "probe", "--save-config", target), "own.yaml", "another place")


def test_search_reads_what_it_saved(cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path) -> None:
    one, saved = photos / "cat" / "cat_00.png", tmp_path / "s.yaml"
    first = cli("search", one, "--in", photos, *starter, "--most", 2, "--save-config", saved, "-q")
    assert first.code == 0, first
    assert saved.read_text().startswith("# headstart search PHOTO --config s.yaml\nin:\n")
    again = cli("search", one, "--config", saved, "-q")
    assert again.code == 0, again
    assert again.out == first.out


def test_what_a_command_saves_is_the_whole_command(
    cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path
) -> None:
    saved = tmp_path / "c.yaml"
    asked = ("--arms", "probe,scratch", "--seeds", 1, "--epochs", 1, "--shots", 5, *starter)
    assert cli("compare", photos, *asked, "--out", tmp_path / "a", "--save-config", saved, "-q").code == 0
    answer = cli("compare", "--config", saved, "--seeds", 2, "--out", tmp_path / "b", "-q", "--json")  # typed: it wins
    assert answer.code == 0, answer
    rows = json.loads(answer.out)["arms"]
    found = {(row["arm"], row["group"], len(row["values"])) for row in rows}
    assert found == {("probe", "5 per class", 2), ("scratch", "5 per class", 2)}


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "arms: [probe, scratch]\nseeds: many\n": ("seeds is 'many' there, not a number",),
        "out: runs/x\nseed: 1\n": ("'out' is given with the command, not in a file.",),
        "epoch: 1\n": ("Did you mean 'epochs'?\n",),
    }.items(),
)
def test_wrong_values_of_a_commands_own_options(
    cli: Cli, refused: Refused, photos: Path, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    refused(cli("compare", photos, "--config", tmp_path / "own.yaml", "--out", tmp_path / "c"), *words)


@pytest.mark.parametrize("command", ["compare", "tune", "check", "recommend", "forecast", "embed"])
def test_a_file_without_photos_is_told(cli: Cli, refused: Refused, tmp_path: Path, command: str) -> None:
    (tmp_path / "own.yaml").write_text("device: cpu\n" if command in ("compare", "tune") else "", encoding="utf-8")
    refused(cli(command, "--config", tmp_path / "own.yaml"), "Give DATA", f"headstart {command}")


def test_messages_name_the_time() -> None:
    assert render("allowed by `budget_minutes`; `budget_minutes=20`") == "allowed by --time; --time 20m"

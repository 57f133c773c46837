"""The model card says what the run's files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.runs.model_card import model_card


@pytest.fixture
def told(probe_run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    names = ("model.json", "metrics.json", "plan.json")
    described, metrics, plan = (json.loads((probe_run / name).read_text(encoding="utf-8")) for name in names)
    return described, metrics, plan


def test_every_run_has_one(probe_run: Path, told: tuple[dict[str, Any], ...]) -> None:
    card = (probe_run / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card("run", *told)
    for heading in ("How good it is", "Where it is weak", "How it was trained", "Limits", "How to use it"):
        assert f"\n## {heading}\n" in card


def test_the_header_is_what_hubs_read(told: tuple[dict[str, Any], ...]) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card("pets", *told))
    (result, _) = card.data.eval_results
    assert result.dataset_name == told[0]["provenance"]["data"]["name"]
    assert result.metric_value == round(told[1]["test"]["accuracy"]["value"], 4)
    assert card.data.library_name == "headstart"


def test_figures_and_weak_points(told: tuple[dict[str, Any], ...]) -> None:
    described, metrics, plan = told
    test = metrics["test"]
    rows = [
        {"label": "cat", "precision": 0.5, "recall": 0.25, "f1": 0.33, "support": 8},
        {"label": "dog", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 4},
        {"label": "owl", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
    ]
    changed = {**test, "report": {**test["report"], "classes": rows}, "confusion": [[2, 6, 0], [0, 4, 0], [0, 0, 0]]}
    card = model_card("pets", described, {**metrics, "test": changed}, plan)
    weak = card.split("## Where it is weak")[1].split("##")[0]
    assert "`cat`: recall 25% (of 8 photos), precision 50%" in weak
    assert "`cat` predicted as `dog`: 6 times" in weak
    assert "owl" not in weak
    assert "- `dog`" not in weak
    assert described["provenance"]["data"]["digest"] in card


def test_without_a_test_split_the_card_says_so(told: tuple[dict[str, Any], ...]) -> None:
    described, metrics, plan = told
    card = model_card("pets", described, {"val": metrics["val"]}, plan)
    assert "There was no test split" in card
    header = yaml.safe_load(card.split("---")[1])
    assert header["model-index"][0]["results"][0]["dataset"]["split"] == "val"


def test_perfect_is_not_called_faultless(told: tuple[dict[str, Any], ...]) -> None:
    described, metrics, plan = told
    rows = [{**row, "recall": 1.0} for row in metrics["test"]["report"]["classes"]]
    changed = {**metrics["test"], "report": {**metrics["test"]["report"], "classes": rows}}
    assert "does not mean" in model_card("pets", described, {**metrics, "test": changed}, plan)

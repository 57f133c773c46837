"""The model card, from a run's JSON files: Markdown with the metadata that model hubs read.

Source: Mitchell et al. (2019), "Model cards for model reporting".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from headstart.core.text import listed
from headstart.data.sources.named import display_name
from headstart.evaluation.examples import confused_pairs
from headstart.evaluation.metrics import JUDGED, NAMES, few_per_class, has_labels, headline, judged_on, spread
from headstart.runs.markdown import code, escape, render_markdown
from headstart.training.plan import Plan
from headstart.training.strategies import STRATEGIES

WEAK = 5
"""Classes and pairs that are named as weak points, at most."""
MANY = 40
"""Classes that are listed, at most."""


def model_card(name: str, described: Mapping[str, Any], metrics: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """The card of a run: ``described`` is model.json, ``metrics`` and ``plan`` the files of these names."""
    split = judged_on(metrics)
    found = metrics[split]
    settings = Plan.from_json(plan)
    strategy = STRATEGIES.get(settings.strategy) if settings.strategy in STRATEGIES else None  # None: not installed
    worst, confused = _weak_points(found)
    words = {label: display_name(label) for label in described["classes"]}
    names = [code(label) if word == label else f"{code(label)} ({escape(word)})" for label, word in words.items()]
    return render_markdown(
        Path(__file__).with_name("model_card.md.j2").read_text(encoding="utf-8"),
        _metadata(name, described, split, found),
        name=name,
        described=described,
        network={"module": "", **described["architecture"]},
        input=described["preprocessing"],
        origin={"parts": {}, **described["provenance"]},
        classes=Markup(listed(names, MANY)),
        metrics=metrics,
        of_labels=has_labels(found),
        many=MANY,
        split=split,
        photos=f"{JUDGED[split]} photos",
        spread=spread(metrics["folds"]) if "folds" in metrics else "",
        found=found,
        worst=worst,
        confused=confused,
        caution=few_per_class(dict(found)),
        plan=plan,
        strategy=f"{settings.strategy} ({strategy.describe(settings)})" if strategy else settings.strategy,
        pretrained=strategy is None or strategy.pretrained,
    )


def _metadata(name: str, described: Mapping[str, Any], split: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The header, as model hubs define it."""
    if has_labels(found):
        return _label_metadata(name, described, split, found)
    accuracy = {"type": "accuracy", "value": round(found["accuracy"]["value"], 4), "name": f"accuracy ({split})"}
    f1 = {"type": "f1", "value": round(found["report"]["macro"]["f1"], 4), "name": f"macro F1 ({split})"}
    leads, figure = headline(dict(found))
    balanced = {"type": "balanced_accuracy", "value": round(figure["value"], 4), "name": f"{leads} ({split})"}
    return _header(name, described, split, [*([balanced] if leads != "accuracy" else []), accuracy, f1])


def _label_metadata(name: str, described: Mapping[str, Any], split: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The header for any number of labels."""
    kinds = {"map": "mean_average_precision", "f1_micro": "f1", "f1_macro": "f1"}
    figures = [
        {"type": kind, "value": round(found[of]["value"], 4), "name": f"{NAMES[of]} ({split})"}
        for of, kind in kinds.items() if found.get(of)
    ]  # fmt: skip
    return _header(name, described, split, figures, "multi-label")


def _header(
    name: str, described: Mapping[str, Any], split: str, figures: list[dict[str, Any]], *tags: str
) -> dict[str, Any]:
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "imagefolder", "name": described["provenance"]["data"]["name"], "split": split},
        "metrics": figures,
    }
    return {
        "library_name": "headstart",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", described["architecture"]["backbone"], *tags],
        "metrics": ["f1"] if tags else ["accuracy", "f1"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _weak_points(found: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[tuple[int, str, str]]]:
    """The rows of the classes with the lowest recall, and (number, true class, prediction) of the most frequent errors.
    Both are empty if no recall is below one.
    """
    rows = found["report"]["classes"]
    ranked = sorted((row for row in rows if row["support"]), key=lambda row: row["recall"])
    worst = [row for row in ranked[:WEAK] if row["recall"] < 1]
    pairs = confused_pairs(found, WEAK) if worst else []
    return worst, [(pair.photos, rows[pair.true]["label"], rows[pair.predicted]["label"]) for pair in pairs]

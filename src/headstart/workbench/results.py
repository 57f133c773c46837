"""What the page shows of a run, from the files of its folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from headstart.core.files import read_dicts, read_json
from headstart.core.shell import shell_word
from headstart.errors import RunError
from headstart.evaluation.metrics import JUDGED, headline, judged_on
from headstart.workbench.project import Project

MOST_CLASSES = 30
"""Of the confusion matrix that the page draws; with more it lists the pairs that are most confused."""
MOST = 300
"""Mistakes, or photos of a cell, that are listed."""


def brief(run: Path) -> dict[str, Any]:
    """One line about a run: its name, whether it is finished, and its headline."""
    if not (run / "report.html").exists():  # which is written last
        return {"run": run.name, "finished": False}
    try:
        metrics = _read(run, "metrics.json")
    except RunError:  # one damaged run hides no other
        return {"run": run.name, "finished": False}
    split = judged_on(metrics)
    name, found = headline(metrics[split])
    return {
        "run": run.name, "place": shell_word(str(run)), "finished": True, "measure": name,
        "value": found["value"], "low": found["low"], "high": found["high"],
        "photos": metrics[split]["photos"], "on": JUDGED[split], "made": (run / "report.html").stat().st_mtime,
    }  # fmt: skip


def result(run: Path) -> dict[str, Any]:
    """Everything about a finished run: headline, report per class, confusions, plan, curves. Raises RunError."""
    metrics = _read(run, "metrics.json")
    split = judged_on(metrics)
    plan = _read(run, "plan.json")
    rows = _predictions(run, split)
    reasons = plan.pop("reasons", {})
    return {
        **brief(run),
        "classes": metrics[split]["report"]["classes"],
        "confusion": _confusion(rows),
        "history": _history(run / "history.csv"),
        "plan": [[name, value, reasons.get(name, "")] for name, value in plan.items() if name in reasons],
        "command": _command(run),
    }


def photos(project: Project, run: Path, true: str | None, predicted: str | None) -> dict[str, Any]:
    """Photos of a cell of the confusion matrix, or without names all mistakes; the most confident first."""
    split = judged_on(_read(run, "metrics.json"))
    chosen = [
        row for row in _predictions(run, split)
        if (row["label"] != row["predicted"] if true is None else (row["label"], row["predicted"]) == (true, predicted))
    ]  # fmt: skip
    chosen.sort(key=lambda row: -float(row["confidence"]))
    ids = project.find(row["path"] for row in chosen[:MOST])
    listed = [
        {"id": ids.get(row["path"]), "path": row["path"], "label": row["label"], "predicted": row["predicted"],
         "confidence": float(row["confidence"])}
        for row in chosen[:MOST]
    ]  # fmt: skip
    return {"photos": listed, "total": len(chosen)}


def _predictions(run: Path, split: str) -> list[dict[str, str]]:
    rows = read_dicts(run / "predictions.csv")
    wanted = None if split == "folds" else split
    return [row for row in rows if row["predicted"] and (wanted is None or row["split"] == wanted)]


def _confusion(rows: list[dict[str, str]]) -> dict[str, Any]:
    counts = Counter((row["label"], row["predicted"]) for row in rows)
    names = sorted({name for pair in counts for name in pair})
    pairs = [[true, predicted, n] for (true, predicted), n in counts.most_common() if true != predicted]
    table = [[counts[true, predicted] for predicted in names] for true in names] if len(names) <= MOST_CLASSES else None
    return {"names": names, "table": table, "pairs": pairs[:MOST]}


def _history(file: Path) -> list[dict[str, Any]]:
    """Epochs of a training: the curves; a probe has none."""
    rows = [row for row in read_dicts(file) if row["epoch"]]
    wanted = ("epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss")
    return [{name: float(row[name]) if row[name] else None for name in wanted} for row in rows]


def _command(run: Path) -> str:
    """The command that trains this run again. A model may be given away, so it names the table alone; here its whole
    path is told, from which the command can be typed anywhere.
    """
    command = str(_read(run, "model.json").get("provenance", {}).get("command", ""))
    data = str(_read(run, "request.json")["options"]["data"])
    return command.replace(f" {shell_word(Path(data).name)} ", f" {shell_word(data)} ", 1)


def _read(run: Path, name: str) -> dict[str, Any]:
    try:
        return dict(read_json(run / name))
    except FileNotFoundError:
        raise RunError(f"{run.name} is not finished.", "Resume it, or train again.") from None

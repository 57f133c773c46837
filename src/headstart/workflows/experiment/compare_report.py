"""A comparison as text and as a page. In: rows and differences. Out: a table for terminals, the HTML of report.html."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.data.sources.named import display_name
from headstart.evaluation.statistics import t_interval
from headstart.reporting.command import command_line
from headstart.reporting.page import Fact, environment
from headstart.reporting.samples import samples_by_class
from headstart.workflows.experiment.compare_page import render_compare
from headstart.workflows.experiment.compare_rows import ArmRow, CompareReport, Curve, DifferenceRow
from headstart.workflows.experiment.text import caveats_side_by_side

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages
    from headstart.inference.device import Machine
    from headstart.models.backbone import Backbone
    from headstart.training.config import TrainOptions
    from headstart.workflows.experiment.compare_result import ArmResult, Comparison


def comparison_text(rows: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]], answer: str) -> str:
    """The table, the differences and the answer, in plain text."""
    lines = [f"{'photos':>14}  {'arm':9}  {'accuracy':>8}  {'95 % interval':>15}  {'seconds':>7}   per seed"]
    for row in rows:
        per_seed = " ".join(f"{v:.3f}" for v in row["values"])
        lines.append(
            f"{row['group'] or 'all':>14}  {row['arm']:9}  {row['mean']:8.3f}  {_interval(row):>15}  "
            f"{row['seconds']:7.1f}   {per_seed}"
        )
    if differences:
        lines += ["", f"{'photos':>14}  difference"]
    for d in differences:
        sure = f"[{d['low']:+.3f}, {d['high']:+.3f}]" if d["low"] is not None else "(one run)"
        lines.append(
            f"{d['group'] or 'all':>14}  {d['first']} − {d['second']}: {d['mean']:+.3f} {sure}  {d['verdict']}"
        )
    return "\n".join([*lines, "", answer])


def _interval(row: dict[str, Any]) -> str:
    return f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else "one run"


def comparison_page(
    asked: TrainOptions, found: Comparison, photos: LoadedImages, backbone: Backbone, machine: Machine, seconds: float
) -> str:
    """The page of one comparison."""
    split, seeds = found.rows[0]["split"], len(found.rows[0]["values"])
    arms = list(dict.fromkeys(row["arm"] for row in found.rows))
    keep = {"group", "arm", "mean", "values", "low", "high"}
    report = CompareReport(
        title=f"{photos.manifest.name}: {', '.join(arms)}",
        answer=found.answer,
        command=_command(asked, found, arms, seeds),
        rows=[ArmRow(**{k: v for k, v in row.items() if k in keep}) for row in found.rows],
        caveats=caveats_side_by_side(seeds == 1, on_val=split == "val"),
        facts=[
            Fact("trainings", str(len(found.results)), f"{len(arms)} arms, {seeds} seed{'s' if seeds > 1 else ''}"),
            Fact("backbone", backbone.name, backbone.source),
            Fact("time", f"{seconds:.0f} s", machine.words),
        ],
        differences=[DifferenceRow(**{k: v for k, v in d.items() if k != "method"}) for d in found.differences],
        curves=_curves(found.results),
        samples=samples_by_class(photos),
        names={c: display_name(c) for c in {p.label for p in photos.manifest.photos} if display_name(c) != c},
        notes=[
            f"Accuracy is measured on {split} photos. Intervals: {found.rows[0]['method']}; differences: "
            f"{found.differences[0]['method']}."
        ]
        if found.differences
        else [],
        environment=environment(machine.words),
        split="test" if split == "test" else "val",
    )
    return render_compare(report)


def _command(asked: TrainOptions, found: Comparison, arms: Sequence[str], seeds: int) -> str:
    shots = [row["group"].split()[0] for row in found.rows if row["group"]]
    own = {"arms": arms, "seeds": seeds, "shots": list(dict.fromkeys(shots))}
    return command_line("compare", asked.data, {**asked.given("compare"), **own})


def _curves(results: Sequence[ArmResult]) -> list[Curve]:
    grouped: dict[tuple[str, str], list[ArmResult]] = {}
    for result in results:
        grouped.setdefault((result.group, result.arm), []).append(result)
    return [_curve(group, arm, members) for (group, arm), members in grouped.items()]


def _curve(group: str, arm: str, members: Sequence[ArmResult]) -> Curve:
    length = min(len(m.curve) for m in members)
    epochs = list(range(1, length + 1))
    intervals = [t_interval([m.curve[e] for m in members], within=(0, 1)) for e in range(length)]
    band = len(members) > 1
    return Curve(
        group,
        arm,
        epochs,
        [i.value for i in intervals],
        [float(i.low or 0) for i in intervals] if band else None,
        [float(i.high or 0) for i in intervals] if band else None,
    )

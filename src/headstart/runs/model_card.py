"""The model card. In: what a run's JSON files say. Out: MODEL_CARD.md: Markdown with the metadata that model hubs read
(Mitchell et al. 2019, "Model cards for model reporting").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from headstart.data.sources.named import display_name

WEAK = 5
"""Classes and pairs that are named as weak points, at most."""
MANY = 40
"""Classes that are listed, at most."""


def model_card(name: str, described: Mapping[str, Any], metrics: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """The card of a run: ``described`` is model.json, ``metrics`` and ``plan`` the files of these names."""
    split = "test" if "test" in metrics else "val"
    found = metrics[split]
    parts = [
        "---\n" + yaml.safe_dump(_metadata(name, described, split, found), sort_keys=False, allow_unicode=True) + "---",
        f"# {name}",
        _what(described),
        "## How good it is\n\n" + _figures(split, found, metrics),
        "## Where it is weak\n\n" + _weak(found),
        "## How it was trained\n\n" + _training(described, plan),
        "## Limits\n\n" + _limits(described, split, found),
        "## How to use it\n\n" + _usage(name),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(name: str, described: Mapping[str, Any], split: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The header, as model hubs define it."""
    data = described["provenance"]["data"]
    accuracy = {"type": "accuracy", "value": round(found["accuracy"]["value"], 4), "name": f"accuracy ({split})"}
    f1 = {"type": "f1", "value": round(found["report"]["macro"]["f1"], 4), "name": f"macro F1 ({split})"}
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "imagefolder", "name": data["name"], "split": split},
        "metrics": [accuracy, f1],
    }
    return {
        "library_name": "headstart",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", described["architecture"]["backbone"]],
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _what(described: Mapping[str, Any]) -> str:
    classes, architecture = described["classes"], described["architecture"]
    size = described["preprocessing"]["image_size"]
    names = [f"`{label}`" + (f" ({words})" if (words := display_name(label)) != label else "") for label in classes]
    rest = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    cut = f", cut after {architecture['cut']}" if architecture["cut"] else ""
    return (
        f"An image classifier with {len(classes)} classes: {', '.join(names[:MANY])}{rest}.\n\n"
        f"Network: {architecture['backbone']}{cut}, with a {architecture['head']} head. It takes photos of any size: "
        f"the shorter side is resized to {described['preprocessing']['resize']} px, of which it sees the central "
        f"{size} x {size} px."
    )


def _figures(split: str, found: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    rows = [
        "| photos | accuracy | 95 % interval over photos | macro F1 | calibration error | before scaling |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("val", "test"):
        if name in metrics:
            m = metrics[name]
            a = m["accuracy"]
            rows.append(
                f"| {name}, {m['photos']} | {a['value']:.4f} | {a['low']:.4f} to {a['high']:.4f} |"
                f" {m['report']['macro']['f1']:.4f} | {m['calibration']['ece']:.4f} |"
                f" {_before(m)} |"
            )
    said = (
        "The test photos were read once, after everything had been chosen on the val photos."
        if split == "test"
        else "There was no test split: choices were made on the val photos, so their figures are a little too good."
    )
    said = f"{said} One training: another seed draws other splits."
    return "\n\n".join(["\n".join(rows), said, *_sureness(found, metrics)])


def _before(found: Mapping[str, Any]) -> str:
    before = found["calibration"].get("before")
    return f"{before['ece']:.4f}" if before else "–"


def _sureness(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What there is to say of single answers: the temperature, sets of labels, unknown photos."""
    lines = []
    if temperature := metrics.get("training", {}).get("temperature"):
        lines.append(
            f"Its outputs are divided by {temperature:.3f}, fitted on the val photos, so that its confidence can be"
            " taken for a probability; the calibration errors are after that and before."
        )
    if sure := found.get("certainty"):
        sets = ", ".join(f"{s['coverage']:.0%} ({s['holds']:.1%}, {s['labels']:.2f} labels)" for s in sure["sets"])
        lines.append(f"Sets of labels made to hold the true class, and how many of the test photos' do: {sets}.")
        if sure["unknown"] is not None:
            lines.append(f"Marked as unlike the training photos: {sure['unknown']:.1%} of the test photos.")
    return lines


def _weak(found: Mapping[str, Any]) -> str:
    """The classes that are found least, and what is taken for what most."""
    rows = [row for row in found["report"]["classes"] if row["support"]]
    worst = [row for row in sorted(rows, key=lambda row: row["recall"])[:WEAK] if row["recall"] < 1]
    if not worst:
        return f"It made no mistake on these {found['photos']} photos, which does not mean that it makes none."
    lines = [
        f"- `{row['label']}`: {row['recall']:.0%} of its {row['support']} photos are found; {row['precision']:.0%} of"
        " the photos that are given this label deserve it"
        for row in worst
    ]
    labels = [row["label"] for row in found["report"]["classes"]]
    pairs = sorted(
        ((n, i, j) for i, row in enumerate(found["confusion"]) for j, n in enumerate(row) if n and i != j),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    lines += [f"- `{labels[i]}` taken for `{labels[j]}`: {n} times" for n, i, j in pairs[:WEAK]]
    return "\n".join(lines)


def _training(described: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    said = described["provenance"]
    lines = [
        f"- Photos: {said['data']['summary'].rstrip('.')}. Digest of contents, labels and splits: "
        f"`{said['data']['digest']}`.",
        f"- Start: {said['backbone']['source']} (digest of the weights `{said['backbone']['weights_digest']}`).",
        f"- Strategy: {said['strategy']}, {plan['image_size']} px, seed {said['seed']}, {plan['precision']}.",
        f"- With headstart {said['headstart']}, PyTorch {said['torch']}, on {said['machine']}, {said['created']}.",
    ]
    return "\n".join(lines)


def _limits(described: Mapping[str, Any], split: str, found: Mapping[str, Any]) -> str:
    lines = [
        "- It answers with one of its classes whatever the photo shows, and can be confident about photos of anything."
        " The mark `unknown` finds photos of another world, and misses some that are only a little unlike.",
        "- The figures hold for photos like those that it was trained on: from the same cameras, places and people.",
        "- Of a long photo it sees the centre only.",
    ]
    if found["photos"] < 100:
        lines.append(f"- It was judged on {found['photos']} {split} photos only: look at the interval.")
    if described["provenance"]["strategy"] != "scratch":
        lines.append("- The pretrained weights that it starts from have a licence and limits of their own.")
    return "\n".join(lines)


def _usage(name: str) -> str:
    return f"""```bash
pip install headstart
headstart predict {name} photo.jpg
```

```python
import headstart as hs

for p in hs.predict("{name}", ["photo.jpg"]):
    print(p.path, p.label, p.confidence)
```"""

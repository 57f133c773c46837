"""GET /metrics tells how photos differ from those of the training; read by Prometheus's own parser."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from headstart.serving.figures import DISTANCES


def samples(server: Any) -> dict[tuple[str, str], float]:
    """Each sample by its name and the value of its first label."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(server.get("/metrics").text)
    return {(s.name, next(iter(s.labels.values()), "")): s.value for family in families for s in family.samples}


def bounds() -> list[tuple[float, str]]:
    return [*((bound, str(bound)) for bound in DISTANCES), (math.inf, "+Inf")]


def test_distances_are_counted_as_they_were_answered(
    client: Callable[..., Any], sure_run: Path, photo_bytes: Callable[..., bytes]
) -> None:
    server = client(run=sure_run)
    known = [p.read_bytes() for p in sorted((sure_run.parent / "photos").rglob("*.png"))[::12]]
    for content in [*known, photo_bytes(), photo_bytes(seed=1)]:
        assert server.post("/predict", files={"files": content}).status_code == 200
    answers = [server.post("/predict", files={"files": c}).json()["predictions"][0] for c in known]
    found = samples(server)
    assert found["headstart_distance_count", ""] == 2 * len(known) + 2
    unknown = found["headstart_unknown_photos_total", ""]
    assert unknown >= 2
    assert found["headstart_distance_count", ""] - found["headstart_distance_bucket", "1.0"] == unknown
    for bound, shown in bounds():
        near = sum(one["distance"] <= bound for one in answers)
        assert 2 * near <= found["headstart_distance_bucket", shown] <= 2 * near + 2
    labels = {one["label"] for one in answers}
    assert labels == {"cat", "dog", "owl"}
    assert sum(found["headstart_photos_total", label] for label in labels) == 2 * len(known) + 2


def test_the_reference_is_that_of_the_validation_photos(client: Callable[..., Any], sure_run: Path) -> None:
    far = load_file(sure_run / "certainty.safetensors")["far"].tolist()
    k = math.ceil((len(far) + 1) * 0.95)  # the split-conformal rank
    usual = sorted(far)[k - 1]
    found = samples(client(run=sure_run))
    for bound, shown in bounds():
        assert found["headstart_reference_distance_bucket", shown] == sum(one / usual <= bound for one in far), shown
    assert found["headstart_reference_distance_count", ""] == len(far)
    assert found["headstart_reference_distance_sum", ""] == pytest.approx(sum(far) / usual)
    assert found["headstart_reference_distance_bucket", "1.0"] >= 0.95 * len(far)


def test_counters_of_every_class_begin_at_zero(client: Callable[..., Any]) -> None:
    found = samples(client())
    assert {label: found["headstart_photos_total", label] for label in ("cat", "dog", "owl")} == dict.fromkeys(
        ("cat", "dog", "owl"), 0.0
    )


def test_a_run_that_knows_no_distances_has_no_histogram(
    client: Callable[..., Any], photo_bytes: Callable[..., bytes]
) -> None:
    server = client()
    assert server.post("/predict", files={"files": photo_bytes()}).json()["predictions"][0]["distance"] is None
    assert not [name for name, _ in samples(server) if "distance" in name]

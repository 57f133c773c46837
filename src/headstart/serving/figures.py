"""What GET /metrics counts, for Prometheus.

Photos that differ from those of the training (another camera, another season) show in ``headstart_distance``, beside
``headstart_reference_distance``, the same histogram of the photos that the run kept aside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily

from headstart.evaluation.uncertainty import Uncertainty, is_unknown
from headstart.inference.answers import Answer
from headstart.serving.batching import LENGTHS

DISTANCES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0)
"""Upper bounds of the histogram's buckets; above 1 a photo is unknown."""


class Figures:
    """Prometheus counters of one server, in a registry of their own: several servers may live in a process."""

    def __init__(
        self, classes: Sequence[str], certainty: Uncertainty | None, labels: Callable[[np.ndarray], Iterable[str]]
    ) -> None:
        """``labels``: what a photo with these probabilities [C] is given."""
        registry = self.registry = CollectorRegistry()
        self.labels = labels
        self.requests = Counter("headstart_requests", "Requests by response", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "headstart_request_seconds", "Time from a request's headers to its response", ["path"], registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self.photos = Counter("headstart_photos", "Photos by predicted class", ["label"], registry=registry)
        for label in classes:
            self.photos.labels(label)  # 0 from the start: Prometheus does not see how a counter that is new has grown
        self.unknown = Counter("headstart_unknown_photos", "Out-of-distribution photos", registry=registry)
        self.batch = Histogram("headstart_batch_photos", "Photos per batch", registry=registry, buckets=LENGTHS)
        self.busy = Gauge("headstart_requests_at_work", "Requests in progress", registry=registry)
        self.distance: Histogram | None = None
        if certainty is not None and certainty.usual is not None:
            text = "Distance of photos to the training photos; unknown above 1"
            self.distance = Histogram("headstart_distance", text, registry=registry, buckets=DISTANCES)
            registry.register(_Reference(certainty.far / certainty.usual))

    def count(self, found: Answer) -> None:
        """One photo that was classified."""
        for label in self.labels(found.probabilities):
            self.photos.labels(label).inc()
        self.unknown.inc(bool(is_unknown(found.distance)))
        if self.distance is not None and found.distance is not None:
            self.distance.observe(found.distance)


class _Reference:
    """A histogram that is known from the start: ``distances`` [N], ascending."""

    def __init__(self, distances: np.ndarray) -> None:
        bounds = {**{str(bound): bound for bound in DISTANCES}, "+Inf": math.inf}
        below = np.searchsorted(distances, list(bounds.values()), side="right").tolist()
        self.buckets = [(bound, float(n)) for bound, n in zip(bounds, below, strict=True)]
        self.sum = float(distances.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        text = "headstart_distance of the run's validation photos (of all photos, after folds)"
        yield HistogramMetricFamily("headstart_reference_distance", text, buckets=self.buckets, sum_value=self.sum)

"""Counters of requests and batches, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from headstart.serving.batching import LENGTHS


class Figures:
    """Counters of one server, in a registry of their own: several servers may live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "headstart_requests", "Requests that were answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "headstart_request_seconds",
            "Time from a request's headers to its answer",
            ["path"],
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.photos = Counter("headstart_photos", "Photos that were named", ["label"], registry=self.registry)
        self.unknown = Counter("headstart_unknown_photos", "Photos unlike the training photos", registry=self.registry)
        self.batch = Histogram(
            "headstart_batch_photos", "Photos that shared a batch", registry=self.registry, buckets=LENGTHS
        )
        self.busy = Gauge("headstart_requests_at_work", "Requests that are being answered", registry=self.registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        return generate_latest(self.registry)

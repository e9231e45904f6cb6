"""What a service counts of itself, for Prometheus: numbers only, never a name, a label or an address."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Measures"]

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """The counters of one service.

    Examples:
        >>> measures = Measures()
        >>> measures.images.labels("answered").inc()
        >>> 'hundredfold_images_total{outcome="answered"} 1.0' in measures.text()
        True
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "hundredfold_requests", "Requests by address and status.", ("path", "status"), registry=registry
        )
        self.images = Counter(
            "hundredfold_images", "Images: answered, or why not.", ("outcome",), registry=registry
        )
        self.seconds = Histogram(
            "hundredfold_request_seconds", "From the head of a request to its answer.", ("path",),
            registry=registry, buckets=SECONDS,
        )
        self.batches = Histogram(
            "hundredfold_batch_images", "Images encoded at once.", registry=registry, buckets=IMAGES
        )
        self.waiting = Gauge("hundredfold_images_waiting", "Images that wait.", registry=registry)

    def text(self) -> str:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry).decode()

"""Counts and times of requests: two additions a request; Prometheus's form is made when it is scraped."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aioprometheus.collectors import Histogram, Registry

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets, in seconds."""

Key = tuple[str, str, int]


@dataclass(slots=True)
class _Series:
    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class RequestSeconds(Histogram):
    """How long requests took, by method, route and status, as a histogram."""

    def __init__(self, registry: Registry) -> None:
        super().__init__("ultramarket_http_request_seconds", "Time to answer a request.", registry=registry)
        self._series: dict[Key, _Series] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.seconds += seconds
        series.counts[bisect_left(BOUNDS, seconds)] += 1

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        """The series in the form that the formatters take: cumulative buckets, then count and sum."""
        return list(self._rows())

    def _rows(self) -> Iterator[tuple[dict[str, str], dict[Any, float]]]:
        for (method, route, status), series in self._series.items():
            buckets: dict[Any, float] = {}
            total = 0
            for bound, count in zip((*BOUNDS, float("inf")), series.counts, strict=True):
                total += count
                buckets[bound] = total
            buckets["count"], buckets["sum"] = total, series.seconds
            yield {"method": method, "route": route, "status": str(status)}, buckets

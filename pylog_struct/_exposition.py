"""prometheus-client's metric classes, made to ask for fresh numbers when they are collected."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

__all__ = ["FreshCounter", "FreshGauge", "FreshHistogram", "FreshMetric", "values_lock"]


class FreshMetric:
    """A mix-in before the metric class."""

    refresh: Callable[[], None] | None = None
    """Called before every collection.  None in the children of a metric with labels."""

    _metrics: dict[Any, Any]
    _lock: Any

    def collect(self) -> Iterable[Metric]:
        """Return what the metric class returns, after a refresh."""
        if self.refresh is not None:
            self.refresh()
        found: Iterable[Metric] = super().collect()  # type: ignore[misc]
        return found

    def forget(self) -> None:
        """Start from nothing with a new lock, in the child of a fork: another thread may hold the old one."""
        self._lock = threading.Lock()
        self._metrics = {}


class FreshCounter(FreshMetric, Counter):
    """A counter."""


class FreshGauge(FreshMetric, Gauge):
    """A gauge."""


class FreshHistogram(FreshMetric, Histogram):
    """A histogram that takes observations by the bucketful: ``observe`` takes one at a time."""

    _buckets: list[Any]
    _sum: Any

    def add(self, counts: Iterable[float], total: float) -> None:
        """Add observations that were counted elsewhere.

        Args:
            counts: How many fell into each bucket (not cumulated), the one without a bound last.
            total: The sum of their values.
        """
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def values_lock() -> Any:
    """Return the one lock that guards all files in multiprocess mode; None in the ordinary one.

    It is a variable of the function that makes the class, and a child that inherits it while another
    thread is counting would wait for ever.
    """
    if not getattr(values.ValueClass, "_multiprocess", False):
        return None
    return inspect.getclosurevars(values.ValueClass.inc).nonlocals.get("lock")

"""The prometheus-client objects, and how the ledger's numbers get into them.

The ledger is the source; a metric object only repeats it.  Outside multiprocess mode every scrape
brings the objects up to date before it reads them, so a scrape is exact and logging pays nothing.
With ``PROMETHEUS_MULTIPROC_DIR`` another process may read this one's files at any time: there the
objects are brought up to date every quarter of a second, at ``flush`` and at ``shutdown``.

Gauges in multiprocess mode: sizes and capacities add up over live processes (``livesum``), the
high-water mark is that of the worst one (``livemax``), ``pylog_failover_active`` counts processes.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pylog_struct import errors, fork
from pylog_struct.ledger import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks.base import BaseSink

__all__ = ["MULTIPROCESS_INTERVAL", "Metrics", "is_multiprocess"]

MULTIPROCESS_INTERVAL: Final = 0.25
"""Seconds between two updates in multiprocess mode."""

_ATTRIBUTE: Final = "_pylog_struct_metrics"  # on the registry: it outlives a reload of this module
_ERRORS: Final = frozenset(name for name in errors.__all__ if name.startswith("Sink"))
_LOCK_WAIT: Final = 1.0  # seconds a scrape waits for an update that is under way


def is_multiprocess() -> bool:
    """Whether prometheus-client keeps its values in files for other processes."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ


class _Refreshing:
    """Lets a metric ask for fresh numbers when it is collected; a mix-in before the metric class."""

    _refresh: Callable[[], None] | None = None
    _metrics: dict[Any, Any]
    _lock: Any

    def collect(self) -> Iterable[Metric]:
        if self._refresh is not None:
            self._refresh()
        found: Iterable[Metric] = super().collect()  # type: ignore[misc]
        return found

    def forget(self) -> None:
        """Start from nothing with a new lock, in the child of a fork: another thread may hold the old one."""
        self._lock = threading.Lock()
        self._metrics = {}


class _Counter(_Refreshing, Counter):
    pass


class _Gauge(_Refreshing, Gauge):
    pass


class _Histogram(_Refreshing, Histogram):
    _buckets: list[Any]
    _sum: Any

    def add(self, counts: Iterable[float], total: float) -> None:
        """Add observations that were counted elsewhere, by bucket: observe() takes one at a time."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Published:
    """What of one ledger is in the metrics already."""

    __slots__ = ("sink", "values")

    def __init__(self, sink: BaseSink) -> None:
        self.sink = sink
        self.values: dict[Any, Any] = {}

    def growth(self, key: Any, value: float) -> float:
        """How much *value* grew since the last call; a ledger that began again counts in full."""
        before: float = self.values.get(key, 0)
        self.values[key] = value
        return value - before if value >= before else value


class Pipeline:
    """Counts that belong to no sink.  Guarded by its lock, which is never held around other work."""

    __slots__ = ("_lock", "discarded", "errors")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from zero with a new lock."""
        self._lock = threading.RLock()
        self.discarded: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    def discard(self, level: str) -> None:
        """Count an event that a processor dropped on purpose."""
        with self._lock:
            self.discarded[level] = self.discarded.get(level, 0) + 1

    def error(self, stage: str) -> None:
        """Count trouble at a stage; the event went on."""
        with self._lock:
            self.errors[stage] = self.errors.get(stage, 0) + 1

    def read(self) -> tuple[dict[str, int], dict[str, int]]:
        """Copies of both counts."""
        with self._lock:
            return dict(self.discarded), dict(self.errors)


class Metrics:
    """The metric objects of one registry; use :meth:`of`, which never registers them twice.

    Threads: thread-safe.  Fork: the child starts at zero, like its ledgers.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> _Counter:
            made = _Counter(f"pylog_{name}", text, labels, registry=registry)
            self._watch(made)
            return made

        def gauge(name: str, text: str, mode: Any, *labels: str) -> _Gauge:
            made = _Gauge(f"pylog_{name}", text, labels, registry=registry, multiprocess_mode=mode)
            self._watch(made)
            return made

        def histogram(name: str, text: str) -> _Histogram:
            bounds = LatencyHistogram.bounds
            made = _Histogram(f"pylog_{name}", text, ["sink"], registry=registry, buckets=bounds)
            self._watch(made)
            return made

        self._all: list[_Refreshing] = []
        self._lock = threading.Lock()  # guards the objects against two updates at once
        self._sources: list[_Published] = []
        self._roots: dict[int, tuple[BaseSink, Pipeline, dict[Any, float]]] = {}

        self.events = counter("events_total", "Events emitted into the root sink.", "level")
        self.queue_size = gauge(
            "queue_size", "Records waiting, in flight included.", "livesum", "sink"
        )
        self.queue_bytes = gauge("queue_bytes", "Bytes waiting in a queue.", "livesum", "sink")
        self.queue_capacity = gauge(
            "queue_capacity", "Most records a queue holds.", "livesum", "sink"
        )
        self.queue_high_watermark = gauge(
            "queue_high_watermark", "Most records that ever waited.", "livemax", "sink"
        )
        self.dropped = counter(
            "events_dropped_total", "Records given up for good.", "sink", "reason", "level"
        )
        self.written = counter("events_written_total", "Records passed on or stored.", "sink")
        self.bytes_written = counter("bytes_written_total", "Bytes passed on or stored.", "sink")
        self.sink_errors = counter("sink_errors_total", "Failed calls to a sink.", "sink", "error")
        self.write_seconds = histogram("sink_write_seconds", "Duration of a write, by batch.")
        self.delivery_seconds = histogram(
            "delivery_seconds", "Age of the oldest record of a batch when it was delivered."
        )
        self.switches = counter("failover_switch_total", "Switches and recoveries.", "sink")
        self.all_failed = counter("failover_all_failed_total", "Every alternative failed.", "sink")
        self.active = gauge(
            "failover_active", "1 for the target in use.", "livesum", "sink", "target"
        )
        self.rollovers = counter("rollovers_total", "Roll-overs of a file.", "sink", "reason")
        self.archives_deleted = counter(
            "archives_deleted_total", "Archives deleted by retention.", "sink", "reason"
        )
        self.spool_records = gauge("spool_records", "Records waiting on disk.", "livesum", "sink")
        self.spool_bytes = gauge("spool_bytes", "Bytes waiting on disk.", "livesum", "sink")
        self.processing_errors = counter(
            "processing_errors_total", "Trouble inside the pipeline; the event went on.", "stage"
        )
        fork.register(self)
        fork.hold(self._lock)

    def _watch(self, metric: _Refreshing) -> None:
        metric._refresh = self.publish
        self._all.append(metric)

    @staticmethod
    def of(registry: CollectorRegistry | None = None) -> Metrics:
        """Return the metrics of *registry* (the default one if None), made on the first call."""
        registry = REGISTRY if registry is None else registry
        found: Metrics | None = getattr(registry, _ATTRIBUTE, None)
        if found is None:
            found = Metrics(registry)
            setattr(registry, _ATTRIBUTE, found)
        return found

    def attach(self, sinks: Iterable[BaseSink], root: BaseSink, pipeline: Pipeline) -> None:
        """Publish these sinks from now on; those already attached keep what was published."""
        with self._lock:
            known = {id(source.sink) for source in self._sources}
            self._sources.extend(_Published(sink) for sink in sinks if id(sink) not in known)
            self._roots[id(root)] = (
                root,
                pipeline,
                self._roots.get(id(root), (root, pipeline, {}))[2],
            )

    def detach(self, sinks: Iterable[BaseSink], root: BaseSink) -> None:
        """Publish these sinks a last time and forget them; their gauges go to zero."""
        self.publish()
        gone = {id(sink) for sink in sinks}
        with self._lock:
            for source in self._sources:
                if id(source.sink) in gone:
                    self._publish_gauges(
                        source.sink.name, source.sink.type_name, 0, _zeros(source.sink.ledger)
                    )
            self._sources = [source for source in self._sources if id(source.sink) not in gone]
            self._roots.pop(id(root), None)

    def publish(self) -> None:
        """Bring the objects up to date.  Blocks: up to a second, behind another update."""
        if not self._lock.acquire(timeout=_LOCK_WAIT):
            return
        try:
            for source in self._sources:
                self._publish_sink(source)
            for root, pipeline, published in self._roots.values():
                self._publish_pipeline(root, pipeline, published)
        finally:
            self._lock.release()

    def _publish_sink(self, source: _Published) -> None:
        name, ledger = source.sink.name, source.sink.ledger
        with ledger.lock:
            written, size, waiting = ledger.written, ledger.bytes_written, ledger.waiting
            drops, failures, details = dict(ledger.drops), dict(ledger.errors), dict(ledger.details)
            latencies = [
                (metric, list(histogram.counts), histogram.total)
                for metric, histogram in (
                    (self.write_seconds, ledger.write_seconds),
                    (self.delivery_seconds, ledger.delivery_seconds),
                )
            ]
        self.written.labels(name).inc(source.growth("written", written))
        self.bytes_written.labels(name).inc(source.growth("bytes", size))
        for (reason, level), count in drops.items():
            self.dropped.labels(name, reason, level).inc(source.growth((reason, level), count))
        for error, count in failures.items():
            label = error if error in _ERRORS else "other"
            self.sink_errors.labels(name, label).inc(source.growth(("error", error), count))
        for histogram, counts, total in latencies:
            fresh = [source.growth((id(histogram), i), count) for i, count in enumerate(counts)]
            if any(fresh):
                histogram.labels(name).add(fresh, source.growth((id(histogram), "sum"), total))
        for key, metric in (
            ("rollovers.", self.rollovers),
            ("archives_deleted.", self.archives_deleted),
        ):
            for detail, value in details.items():
                if detail.startswith(key):
                    reason = detail.removeprefix(key)
                    metric.labels(name, reason).inc(source.growth(detail, value))
        if source.sink.type_name == "failover":
            for detail, metric in (
                ("failover.switches", self.switches),
                ("failover.all_failed", self.all_failed),
            ):
                metric.labels(name).inc(source.growth(detail, details.get(detail, 0)))
        self._publish_gauges(name, source.sink.type_name, waiting, details)

    def _publish_gauges(
        self, name: str, kind: str, waiting: int, details: Mapping[str, float]
    ) -> None:
        if kind == "queue":
            self.queue_size.labels(name).set(waiting)
        for detail, metric in (
            ("queue.bytes", self.queue_bytes),
            ("queue.capacity", self.queue_capacity),
            ("queue.high_watermark", self.queue_high_watermark),
            ("spool.records", self.spool_records),
            ("spool.bytes", self.spool_bytes),
        ):
            if detail in details:
                metric.labels(name).set(details[detail])
        for detail, value in details.items():
            if detail.startswith("failover.active."):
                self.active.labels(name, detail.removeprefix("failover.active.")).set(value)

    def _publish_pipeline(
        self, root: BaseSink, pipeline: Pipeline, published: dict[Any, float]
    ) -> None:
        discarded, stages = pipeline.read()
        totals = dict(root.statistics().received_by_level)
        for level, count in discarded.items():
            totals[level] = totals.get(level, 0) + count
        for metric, counts in ((self.events, totals), (self.processing_errors, stages)):
            for label, count in counts.items():
                before = published.get((id(metric), label), 0)
                published[id(metric), label] = count
                metric.labels(label).inc(count - before if count >= before else count)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        fork.hold(self._lock)
        for source in self._sources:
            source.values.clear()
        for _, _, published in self._roots.values():
            published.clear()
        for metric in self._all:
            metric.forget()


def _zeros(ledger: SinkLedger) -> dict[str, float]:
    with ledger.lock:
        return dict.fromkeys(ledger.details, 0)

"""The prometheus-client objects, and how the ledger's numbers get into them.

The ledger is the source; a metric object only repeats it.  Outside multiprocess mode every scrape
brings the objects up to date before it reads them, so a scrape is exact and logging pays nothing.
With ``PROMETHEUS_MULTIPROC_DIR`` another process may read this one's files at any time: there the
objects are brought up to date every quarter of a second, at ``flush`` and at ``shutdown``.

Gauges in multiprocess mode: sizes and capacities add up over live processes (``livesum``), the
high-water mark is that of the worst one (``livemax``), ``pylog_failover_active`` counts processes.
Within one process sinks of the same name (two trees, while one takes over) combine in the same way.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, CollectorRegistry

from pylog_struct import diagnostics, errors, fork
from pylog_struct._exposition import (
    FreshCounter,
    FreshGauge,
    FreshHistogram,
    FreshMetric,
    values_lock,
)
from pylog_struct._published import Published, alive, entry_of
from pylog_struct.ledger import DropReason, LatencyHistogram
from pylog_struct.levels import level_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pylog_struct.sinks.base import BaseSink

__all__ = ["MULTIPROCESS_INTERVAL", "Metrics", "Pipeline", "is_multiprocess"]

MULTIPROCESS_INTERVAL: Final = 0.25
"""Seconds between two updates in multiprocess mode."""

_ATTRIBUTE: Final = "_pylog_struct_metrics"  # on the registry: it outlives a reload of this module
_ERRORS: Final = frozenset(name for name in errors.__all__ if name.startswith("Sink"))
_PIPELINE: Final = "pipeline"  # the sink label of what never came to a sink
_LOCK_WAIT: Final = 1.0  # seconds a scrape waits for an update that is under way
_making = threading.Lock()  # guards the making of the metrics of a registry
fork.hold(_making)


def is_multiprocess() -> bool:
    """Whether prometheus-client keeps its values in files for other processes."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ


class Pipeline:
    """Counts that belong to no sink.  Guarded by its lock, which is never held around other work."""

    __slots__ = ("__weakref__", "_lock", "discarded", "errors")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from zero with a new lock."""
        self._lock = threading.RLock()
        self.discarded: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    def discard(self, level: str, number: int = 1) -> None:
        """Count events that were dropped on purpose before they reached a sink: by a processor, say."""
        with self._lock:  # no call between reading and storing: a signal handler may log there
            try:
                self.discarded[level] += number
            except KeyError:
                self.discarded[level] = number

    def error(self, stage: str) -> None:
        """Count trouble at a stage; the event went on."""
        with self._lock:
            try:
                self.errors[stage] += 1
            except KeyError:
                self.errors[stage] = 1

    def read(self) -> tuple[dict[str, int], dict[str, int]]:
        """Copies of both counts."""
        with self._lock:
            return dict(self.discarded), dict(self.errors)


class Metrics:
    """The metric objects of one registry; use :meth:`of`, which never registers them twice.

    Threads: thread-safe.  Fork: the child starts at zero, like its ledgers.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> FreshCounter:
            made = FreshCounter(f"pylog_{name}", text, labels, registry=None)
            self._watch(made)
            return made

        def gauge(name: str, text: str, mode: Any, *labels: str) -> FreshGauge:
            made = FreshGauge(f"pylog_{name}", text, labels, registry=None, multiprocess_mode=mode)
            self._watch(made)
            return made

        def histogram(name: str, text: str) -> FreshHistogram:
            bounds = LatencyHistogram.bounds
            made = FreshHistogram(f"pylog_{name}", text, ["sink"], registry=None, buckets=bounds)
            self._watch(made)
            return made

        self._all: list[FreshMetric] = []
        self._lock = threading.Lock()  # guards the objects against two updates at once
        self._sinks: list[Published] = []
        self._pipelines: list[Published] = []
        self._trees: list[tuple[BaseSink, Pipeline]] = []
        self._shown: dict[_Reading, float] = {}  # the gauges as they were last set

        self.events: FreshCounter = counter(
            "events_total",
            "Events emitted: received by the root sink, or dropped by a processor.",
            "level",
        )
        self.queue_size: FreshGauge = gauge(
            "queue_size", "Records waiting, in flight included.", "livesum", "sink"
        )
        self.queue_bytes: FreshGauge = gauge(
            "queue_bytes", "Bytes waiting in a queue.", "livesum", "sink"
        )
        self.queue_capacity: FreshGauge = gauge(
            "queue_capacity", "Most records a queue holds.", "livesum", "sink"
        )
        self.queue_high_watermark: FreshGauge = gauge(
            "queue_high_watermark", "Most records that ever waited.", "livemax", "sink"
        )
        self.dropped: FreshCounter = counter(
            "events_dropped_total", "Records given up for good.", "sink", "reason", "level"
        )
        self.written: FreshCounter = counter(
            "events_written_total", "Records passed on or stored.", "sink"
        )
        self.bytes_written: FreshCounter = counter(
            "bytes_written_total", "Bytes passed on or stored.", "sink"
        )
        self.sink_errors: FreshCounter = counter(
            "sink_errors_total", "Failed calls to a sink.", "sink", "error"
        )
        self.write_seconds: FreshHistogram = histogram(
            "sink_write_seconds", "Duration of a write, by batch."
        )
        self.delivery_seconds: FreshHistogram = histogram(
            "delivery_seconds", "Age of the oldest record of a batch when it was delivered."
        )
        self.switches: FreshCounter = counter(
            "failover_switch_total", "Switches and recoveries.", "sink"
        )
        self.all_failed: FreshCounter = counter(
            "failover_all_failed_total", "Every alternative failed.", "sink"
        )
        self.active: FreshGauge = gauge(
            "failover_active", "1 for the target in use.", "livesum", "sink", "target"
        )
        self.rollovers: FreshCounter = counter(
            "rollovers_total", "Roll-overs of a file.", "sink", "reason"
        )
        self.archives_deleted: FreshCounter = counter(
            "archives_deleted_total", "Archives deleted by retention.", "sink", "reason"
        )
        self.spool_records: FreshGauge = gauge(
            "spool_records", "Records waiting on disk.", "livesum", "sink"
        )
        self.spool_bytes: FreshGauge = gauge(
            "spool_bytes", "Bytes waiting on disk.", "livesum", "sink"
        )
        self.processing_errors: FreshCounter = counter(
            "processing_errors_total", "Trouble inside the pipeline; the event went on.", "stage"
        )
        self._worst = {self.queue_high_watermark, self.active}  # of several: not the sum, the most
        self._register(registry)
        fork.register(self)
        fork.hold(self._lock)
        fork.hold(registry._lock)  # a scrape has it for a moment; the child's would wait for ever
        lock = values_lock()
        if lock is not None:
            fork.hold(lock)

    def _watch(self, metric: FreshMetric) -> None:
        metric.refresh = self.publish
        self._all.append(metric)

    def _register(self, registry: CollectorRegistry) -> None:
        done: list[FreshMetric] = []
        for metric in self._all:
            try:
                registry.register(metric)
            except ValueError as error:
                for registered in done:
                    registry.unregister(registered)
                msg = f"registry: {error}; names that begin with pylog_ are taken by somebody else"
                raise errors.ConfigError(msg) from error
            done.append(metric)

    @staticmethod
    def of(registry: CollectorRegistry | None = None) -> Metrics:
        """Return the metrics of *registry* (the default one if None), made on the first call.

        Raises:
            ConfigError: the registry has metrics of the same names that are not ours.
        """
        registry = REGISTRY if registry is None else registry
        with _making:
            found: Metrics | None = getattr(registry, _ATTRIBUTE, None)
            if found is None:
                found = Metrics(registry)
                setattr(registry, _ATTRIBUTE, found)
                return found
        for metric in found._all:  # somebody may have emptied the registry, as test suites do
            with contextlib.suppress(ValueError):  # it is there
                registry.register(metric)
        return found

    def attach(self, sinks: Iterable[BaseSink], root: BaseSink, pipeline: Pipeline) -> None:
        """Publish these sinks from now on; those already attached keep what was published."""
        with self._lock:
            inside = any(entry.source is root for entry in self._sinks)
            for sink in sinks:
                entry_of(self._sinks, sink).attach(sink)
            entry = entry_of(self._sinks, root)
            if inside and not entry.roots:  # what came while it was no root was counted at the root
                with root.ledger.lock:
                    root.ledger.book()
                    levels = dict(root.ledger.received_by_level)
                entry.known.update({("event", level): count for level, count in levels.items()})
            entry.roots += 1
            entry_of(self._pipelines, pipeline).attach(pipeline)
            self._trees.append((root, pipeline))

    def detach(self, sinks: Iterable[BaseSink], root: BaseSink) -> None:
        """Publish these sinks a last time and let go of them; their gauges go to zero.

        What still happens to them is counted for as long as somebody else keeps them.
        """
        gone = list(sinks)
        with self._lock:
            self._bring_up_to_date()
            for sink in gone:
                entry_of(self._sinks, sink).detach()
            tree = next((tree for tree in self._trees if tree[0] is root), None)
            if tree is not None:
                self._trees.remove(tree)
                if not any(sink is root for sink in gone):
                    entry_of(self._sinks, root).roots -= 1
                if not any(other[1] is tree[1] for other in self._trees):
                    entry_of(self._pipelines, tree[1]).detach()
            self._bring_up_to_date()

    def publish(self) -> None:
        """Bring the objects up to date.  Never raises.  Blocks: up to a second, behind another update."""
        if not self._lock.acquire(timeout=_LOCK_WAIT):
            return
        try:
            self._bring_up_to_date()
        finally:
            self._lock.release()

    def _bring_up_to_date(self) -> None:
        """Do it; the caller holds the lock."""
        readings: dict[_Reading, float] = {}
        try:
            for entry, sink in alive(self._sinks):
                self._publish_sink(entry, sink, readings)
            for entry, pipeline in alive(self._pipelines):
                self._publish_pipeline(entry, pipeline)
            for gauge, labels in self._shown.keys() - readings.keys():
                gauge.labels(*labels).set(0)
            for (gauge, labels), value in readings.items():
                gauge.labels(*labels).set(value)
            self._shown = readings
        except Exception as error:  # the files of multiprocess mode: no directory, no space
            diagnostics.report("metrics", "the metrics could not be brought up to date", error)

    def _publish_sink(
        self, entry: Published, sink: BaseSink, readings: dict[_Reading, float]
    ) -> None:
        sink.statistics()  # some bring their details up to date only when they are asked
        name, ledger = sink.name, sink.ledger
        with ledger.lock:
            ledger.book()
            written, size, waiting = ledger.written, ledger.bytes_written, ledger.waiting
            drops, failures, details = dict(ledger.drops), dict(ledger.errors), dict(ledger.details)
            levels = dict(ledger.received_by_level) if entry.roots else {}
            latencies = [
                (metric, list(histogram.counts), histogram.total)
                for metric, histogram in (
                    (self.write_seconds, ledger.write_seconds),
                    (self.delivery_seconds, ledger.delivery_seconds),
                )
            ]
        for level, count in levels.items():
            self.events.labels(level_label(level)).inc(entry.growth(("event", level), count))
        self.written.labels(name).inc(entry.growth("written", written))
        self.bytes_written.labels(name).inc(entry.growth("bytes", size))
        for (reason, label), count in drops.items():
            self.dropped.labels(name, reason, label).inc(entry.growth((reason, label), count))
        for error, count in failures.items():
            label = error if error in _ERRORS else "other"
            self.sink_errors.labels(name, label).inc(entry.growth(("error", error), count))
        for histogram, counts, total in latencies:
            child = histogram.labels(name)
            fresh = [entry.growth((histogram, i), count) for i, count in enumerate(counts)]
            if any(fresh):
                child.add(fresh, entry.growth((histogram, "sum"), total))
        for key, metric in (
            ("rollovers.", self.rollovers),
            ("archives_deleted.", self.archives_deleted),
        ):
            for detail, value in details.items():
                if detail.startswith(key):
                    reason = detail.removeprefix(key)
                    metric.labels(name, reason).inc(entry.growth(detail, value))
        if sink.type_name == "failover":
            for detail, metric in (
                ("failover.switches", self.switches),
                ("failover.all_failed", self.all_failed),
            ):
                metric.labels(name).inc(entry.growth(detail, details.get(detail, 0)))
        if entry.attached:
            if sink.type_name == "queue":
                details["queue.size"] = waiting
            for gauge, labels, value in self._gauges(name, details):
                before = readings.get((gauge, labels), 0)
                worst = gauge in self._worst
                readings[gauge, labels] = max(before, value) if worst else before + value

    def _gauges(
        self, name: str, details: Mapping[str, float]
    ) -> Iterator[tuple[FreshGauge, tuple[str, ...], float]]:
        for detail, metric in (
            ("queue.size", self.queue_size),
            ("queue.bytes", self.queue_bytes),
            ("queue.capacity", self.queue_capacity),
            ("queue.high_watermark", self.queue_high_watermark),
            ("spool.records", self.spool_records),
            ("spool.bytes", self.spool_bytes),
        ):
            if detail in details:
                yield metric, (name,), details[detail]
        for detail, value in details.items():
            if detail.startswith("failover.active."):
                yield self.active, (name, detail.removeprefix("failover.active.")), value

    def _publish_pipeline(self, entry: Published, pipeline: Pipeline) -> None:
        discarded, stages = pipeline.read()
        for level, count in discarded.items():
            growth = entry.growth(("discarded", level), count)
            self.events.labels(level).inc(growth)
            self.dropped.labels(_PIPELINE, DropReason.PROCESSOR, level).inc(growth)
        for stage, count in stages.items():
            self.processing_errors.labels(stage).inc(entry.growth(("error", stage), count))

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        fork.hold(self._lock)
        for entry in (*self._sinks, *self._pipelines):
            entry.known.clear()
        self._shown.clear()
        for metric in self._all:
            metric.forget()


_Reading = tuple[FreshGauge, tuple[str, ...]]
"""One gauge and the values of its labels."""

"""The metrics repeat the ledger, exactly, in any registry, over reconfigurations and forks."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import threading
import warnings
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.alarms import alarms

import pylog_struct.metrics
from pylog_struct import errors
from pylog_struct.errors import ConfigError, SinkUnavailableError
from pylog_struct.ledger import DropReason, LatencyHistogram
from pylog_struct.metrics import Metrics
from pylog_struct.metrics import Pipeline as PipelineCounts
from pylog_struct.record import Record
from pylog_struct.sinks.base import walk
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import NullSink

_THREADS = 8

DESIGN = {
    "pylog_events": ("counter", {"level"}),
    "pylog_queue_size": ("gauge", {"sink"}),
    "pylog_queue_bytes": ("gauge", {"sink"}),
    "pylog_queue_capacity": ("gauge", {"sink"}),
    "pylog_queue_high_watermark": ("gauge", {"sink"}),
    "pylog_events_dropped": ("counter", {"sink", "reason", "level"}),
    "pylog_events_written": ("counter", {"sink"}),
    "pylog_bytes_written": ("counter", {"sink"}),
    "pylog_sink_errors": ("counter", {"sink", "error"}),
    "pylog_sink_write_seconds": ("histogram", {"sink"}),
    "pylog_delivery_seconds": ("histogram", {"sink"}),
    "pylog_failover_switch": ("counter", {"sink"}),
    "pylog_failover_all_failed": ("counter", {"sink"}),
    "pylog_failover_active": ("gauge", {"sink", "target"}),
    "pylog_rollovers": ("counter", {"sink", "reason"}),
    "pylog_archives_deleted": ("counter", {"sink", "reason"}),
    "pylog_spool_records": ("gauge", {"sink"}),
    "pylog_spool_bytes": ("gauge", {"sink"}),
    "pylog_processing_errors": ("counter", {"stage"}),
}


class QueueLike(NullSink):
    """A sink whose ledger a test fills by hand; ``configure`` would show it as a queue."""

    type_name = "queue"


class FailoverLike(NullSink):
    type_name = "failover"


def _records(number, level=20, line=b"12345"):
    return [Record(level, line)] * number


def _received(sink, number, level=20):
    """What a root does for each record."""
    with sink.ledger.lock:
        sink.ledger.accepted(_records(number, level))
        levels = sink.ledger.received_by_level
        levels[level] = levels.get(level, 0) + number


@pytest.fixture(name="registry")
def _registry():
    return CollectorRegistry()


@pytest.fixture(name="metrics")
def _metrics(registry):
    return Metrics.of(registry)


@pytest.fixture(name="queue")
def _queue():
    return QueueLike(name="main")


@pytest.fixture(name="counts")
def _counts():
    return PipelineCounts()


def _scrape(registry):
    """All samples as a scraper parses them, by name and labels."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def _in_threads(work):
    barrier = threading.Barrier(_THREADS)
    failures = []

    def run(position):
        try:
            barrier.wait()
            work(position)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(position,)) for position in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- what there is --------------------------------------------------------------------------------


def test_the_registry_has_every_metric_of_the_design_and_no_other(registry, metrics):
    assert {family.name: family.type for family in registry.collect()} == {
        name: kind for name, (kind, _) in DESIGN.items()
    }


def test_they_are_counters_gauges_and_histograms_of_prometheus_client(registry, metrics):
    collectors = list(registry._collector_to_names)
    assert len(collectors) == len(DESIGN)
    for collector in collectors:
        assert isinstance(collector, (Counter, Gauge, Histogram))
        assert set(collector._labelnames) == DESIGN[collector._name][1]
        assert collector._documentation.endswith(".")


def test_nothing_is_in_any_registry_before_somebody_asks():
    assert list(CollectorRegistry().collect()) == []


# -- the numbers ----------------------------------------------------------------------------------


def test_a_scrape_repeats_the_ledger(registry, metrics, queue, counts):
    failover = FailoverLike(name="safe")
    metrics.attach([queue, failover], queue, counts)
    _received(queue, 6)
    _received(queue, 4, level=45)
    ledger = queue.ledger
    ledger.delivered(_records(5), seconds=0.02)
    ledger.gave_up(_records(1), DropReason.EVICTED)
    ledger.gave_up(_records(1, level=45), DropReason.SHUTDOWN)
    ledger.failed(SinkUnavailableError("x"))
    ledger.delivery_seconds.observe(0.2)
    for detail, value in (
        ("queue.bytes", 15),
        ("queue.capacity", 4096),
        ("queue.high_watermark", 10),
    ):
        ledger.set(detail, value)
    ledger.set("spool.records", 3)
    ledger.set("spool.bytes", 99)
    ledger.count("worker.restarts")
    failover.ledger.count("failover.switches", 2)
    failover.ledger.count("failover.all_failed")
    failover.ledger.set("failover.active.file", 1)
    failover.ledger.set("failover.active.elastic", 0)
    failover.ledger.count("rollovers.size", 7)
    failover.ledger.count("archives_deleted.count", 4)
    counts.discard("info")
    counts.discard("debug")
    counts.error("processor")
    scraped = _scrape(registry)
    histograms = {key: value for key, value in scraped.items() if "_seconds_" in key[0]}
    assert {key: value for key, value in scraped.items() if key not in histograms} == {
        ("pylog_events_total", "info"): 7,
        ("pylog_events_total", "error"): 4,
        ("pylog_events_total", "debug"): 1,
        ("pylog_queue_size", "main"): 3,
        ("pylog_queue_bytes", "main"): 15,
        ("pylog_queue_capacity", "main"): 4096,
        ("pylog_queue_high_watermark", "main"): 10,
        ("pylog_events_dropped_total", "evicted", "info", "main"): 1,
        ("pylog_events_dropped_total", "error", "main", "shutdown"): 1,
        ("pylog_events_dropped_total", "info", "pipeline", "processor"): 1,
        ("pylog_events_dropped_total", "debug", "pipeline", "processor"): 1,
        ("pylog_events_written_total", "main"): 5,
        ("pylog_events_written_total", "safe"): 0,
        ("pylog_bytes_written_total", "main"): 25,
        ("pylog_bytes_written_total", "safe"): 0,
        ("pylog_sink_errors_total", "SinkUnavailableError", "main"): 1,
        ("pylog_failover_switch_total", "safe"): 2,
        ("pylog_failover_all_failed_total", "safe"): 1,
        ("pylog_failover_active", "file", "safe"): 1,
        ("pylog_failover_active", "elastic", "safe"): 0,
        ("pylog_rollovers_total", "safe", "size"): 7,
        ("pylog_archives_deleted_total", "count", "safe"): 4,
        ("pylog_spool_records", "main"): 3,
        ("pylog_spool_bytes", "main"): 99,
        ("pylog_processing_errors_total", "processor"): 1,
    }
    assert histograms["pylog_sink_write_seconds_count", "main"] == 1
    assert histograms["pylog_sink_write_seconds_sum", "main"] == pytest.approx(0.02)
    assert histograms["pylog_delivery_seconds_count", "main"] == 1


def test_a_scrape_is_fresh_every_time_and_counts_nothing_twice(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    for number in range(1, 6):
        queue.ledger.passed(_records(3), seconds=0.001)
        counts.error("bridge")
        scraped = _scrape(registry)
        assert scraped["pylog_events_written_total", "main"] == 3 * number
        assert scraped["pylog_sink_write_seconds_count", "main"] == number
        assert scraped["pylog_processing_errors_total", "bridge"] == number
        assert _scrape(registry) == scraped


@pytest.mark.parametrize(
    "name", ["pylog_events_written_total", "pylog_queue_size", "pylog_sink_write_seconds_count"]
)
def test_a_scrape_of_some_names_is_as_fresh(registry, metrics, queue, counts, name):
    metrics.attach([queue], queue, counts)
    for number in range(1, 4):
        queue.ledger.passed(_records(1), seconds=0.001)
        queue.ledger.accepted(_records(1))
        assert _scrape(registry.restricted_registry([name])) == {(name, "main"): number}


def test_a_single_sample_is_fresh(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    queue.ledger.accepted(_records(4))
    assert registry.get_sample_value("pylog_queue_size", {"sink": "main"}) == 4.0
    queue.ledger.delivered(_records(4))
    assert registry.get_sample_value("pylog_queue_size", {"sink": "main"}) == 0.0


def test_the_numbers_are_exact_with_eight_threads_while_others_scrape(
    registry, metrics, queue, counts
):
    metrics.attach([queue], queue, counts)
    rounds, stop, backwards = 400, threading.Event(), []

    def scrape():
        last = 0
        while not stop.is_set():
            now = _scrape(registry).get(("pylog_events_written_total", "main"), 0)
            if now < last:
                backwards.append((last, now))
            last = now

    scrapers = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in scrapers:
        thread.start()

    def work(position):
        for number in range(rounds):
            _received(queue, 3)
            queue.ledger.delivered(_records(2), seconds=0.001 * (number % 5))
            queue.ledger.gave_up(_records(1), DropReason.QUEUE_FULL)
            queue.ledger.failed(SinkUnavailableError("x"))
            queue.ledger.count("rollovers.size")
            counts.discard("debug")
            counts.error("processor")
            if number % 50 == position:
                metrics.publish()

    try:
        _in_threads(work)
    finally:
        stop.set()
        for thread in scrapers:
            thread.join()
    total = rounds * _THREADS
    scraped = _scrape(registry)
    assert backwards == []
    assert scraped["pylog_events_total", "info"] == 3 * total
    assert scraped["pylog_events_total", "debug"] == total
    assert scraped["pylog_events_written_total", "main"] == 2 * total
    assert scraped["pylog_events_dropped_total", "info", "main", "queue_full"] == total
    assert scraped["pylog_sink_errors_total", "SinkUnavailableError", "main"] == total
    assert scraped["pylog_rollovers_total", "main", "size"] == total
    assert scraped["pylog_processing_errors_total", "processor"] == total
    assert scraped["pylog_sink_write_seconds_count", "main"] == total
    assert scraped["pylog_sink_write_seconds_sum", "main"] == pytest.approx(0.002 * total)
    assert scraped["pylog_queue_size", "main"] == 0


class LazySink(QueueLike):
    """Keeps a detail to itself until somebody asks."""

    depth = 0

    def statistics(self):
        self.ledger.set("queue.bytes", self.depth)
        return super().statistics()


def test_details_that_a_sink_tells_when_asked_are_fresh_too(registry, metrics, counts):
    sink = LazySink(name="lazy")
    metrics.attach([sink], sink, counts)
    for depth in (3, 8, 0):
        sink.depth = depth
        assert _scrape(registry.restricted_registry(["pylog_queue_bytes"])) == {
            ("pylog_queue_bytes", "lazy"): depth
        }


class StuckSink(NullSink):
    """Holds its writer until it is told to go on."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def _write(self, batch):
        self.entered.set()
        assert self.go_on.wait(20)


def test_a_queue_over_a_stuck_sink_shows_what_waits(registry, metrics, counts):
    stuck = StuckSink()
    queue = QueueSink(stuck, capacity=100, policy="discard", name="main")
    metrics.attach(walk(queue), queue, counts)
    try:
        queue.write(_records(1))
        assert stuck.entered.wait(20)
        queue.write(_records(10))
        scraped = _scrape(registry)
        assert scraped["pylog_queue_size", "main"] == 11
        assert scraped["pylog_queue_bytes", "main"] >= 50
        assert scraped["pylog_queue_high_watermark", "main"] >= 10
        assert scraped["pylog_queue_capacity", "main"] == 100
    finally:
        stuck.go_on.set()
        queue.close(20)
    scraped = _scrape(registry)
    assert scraped["pylog_queue_size", "main"] == scraped["pylog_queue_bytes", "main"] == 0
    assert scraped["pylog_events_written_total", "main"] == 11
    assert scraped["pylog_events_total", "info"] == 11


def test_an_event_costs_the_metrics_nothing(registry, metrics, queue, counts, monkeypatch):
    metrics.attach([queue], queue, counts)
    calls = []
    for kind in (Counter, Gauge, Histogram):
        for method in ("inc", "set", "observe", "labels"):
            if hasattr(kind, method):
                monkeypatch.setattr(kind, method, lambda *_, **__: calls.append(1))
    for _ in range(100):
        queue.write(_records(10))
        counts.discard("info")
        counts.error("processor")
    assert calls == []


# -- labels ---------------------------------------------------------------------------------------


class VendorError(Exception):
    pass


def test_an_error_class_of_somebody_else_is_other(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    for error in (
        VendorError(),
        OSError(),
        type(f"Error{id(queue)}", (Exception,), {})(),
        errors.SinkError(),
    ):
        queue.ledger.failed(error)
    for name in errors.__all__:
        queue.ledger.failed(getattr(errors, name)())
    labels = {
        next(label for label in key[1:] if label != "main"): value
        for key, value in _scrape(registry).items()
        if key[0] == "pylog_sink_errors_total"
    }
    assert labels == {
        "SinkClosedError": 1, "SinkError": 2, "SinkRejectedError": 1, "SinkTimeoutError": 1,
        "SinkUnavailableError": 1, "other": 5,
    }  # fmt: skip


def test_levels_and_reasons_come_from_closed_sets(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    for level in range(0, 120, 3):
        _received(queue, 1, level)
        for reason in DropReason:
            queue.ledger.refused([Record(level, b"")], reason)
    scraped = _scrape(registry)
    five = {"debug", "info", "warning", "error", "critical"}
    assert {key[1] for key in scraped if key[0] == "pylog_events_total"} == five
    dropped = [set(key[1:]) for key in scraped if key[0] == "pylog_events_dropped_total"]
    assert len(dropped) == 5 * len(DropReason)
    assert set.union(*dropped) == five | {reason.value for reason in DropReason} | {"main"}


# -- registries -----------------------------------------------------------------------------------


def test_two_registries_at_once_have_the_same_numbers(queue, counts):
    registries = CollectorRegistry(), CollectorRegistry()
    for registry in registries:
        Metrics.of(registry).attach([queue], queue, counts)
    _received(queue, 2)
    queue.ledger.delivered(_records(1), seconds=0.1)
    first, second = map(_scrape, registries)
    assert first == second
    assert first["pylog_events_written_total", "main"] == 1


def test_without_a_registry_it_is_prometheus_clients_own(monkeypatch):
    stand_in = CollectorRegistry(auto_describe=True)
    monkeypatch.setattr(pylog_struct.metrics, "REGISTRY", stand_in)
    assert Metrics.of(None) is Metrics.of() is Metrics.of(stand_in)
    assert len(list(stand_in.collect())) == len(DESIGN)


def test_the_same_registry_twice_is_the_same_metrics(registry):
    assert Metrics.of(registry) is Metrics.of(registry)
    assert Metrics.of(CollectorRegistry()) is not Metrics.of(registry)


def test_many_threads_may_ask_for_a_registry_at_once():
    for _ in range(20):
        registry, found = CollectorRegistry(), []
        _in_threads(lambda _, registry=registry, found=found: found.append(Metrics.of(registry)))
        assert len(set(map(id, found))) == 1


def test_a_reloaded_module_finds_the_metrics_and_the_counts_go_on(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(2))
    contents = dict(vars(pylog_struct.metrics))
    try:
        again = importlib.reload(pylog_struct.metrics)
        assert again.Metrics is not Metrics
        assert again.Metrics.of(registry) is metrics
        other = QueueLike(name="main")
        again.Metrics.of(registry).attach([other], other, again.Pipeline())
        other.ledger.passed(_records(3))
        assert _scrape(registry)["pylog_events_written_total", "main"] == 5
    finally:
        vars(pylog_struct.metrics).update(contents)


def test_a_registry_that_was_emptied_gets_them_back(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    for collector in list(registry._collector_to_names):
        registry.unregister(collector)
    assert _scrape(registry) == {}
    assert Metrics.of(registry) is metrics
    queue.ledger.passed(_records(2))
    assert _scrape(registry)["pylog_events_written_total", "main"] == 2


def test_names_that_somebody_else_has_taken_are_one_clear_error_and_leave_nothing_behind(registry):
    Counter("pylog_rollovers_total", "Mine.", registry=registry)
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=r"^registry: .*pylog_rollovers.* taken by somebody else"
        ):
            Metrics.of(registry)
        assert len(list(registry.collect())) == 1


def test_a_registry_that_nobody_uses_any_more_goes_away(queue, counts):
    registry = CollectorRegistry()
    Metrics.of(registry).attach([queue], queue, counts)
    reference = weakref.ref(registry)
    del registry
    gc.collect()
    assert reference() is None


# -- reconfiguration ------------------------------------------------------------------------------


def test_counters_grow_on_over_a_reconfiguration_and_gauges_go_to_zero(registry, metrics):
    total = 0
    for number in range(1, 4):
        queue, counts = QueueLike(name="main"), PipelineCounts()
        metrics.attach([queue], queue, counts)
        _received(queue, 10 * number)
        queue.ledger.delivered(_records(10 * number - 1), seconds=0.001)
        queue.ledger.set("queue.capacity", 100)
        queue.ledger.set("failover.active.file", 1)
        queue.ledger.set("spool.bytes", 5)
        counts.discard("debug")
        counts.error("processor")
        metrics.detach([queue], queue)
        total += 10 * number
        scraped = _scrape(registry)
        assert scraped["pylog_events_total", "info"] == total
        assert scraped["pylog_events_total", "debug"] == number
        assert scraped["pylog_processing_errors_total", "processor"] == number
        assert scraped["pylog_events_written_total", "main"] == total - number
        assert scraped["pylog_sink_write_seconds_count", "main"] == number
        for name in ("pylog_queue_size", "pylog_queue_capacity", "pylog_spool_bytes"):
            assert scraped[name, "main"] == 0
        assert scraped["pylog_failover_active", "file", "main"] == 0


def test_a_tree_that_takes_over_shows_its_own_gauges_at_once(registry, metrics, counts):
    old, new = QueueLike(name="main"), QueueLike(name="main")
    old.ledger.set("queue.capacity", 10)
    old.ledger.set("queue.high_watermark", 9)
    new.ledger.set("queue.capacity", 32)
    new.ledger.set("queue.high_watermark", 2)
    metrics.attach([old], old, counts)
    metrics.attach([new], new, PipelineCounts())
    old.ledger.accepted(_records(4))
    new.ledger.accepted(_records(1))
    both = _scrape(registry)
    assert (both["pylog_queue_size", "main"], both["pylog_queue_capacity", "main"]) == (5, 42)
    assert both["pylog_queue_high_watermark", "main"] == 9
    metrics.detach([old], old)
    assert metrics.queue_size.labels("main")._value.get() == 1  # before any scrape
    assert _scrape(registry)["pylog_queue_high_watermark", "main"] == 2


def test_attaching_a_tree_twice_counts_it_once(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    _received(queue, 5)
    metrics.publish()
    metrics.attach([queue], queue, counts)
    assert _scrape(registry)["pylog_events_total", "info"] == 5
    metrics.detach([], queue)
    _received(queue, 1)
    assert _scrape(registry)["pylog_events_total", "info"] == 6
    assert _scrape(registry)["pylog_queue_size", "main"] == 6


def test_a_root_kept_by_a_new_configuration_counts_on_with_the_new_pipeline(
    registry, metrics, queue
):
    first, second = PipelineCounts(), PipelineCounts()
    metrics.attach([queue], queue, first)
    _received(queue, 5)
    first.discard("info")
    first.error("bridge")
    assert _scrape(registry)["pylog_events_total", "info"] == 6
    metrics.attach([queue], queue, second)
    metrics.detach([], queue)
    _received(queue, 1)
    second.discard("info")
    second.error("bridge")
    scraped = _scrape(registry)
    assert scraped["pylog_events_total", "info"] == 8
    assert scraped["pylog_processing_errors_total", "bridge"] == 2


def test_a_queue_put_in_front_keeps_the_pipelines_counts(registry, metrics, counts):
    inner, queue = NullSink(name="file"), QueueLike(name="main")
    metrics.attach([inner], inner, counts)
    _received(inner, 3)
    counts.discard("info")
    counts.error("bridge")
    metrics.publish()
    metrics.attach([queue, inner], queue, counts)
    metrics.detach([], inner)
    _received(queue, 2)
    _received(inner, 2)  # the same two, further down: no new events
    scraped = _scrape(registry)
    assert scraped["pylog_events_total", "info"] == 6
    assert scraped["pylog_processing_errors_total", "bridge"] == 1


def test_a_sink_that_becomes_the_root_counts_from_then_on(registry, metrics, counts):
    inner, queue = NullSink(name="file"), QueueLike(name="main")
    metrics.attach([queue, inner], queue, counts)
    _received(queue, 4)
    _received(inner, 4)
    metrics.attach([inner], inner, PipelineCounts())
    metrics.detach([queue], queue)
    _received(inner, 1)
    assert _scrape(registry)["pylog_events_total", "info"] == 5


def test_a_sink_that_gets_another_name_counts_under_it_and_leaves_no_gauge_behind(
    registry, metrics, queue, counts
):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(2))
    queue.ledger.accepted(_records(3))
    assert _scrape(registry)["pylog_queue_size", "main"] == 3
    queue.name = "queue-2"
    queue.ledger.passed(_records(1))
    scraped = _scrape(registry)
    assert (
        scraped["pylog_events_written_total", "main"],
        scraped["pylog_events_written_total", "queue-2"],
    ) == (2, 1)
    assert (scraped["pylog_queue_size", "main"], scraped["pylog_queue_size", "queue-2"]) == (0, 3)


def test_what_comes_after_detach_is_still_counted_as_long_as_somebody_has_the_sink(
    registry, metrics, queue, counts
):
    metrics.attach([queue], queue, counts)
    metrics.detach([queue], queue)
    with queue.ledger.lock:
        queue.ledger.refused(_records(2), DropReason.CLOSED)
        queue.ledger.received_by_level[20] = 2
    counts.error("pipeline")
    scraped = _scrape(registry)
    assert scraped["pylog_events_dropped_total", "closed", "info", "main"] == 2
    assert scraped["pylog_events_total", "info"] == 2
    assert scraped["pylog_processing_errors_total", "pipeline"] == 1


def test_detached_sinks_are_not_kept_alive(registry, metrics, counts):
    queue = QueueLike(name="main")
    metrics.attach([queue], queue, counts)
    reference = weakref.ref(queue)
    metrics.detach([queue], queue)
    del queue
    gc.collect()
    assert reference() is None
    assert _scrape(registry)["pylog_events_written_total", "main"] == 0
    assert metrics._sinks == []  # nor is what was noted about them


def test_detaching_what_was_never_attached_is_no_error(registry, metrics, queue):
    metrics.detach([queue], queue)
    assert _scrape(registry).get(("pylog_queue_size", "main"), 0) == 0


def test_a_ledger_that_began_again_counts_in_full(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(10), seconds=1.0)
    assert _scrape(registry)["pylog_events_written_total", "main"] == 10
    queue.ledger.reset()
    queue.ledger.passed(_records(4), seconds=0.5)
    scraped = _scrape(registry)
    assert scraped["pylog_events_written_total", "main"] == 14


# -- histograms -----------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(0, 1_000), max_size=6), max_size=5))
def test_durations_published_by_the_bucketful_equal_observe_one_by_one(rounds):
    registry, queue = CollectorRegistry(), QueueLike(name="main")
    metrics = Metrics.of(registry)
    metrics.attach([queue], queue, PipelineCounts())
    expected = CollectorRegistry()
    reference = Histogram(
        "pylog_sink_write_seconds",
        "x",
        ["sink"],
        registry=expected,
        buckets=LatencyHistogram.bounds,
    )
    reference.labels("main")
    for durations in rounds:
        for seconds in durations:
            queue.ledger.write_seconds.observe(seconds)
            reference.labels("main").observe(seconds)
        found = {
            key: value
            for key, value in _scrape(registry).items()
            if key[0].startswith("pylog_sink_write_seconds")
        }
        wanted = _scrape(expected)
        assert {key: value for key, value in found.items() if "_sum" not in key[0]} == {
            key: value for key, value in wanted.items() if "_sum" not in key[0]
        }
        total = "pylog_sink_write_seconds_sum", "main"
        assert found[total] == pytest.approx(wanted[total])


# -- trouble --------------------------------------------------------------------------------------


def test_trouble_while_publishing_is_reported_and_loses_no_count(
    registry, metrics, queue, counts, monkeypatch, capsys
):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(3))

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(metrics.bytes_written, "labels", no_space)
        metrics.publish()
        assert _scrape(registry)["pylog_events_written_total", "main"] == 3
    assert (
        "the metrics could not be brought up to date (OSError: [Errno 28]"
        in capsys.readouterr().err
    )
    scraped = _scrape(registry)
    assert scraped["pylog_events_written_total", "main"] == 3
    assert scraped["pylog_bytes_written_total", "main"] == 15


def test_an_update_that_hangs_does_not_hold_up_a_scrape_for_ever(
    registry, metrics, queue, counts, monkeypatch
):
    monkeypatch.setattr(pylog_struct.metrics, "_LOCK_WAIT", 0.01)
    metrics.attach([queue], queue, counts)
    with metrics._lock:
        assert isinstance(generate_latest(registry), bytes)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_a_signal_handler_may_count_in_the_middle_of_a_count(counts):
    handled = 0

    def handler():
        nonlocal handled
        handled += 1
        counts.discard("info")
        counts.error("processor")

    rounds = 0
    with alarms(handler, 0.00005):
        while handled < 3_000:
            rounds += 1
            counts.discard("info")
            counts.error("processor")
    assert counts.read() == ({"info": rounds + handled}, {"processor": rounds + handled})


# -- fork -----------------------------------------------------------------------------------------


def _in_child(work):
    """What *work* says in the child of a fork ("" if it died or hung)."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            os.write(writer, repr(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    killer = threading.Timer(30, os.kill, (pid, 9))
    killer.start()
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode()
    killer.cancel()
    killer.join()
    os.waitpid(pid, 0)
    return answer


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@forks
def test_the_child_of_a_fork_starts_at_zero_and_counts_by_itself(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    _received(queue, 7)
    queue.ledger.set("queue.capacity", 10)
    queue.ledger.failed(SinkUnavailableError("x"))
    assert _scrape(registry)["pylog_events_total", "info"] == 7

    def child():
        counts.reset()  # the manager's part
        fresh = _scrape(registry)
        _received(queue, 2)
        queue.ledger.delivered(_records(1), seconds=0.1)
        counts.error("processor")
        later = _scrape(registry)
        wanted = [
            ("pylog_events_total", "info"), ("pylog_events_written_total", "main"), ("pylog_queue_size", "main"),
            ("pylog_processing_errors_total", "processor"), ("pylog_sink_write_seconds_count", "main"),
        ]  # fmt: skip
        left = [key for key, value in fresh.items() if value or "capacity" in key[0]]
        return left, [later[key] for key in wanted]

    assert _in_child(child) == repr(([], [2.0, 1.0, 1.0, 1.0, 1.0]))
    assert _scrape(registry)["pylog_events_total", "info"] == 7
    assert _scrape(registry)["pylog_queue_capacity", "main"] == 10


@forks
def test_a_fork_at_any_moment_of_scraping_and_publishing_locks_no_child(
    registry, metrics, queue, counts
):
    metrics.attach([queue], queue, counts)
    stop = threading.Event()

    def scrape():
        while not stop.is_set():
            generate_latest(registry)

    def publish():
        while not stop.is_set():
            queue.ledger.passed(_records(1), seconds=0.001)
            counts.error("processor")
            metrics.publish()

    def make():
        while not stop.is_set():
            Metrics.of(CollectorRegistry())

    def child():
        queue.ledger.passed(_records(2))
        other = CollectorRegistry()
        Metrics.of(other).attach([queue], queue, PipelineCounts())
        return [_scrape(each)["pylog_events_written_total", "main"] for each in (registry, other)]

    threads = [threading.Thread(target=work) for work in (scrape, scrape, publish, make)]
    for thread in threads:
        thread.start()
    try:
        answers = [_in_child(child) for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {"[2.0, 2.0]"}
    written = queue.statistics().written
    assert _scrape(registry)["pylog_events_written_total", "main"] == written


_LOCKS = {
    "a scrape begins": lambda registry, metrics: registry._lock,
    "a metric is read": lambda registry, metrics: metrics.written._lock,
    "a value is read": lambda registry, metrics: metrics.written.labels("main")._value._lock,
    "an update is under way": lambda registry, metrics: metrics._lock,
    "metrics are made": lambda registry, metrics: pylog_struct.metrics._making,
    "trouble is counted": lambda registry, metrics: metrics._trees[0][1]._lock,
}


@forks
@pytest.mark.parametrize("moment", _LOCKS)
def test_a_fork_while_another_thread_has_a_lock_leaves_the_child_free(
    registry, metrics, queue, counts, moment
):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(1))
    metrics.publish()
    lock = _LOCKS[moment](registry, metrics)
    taken, go_on = threading.Event(), threading.Event()

    def other():
        with lock:
            taken.set()
            go_on.wait(0.3)  # a fork waits for such a lock, at most a second

    thread = threading.Thread(target=other)
    thread.start()
    assert taken.wait(20)

    def child():
        counts.reset()  # the manager's part
        queue.ledger.passed(_records(2))
        counts.error("processor")
        written = _scrape(registry)["pylog_events_written_total", "main"]
        return written, Metrics.of(registry) is metrics

    try:
        assert _in_child(child) == "(2.0, True)"
    finally:
        go_on.set()
        thread.join()


@forks
def test_a_child_of_a_child_starts_at_zero_too(registry, metrics, queue, counts):
    metrics.attach([queue], queue, counts)

    def child():
        queue.ledger.passed(_records(3))
        before = _scrape(registry)["pylog_events_written_total", "main"]
        return before, _in_child(lambda: _scrape(registry)["pylog_events_written_total", "main"])

    assert _in_child(child) == "(3.0, '0.0')"


def test_one_series_can_be_collected_by_itself(metrics, queue, counts):
    metrics.attach([queue], queue, counts)
    queue.ledger.passed(_records(2))
    metrics.publish()
    (family,) = metrics.written.labels("main").collect()
    assert family.samples[0].value == 2

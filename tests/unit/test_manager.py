"""The manager: flush, shutdown, statistics, swapping the queue; bounded, truthful, once."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.events import memory_pipeline
from support.queue_sinks import FailingSink, GatedSink

import pylog_struct
from pylog_struct import (
    ConfigError,
    LogManager,
    ShutdownReport,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.sinks import (
    FailoverSink,
    FanOutSink,
    FilterSink,
    LockedSink,
    MemorySink,
    NullSink,
    QueueSink,
)
from pylog_struct.sinks.base import walk
from pylog_struct.testing import FailingSink as FaultySink
from pylog_struct.testing import Fault

GENEROUS = 10.0  # seconds: an order of magnitude above what any bounded call here may take


class CountingSink(MemorySink):
    """Counts how often it is closed."""

    def __init__(self):
        super().__init__()
        self.closes = 0

    def _close(self, timeout):
        self.closes += 1
        super()._close(timeout)


class RaisingSink(MemorySink):
    """Raises what no sink should, everywhere."""

    def _flush(self, timeout):
        raise ZeroDivisionError("flush")

    def _close(self, timeout):
        raise ZeroDivisionError("close")


class ClingingSink(MemorySink):
    """Does not return from flush and close until it is let go."""

    def __init__(self):
        super().__init__()
        self.let_go = threading.Event()

    def _flush(self, timeout):
        self.let_go.wait(60)

    _close = _flush


@pytest.fixture
def gated():
    sink = GatedSink()
    yield sink
    sink.gate.set()


@pytest.fixture
def clinging():
    sink = ClingingSink()
    yield sink
    sink.let_go.set()


class TestFlush:
    def test_says_true_when_everything_has_arrived(self):
        sink = MemorySink()
        pylog_struct.configure(sink=QueueSink(sink))
        for number in range(500):
            structlog.get_logger().info("x", number=number)

        assert pylog_struct.flush(timeout="10 s") is True
        assert len(sink.records) == 500

    def test_says_false_when_the_sink_is_stuck(self, gated):
        pylog_struct.configure(sink=QueueSink(gated))
        structlog.get_logger().info("x")

        assert pylog_struct.flush(timeout=0.05) is False
        gated.gate.set()
        assert pylog_struct.flush(timeout=GENEROUS) is True

    def test_says_false_when_the_sink_is_down(self, capfd):
        sink = FailingSink()
        pylog_struct.configure(sink=QueueSink(sink, retry_min=0.01, retry_max=0.01))
        structlog.get_logger().info("x")

        assert pylog_struct.flush(timeout=0.05) is False
        sink.failing = False
        assert pylog_struct.flush(timeout=GENEROUS) is True

    def test_of_a_bare_sink_that_hangs_is_bounded(self, clinging):
        manager = pylog_struct.configure(sink=clinging)
        began = time.monotonic()

        assert manager.flush(timeout=0.05) is False
        assert time.monotonic() - began < GENEROUS
        clinging.let_go.set()

    def test_never_raises_for_a_sinks_failure(self, capfd):
        pylog_struct.configure(sink=RaisingSink(), shutdown_timeout=1)

        assert pylog_struct.flush(timeout=1) is False
        assert "ZeroDivisionError" in capfd.readouterr().err

    def test_says_false_once_when_a_bare_sink_took_nothing(self, capfd):
        sink = FailingSink()
        pylog_struct.configure(sink=sink)
        structlog.get_logger().error("x")

        assert pylog_struct.flush() is False
        assert pylog_struct.flush() is True
        sink.failing = False
        structlog.get_logger().error("y")
        assert pylog_struct.flush() is True

    def test_a_document_that_was_refused_for_good_makes_it_no_lie(self, capfd):
        refuses = FaultySink(fault=Fault(SinkRejectedError))
        pylog_struct.configure(sink=QueueSink(FailoverSink([refuses, MemorySink()])))
        structlog.get_logger().info("x")

        assert pylog_struct.flush() is True
        assert pylog_struct.statistics()["queue"].drops == {("rejected", "info"): 1}

    def test_what_a_failover_or_a_filter_was_for_makes_it_no_lie(self, capfd):
        spare = MemorySink()
        tree = FailoverSink([FailingSink(), FilterSink(spare, min_level="WARNING")])
        pylog_struct.configure(sink=QueueSink(tree))
        structlog.get_logger().info("filtered")
        structlog.get_logger().warning("x")

        assert pylog_struct.flush() is True
        assert len(spare.records) == 2  # with the failover's notice

    def test_the_failures_of_a_configuration_before_are_not_told_again(self, capfd):
        sink = FailingSink()
        pylog_struct.configure(sink=sink)
        structlog.get_logger().error("x")
        pylog_struct.configure(sink=sink)

        assert pylog_struct.flush() is True

    @pytest.mark.parametrize("timeout", [-1, "soon", None])
    def test_refuses_nonsense(self, timeout):
        memory_pipeline()

        with pytest.raises(ConfigError, match=r"flush\.timeout"):
            pylog_struct.flush(timeout)

    def test_takes_any_long_timeout(self):
        memory_pipeline()

        assert pylog_struct.flush(1e12) is True

    def test_after_shutdown_repeats_what_the_report_says(self):
        memory_pipeline()
        pylog_struct.shutdown()

        assert pylog_struct.flush() is True


class TestShutdown:
    def test_drains_and_closes_every_sink_once(self):
        leaves = [CountingSink(), CountingSink()]
        pylog_struct.configure(sink=QueueSink(FanOutSink([*leaves, leaves[0]][:2])))
        for number in range(100):
            structlog.get_logger().info("x", number=number)

        first = pylog_struct.shutdown()
        second = LogManager.shutdown(timeout=0)

        assert first == ShutdownReport(written=100, complete=True)
        assert second is first
        assert [len(leaf.records) for leaf in leaves] == [100, 100]
        assert [leaf.closes for leaf in leaves] == [1, 1]

    def test_with_a_stuck_sink_is_bounded_and_says_what_was_abandoned(self, gated, capfd):
        manager = pylog_struct.configure(sink=QueueSink(gated, spill=False))
        for number in range(10):
            structlog.get_logger().info("x", number=number)
        assert gated.entered.wait(GENEROUS)
        began = time.monotonic()

        report = manager.shutdown(timeout=0.1)

        assert time.monotonic() - began < GENEROUS
        assert not report.complete
        assert report.abandoned == 10
        assert report.written == 0
        assert manager.statistics()["queue"].drops[("shutdown", "info")] == 10
        assert manager.statistics()["queue"].balanced
        assert "10 record(s) abandoned" in capfd.readouterr().err

    def test_a_queue_deeper_in_the_tree_counts_too(self, gated, capfd):
        pylog_struct.configure(sink=FanOutSink([QueueSink(gated, spill=False), MemorySink()]))
        structlog.get_logger().info("x")
        assert gated.entered.wait(GENEROUS)

        report = pylog_struct.shutdown(timeout=0.1)

        assert report.abandoned == 1
        assert not report.complete

    def test_of_a_bare_sink_that_hangs_is_bounded(self, clinging, capfd):
        pylog_struct.configure(sink=clinging)
        began = time.monotonic()

        report = pylog_struct.shutdown(timeout=0.05)

        assert time.monotonic() - began < GENEROUS
        assert not report.complete
        assert "did not finish" in report.errors[0]

    def test_a_failing_close_is_in_the_report(self, capfd):
        pylog_struct.configure(sink=RaisingSink(), shutdown_timeout=1)

        report = pylog_struct.shutdown()

        assert not report.complete
        assert "ZeroDivisionError" in report.errors[0]
        assert "shutdown: " in capfd.readouterr().err

    def test_what_stays_on_disk_is_spooled_not_abandoned(self, tmp_path, capfd):
        queue = QueueSink(
            FailingSink(), spill=tmp_path / "app.spill", retry_min=0.01, retry_max=0.01
        )
        manager = pylog_struct.configure(sink=queue)
        structlog.get_logger().error("kept")

        report = manager.shutdown(timeout=0.1)

        assert (report.spooled, report.abandoned) == (1, 0)

    def test_when_no_thread_can_be_started_the_janitor_or_this_thread_does_it(self, monkeypatch):
        sink = CountingSink()
        pylog_struct.configure(sink=sink)

        def refuse(self):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)

        assert pylog_struct.shutdown().complete
        assert sink.closes == 1

    @pytest.mark.parametrize("queued", [False, True])
    def test_what_is_logged_afterwards_is_counted_and_reported(self, queued, capfd):
        sink = MemorySink()
        registry = CollectorRegistry()
        manager = pylog_struct.configure(
            sink=QueueSink(sink) if queued else sink, registry=registry
        )
        pylog_struct.shutdown()
        root = manager.root.name

        structlog.get_logger().info("quietly")
        structlog.get_logger().error("loudly", order=7)

        ledger = manager.statistics()
        assert ledger[root].drops == {("closed", "info"): 1, ("closed", "error"): 1}
        assert ledger.balanced
        assert ledger.emitted == 2
        labels = {"sink": root, "reason": "closed", "level": "error"}
        assert registry.get_sample_value("pylog_events_dropped_total", labels) == 1
        err = capfd.readouterr().err
        assert '"order":7' in err
        assert "after the pipeline was closed" in err

    def test_the_hooks_are_given_back(self):
        import sys

        before = sys.excepthook, threading.excepthook, sys.unraisablehook
        memory_pipeline()
        during = sys.excepthook, threading.excepthook, sys.unraisablehook
        pylog_struct.shutdown()

        assert all(one != other for one, other in zip(before, during, strict=True))
        assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before

    def test_configure_works_again_afterwards(self):
        memory_pipeline()
        pylog_struct.shutdown()

        sink = memory_pipeline()
        structlog.get_logger().info("again")
        logging.getLogger("x").info("again")

        assert len(sink.records) == 2

    def test_refuses_nonsense(self):
        memory_pipeline()

        with pytest.raises(ConfigError, match=r"shutdown\.timeout"):
            pylog_struct.shutdown("soon")


class TestAsyncQueue:
    def test_on_the_class_and_on_the_instance(self):
        sink = MemorySink()
        manager = pylog_struct.configure(sink=sink)

        first = LogManager.configure_async_queue(queue_size=10, full_policy="Block")
        structlog.get_logger().info("one")
        second = manager.configure_async_queue()
        structlog.get_logger().info("two")

        assert manager.root is second is not first
        assert pylog_struct.flush(GENEROUS)
        assert [event["event"] for event in sink.events] == ["one", "two"]
        assert isinstance(second, QueueSink)

    def test_nothing_is_lost_or_doubled_while_queues_are_swapped(self):
        sink = MemorySink()
        manager = pylog_struct.configure(sink=sink, level="INFO", format="json")
        stop = threading.Event()
        sent = [0] * 4

        def work(number):
            log = structlog.get_logger()
            while not stop.is_set():
                log.info("x", thread=number, index=sent[number])
                sent[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            manager.configure_async_queue(queue_size=100, full_policy="block")
        stop.set()
        for thread in threads:
            thread.join()

        assert pylog_struct.flush(60)
        arrived = [(event["thread"], event["index"]) for event in sink.events]
        assert len(arrived) == len(set(arrived)) == sum(sent)
        assert manager.statistics().balanced

    def test_after_shutdown_it_is_an_error(self):
        memory_pipeline()
        pylog_struct.shutdown()

        with pytest.raises(ConfigError, match="shut down"):
            LogManager.configure_async_queue()

    def test_nonsense_changes_nothing(self):
        sink = memory_pipeline()

        with pytest.raises(ConfigError):
            LogManager.configure_async_queue(queue_size=-1)
        structlog.get_logger().info("x")

        assert len(sink.records) == 1


class TestStatistics:
    def test_are_the_numbers_of_a_scrape(self):
        registry = CollectorRegistry()

        def drop_noise(logger, name, event_dict):
            if event_dict.get("noise"):
                raise structlog.DropEvent
            return event_dict

        manager = pylog_struct.configure(
            sink=QueueSink(FanOutSink([MemorySink(), NullSink()])),
            registry=registry,
            processors=[drop_noise],
            level="DEBUG",
        )
        log = structlog.get_logger()
        for number in range(30):
            log.debug("x", number=number, noise=number % 3 == 0)
            log.error("y", number=number)
        assert pylog_struct.flush(GENEROUS)

        ledger = manager.statistics()
        assert ledger.balanced
        assert (ledger.emitted, ledger.discarded) == (60, 10)

        def scraped(name, **labels):
            return registry.get_sample_value(name, labels) or 0

        assert scraped("pylog_events_total", level="debug") == 30
        assert scraped("pylog_events_total", level="error") == 30
        for name in ledger:
            one = ledger[name]
            assert scraped("pylog_events_written_total", sink=name) == one.written
            assert scraped("pylog_bytes_written_total", sink=name) == one.bytes_written
        assert scraped("pylog_queue_size", sink="queue") == ledger["queue"].waiting == 0
        assert set(ledger) == {sink.name for sink in walk(manager.root)}
        assert len(ledger) == 4

    def test_a_root_that_fails_is_counted_and_errors_are_on_stderr_in_full(self, capfd):
        sink = FailingSink()
        pylog_struct.configure(sink=sink, format="json")

        structlog.get_logger().info("gone")
        structlog.get_logger().error("gone too", order=7)

        ledger = pylog_struct.statistics()
        assert ledger["locked"].dropped == 2
        assert ledger.balanced
        assert '"order":7' in capfd.readouterr().err

    def test_strict_lets_a_sinks_error_through(self):
        from pylog_struct.active import ACTIVE

        memory_pipeline(strict=True)

        def refuse(record):
            raise SinkUnavailableError("down", (record,))

        ACTIVE.pipeline.put = refuse
        ACTIVE.pipeline = ACTIVE.pipeline  # makes the fast lane anew
        with pytest.raises(SinkUnavailableError):
            structlog.get_logger().info("x")

    def test_a_root_that_raises_anything_is_counted(self, capfd):
        from pylog_struct.active import ACTIVE

        memory_pipeline()

        def broken(record):
            raise ZeroDivisionError("sink")

        ACTIVE.pipeline.put = broken
        ACTIVE.pipeline = ACTIVE.pipeline  # makes the fast lane anew
        structlog.get_logger().error("x")

        ledger = pylog_struct.statistics()
        assert ledger["locked"].drops == {("unavailable", "error"): 1}
        assert ledger.balanced
        assert "the root sink failed" in capfd.readouterr().err


def test_the_manager_says_what_it_is_over():
    manager = pylog_struct.configure(sink=MemorySink())

    assert "over" in repr(manager)
    assert isinstance(manager.root, LockedSink)
    pylog_struct.shutdown()
    assert "closed" in repr(manager)


def test_sinks_get_notices_in_the_pipelines_format():
    manager = pylog_struct.configure(sink=MemorySink(), service="shop", format="json")

    event = json.loads(manager.root.notice(30, "log.note", {"a": 1}).line)

    assert (event["level"], event["logger"], event["service"], event["a"]) == (
        "warning",
        "pylog_struct",
        "shop",
        1,
    )


def test_in_multiprocess_mode_the_metrics_are_published_on_time(monkeypatch, tmp_path):
    monkeypatch.setattr("pylog_struct.manager.is_multiprocess", lambda: True)
    registry = CollectorRegistry()
    manager = pylog_struct.configure(sink=MemorySink(), registry=registry)
    published = threading.Event()
    monkeypatch.setattr(manager._metrics, "publish", published.set)

    assert published.wait(GENEROUS)

"""What the project is judged by, through ``configure`` alone, with the numbers of a registry."""

from __future__ import annotations

import collections
import json
import threading

import psutil
import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.queue_sinks import FlakySink, GatedSink
from support.rolling import content, files

import pylog_struct
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink, RollingFileSink
from pylog_struct.testing import FailingSink, FakeClock

PATIENCE = 60.0
POLICIES = ["discard", "discard_oldest", "discard_low_level", "block"]
SHEDDING = ["discard", "discard_oldest", "discard_low_level"]


def samples(registry, name, *keys):
    """The values of one metric by the values of some of its labels."""
    found = collections.Counter()
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == name:
                found[tuple(sample.labels[key] for key in keys)] += int(sample.value)
    return {key: value for key, value in found.items() if value}


@pytest.mark.parametrize("policy", SHEDDING)
def test_info_is_dropped_the_counter_is_what_is_missing_and_every_error_arrives(policy):
    sink, registry = GatedSink(), CollectorRegistry()
    pylog_struct.configure(
        sink=QueueSink(sink, capacity=32, policy=policy, name="q"), format="json", registry=registry
    )
    log = structlog.get_logger()

    sent = collections.Counter()
    for number in range(2000):
        level = "error" if number % 100 == 99 else "info"
        getattr(log, level)("x", number=number)
        sent[level] += 1
    sink.gate.set()
    assert pylog_struct.flush(PATIENCE)

    arrived = collections.Counter(e["level"] for e in sink.events if e["event"] == "x")
    assert arrived["error"] == sent["error"] == 20
    dropped = samples(registry, "pylog_events_dropped_total", "level")
    assert dropped == {("info",): sent["info"] - arrived["info"]}
    assert arrived["info"] < sent["info"]

    # One notice says the same, once.
    gaps = [event for event in sink.events if event["event"] == "log.gap"]
    assert sum(gap["dropped"] for gap in gaps) == sent["info"] - arrived["info"]
    assert len(gaps) <= 3
    assert samples(registry, "pylog_events_written_total", "sink")[("q",)] == len(sink.records)
    assert pylog_struct.statistics().balanced


@pytest.mark.parametrize("when", ["at rest", "during shutdown"])
@pytest.mark.parametrize("policy", POLICIES)
def test_written_and_dropped_in_the_metrics_are_what_was_submitted(policy, when):
    """Eight threads, a sink that fails, takes half or refuses, and perhaps a shutdown in between."""
    sink, registry = FlakySink(seed=5), CollectorRegistry()
    manager = pylog_struct.configure(
        sink=QueueSink(
            sink, capacity=256, policy=policy, name="q", spill=False, gap_notice=False,
            retry_min=0.0001, retry_max=0.001,
        ),
        format="json",
        level="DEBUG",
        registry=registry,
    )  # fmt: skip
    submitted = [0] * 8
    half = threading.Event()

    def work(index):
        log = structlog.get_logger()
        for number in range(2000):
            log.log((10, 20, 30, 40)[number % 4], "x", number=number)
            submitted[index] += 1
            if number == 500:
                half.set()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    if when == "during shutdown":
        assert half.wait(PATIENCE)
        pylog_struct.shutdown(timeout=PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    pylog_struct.shutdown(timeout=PATIENCE)

    ledger = manager.statistics()
    written = samples(registry, "pylog_events_written_total", "sink").get(("q",), 0)
    dropped = samples(registry, "pylog_events_dropped_total", "sink", "level")
    emitted = samples(registry, "pylog_events_total", "level")
    assert ledger.balanced
    assert ledger["q"].waiting == 0
    assert sum(submitted) == sum(emitted.values()) == 16_000
    assert set(emitted.values()) == {4_000}
    assert written == sink.taken
    assert written + sum(dropped.values()) == 16_000


def test_after_many_roll_overs_the_newest_three_archives_and_the_active_file_remain(tmp_path):
    registry = CollectorRegistry()
    pylog_struct.configure(
        sink=RollingFileSink(
            tmp_path / "app.jsonl",
            pattern=tmp_path / "app-%i.jsonl.gz",
            max_bytes=2_000,
            max_files=3,
            name="file",
        ),
        format="json",
        registry=registry,
    )
    for number in range(500):
        structlog.get_logger().info("x", number=number)
    pylog_struct.shutdown(timeout=PATIENCE)

    rolled = samples(registry, "pylog_rollovers_total", "sink", "reason")[("file", "size")]
    assert rolled > 10
    assert files(tmp_path) == sorted(
        ["app.jsonl", *(f"app-{index}.jsonl.gz" for index in range(rolled - 2, rolled + 1))]
    )
    deleted = samples(registry, "pylog_archives_deleted_total", "sink", "reason")
    assert deleted == {("file", "count"): rolled - 3}
    order = [f"app-{index}.jsonl.gz" for index in range(rolled - 2, rolled + 1)] + ["app.jsonl"]
    left = [
        json.loads(line)["number"]
        for name in order
        for line in content(tmp_path / name).splitlines()
    ]
    assert left == list(range(500 - len(left), 500))


def test_a_failing_primary_switches_recovers_announces_itself_and_the_counters_are_right():
    clock, registry, told = FakeClock(), CollectorRegistry(), []
    primary, second = FailingSink(name="primary"), MemorySink(name="second")
    pylog_struct.configure(
        sink=FailoverSink(
            [primary, second], retry_interval=30, on_switch=told.append, clock=clock, name="safe"
        ),
        format="json",
        registry=registry,
    )
    log = structlog.get_logger()

    def active():
        return samples(registry, "pylog_failover_active", "target")

    log.info("x", number=0)
    log.info("x", number=1)
    assert active() == {("second",): 1}
    primary.fail = False
    log.info("x", number=2)  # not yet time for a probe
    clock.advance(31)
    log.info("x", number=3)
    log.info("x", number=4)

    def numbers(sink):
        found = [record.fields for record in sink.records]
        return [event["number"] for event in found if event["event"] == "x"]

    def announced(sink):
        found = [record.fields for record in sink.records]
        return [(e["source"], e["target"]) for e in found if e["event"] == "sink.switch"]

    assert numbers(second) == [0, 1, 2]
    assert numbers(primary) == [3, 4]
    assert announced(second) == [("primary", "second")]
    assert announced(primary) == [("second", "primary")]
    assert [(event.target, event.recovered) for event in told] == [
        ("second", False),
        ("primary", True),
    ]
    assert active() == {("primary",): 1}
    assert samples(registry, "pylog_failover_switch_total", "sink") == {("safe",): 2}
    assert samples(registry, "pylog_failover_all_failed_total", "sink") == {}
    written = samples(registry, "pylog_events_written_total", "sink")
    assert (written[("second",)], written[("primary",)]) == (4, 3)  # the notices are records too
    assert samples(registry, "pylog_events_dropped_total", "sink") == {}
    assert pylog_struct.statistics().balanced


class Slow(MemorySink):
    """Takes its time for each record and keeps none."""

    def _write(self, batch):
        threading.Event().wait(0.005 * len(batch))


@pytest.mark.parametrize("policy", POLICIES)
def test_events_of_a_megabyte_over_a_slow_sink_cost_no_more_memory_than_max_bytes(policy):
    bound, size = 20_000_000, 1_000_000
    sink = QueueSink(Slow(capacity=1), capacity=4096, max_bytes=bound, policy=policy, batch_records=1,
                     gap_notice=False)  # fmt: skip
    manager = pylog_struct.configure(sink=sink, format="json")
    log = structlog.get_logger()
    log.warning("x", text="x" * size)
    process = psutil.Process()
    before, most, queued = process.memory_info().rss, 0, 0
    for number in range(200):
        log.warning("x", text=chr(97 + number % 26) * size)
        most = max(most, process.memory_info().rss - before)
        queued = max(queued, sink.statistics().details["queue.bytes"])
    assert pylog_struct.flush(PATIENCE)

    assert queued <= bound
    assert most < bound + 20 * size, "200 MB went through"
    ledger = manager.statistics()
    assert ledger.balanced
    assert ledger["queue"].received == 201
    assert policy in SHEDDING[:2] or ledger["queue"].dropped == 0

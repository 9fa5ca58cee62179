"""A million log calls of eight threads, through ``configure`` and a registry: none is unaccounted for."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.queue_sinks import FlakySink

import pylog_struct
from pylog_struct.sinks import QueueSink

PATIENCE = 60.0
THREADS = 8
EACH = 125_000
POLICIES = ["discard", "discard_oldest", "discard_low_level", "block"]


def total(registry, name, **labels):
    return sum(
        int(sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def log_all(half, go_on):
    """Start to log.  The first thread says when half of its calls are done, and waits; the others do not.

    Returns a function that waits for the end, and returns how many calls of each level there were.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(THREADS)]
    start = threading.Barrier(THREADS)

    def work(mine):
        log = structlog.get_logger("shop")
        methods = [("debug", log.debug), ("info", log.info), ("warning", log.warning)]
        start.wait()
        for number in range(EACH):
            level, method = methods[number % 3] if number % 1000 else ("error", log.error)
            method("order placed", number=number)
            mine[level] += 1
            if mine is counts[0] and number == EACH // 2:
                half.set()
                assert go_on.wait(2 * PATIENCE)

    threads = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in counts]
    for thread in threads:
        thread.start()

    def wait():
        for thread in threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()
        return sum(counts, Counter())

    return wait


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("when", ["at rest", "half-way"])
@pytest.mark.parametrize("policy", POLICIES)
def test_written_and_dropped_are_a_million_also_with_a_shutdown_half_way(policy, when):
    """The sink fails, takes a part, refuses and raises what nobody translated."""
    sink, registry = FlakySink(seed=3), CollectorRegistry()
    half, go_on = threading.Event(), threading.Event()
    manager = pylog_struct.configure(
        sink=QueueSink(
            sink, policy=policy, name="q", gap_notice=False, spill=False, guarantee_timeout=0.05,
            retry_min=0.0001, retry_max=0.0005, batch_bytes="8 MiB",
        ),
        format="json",
        level="DEBUG",
        stdlib=False,
        registry=registry,
    )  # fmt: skip

    wait = log_all(half, go_on)
    assert half.wait(2 * PATIENCE)
    if when == "half-way":
        pylog_struct.shutdown(timeout=PATIENCE)
    go_on.set()
    called = wait()
    pylog_struct.shutdown(timeout=PATIENCE)

    assert called.total() == THREADS * EACH == 1_000_000
    ledger = manager.statistics()
    queue = ledger["q"]
    assert ledger.balanced
    assert ledger.emitted == queue.received == 1_000_000
    assert queue.waiting == 0
    assert queue.received_by_level == called
    assert queue.written == sink.taken
    assert queue.written + queue.dropped == 1_000_000
    assert total(registry, "pylog_events_total") == 1_000_000
    assert total(registry, "pylog_events_written_total", sink="q") == queue.written
    assert total(registry, "pylog_events_dropped_total") == queue.dropped
    if when == "at rest":
        assert "closed" not in {reason for reason, _ in queue.drops}
        if policy == "block":
            assert {reason for reason, _ in queue.drops} == {"rejected"}
    else:
        assert queue.drops["closed", "debug"] > 0

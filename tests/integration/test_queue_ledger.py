"""The ledger adds up: a million records, eight threads, faults, and a close in the middle."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil
import pytest
from support.queue_sinks import PATIENCE, FlakySink, GatedSink, record

from pylog_struct.errors import SinkClosedError, SinkError
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import MemorySink

POLICIES = ["discard", "block", "discard_low_level", "discard_oldest"]
THREADS = 8
EACH = 125_000


def hammer(queue, each, watch=lambda done: None):
    """Log *each* records from each of the threads; return how many the queue took charge of."""
    lines = [record("x" * size, level) for size, level in ((90, 10), (120, 20), (60, 30))]
    error = record("e" * 200, 40)
    accepted = [0] * THREADS
    start = threading.Barrier(THREADS)

    def work(number):
        start.wait()
        put = queue.put
        done = 0
        try:
            for step in range(each):
                put(error if step % 1000 == 999 else lines[step % 3])
                done += 1
        except SinkClosedError:
            pass
        accepted[number] = done

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    watch(lambda: sum(accepted))
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    return sum(accepted)


def audit(queue, sink, accepted):
    found = queue.statistics()
    assert found.balanced
    notices = found.received - accepted
    assert notices >= 0
    assert sum(found.received_by_level.values()) == found.received
    assert sum(found.drops.values()) == found.dropped
    assert found.written == sink.taken
    reasons = {reason for reason, _ in found.drops}
    assert not any(
        key[1] == "error" and key[0] not in {"rejected", "shutdown"} for key in found.drops
    )
    return found, reasons


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_a_million_records_with_faults(policy):
    sink = FlakySink(seed=7)
    queue = QueueSink(
        sink, capacity=4096, policy=policy, retry_min=0.0001, retry_max=0.0005,
        guarantee_timeout=0.05, batch_bytes="8 MiB",
    )  # fmt: skip
    snapshots = []

    def watch(_):
        for _ in range(50):
            snapshots.append(queue.statistics())
            threading.Event().wait(0.005)

    accepted = hammer(queue, EACH, watch)
    assert accepted == THREADS * EACH == 1_000_000
    queue.flush(60)
    queue.close(60)
    assert all(snapshot.balanced for snapshot in snapshots)
    assert all(snapshot.details["queue.high_watermark"] <= 4096 for snapshot in snapshots)
    found, reasons = audit(queue, sink, accepted)
    assert found.waiting == 0
    if policy == "block":
        assert reasons == {"rejected"}
        assert sink.taken == found.received - found.dropped


@pytest.mark.parametrize("policy", POLICIES)
def test_closing_in_the_middle_leaves_nothing_unaccounted(policy):
    sink = FlakySink(seed=11)
    queue = QueueSink(
        sink,
        capacity=512,
        policy=policy,
        retry_min=0.0001,
        retry_max=0.0005,
        guarantee_timeout=0.05,
    )

    def close_early(_):
        while queue.ledger.received < 20_000:
            time.sleep(0)  # let the others have the interpreter
        with suppress(SinkError):  # it says what it abandoned; so does the ledger
            queue.close(2.0)

    accepted = hammer(queue, EACH, close_early)
    assert 20_000 <= accepted + 8 < 1_000_000
    found, _ = audit(queue, sink, accepted)
    assert found.waiting == found.details["shutdown.spooled"]


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_bound_memory_whatever_the_number_of_records(policy):
    sink = GatedSink()
    queue = QueueSink(
        sink, capacity=4096, max_bytes="30 MB", policy=policy, block_timeout=0.0, spill=False,
        gap_notice=False,
    )  # fmt: skip
    process = psutil.Process()
    before = process.memory_info().rss
    size = 5_000_000
    for number in range(200):
        queue.put(record(bytes([number]) * size, 30))
    grown = process.memory_info().rss - before
    found = queue.statistics()
    assert found.details["queue.bytes"] <= 30_000_000
    assert found.waiting == 5, "28.125 MB are not in the reserve"
    assert grown < 30_000_000 + 4 * size
    sink.gate.set()
    queue.close(PATIENCE)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_keeps_errors(policy):
    sink = MemorySink()
    queue = QueueSink(sink, capacity=16, policy=policy, guarantee_timeout=0.01)
    for number in range(5000):
        queue.put(record(number, 40 if number % 7 == 0 else 20))
    queue.close(PATIENCE)
    arrived = set(sink.lines)
    assert all(str(number).encode() in arrived for number in range(0, 5000, 7))

"""The core of the queue without threads: limits, reserve, policies, tickets."""

from __future__ import annotations

import pytest
from support.queue_sinks import record

from pylog_struct.ledger import DropReason, SinkLedger
from pylog_struct.sinks._queue.buffer import RecordBuffer, Verdict
from pylog_struct.sinks._queue.options import QueueOptions


def make(**changes):
    given = {
        "capacity": 4, "max_bytes": 1000, "policy": "discard", "low_level": "INFO",
        "block_timeout": 10, "guarantee_level": "ERROR", "guarantee_timeout": 0.5, "reserve": 0,
        "high_water": None, "batch_records": 100, "batch_bytes": 1000, "linger": 0, "spill": False,
        "spill_max_bytes": 1000, "retry_min": 1, "retry_max": 1, "gap_notice": True,
        "close_timeout": 1,
    }  # fmt: skip
    return RecordBuffer(QueueOptions.parse("Q", **{**given, **changes}), SinkLedger(), lambda: 5.0)


def put(buffer, item):
    return Verdict.ENTERED if buffer.offer(item) else buffer.decide(item)


def drops(buffer):
    return dict(buffer.ledger.drops)


def deliver(buffer, number=100):
    batch = list(buffer.take(number, 10**6))
    buffer.settle(buffer.generation, batch, [])
    return batch


def test_capacity_counts_what_is_in_flight():
    buffer = make(capacity=2)
    assert [put(buffer, record(i)) for i in range(2)] == [Verdict.ENTERED] * 2
    buffer.take(1, 1000)
    assert put(buffer, record("new")) is Verdict.DROPPED
    buffer.settle(buffer.generation, buffer.held, [])
    assert put(buffer, record("new")) is Verdict.ENTERED
    assert drops(buffer) == {("queue_full", "info"): 1}


def test_bytes_are_a_limit_of_their_own():
    buffer = make(max_bytes=10)
    assert put(buffer, record("12345678")) is Verdict.ENTERED
    assert put(buffer, record("123")) is Verdict.DROPPED
    assert put(buffer, record("12")) is Verdict.ENTERED
    assert buffer.bytes == 10


@pytest.mark.parametrize("policy", ["discard", "block", "discard_low_level", "discard_oldest"])
def test_a_record_larger_than_the_queue_never_waits(policy):
    buffer = make(max_bytes=10, policy=policy)
    put(buffer, record("first"))
    assert put(buffer, record("x" * 11, 30)) is Verdict.DROPPED
    assert drops(buffer) == {("oversize", "warning"): 1}
    assert put(buffer, record("x" * 11, 40)) is Verdict.OVERSIZE
    assert len(buffer.queued) == 1


def test_the_reserve_is_for_the_guarantee_level_in_records_and_bytes():
    buffer = make(capacity=4, reserve=1, max_bytes=100)
    assert [put(buffer, record(i, 30)) for i in range(4)][3] is Verdict.DROPPED
    assert put(buffer, record("error", 40)) is Verdict.ENTERED
    assert put(buffer, record("error", 40)) is Verdict.FULL
    buffer = make(capacity=4, reserve=1, max_bytes=100)
    assert put(buffer, record("x" * 75)) is Verdict.ENTERED
    assert put(buffer, record("x")) is Verdict.DROPPED
    assert put(buffer, record("x" * 25, 40)) is Verdict.ENTERED


@pytest.mark.parametrize(
    ("level", "verdict"),
    [(10, Verdict.DROPPED), (20, Verdict.DROPPED), (21, Verdict.FULL), (30, Verdict.FULL)],
)
def test_discard_low_level_includes_the_level_itself(level, verdict):
    buffer = make(capacity=1, policy="discard_low_level")
    put(buffer, record("first"))
    assert put(buffer, record("x", level)) is verdict


def test_block_asks_the_caller_to_wait_at_every_level():
    buffer = make(capacity=1, policy="block")
    put(buffer, record("first"))
    assert {put(buffer, record("x", level)) for level in (10, 20, 30, 40)} == {Verdict.FULL}
    assert buffer.ledger.snapshot("q").received == 1


def test_discard_oldest_evicts_the_oldest_below_the_guarantee_level():
    buffer = make(capacity=3, policy="discard_oldest")
    for text, level in (("a", 40), ("b", 20), ("c", 30)):
        put(buffer, record(text, level))
    assert put(buffer, record("d", 20)) is Verdict.ENTERED
    assert [item.line for item in buffer.queued] == [b"a", b"c", b"d"]
    assert drops(buffer) == {("evicted", "info"): 1}


def test_discard_oldest_evicts_as_many_as_the_bytes_need_or_none():
    buffer = make(capacity=9, max_bytes=10, policy="discard_oldest")
    for text, level in (("aaa", 20), ("bbb", 40), ("ccc", 20)):
        put(buffer, record(text, level))
    assert put(buffer, record("d" * 8)) is Verdict.DROPPED
    assert drops(buffer) == {("queue_full", "info"): 1}
    assert put(buffer, record("d" * 7)) is Verdict.ENTERED
    assert [item.line for item in buffer.queued] == [b"bbb", b"d" * 7]


def test_with_nothing_to_evict_the_new_one_goes_until_something_left():
    buffer = make(capacity=2, policy="discard_oldest")
    put(buffer, record("a", 40))
    put(buffer, record("b", 40))
    assert put(buffer, record("c")) is Verdict.DROPPED
    assert put(buffer, record("d")) is Verdict.DROPPED
    deliver(buffer, 1)
    assert put(buffer, record("e")) is Verdict.ENTERED
    assert put(buffer, record("f")) is Verdict.ENTERED
    assert [item.line for item in buffer.queued] == [b"b", b"f"]


def test_high_water_sheds_low_levels_until_well_below_the_mark():
    buffer = make(capacity=20, high_water=0.5)
    for number in range(10):
        assert put(buffer, record(number)) is Verdict.ENTERED
    assert put(buffer, record("low")) is Verdict.DROPPED
    assert put(buffer, record("warn", 30)) is Verdict.ENTERED
    deliver(buffer, 2)
    assert put(buffer, record("low")) is Verdict.DROPPED, "9 left: hysteresis"
    deliver(buffer, 1)
    assert put(buffer, record("low")) is Verdict.ENTERED, "8 left: four fifths of the mark"
    assert drops(buffer) == {("low_level", "info"): 2}


def test_high_water_by_bytes_recovers_too():
    buffer = make(capacity=100, max_bytes=100, high_water=0.5)
    put(buffer, record("x" * 50))
    assert put(buffer, record("x")) is Verdict.DROPPED
    deliver(buffer)
    assert put(buffer, record("x" * 60)) is Verdict.ENTERED
    assert put(buffer, record("x")) is Verdict.DROPPED


def test_batches_keep_their_limits_but_for_one_large_record():
    buffer = make(capacity=10)
    for size in (30, 30, 90, 10):
        put(buffer, record("x" * size))
    sizes = []
    while batch := list(buffer.take(2, 50)):
        sizes.append([len(item.line) for item in batch])
        buffer.settle(buffer.generation, batch, [])
    assert sizes == [[30], [30], [90], [10]]


def test_what_was_not_written_stays_in_front():
    buffer = make()
    for text in "abcd":
        put(buffer, record(text))
    a, b, c = list(buffer.take(3, 1000))
    buffer.settle(buffer.generation, [b], [a, c])
    assert [item.line for item in buffer.take(3, 1000)] == [b"a", b"c"]
    assert buffer.size == 3
    assert buffer.ledger.snapshot("q").balanced


def test_a_ticket_is_over_when_everything_before_it_left_and_not_earlier():
    buffer = make(capacity=4, policy="discard_oldest")
    for text, level in (("a", 20), ("b", 40)):
        put(buffer, record(text, level))
    ticket = buffer.draw()
    put(buffer, record("c"))
    put(buffer, record("d"))
    put(buffer, record("e"))  # evicts a
    assert ticket.left == 1
    put(buffer, record("f"))  # evicts c, which came after the ticket
    assert ticket.left == 1
    assert [item.line for item in buffer.take(100, 1000)] == [b"b"], "a batch ends at the ticket"
    buffer.settle(buffer.generation, buffer.held, [])
    assert ticket.left == 0
    buffer.give_back(ticket)
    buffer.give_back(ticket)
    assert len(buffer.take(100, 1000)) == 3


def test_a_write_that_returns_after_the_end_changes_nothing():
    buffer = make()
    put(buffer, record("a"))
    put(buffer, record("b"))
    generation, batch = buffer.generation, list(buffer.take(1, 1000))
    held, queued = buffer.abandon()
    buffer.ledger.gave_up(held + queued, DropReason.SHUTDOWN)
    buffer.settle(generation, batch, [])
    ledger = buffer.ledger
    assert (ledger.received, ledger.written, ledger.dropped, ledger.waiting) == (2, 0, 2, 0)
    assert put(buffer, record("c")) is Verdict.CLOSED


def test_a_half_done_take_is_repaired():
    buffer = make()
    item = record("a")
    put(buffer, item)
    put(buffer, item)
    buffer.held.append(buffer.queued[0])  # and then an exception struck
    buffer.recover()
    assert len(deliver(buffer)) == 2
    assert buffer.ledger.written == 2


def test_a_loss_is_summed_up_once():
    buffer = make(capacity=1)
    for level in (10, 20, 20, 30):
        put(buffer, record("x", level))
    fields = buffer.gap.take("main")
    assert fields == {
        "sink": "main",
        "dropped": 3,
        "levels": {"info": 2, "warning": 1},
        "reasons": {"queue_full": 3},
        "first": "1970-01-01T00:00:05.000000Z",
        "last": "1970-01-01T00:00:05.000000Z",
    }
    assert not buffer.gap


def test_the_notice_of_a_loss_is_not_evicted():
    buffer = make(capacity=2, policy="discard_oldest")
    assert buffer.inject(record("log.gap", 30))
    put(buffer, record("a"))
    put(buffer, record("b"))
    assert [item.line for item in buffer.queued] == [b"log.gap", b"b"]


def test_the_high_watermark_is_the_most_that_ever_was():
    buffer = make(capacity=10)
    for number in range(7):
        put(buffer, record(number))
    deliver(buffer)
    put(buffer, record("x"))
    deliver(buffer)
    assert buffer.high_watermark == 7

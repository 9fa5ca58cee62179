"""The ledger: received = written + dropped + waiting, at every instant."""

from __future__ import annotations

import math
import signal
import threading
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.alarms import alarms

from pylog_struct.errors import SinkTimeoutError, SinkUnavailableError
from pylog_struct.ledger import (
    DropReason,
    LatencyHistogram,
    SinkLedger,
    SinkStatistics,
    Statistics,
)
from pylog_struct.levels import level_label
from pylog_struct.record import Record

_THREADS = 8


def _records(number, level=20, line=b"12345"):
    return [Record(level, line)] * number


def _in_threads(work, number=_THREADS):
    barrier = threading.Barrier(number)
    failures = []

    def run(position):
        try:
            barrier.wait()
            work(position)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(position,)) for position in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- what each report does ------------------------------------------------------------------------


def test_each_report_moves_the_numbers_that_it_names():
    ledger = SinkLedger()
    ledger.accepted(_records(10))
    ledger.delivered(_records(4))
    ledger.gave_up([*_records(1), *_records(2, level=45)], DropReason.REJECTED)
    ledger.refused(_records(5, level=10), DropReason.QUEUE_FULL)
    ledger.passed(_records(7, line=b"123"))
    stats = ledger.snapshot("main")
    assert (stats.name, stats.received, stats.written, stats.dropped, stats.waiting) == (
        "main",
        22,
        11,
        8,
        3,
    )
    assert stats.balanced
    assert stats.bytes_written == 4 * 5 + 7 * 3
    assert stats.drops == {
        ("rejected", "info"): 1,
        ("rejected", "error"): 2,
        ("queue_full", "debug"): 5,
    }


def test_a_failed_call_is_counted_by_class_and_moves_no_record():
    ledger = SinkLedger()
    ledger.failed(SinkUnavailableError("x"))
    ledger.failed(SinkUnavailableError("y"), seconds=0.2)
    ledger.failed(SinkTimeoutError("z"))
    stats = ledger.snapshot("x")
    assert stats.errors == {"SinkUnavailableError": 2, "SinkTimeoutError": 1}
    assert (stats.received, stats.written, stats.dropped, stats.waiting) == (0, 0, 0, 0)
    assert sum(ledger.write_seconds.counts) == 1


def test_details_are_counted_or_set():
    ledger = SinkLedger()
    ledger.count("rollovers.size")
    ledger.count("rollovers.size", 2)
    ledger.set("queue.bytes", 17)
    ledger.set("queue.bytes", 12.5)
    assert ledger.snapshot("x").details == {"rollovers.size": 3, "queue.bytes": 12.5}


def test_durations_are_observed_with_the_report():
    ledger = SinkLedger()
    ledger.passed(_records(3), seconds=0.01)
    ledger.accepted(_records(2))
    ledger.delivered(_records(2), seconds=0.02)
    ledger.passed(_records(1))
    assert sum(ledger.write_seconds.counts) == 2
    assert ledger.write_seconds.total == pytest.approx(0.03)


def test_levels_of_any_number_are_summed_under_five_labels():
    ledger = SinkLedger()
    for level, number in ((10, 1), (15, 2), (20, 4), (29, 8), (30, 16), (999, 32)):
        ledger.received_by_level[level] = number
    assert ledger.snapshot("x").received_by_level == {
        "debug": 3,
        "info": 12,
        "warning": 16,
        "critical": 32,
    }


def test_an_empty_report_changes_nothing():
    ledger = SinkLedger()
    for call in (ledger.passed, ledger.accepted, ledger.delivered):
        call([])
    ledger.refused([], DropReason.CLOSED)
    ledger.gave_up([], DropReason.CLOSED)
    assert ledger.snapshot("x") == SinkStatistics("x")


# -- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_stands_still_and_cannot_be_changed():
    ledger = SinkLedger()
    ledger.refused(_records(1), DropReason.CLOSED)
    ledger.set("queue.bytes", 1)
    stats = ledger.snapshot("x")
    ledger.refused(_records(1), DropReason.CLOSED)
    ledger.set("queue.bytes", 2)
    assert stats.dropped == 1
    assert stats.drops == {("closed", "info"): 1}
    assert stats.details == {"queue.bytes": 1}
    with pytest.raises(FrozenInstanceError):
        stats.dropped = 5
    for mapping in (stats.drops, stats.errors, stats.received_by_level, stats.details):
        with pytest.raises(TypeError):
            mapping["x"] = 1


def test_the_child_of_a_fork_starts_from_zero_with_a_new_lock():
    ledger = SinkLedger()
    ledger.passed(_records(3), seconds=1.0)
    ledger.delivery_seconds.observe(1.0)
    before = ledger.lock
    ledger.reset()
    assert ledger.lock is not before
    assert ledger.snapshot("x") == SinkStatistics("x")
    assert sum(ledger.write_seconds.counts) + sum(ledger.delivery_seconds.counts) == 0
    own = threading.RLock()
    ledger.reset(own)
    assert ledger.lock is own


def test_a_sink_may_share_its_own_lock():
    own = threading.RLock()
    ledger = SinkLedger(own)
    assert ledger.lock is own
    with own:
        ledger.passed(_records(1))
    assert ledger.snapshot("x").written == 1


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["passed", "accepted", "delivered", "gave_up", "refused"]),
        st.integers(0, 5),
        st.sampled_from([5, 10, 20, 30, 40, 50]),
        st.sampled_from(list(DropReason)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_the_identity_holds_after_every_step_as_in_a_simple_model(steps):
    ledger = SinkLedger()
    waiting, written, dropped = [], 0, {}
    received = 0
    for action, number, level, reason in steps:
        batch = _records(number, level)
        if action in {"delivered", "gave_up"}:
            batch, waiting = waiting[:number], waiting[number:]
        elif action == "accepted":
            waiting = waiting + batch
        if action in {"passed", "accepted", "refused"}:
            received += len(batch)
        if action in {"passed", "delivered"}:
            written += len(batch)
        if action in {"gave_up", "refused"}:
            getattr(ledger, action)(batch, reason)
            for record in batch:
                key = (reason.value, level_label(record.level))
                dropped[key] = dropped.get(key, 0) + 1
        else:
            getattr(ledger, action)(batch)
        stats = ledger.snapshot("x")
        assert stats.balanced
        assert (stats.received, stats.written, stats.waiting) == (received, written, len(waiting))
        assert stats.drops == dropped
        assert stats.dropped == sum(dropped.values())


# -- threads and signals --------------------------------------------------------------------------


def test_the_numbers_are_exact_with_eight_threads_and_every_snapshot_balances():
    ledger = SinkLedger()
    rounds = 1_500
    stop = threading.Event()
    unbalanced = []

    def watch():
        while not stop.is_set():
            stats = ledger.snapshot("x")
            if not stats.balanced or stats.dropped != sum(stats.drops.values()):
                unbalanced.append(stats)

    watcher = threading.Thread(target=watch)
    watcher.start()
    info, error = _records(3), _records(2, level=40)

    def work(position):
        for number in range(rounds):
            ledger.accepted(info)
            ledger.delivered(info[:2])
            ledger.gave_up(info[2:], DropReason.EVICTED)
            ledger.refused(error, DropReason.QUEUE_FULL)
            ledger.passed(error, seconds=0.001 * (number % 7))
            ledger.failed(SinkUnavailableError("x"))
            ledger.count(f"detail.{position % 2}")

    try:
        _in_threads(work)
    finally:
        stop.set()
        watcher.join()
    calls = rounds * _THREADS
    stats = ledger.snapshot("x")
    assert unbalanced == []
    assert (stats.received, stats.written, stats.dropped, stats.waiting) == (
        7 * calls,
        4 * calls,
        3 * calls,
        0,
    )
    assert stats.bytes_written == 4 * calls * 5
    assert stats.drops == {("evicted", "info"): calls, ("queue_full", "error"): 2 * calls}
    assert stats.errors == {"SinkUnavailableError": calls}
    assert stats.details == {"detail.0": calls / 2, "detail.1": calls / 2}
    assert sum(ledger.write_seconds.counts) == calls


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_a_signal_handler_may_count_while_the_same_ledger_is_counting():
    ledger = SinkLedger()
    handled = 0

    def handler():
        nonlocal handled
        handled += 1
        ledger.refused(_records(1), DropReason.LOW_LEVEL)
        ledger.count("detail")
        ledger.failed(SinkUnavailableError("x"))

    rounds = 0
    with alarms(handler, 0.00005):
        while handled < 3_000:
            rounds += 1
            ledger.refused(_records(1), DropReason.LOW_LEVEL)
            ledger.count("detail")
            ledger.failed(SinkUnavailableError("x"))
    stats = ledger.snapshot("x")
    total = rounds + handled
    assert stats.balanced
    assert stats.drops == {("low_level", "info"): total}
    assert (stats.dropped, stats.details["detail"], stats.errors["SinkUnavailableError"]) == (
        total,
        total,
        total,
    )


# -- the statistics of a pipeline -----------------------------------------------------------------


def test_a_pipeline_balances_with_its_root_and_every_sink():
    good = SinkStatistics("queue", received=5, written=2, dropped=1, waiting=2)
    leaf = SinkStatistics("file", received=2, written=2)
    stats = Statistics({"queue": good, "file": leaf}, root="queue", emitted=7, discarded=2)
    assert stats.balanced
    assert stats["file"] is leaf
    assert list(stats) == ["queue", "file"]
    assert len(stats) == 2
    assert not Statistics({"queue": good}, root="queue", emitted=8, discarded=2).balanced
    assert not Statistics(
        {"queue": SinkStatistics("queue", received=1)}, root="queue", emitted=1
    ).balanced
    assert Statistics({}).balanced


def test_drop_reasons_are_words_for_a_label():
    for reason in DropReason:
        assert reason.value == reason.name.lower()
        assert reason == reason.value


# -- durations ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1_000), max_size=30))
def test_a_duration_falls_into_the_first_bucket_that_can_hold_it(durations):
    histogram = LatencyHistogram()
    for seconds in durations:
        histogram.observe(seconds)
    bounds = [*LatencyHistogram.bounds, math.inf]
    for upper, lower, count in zip(bounds, [-1.0, *bounds], histogram.counts, strict=False):
        assert count == sum(lower < seconds <= upper for seconds in durations)
    assert histogram.total == pytest.approx(sum(durations))


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.00005, 0), (0.000051, 1), (300.0, 19), (300.1, 20), (math.inf, 20)],
)
def test_a_bound_belongs_to_its_bucket(seconds, bucket):
    histogram = LatencyHistogram()
    histogram.observe(seconds)
    assert histogram.counts.index(1) == bucket


def test_a_negative_duration_counts_as_zero():
    histogram = LatencyHistogram()
    histogram.observe(-5.0)
    assert histogram.counts[0] == 1
    assert histogram.total == 0.0

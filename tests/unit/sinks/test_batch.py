from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wrappers import (
    CopyingSink,
    PickySink,
    WatchedSink,
    check_life_cycle,
    names,
    record,
    records,
    write_all,
)

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.record import Record
from pylog_struct.sinks import BatchSink, MemorySink
from pylog_struct.testing import FailingSink, FakeClock, Fault, check_sink

FIRST = (lambda i: i == 0, False)
ALL = (lambda _: True, False)
ALL_FOR_GOOD = (lambda _: True, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sink": 7}, "BatchSink.sink: 7 is no sink"),
        ({"max_records": 0}, "BatchSink.max_records: 0 is no number of records"),
        ({"max_records": True}, "BatchSink.max_records: True"),
        ({"max_records": "10"}, "BatchSink.max_records: '10'"),
        ({"max_bytes": 0}, "BatchSink.max_bytes: 0 is no size"),
        ({"linger": -1}, "BatchSink.linger: -1 is no duration"),
        ({"name": "a b"}, "BatchSink.name"),
    ],
)
def test_refuses_nonsense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        BatchSink(**{"sink": MemorySink(), **arguments})


def test_life_cycle():
    check_life_cycle(BatchSink, records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=BatchSink)


def test_records_wait_until_the_batch_is_full():
    inner = PickySink()
    sink = BatchSink(inner, max_records=3)
    sink.write(records(2))
    assert inner.offered == []
    assert sink.statistics().waiting == 2
    sink.write(records(5, first=2))
    assert [names(batch) for batch in inner.offered] == [["0", "1", "2"], ["3", "4", "5"]]
    assert sink.statistics().waiting == 1
    assert sink.statistics().written == 6


def test_bytes_fill_a_batch_too_and_a_giant_goes_alone():
    inner = PickySink()
    sink = BatchSink(inner, max_records=100, max_bytes=10)
    sink.write([Record(20, b"aaaa"), Record(20, b"bbbb"), Record(20, b"cccc")])
    sink.write([Record(20, b"d" * 50), Record(20, b"eeee")])
    assert [[r.line[:1] for r in batch] for batch in inner.offered] == [
        [b"a", b"b"],
        [b"c"],
        [b"d"],
    ]
    sink.flush()
    assert inner.offered[-1] == (Record(20, b"eeee"),)


def test_a_batch_of_exactly_the_limit_goes_at_once():
    inner = PickySink()
    sink = BatchSink(inner, max_bytes=8)
    sink.write([Record(20, b"aaaa"), Record(20, b"bbbb")])
    assert len(inner.offered) == 1


def test_the_oldest_record_does_not_wait_longer_than_the_linger():
    clock, inner = FakeClock(), PickySink()
    sink = BatchSink(inner, linger=2.0, clock=clock)
    assert sink.poll(clock.monotonic()) is None
    sink.write(records(1))
    clock.advance(1.5)
    sink.write(records(1, first=1))
    assert sink.poll(clock.monotonic()) == pytest.approx(0.5)
    clock.advance(0.5)
    assert sink.poll(clock.monotonic()) is None
    assert names(inner.records) == ["0", "1"]


def test_a_write_notices_the_linger_without_a_poll():
    clock, inner = FakeClock(), PickySink()
    sink = BatchSink(inner, linger=2.0, clock=clock)
    sink.write(records(1))
    clock.advance(2.0)
    sink.write(records(1, first=1))
    assert names(inner.records) == ["0", "1"]


def test_no_linger_means_that_nothing_waits_after_a_write():
    inner = PickySink()
    sink = BatchSink(inner, linger=0, clock=FakeClock())
    sink.write(records(3))
    assert [len(batch) for batch in inner.offered] == [3]


def test_poll_tells_the_earlier_of_its_own_time_and_the_inner_sinks():
    clock = FakeClock()
    sink = BatchSink(WatchedSink(wait=0.25), linger=2.0, clock=clock)
    assert sink.poll(clock.monotonic()) == 0.25
    sink.write(records(1))
    assert sink.poll(clock.monotonic()) == 0.25


def test_flush_writes_what_waits_and_flushes_the_inner_sink():
    inner = WatchedSink()
    sink = BatchSink(inner)
    sink.write(records(2))
    sink.flush(5.0)
    assert names(inner.records) == ["0", "1"]
    assert inner.calls == ["flush"]


def test_flush_never_lies_and_gives_nothing_up():
    inner = PickySink([FIRST])
    sink = BatchSink(inner)
    sink.write(records(3))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.flush()
    assert caught.value.unwritten == ()
    assert sink.statistics().waiting == 1
    sink.flush()
    assert names(inner.records) == ["1", "2", "0"]


def test_while_the_inner_sink_fails_only_what_fits_is_accepted():
    inner = FailingSink()
    sink = BatchSink(inner, max_records=3)
    sink.write(records(3))
    assert sink.statistics().waiting == 3
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(2, first=3))
    assert caught.value.retryable
    assert names(caught.value.unwritten) == ["3", "4"]
    inner.fail = False
    sink.write(caught.value.unwritten)
    sink.flush()
    assert names(inner.records) == ["0", "1", "2", "3", "4"]
    assert sink.statistics().errors == {"SinkUnavailableError": 2}


def test_one_write_asks_a_failing_inner_sink_once():
    inner = FailingSink()
    sink = BatchSink(inner, max_records=2)
    with pytest.raises(SinkError) as caught:
        sink.write(records(10))
    assert inner.calls == 1
    assert names(caught.value.unwritten) == [str(number) for number in range(2, 10)]


def test_a_partial_failure_leaves_exactly_the_rest_and_its_place_is_used():
    inner = PickySink([(lambda i: i >= 2, False)])
    sink = BatchSink(inner, max_records=3)
    sink.write(records(5))
    assert sink.statistics().waiting == 3
    sink.flush()
    assert names(inner.records) == ["0", "1", "2", "3", "4"]


def test_a_rejection_is_raised_for_this_calls_records_and_counted_for_earlier_ones(capsys):
    inner = PickySink([ALL_FOR_GOOD])
    sink = BatchSink(inner, max_records=3)
    sink.write(records(2))
    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records(2, first=2))
    assert names(caught.value.unwritten) == ["2"]
    assert not caught.value.retryable
    statistics = sink.statistics()
    assert (statistics.received, statistics.waiting) == (3, 1)
    assert statistics.drops == {("rejected", "info"): 2}
    assert "2 record(s) dropped (rejected)" in capsys.readouterr().err


def test_rejected_beside_retryable_ones_are_dropped_here(capsys):
    inner = PickySink([ALL_FOR_GOOD, ALL])
    sink = BatchSink(inner, max_records=2)
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(6))
    assert names(caught.value.unwritten) == ["4", "5"]
    assert sink.statistics().drops == {("rejected", "info"): 2}
    assert sink.statistics().waiting == 2
    assert "(rejected)" in capsys.readouterr().err


def test_an_inner_sink_closed_by_others_is_told_apart_from_a_rejection(capsys):
    inner = MemorySink()
    sink = BatchSink(inner, max_records=2)
    sink.write(records(1))
    inner.close()
    with pytest.raises(SinkClosedError) as caught:
        sink.write(records(1, first=1))
    assert names(caught.value.unwritten) == ["1"]
    assert sink.statistics().drops == {("closed", "info"): 1}


def test_a_failed_poll_keeps_the_records_and_pauses():
    clock, inner = FakeClock(), FailingSink()
    sink = BatchSink(inner, linger=0.01, clock=clock)
    sink.write(records(2))
    clock.advance(1)
    with pytest.raises(SinkUnavailableError) as caught:
        sink.poll(clock.monotonic())
    assert caught.value.unwritten == ()
    assert sink.poll(clock.monotonic()) == pytest.approx(0.1)
    inner.fail = False
    clock.advance(0.1)
    sink.poll(clock.monotonic())
    assert names(inner.records) == ["0", "1"]


def test_close_drains_and_tells_what_it_could_not():
    inner = PickySink([(lambda i: i % 2 == 1, False)])
    sink = BatchSink(inner)
    sink.write(records(4))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.close(1.0)
    assert names(caught.value.unwritten) == ["1", "3"]
    assert sink.statistics().drops == {("shutdown", "info"): 2}
    assert sink.statistics().waiting == 0
    with pytest.raises(SinkClosedError):
        inner.write(records(1))


def test_close_names_the_records_of_both_failures():
    inner = BatchSink(FailingSink(), name="inner")
    outer = BatchSink(inner, max_records=10)
    outer.write(records(3))
    with pytest.raises(SinkUnavailableError) as caught:
        outer.close()
    assert names(caught.value.unwritten) == ["0", "1", "2"]
    assert inner.statistics().balanced


def test_an_exception_that_nobody_translated_loses_nothing():
    inner = FailingSink(fail=[Fault(OSError)])
    sink = BatchSink(inner, max_records=2)
    sink.write(records(2))
    assert sink.statistics().waiting == 2
    sink.flush()
    assert names(inner.records) == ["0", "1"]


def test_a_sink_that_rebuilds_records_does_not_seem_to_have_taken_them():
    inner = CopyingSink()
    sink = BatchSink(inner, max_records=2)
    sink.write(records(2))
    assert sink.statistics().waiting == 2
    assert sink.children[0].statistics().received == 0
    inner.fail = False
    sink.flush()
    assert names(inner.records) == ["0", "1"]


def test_an_interrupt_in_the_inner_sink_keeps_the_ledger_balanced():
    inner = FailingSink(fail=[Fault(KeyboardInterrupt)])
    sink = BatchSink(inner, max_records=2)
    with pytest.raises(KeyboardInterrupt):
        sink.write(records(2))
    assert sink.statistics().balanced
    sink.flush()
    assert names(inner.records) == ["0", "1"]


def test_a_child_process_does_not_write_the_parents_records():
    inner = MemorySink()
    sink = BatchSink(inner)
    sink.write(records(2))
    child = os.fork()
    if child == 0:
        sink.flush()
        good = inner.records == [] and sink.statistics().waiting == 0
        sink.write(records(1, first=7))
        sink.flush()
        os._exit(0 if good and names(inner.records) == ["7"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    sink.flush()
    assert names(inner.records) == ["0", "1"]


refusals = st.lists(
    st.none() | st.tuples(st.integers(0, 2**6 - 1), st.booleans()),
    max_size=12,
)


def plan(bits):
    """Refuse the positions whose bits are set (repeating every six)."""
    return [
        None if entry is None else (lambda i, mask=entry[0]: bool(mask >> i % 6 & 1), entry[1])
        for entry in bits
    ]


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=8),
    bits=refusals,
    max_records=st.integers(1, 5),
    max_bytes=st.integers(1, 60),
    polls=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_limits_order_and_exactly_once(sizes, bits, max_records, max_bytes, polls):
    clock, inner = FakeClock(), PickySink(plan(bits))
    sink = BatchSink(inner, max_records=max_records, max_bytes=max_bytes, linger=1, clock=clock)
    number = 0
    sent, rejected = [], []
    for group, poll in zip(sizes, polls, strict=False):
        batch = []
        for size in group:
            batch.append(Record(20, b"%04d" % number + b"x" * size))
            number += 1
        sent += batch
        rejected += write_all(sink, batch)
        if poll:
            clock.advance(2)
            with contextlib.suppress(SinkError):
                sink.poll(clock.monotonic())
        assert sink.statistics().balanced
    for _ in range(20):
        try:
            sink.flush()
        except SinkError:
            continue
        break
    for offered in inner.offered:
        assert len(offered) <= max_records
        assert len(offered) == 1 or sum(len(r.line) for r in offered) <= max_bytes
        assert list(offered) == sorted(offered, key=lambda r: r.line)
    # Rejected ones were raised (this call's) or dropped and counted (earlier calls').
    dropped = sink.statistics().dropped
    assert len(rejected) + dropped == len(inner.rejected)
    assert sorted(inner.records + inner.rejected) == sorted(sent)
    assert sink.statistics().waiting == 0
    if not any(entry is not None and not entry[1] for entry in bits):
        assert inner.records == sorted(inner.records, key=lambda r: r.line)


def test_the_record_is_the_same_object_all_the_way():
    inner = MemorySink()
    sink = BatchSink(inner, max_records=1)
    item = record()
    sink.write([item])
    assert inner.records[0] is item


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.integers(0, 7), max_size=10),
    accepts=st.lists(st.none() | st.integers(0, 4), max_size=15),
    max_records=st.integers(1, 5),
)
def test_order_is_kept_whatever_an_inner_sink_takes_of_the_front_of_a_batch(
    groups, accepts, max_records
):
    inner = FailingSink(fail=[None if n is None else Fault(accept=n) for n in accepts])
    sink = BatchSink(inner, max_records=max_records)
    number = 0
    for group in groups:
        write_all(sink, records(group, first=number))
        number += group
    for _ in range(30):
        try:
            sink.flush()
        except SinkError:
            continue
        break
    assert names(inner.records) == [str(position) for position in range(number)]

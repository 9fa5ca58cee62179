from __future__ import annotations

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
)

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.levels import ERROR
from pylog_struct.record import Record
from pylog_struct.sinks import FanOutSink, FilterSink, MemorySink, NullSink
from pylog_struct.testing import FailingSink, Fault, check_sink

ALL = (lambda _: True, False)
ALL_FOR_GOOD = (lambda _: True, True)
ONE = NullSink()
FOREIGN = CopyingSink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sinks": []}, r"FanOutSink.sinks: \[\] has no sink; list at least one"),
        ({"sinks": NullSink()}, "FanOutSink.sinks: .* has no sink"),
        ({"sinks": [NullSink(), 7]}, r"FanOutSink.sinks\[1\]: 7 is no sink"),
        ({"sinks": [ONE, ONE]}, "FanOutSink.sinks: .* is listed twice"),
        ({"sinks": [FOREIGN, FOREIGN]}, "FanOutSink.sinks: .* is listed twice"),
        ({"backlog": -1}, "FanOutSink.backlog: -1 is no number of records"),
        ({"backlog_bytes": 0}, "FanOutSink.backlog_bytes: 0 is no size"),
    ],
)
def test_refuses_nonsense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FanOutSink(**{"sinks": [NullSink()], **arguments})


def test_life_cycle():
    check_life_cycle(lambda inner: FanOutSink([inner]), records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=lambda inner: FanOutSink([inner]))
    check_sink(
        lambda: FanOutSink([MemorySink(), MemorySink()]),
        read=lambda sink: sink.children[1].lines,
    )


def test_every_branch_gets_every_batch():
    a, b = PickySink(), PickySink()
    sink = FanOutSink([a, b])
    sink.write(records(3))
    assert names(a.records) == names(b.records) == ["0", "1", "2"]
    assert sink.statistics().written == 3
    assert sink.statistics().received == 3


def test_each_branch_may_have_a_level_of_its_own():
    pager, file = MemorySink(), MemorySink()
    sink = FanOutSink([FilterSink(pager, min_level="ERROR"), file])
    sink.write([record("i"), record("e", ERROR)])
    assert names(pager.records) == ["e"]
    assert names(file.records) == ["i", "e"]


def test_a_branch_that_failed_gets_what_it_missed_first_and_once():
    good, bad = MemorySink(), FailingSink(name="bad")
    sink = FanOutSink([bad, good])
    sink.write(records(2))
    assert names(good.records) == ["0", "1"]
    assert sink.statistics().waiting == 2
    assert sink.statistics().details["fanout.backlog.bad"] == 2
    bad.fail = False
    sink.write(records(2, first=2))
    assert names(good.records) == names(bad.records) == ["0", "1", "2", "3"]
    statistics = sink.statistics()
    assert (statistics.waiting, statistics.written, statistics.dropped) == (0, 4, 0)
    assert statistics.details["fanout.backlog.bad"] == 0
    assert "fanout.missed.bad" not in statistics.details


def test_a_record_is_written_when_the_last_branch_has_it():
    first, second = FailingSink(), FailingSink()
    sink = FanOutSink([first, NullSink(), second])
    sink.write(records(2))
    first.fail = False
    with pytest.raises(SinkUnavailableError):
        sink.flush()
    assert (sink.statistics().waiting, sink.statistics().written) == (2, 0)
    second.fail = False
    sink.flush()
    assert (sink.statistics().waiting, sink.statistics().written) == (0, 2)


def test_what_no_branch_took_is_the_callers_and_in_no_backlog():
    a, b = FailingSink(), FailingSink()
    sink = FanOutSink([a, b])
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(2))
    assert names(caught.value.unwritten) == ["0", "1"]
    assert sink.statistics().received == 0
    a.fail = b.fail = False
    sink.write(caught.value.unwritten)
    assert names(a.records) == names(b.records) == ["0", "1"]


def test_only_what_no_branch_took_is_raised():
    a = PickySink([(lambda i: i in {0, 2}, False)])
    b = PickySink([(lambda i: i in {1, 2}, False)])
    sink = FanOutSink([a, b])
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(4))
    assert names(caught.value.unwritten) == ["2"]
    assert sink.statistics().waiting == 2
    sink.write(caught.value.unwritten)
    assert sorted(names(a.records)) == sorted(names(b.records)) == ["0", "1", "2", "3"]
    assert sink.statistics().written == 4


def test_a_record_equal_to_another_one_is_a_record_of_its_own():
    a, b = PickySink([(lambda i: i == 1, False)]), MemorySink()
    sink = FanOutSink([a, b])
    same = record("same")
    sink.write([same, same, same])
    sink.flush()
    assert len(a.records) == len(b.records) == 3
    assert sink.statistics().written == 3


def test_a_full_backlog_gives_up_its_oldest_for_that_branch_only(capsys):
    good, bad = MemorySink(), FailingSink(name="bad")
    sink = FanOutSink([good, bad], backlog=2)
    sink.write(records(5))
    statistics = sink.statistics()
    assert (statistics.waiting, statistics.written, statistics.dropped) == (2, 3, 0)
    assert statistics.details["fanout.missed.bad"] == 3
    assert "bad missed" in capsys.readouterr().err
    bad.fail = False
    sink.flush()
    assert names(bad.records) == ["3", "4"]
    assert len(good.records) == 5


def test_a_backlog_is_bounded_in_bytes_too():
    bad = FailingSink(name="bad")
    sink = FanOutSink([NullSink(), bad], backlog_bytes=10)
    sink.write(
        [Record(20, b"aaaa"), Record(20, b"bbbb"), Record(20, b"cccc"), Record(20, b"d" * 11)]
    )
    assert sink.statistics().waiting == 2
    assert sink.statistics().details["fanout.missed.bad"] == 2


def test_without_a_backlog_a_failing_branch_misses_at_once():
    sink = FanOutSink([NullSink(), FailingSink(name="bad")], backlog=0)
    sink.write(records(3))
    assert sink.statistics().written == 3
    assert sink.statistics().details["fanout.missed.bad"] == 3


def test_a_branch_that_rejects_has_missed_and_is_not_asked_again():
    picky = PickySink([ALL_FOR_GOOD], name="picky")
    sink = FanOutSink([NullSink(), picky])
    sink.write(records(2))
    sink.write(records(1, first=2))
    assert names(picky.records) == ["2"]
    assert sink.statistics().written == 3
    assert sink.statistics().details["fanout.missed.picky"] == 2


def test_a_rejection_of_the_backlog_ends_the_waiting():
    picky = PickySink([ALL, (lambda i: i == 0, True)], name="picky")
    sink = FanOutSink([NullSink(), picky])
    sink.write(records(2))
    sink.flush()
    assert sink.statistics().waiting == 0
    assert sink.statistics().details["fanout.missed.picky"] == 1
    assert names(picky.records) == ["1"]


def test_rejected_by_every_branch_means_rejected():
    sink = FanOutSink([PickySink([ALL_FOR_GOOD]), PickySink([ALL_FOR_GOOD])])
    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records(1))
    assert names(caught.value.unwritten) == ["0"]


def test_rejected_by_one_and_put_off_by_the_other_may_be_retried():
    late = PickySink([ALL])
    sink = FanOutSink([PickySink([ALL_FOR_GOOD, ALL_FOR_GOOD]), late])
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(1))
    assert caught.value.retryable
    sink.write(caught.value.unwritten)
    assert names(late.records) == ["0"]


def test_only_what_every_branch_rejected_is_raised():
    sink = FanOutSink([PickySink([(lambda i: i < 2, True)]), PickySink([(lambda i: i == 0, True)])])
    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records(3))
    assert names(caught.value.unwritten) == ["0"]
    assert sink.statistics().written == 2


def test_a_closed_branch_does_not_stop_the_others():
    closed, good = MemorySink(name="closed"), MemorySink()
    closed.close()
    sink = FanOutSink([closed, good])
    sink.write(records(2))
    assert len(good.records) == 2
    assert sink.statistics().details["fanout.missed.closed"] == 2
    good.close()
    with pytest.raises(SinkClosedError):
        sink.write(records(1))


def test_an_exception_that_nobody_translated_stops_no_branch():
    good = MemorySink()
    bad = FailingSink(fail=[Fault(OSError), Fault(ZeroDivisionError)], name="bad")
    sink = FanOutSink([bad, good])
    sink.write(records(1))
    sink.write(records(1, first=1))
    assert len(good.records) == 2
    assert sink.statistics().details["fanout.missed.bad"] == 2


def test_poll_tries_again_once_a_second():
    bad = FailingSink(name="bad")
    sink = FanOutSink([NullSink(), bad])
    assert sink.poll(0.0) is None
    sink.write(records(2))
    assert sink.poll(10.0) == 1.0
    assert bad.calls == 2
    assert sink.poll(10.5) == 0.5
    assert bad.calls == 2
    bad.fail = False
    assert sink.poll(11.0) is None
    assert names(bad.records) == ["0", "1"]
    assert sink.statistics().waiting == 0


def test_timed_work_of_the_branches_is_done_though_one_fails(capsys):
    bad, good = WatchedSink("poll", name="bad"), WatchedSink(wait=3.0)
    assert FanOutSink([bad, good]).poll(0.0) == 3.0
    assert good.calls == ["poll"]
    assert "bad failed" in capsys.readouterr().err
    with pytest.raises(SinkUnavailableError):
        FanOutSink([bad]).poll(0.0)


def test_a_poll_that_raises_something_else_is_raised_as_it_is():
    class Broken(NullSink):
        def poll(self, now):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        FanOutSink([Broken()]).poll(0.0)


def test_flush_reaches_all_and_tells_the_truth():
    bad, good = FailingSink(name="bad"), WatchedSink()
    sink = FanOutSink([bad, good])
    sink.write(records(1))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.flush(1.0)
    assert caught.value.unwritten == ()
    assert good.calls == ["flush"]
    failing = WatchedSink("flush")
    with pytest.raises(SinkUnavailableError):
        FanOutSink([failing, good]).flush()
    assert good.calls == ["flush", "flush"]


def test_close_tells_what_a_branch_will_never_get():
    bad, good = FailingSink(name="bad"), WatchedSink()
    sink = FanOutSink([bad, good])
    sink.write(records(2))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.close(1.0)
    assert names(caught.value.unwritten) == ["0", "1"]
    statistics = sink.statistics()
    assert (statistics.waiting, statistics.written) == (0, 2)
    assert statistics.details["fanout.missed.bad"] == 2
    assert good.calls == ["close"]
    with pytest.raises(SinkClosedError):
        bad.write(records(1))


def test_a_child_process_does_not_send_the_parents_backlog():
    bad = FailingSink(name="bad")
    sink = FanOutSink([NullSink(), bad])
    sink.write(records(2))
    child = os.fork()
    if child == 0:
        bad.fail = False
        sink.write(records(1, first=9))
        good = names(bad.records) == ["9"] and sink.statistics().balanced
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sink.statistics().waiting == 2


entry = st.none() | st.tuples(st.integers(0, 63), st.booleans())


@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(st.integers(0, 5), max_size=8),
    plans=st.lists(st.lists(entry, max_size=10), min_size=1, max_size=3),
    backlog=st.sampled_from([0, 2, 1000]),
)
def test_no_branch_gets_a_record_twice_and_every_miss_is_counted(groups, plans, backlog):
    def refusal(one):
        return None if one is None else (lambda i: bool(one[0] >> i % 6 & 1), one[1])

    branches = [
        PickySink([refusal(one) for one in plan], name=f"b{number}")
        for number, plan in enumerate(plans)
    ]
    sink = FanOutSink(branches, backlog=backlog)
    number = 0
    accepted = 0
    for group in groups:
        rest = tuple(records(group, first=number))
        number += group
        for _ in range(40):
            try:
                sink.write(rest)
            except SinkError as error:
                accepted += len(rest) - len(error.unwritten)
                assert sink.statistics().balanced
                rest = error.unwritten
                if not error.retryable:
                    break
            else:
                accepted += len(rest)
                break
    for _ in range(20):
        try:
            sink.flush()
        except SinkError:
            continue
        break
    statistics = sink.statistics()
    assert statistics.balanced
    assert statistics.waiting == 0
    assert statistics.received == accepted
    for branch in branches:
        got = names(branch.records)
        assert len(got) == len(set(got))
        missed = statistics.details.get(f"fanout.missed.{branch.name}", 0)
        assert len(got) + missed == statistics.written
    if all(one is None or (one[0] == 63 and not one[1]) for plan in plans for one in plan):
        for branch in branches:
            numbers = [int(name) for name in names(branch.records)]
            assert numbers == sorted(numbers)

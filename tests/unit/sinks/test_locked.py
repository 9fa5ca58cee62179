from __future__ import annotations

import gc
import os
import signal
import threading

import pytest
from support.alarms import alarms
from support.wrappers import (
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
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.ledger import HAS_GIL
from pylog_struct.levels import ERROR
from pylog_struct.sinks import BatchSink, LockedSink, MemorySink, NullSink, QueueSink
from pylog_struct.sinks.base import BaseSink
from pylog_struct.testing import CloggedSink, FailingSink, Fault, check_sink

ALL_FOR_GOOD = (lambda _: True, True)


class LoggingSink(BaseSink):
    """Logs into the pipeline that it serves, as a client library does."""

    type_name = "logging"

    def __init__(self, *calls: str, limit: int = 10**9) -> None:
        super().__init__()
        self.outer: LockedSink | None = None
        self.calls = calls
        self.limit = limit
        self.depth = self.deepest = 0
        self.records = []
        self.said = 0

    def say(self, call):
        if call in self.calls and self.said < self.limit and self.outer is not None:
            self.outer.put(record(f"inner{self.said + 1}", ERROR))
            self.said += 1

    def _write(self, batch):
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.records += batch
        self.say("write")
        self.depth -= 1

    def _flush(self, timeout):
        self.say("flush")

    def _close(self, timeout):
        try:
            self.say("close")
        except SinkClosedError:
            self.calls = (*self.calls, "refused")

    def poll(self, now):
        self.say("poll")


def talkative(*calls, limit=10**9, **options):
    inner = LoggingSink(*calls, limit=limit)
    inner.outer = LockedSink(inner, **options)
    return inner, inner.outer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LockedSink(7), "LockedSink.sink: 7 is no sink"),
        (lambda: LockedSink(LockedSink(NullSink())), "LockedSink.sink: .* is thread-safe already"),
        (lambda: LockedSink(QueueSink(NullSink())), "LockedSink.sink: .* is thread-safe already"),
        (lambda: LockedSink(NullSink(), timeout=None), "LockedSink.timeout: None is no duration"),
        (lambda: LockedSink(NullSink(), timeout=-1), "LockedSink.timeout: -1"),
        (lambda: LockedSink(NullSink(), absorb="no"), "LockedSink.absorb: 'no' is neither"),
    ],
)
def test_refuses_nonsense(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("absorb", [False, True])
def test_life_cycle(absorb):
    check_life_cycle(lambda inner: LockedSink(inner, absorb=absorb), records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=LockedSink, thread_safe=True)


def test_keeps_the_contract_when_it_absorbs(capsys):
    check_sink(make_wrapper=lambda inner: LockedSink(inner, absorb=True), thread_safe=True)


def test_put_is_write_for_one_record():
    inner = PickySink()
    sink = LockedSink(inner, absorb=True)
    sink.put(record("a"))
    sink.write(records(2))
    assert [names(batch) for batch in inner.offered] == [["a"], ["0", "1"]]
    assert sink.statistics().written == 3
    assert sink.statistics().received_by_level == {"info": 3}
    assert sink.statistics().bytes_written == sum(len(item.line) for item in inner.records)
    sink.write([])
    assert len(inner.offered) == 2
    sink.close()
    with pytest.raises(SinkClosedError):
        sink.put(record("late"))


def test_only_a_root_counts_levels():
    sink = LockedSink(NullSink())
    sink.put(record())
    sink.write(records(1))
    assert sink.statistics().received_by_level == {}


def test_eight_threads_lose_nothing_and_the_numbers_are_exact():
    class CarefulSink(MemorySink):
        inside = 0
        overlaps = 0

        def _write(self, batch):
            self.inside += 1
            self.overlaps += self.inside != 1
            super()._write(batch)
            self.inside -= 1

    inner = CarefulSink()
    sink = LockedSink(inner, absorb=True)
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for position in range(500):
            sink.put(record(f"{number}-{position}"))
            sink.write([record(f"{number}+{position}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inner.overlaps == 0
    assert len(set(names(inner.records))) == 8000
    statistics = sink.statistics()
    assert (statistics.received, statistics.written) == (8000, 8000)
    assert statistics.received_by_level == {"info": 8000}


def test_without_absorb_the_error_is_the_callers():
    sink = LockedSink(PickySink([(lambda i: i == 1, False), ALL_FOR_GOOD]))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(3))
    assert names(caught.value.unwritten) == ["1"]
    assert sink.statistics().received == 2
    with pytest.raises(SinkRejectedError):
        sink.put(record("x"))
    assert sink.statistics().received == 2


def test_with_absorb_a_refusal_is_dropped_counted_and_reported(capsys):
    inner = PickySink([(lambda i: i == 1, False), ALL_FOR_GOOD])
    sink = LockedSink(inner, absorb=True)
    sink.write([record("a"), record("disk is gone", ERROR), record("b")])
    sink.put(record("poison"))
    statistics = sink.statistics()
    assert (statistics.received, statistics.written) == (4, 2)
    assert statistics.drops == {("unavailable", "error"): 1, ("rejected", "info"): 1}
    assert statistics.received_by_level == {"info": 3, "error": 1}
    assert statistics.errors == {"SinkUnavailableError": 1, "SinkRejectedError": 1}
    said = capsys.readouterr().err
    assert 'lost: {"event":"disk is gone"}' in said
    assert "poison" not in said


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError, "unavailable"), (ZeroDivisionError, "rejected")]
)
def test_an_exception_that_nobody_translated_is_absorbed_too(error, reason, capsys):
    sink = LockedSink(FailingSink(fail=[Fault(error)]), absorb=True)
    sink.put(record())
    assert sink.statistics().drops == {(reason, "info"): 1}


def test_a_keyboard_interrupt_goes_through_and_the_record_counts_as_lost(capsys):
    sink = LockedSink(FailingSink(fail=[Fault(KeyboardInterrupt)]), absorb=True)
    with pytest.raises(KeyboardInterrupt):
        sink.put(record())
    assert sink.statistics().drops == {("unavailable", "info"): 1}
    sink.put(record("next"))
    assert sink.statistics().written == 1


@pytest.mark.parametrize("absorb", [False, True])
def test_a_sink_that_logs_is_not_re_entered_and_its_record_arrives(absorb):
    inner, sink = talkative("write", limit=1, absorb=absorb)
    sink.put(record("app"))
    assert names(inner.records) == ["app", "inner1"]
    assert inner.deepest == 1
    statistics = sink.statistics()
    assert (statistics.received, statistics.written, statistics.waiting) == (2, 2, 0)


def test_records_caused_by_nested_records_arrive_too():
    inner, sink = talkative("write", limit=5)
    sink.put(record("app"))
    assert len(inner.records) == 6
    assert sink.statistics().waiting == 0


def test_a_sink_that_logs_on_every_write_comes_to_an_end():
    inner, sink = talkative("write", absorb=True)
    for number in range(100):
        sink.put(record(number))
    assert inner.deepest == 1
    assert sink.statistics().waiting <= 1
    assert sink.statistics().balanced
    assert sink.poll(0.0) == 1.0
    sink.write(records(1))
    inner.limit = 0
    assert sink.poll(0.0) is None
    assert sink.statistics().waiting == 0
    assert {f"{number}" for number in range(100)} < set(names(inner.records))


@pytest.mark.parametrize("call", ["flush", "poll"])
def test_a_sink_that_logs_in_its_other_calls_is_heard(call):
    inner, sink = talkative(call, absorb=True)
    getattr(sink, call)(1.0)
    assert names(inner.records) == ["inner1"]


def test_a_sink_that_logs_while_it_is_closed_gets_an_answer():
    inner, sink = talkative("close")
    sink.close()
    assert inner.calls == ("close", "refused")


def test_nested_records_that_are_refused_are_counted_and_reported(capsys):
    class Complaining(LoggingSink):
        def _write(self, batch):
            self.say("write")
            raise SinkUnavailableError("down", batch)

    inner = Complaining("write", limit=1)
    sink = inner.outer = LockedSink(inner)
    with pytest.raises(SinkUnavailableError) as caught:
        sink.put(record("app"))
    assert names(caught.value.unwritten) == ["app"]
    assert sink.statistics().drops == {("unavailable", "error"): 1}
    assert 'lost: {"event":"inner1"}' in capsys.readouterr().err


def test_nested_records_may_be_accepted_in_part(capsys):
    inner, sink = talkative("write", limit=2)
    inner.say = lambda call: (
        inner.said
        or (
            setattr(inner, "said", 1),
            sink.write([record("n1"), record("n2")]),
        )
    )
    real = inner._write

    def refuse_the_first(batch):
        if len(batch) == 2:
            real(batch[1:])
            raise SinkRejectedError("first", batch[:1])
        real(batch)

    inner._write = refuse_the_first
    sink.put(record("app"))
    assert names(inner.records) == ["app", "n2"]
    assert sink.statistics().drops == {("rejected", "info"): 1}


def test_nested_records_are_bounded(capsys):
    inner, sink = talkative("write", limit=1)
    inner.say = lambda call: inner.said or (setattr(inner, "said", 1), sink.write(records(1200)))
    sink.put(record("app"))
    assert len(inner.records) == 1001
    assert sink.statistics().drops == {("queue_full", "info"): 200}


def test_an_interrupt_while_nested_records_are_written_keeps_them():
    inner, sink = talkative("write", limit=1)
    plain = inner._write

    def interrupted(batch):
        if names(batch) == ["inner1"] and inner.said == 1:
            inner.said = 2
            raise KeyboardInterrupt
        plain(batch)

    inner._write = interrupted
    with pytest.raises(KeyboardInterrupt):
        sink.put(record("app"))
    assert sink.statistics().waiting == 1
    sink.poll(0.0)
    assert names(inner.records) == ["app", "inner1"]


def test_del_during_garbage_collection_may_log():
    class Noisy:
        def __init__(self, sink):
            self.sink = sink
            self.me = self

        def __del__(self):
            self.sink.put(record("deleted", ERROR))

    class CollectingSink(MemorySink):
        def _write(self, batch):
            super()._write(batch)
            gc.collect()

    inner = CollectingSink()
    sink = LockedSink(inner, absorb=True)
    for _ in range(10):
        Noisy(sink)
        sink.put(record("app"))
    gc.collect()
    assert names(inner.records).count("deleted") == 10
    assert names(inner.records).count("app") == 10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_that_logs_every_millisecond_loses_nothing():
    inner = MemorySink()
    sink = LockedSink(BatchSink(inner, max_records=7), absorb=True)
    from_handler = 0

    def handler():
        nonlocal from_handler
        from_handler += 1
        sink.put(record(f"signal{from_handler}", ERROR))

    number = 0
    with alarms(handler, 0.001):
        while number < 10_000 or from_handler < 50:
            sink.put(record(number))
            number += 1
    sink.close()
    got = names(inner.records)
    assert len(got) == len(set(got)) == number + from_handler
    statistics = sink.statistics()
    assert (statistics.received, statistics.written) == (len(got), len(got))
    assert statistics.received_by_level == {"info": number, "error": from_handler}


class Held:
    """A thread that is stuck inside the inner sink."""

    def __init__(self, sink, inner):
        self.errors = []
        self.inner = inner
        self.thread = threading.Thread(target=self._work, args=(sink,))

    def _work(self, sink):
        try:
            sink.put(record("stuck"))
        except Exception as error:
            self.errors.append(error)

    def __enter__(self):
        self.thread.start()
        assert self.inner.entered.wait(10)
        return self

    def __exit__(self, *_):
        self.inner.release()
        self.thread.join()


def test_the_wait_for_another_thread_is_bounded(capsys):
    inner = CloggedSink()
    sink = LockedSink(inner, timeout=0.01)
    with Held(sink, inner):
        with pytest.raises(SinkTimeoutError) as caught:
            sink.put(record("mine"))
        assert names(caught.value.unwritten) == ["mine"]
        with pytest.raises(SinkTimeoutError):
            sink.write(records(2))
        assert sink.statistics().received == 0
    assert sink.statistics().written == 1


def test_with_absorb_who_waited_too_long_is_dropped_and_reported(capsys):
    inner = CloggedSink()
    sink = LockedSink(inner, absorb=True, timeout=0)
    with Held(sink, inner):
        sink.put(record("mine", ERROR))
    statistics = sink.statistics()
    assert statistics.drops == {("unavailable", "error"): 1}
    assert statistics.received == 2
    assert 'lost: {"event":"mine"}' in capsys.readouterr().err


def test_statistics_do_not_wait_for_a_write_that_hangs():
    inner = CloggedSink()
    sink = LockedSink(inner)
    with Held(sink, inner):
        assert sink.statistics().received == 0


def test_poll_and_flush_do_not_wait_for_ever_either():
    inner = CloggedSink()
    sink = LockedSink(inner, timeout=0.01)
    with Held(sink, inner):
        assert sink.poll(0.0) == 1.0
        with pytest.raises(SinkTimeoutError):
            sink.flush(0.01)


def test_close_while_a_write_hangs_is_done_when_it_comes_back():
    inner = CloggedSink()
    sink = LockedSink(inner, timeout=0.01)
    with Held(sink, inner) as held:
        with pytest.raises(SinkTimeoutError):
            sink.close(0.01)
        with pytest.raises(SinkClosedError):
            sink.put(record("late"))
    assert held.errors == []
    with pytest.raises(SinkClosedError):
        inner.write(records(1))
    assert names(inner.records) == ["stuck"]


@pytest.mark.parametrize("fails", [False, True])
def test_close_from_inside_a_write_is_done_behind_it(fails, capsys):
    class Closing(WatchedSink):
        def _write(self, batch):
            super()._write(batch)
            with pytest.raises(SinkTimeoutError):
                sink.close(1.0)

    inner = Closing(*(["close"] if fails else []))
    sink = LockedSink(inner)
    sink.put(record("last"))
    assert inner.calls == ["close"]
    assert names(inner.records) == ["last"]
    assert ("closing failed" in capsys.readouterr().err) == fails


def test_close_drops_nothing_that_a_sink_said_before():
    inner, sink = talkative("flush", "write", limit=30)
    sink.flush()
    assert sink.statistics().waiting == 1
    inner.limit = 0
    sink.close()
    assert sink.statistics().waiting == 0
    assert len(inner.records) == inner.said


def test_an_interrupt_while_flush_catches_up_gives_the_lock_back():
    inner, sink = talkative("write", limit=9)
    sink.put(record("app"))
    plain = inner._write
    assert sink.statistics().waiting == 1

    def interrupted(batch):
        inner._write = plain
        raise KeyboardInterrupt

    inner._write = interrupted
    with pytest.raises(KeyboardInterrupt):
        sink.flush()
    thread = threading.Thread(target=sink.put, args=(record("other"),))
    thread.start()
    thread.join(10)
    assert "other" in names(inner.records)


def test_timed_work_that_fails_is_raised_or_absorbed(capsys):
    with pytest.raises(SinkUnavailableError):
        LockedSink(WatchedSink("poll")).poll(0.0)
    sink = LockedSink(WatchedSink("poll"), absorb=True)
    assert sink.poll(0.0) == 1.0
    assert sink.statistics().errors == {"SinkUnavailableError": 1}
    assert "timed work failed" in capsys.readouterr().err
    assert LockedSink(WatchedSink(wait=2.0)).poll(0.0) == 2.0


def test_poll_from_inside_a_write_does_nothing():
    class Polling(MemorySink):
        def _write(self, batch):
            super()._write(batch)
            self.answer = sink.poll(0.0)

    inner = Polling()
    sink = LockedSink(inner)
    sink.put(record())
    assert inner.answer == 1.0


def test_held_lets_nothing_in_until_its_end():
    inner = MemorySink()
    sink = LockedSink(inner)
    with sink.held():
        sink.put(record("mine"))
        thread = threading.Thread(target=sink.put, args=(record("theirs"),))
        thread.start()
        assert inner.records == []
    thread.join()
    assert sorted(names(inner.records)) == ["mine", "theirs"]


def test_held_gives_up_on_a_write_that_hangs():
    inner = CloggedSink()
    sink = LockedSink(inner, timeout=0.01)
    with Held(sink, inner), pytest.raises(SinkTimeoutError), sink.held():
        raise AssertionError


def test_a_child_process_has_a_lock_of_its_own():
    inner = CloggedSink()
    sink = LockedSink(inner, timeout=5)
    with Held(sink, inner):
        child = os.fork()
        if child == 0:
            inner.release()
            sink.put(record("child"))
            os._exit(0 if names(inner.records) == ["child"] and sink.statistics().balanced else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert names(inner.records) == ["stuck"]


class LineSink(MemorySink):
    """Has the short way of a rolling file."""

    def write_line(self, line, moment):
        self.write([record(line)])
        return True


@pytest.mark.skipif(not HAS_GIL, reason="the short way relies on the interpreter lock")
def test_one_of_many_that_want_the_lock_at_once_steps_aside_and_others_stand_in_line(monkeypatch):
    clock, naps = [100.0], []
    monkeypatch.setattr("pylog_struct.sinks.locked.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("pylog_struct.sinks.locked.time.sleep", naps.append)
    inner = LineSink()
    sink = LockedSink(inner, absorb=True)
    write = sink.straight()
    found = []

    def call(*steps):
        for seconds in steps:
            clock[0] += seconds
            found.append(write(20, b"{}", 0))

    with sink._lock:
        thread = threading.Thread(target=call, args=(1.0, 1.0, 1e-6, 1.0))
        thread.start()
        thread.join()
    call(1.0)

    assert found == [False, False, False, False, True]  # False: put() stands in line
    assert 1 < len(naps) < 100  # of the third call only
    assert sum(naps) < 0.1
    assert len(inner.records) == 1


@pytest.mark.skipif(not HAS_GIL, reason="the short way relies on the interpreter lock")
def test_who_stepped_aside_writes_as_soon_as_the_lock_is_free(monkeypatch):
    inner = LineSink()
    sink = LockedSink(inner, absorb=True)
    taken, go = threading.Event(), threading.Event()

    def hold():
        with sink._lock:
            taken.set()
            assert go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)

    def nap(seconds):
        go.set()
        holder.join()

    monkeypatch.setattr("pylog_struct.sinks.locked.time.monotonic", lambda: 100.0)
    monkeypatch.setattr("pylog_struct.sinks.locked.time.sleep", nap)
    write = sink.straight()
    found = [write(20, b"{}", 0), write(20, b"{}", 0)]

    assert found == [False, True]
    assert sink.statistics().written == 1

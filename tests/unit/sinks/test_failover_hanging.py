"""Failover with a timeout: a call that hangs is left behind, and nobody calls beside it."""

from __future__ import annotations

import os
import threading

import pytest
from support.failover import batch, details, numbers

from pylog_struct.errors import SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.sinks._failover.lane import HungError, Lane
from pylog_struct.sinks.failover import FailoverSink
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.testing import CloggedSink, FailingSink, FakeClock, Fault

HUNG = 0.05  # seconds: what hangs, hangs for as long as the test wants
AMPLE = 30.0  # seconds: what works, works within it
PATIENCE = 10.0


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="primary")
def _primary():
    sink = CloggedSink(name="a")
    yield sink
    sink.release()


def build(*sinks, clock, timeout=HUNG, **options):
    return FailoverSink(sinks, clock=clock, timeout=timeout, **options)


def lanes():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pylog-lane")]


def wait_until(condition):
    done = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        done.wait(0.005)
    pytest.fail("it never became true")


def test_a_hung_primary_counts_as_failed_and_its_batch_is_handed_on(clock, primary):
    secondary = MemorySink(name="b")
    events = []
    sink = build(primary, secondary, clock=clock, on_switch=events.append)

    sink.write(batch(1, 2))

    assert numbers(secondary) == [1, 2]
    assert "hung for 0.05 s" in events[0].reason
    assert dict(primary.statistics().errors) == {"SinkTimeoutError": 1}
    primary.release()
    sink.close(PATIENCE)


def test_while_it_hangs_nothing_else_is_sent_to_it(clock, primary):
    secondary = MemorySink()
    sink = build(primary, secondary, clock=clock, retry_interval=10)
    calls = []
    primary.poll = lambda now: calls.append("poll")
    sink.write(batch(1))

    clock.advance(10)
    sink.write(batch(2))  # a probe is due, and fails without a call
    sink.flush(1)
    sink.poll(clock.monotonic())

    assert calls == []
    assert primary.records == []
    assert numbers(secondary) == [1, 2]
    primary.release()
    sink.close(PATIENCE)


def test_records_that_arrive_after_they_were_handed_on_are_counted(clock, primary):
    sink = build(primary, MemorySink(name="b"), clock=clock)
    sink.write(batch(1, 2))

    primary.release()
    wait_until(lambda: details(sink).get("late") == 2)

    assert numbers(primary) == [1, 2]
    assert sink.statistics().balanced
    sink.close(PATIENCE)


def test_a_hung_call_that_fails_after_all_is_no_duplicate(clock):
    primary = CloggedSink(error=SinkUnavailableError)
    sink = build(primary, MemorySink(), clock=clock)
    sink.write(batch(1, 2))

    primary.release()
    sink.close(PATIENCE)

    assert primary.records == []
    assert details(sink).get("late", 0) == 0


def test_when_the_stuck_call_is_back_the_next_probe_can_bring_it_back(clock, primary):
    secondary = MemorySink(name="b")
    sink = build(primary, secondary, clock=clock, retry_interval=10)
    sink.write(batch(1))
    primary.release()
    wait_until(lambda: details(sink).get("late") == 1)
    clock.advance(10)

    sink.write(batch(2, 3))

    assert numbers(primary) == [1, 2, 3]
    assert sink.active is primary
    sink.close(PATIENCE)
    assert sink.statistics().balanced


def test_the_batch_may_be_reused_while_a_hung_call_still_reads_it(clock, primary):
    sink = build(primary, MemorySink(), clock=clock)
    records = batch(1, 2)
    sink.write(records)
    records.clear()

    primary.release()
    sink.close(PATIENCE)

    assert numbers(primary) == [1, 2]


def test_all_hung_or_timed_out_is_a_timeout_with_everything_unwritten(clock, primary):
    sink = build(primary, FailingSink(fault=Fault(SinkTimeoutError)), clock=clock)
    records = batch(1, 2)

    with pytest.raises(SinkTimeoutError) as caught:
        sink.write(records)

    assert caught.value.unwritten == tuple(records)
    primary.release()
    sink.close(PATIENCE)


def test_a_healthy_primary_is_written_through_its_lane_and_errors_keep_their_meaning(clock):
    primary, secondary = FailingSink(fail=[None, Fault(accept=1)]), MemorySink()
    sink = build(primary, secondary, clock=clock, timeout=AMPLE)

    sink.write(batch(1))
    sink.write(batch(2, 3))
    sink.flush(PATIENCE)
    sink.poll(0.0)
    sink.close(PATIENCE)

    assert numbers(primary) == [1, 2]
    assert numbers(secondary) == [3]
    wait_until(lambda: not lanes())


def test_without_a_timeout_and_for_the_last_alternative_there_is_no_thread(clock):
    threads = []

    class Curious(MemorySink):
        def _write(self, records):
            threads.append(threading.current_thread())
            super()._write(records)

    build(Curious(), MemorySink(), clock=clock, timeout=None).write(batch(1))
    build(FailingSink(), Curious(), clock=clock, timeout=None).write(batch(1))
    last = build(FailingSink(), Curious(), clock=clock, timeout=AMPLE)
    last.write(batch(1))
    last.close(PATIENCE)

    assert threads == [threading.current_thread()] * 3


def test_close_does_not_wait_for_a_hung_sink_and_closes_it_when_it_comes_back(clock, primary):
    secondary = MemorySink()
    closed = threading.Event()
    real_close = primary.close

    def close(timeout=None):
        real_close(timeout)
        closed.set()

    primary.close = close
    sink = build(primary, secondary, clock=clock)
    sink.write(batch(1))

    with pytest.raises(SinkTimeoutError, match="closed when it comes back"):
        sink.close(5)

    assert not closed.is_set()
    with pytest.raises(SinkError):
        secondary.write(batch(2))  # the other one was closed all the same
    primary.release()
    assert closed.wait(PATIENCE)
    wait_until(lambda: not lanes())
    sink.close()  # a second close has nothing to do


def test_a_late_close_that_fails_is_reported(clock, primary, capfd):
    sink = build(primary, MemorySink(), clock=clock)
    sink.write(batch(1))

    def close(timeout=None):
        raise SinkUnavailableError("no way out")

    primary.close = close
    with pytest.raises(SinkTimeoutError):
        sink.close(1)
    primary.release()
    wait_until(lambda: not lanes())

    assert "no way out" in capfd.readouterr().err


def test_a_close_that_hangs_is_given_up_in_time(clock):
    gate = threading.Event()

    class Stuck(MemorySink):
        def _close(self, timeout):
            gate.wait(PATIENCE)

    sink = build(Stuck(), MemorySink(), clock=clock, timeout=HUNG)
    sink.write(batch(1))
    try:
        with pytest.raises(SinkTimeoutError, match="close"):
            sink.close(0.01)
    finally:
        gate.set()


def test_a_flush_that_hangs_says_so_and_the_sink_counts_as_hung(clock):
    gate = threading.Event()

    class Stuck(MemorySink):
        def _flush(self, timeout):
            gate.wait(PATIENCE)

    primary, secondary = Stuck(), MemorySink()
    sink = build(primary, secondary, clock=clock)
    sink.write(batch(1))
    try:
        with pytest.raises(SinkTimeoutError, match="flush"):
            sink.flush()
        sink.write(batch(2))
        with pytest.raises(SinkTimeoutError, match="earlier call"):
            sink.flush()  # still not flushed, and still hanging
    finally:
        gate.set()
    assert numbers(primary) == [1]
    assert numbers(secondary) == [2]
    sink.close(PATIENCE)


def test_a_flush_with_little_time_does_not_make_a_slow_sink_a_hung_one(clock):
    gate, entered = threading.Event(), threading.Event()

    class Slow(MemorySink):
        def _flush(self, timeout):
            entered.set()
            gate.wait(PATIENCE)

    primary, secondary = Slow(), MemorySink()
    sink = build(primary, secondary, clock=clock, timeout=AMPLE)
    sink.write(batch(1))
    with pytest.raises(SinkTimeoutError):
        sink.flush(0.01)
    assert entered.wait(PATIENCE)
    threading.Timer(0.01, gate.set).start()

    sink.write(batch(2))  # waits for the flush to come back instead of failing over

    assert numbers(primary) == [1, 2]
    assert secondary.records == []
    sink.close(PATIENCE)


def test_a_poll_that_hangs_is_a_timeout(clock):
    gate = threading.Event()

    class Stuck(MemorySink):
        def poll(self, now, /):
            gate.wait(PATIENCE)

    sink = build(Stuck(), MemorySink(), clock=clock)
    try:
        with pytest.raises(SinkTimeoutError, match="poll"):
            sink.poll(0.0)
    finally:
        gate.set()
    sink.close(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_a_fork_gets_lanes_of_its_own(clock, primary):
    secondary = MemorySink()
    sink = build(primary, secondary, clock=clock, retry_interval=10)
    sink.write(batch(1))  # hangs in the parent, on a thread that the child will not have
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        verdict = b"failed"
        try:
            primary.release()
            clock.advance(10)
            sink.write(batch(2, 3))
            if numbers(primary) == [2, 3] and not numbers(secondary):
                verdict = b"ok"
            sink.close(5)
        finally:
            os.write(writer, verdict)
            os._exit(0)
    os.close(writer)
    verdict = os.read(reader, 100)
    os.close(reader)
    os.waitpid(pid, 0)

    assert verdict == b"ok"
    primary.release()
    sink.close(PATIENCE)


class TestLane:
    def test_it_returns_and_raises_what_the_function_does(self):
        lane = Lane("test")

        assert lane.call(lambda: 42, AMPLE) == 42
        with pytest.raises(KeyError):
            lane.call({}.popitem, AMPLE)
        lane.end()

    def test_its_thread_ends_when_it_is_idle_and_starts_again(self):
        lane = Lane("test", idle=0.001)

        first = lane.call(threading.current_thread, AMPLE)
        first.join(PATIENCE)
        assert not first.is_alive()
        second = lane.call(threading.current_thread, AMPLE)

        assert second is not first
        lane.end()

    def test_a_stray_exit_does_not_leave_the_caller_waiting(self):
        lane = Lane("test")

        def leave():
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            lane.call(leave, AMPLE)
        lane.end()

    def test_after_its_end_it_takes_no_call_and_a_second_end_is_nothing(self):
        lane = Lane("test")
        lane.end()
        lane.end()

        with pytest.raises(HungError):
            lane.call(lambda: None, AMPLE)
        assert lanes() == []

    def test_the_last_call_runs_even_if_there_was_none_before(self):
        lane = Lane("test")
        ran = threading.Event()

        lane.end(last=ran.set)

        assert ran.wait(PATIENCE)

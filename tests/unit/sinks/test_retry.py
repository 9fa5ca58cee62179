"""RetrySink: what is tried again, how long it waits, when it gives up."""

from __future__ import annotations

import os
import threading

import pytest
from support.failover import batch, numbers

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.sinks.retry import RetrySink
from pylog_struct.testing import FailingSink, FakeClock, Fault

PATIENCE = 10.0


class Waits(list):
    """A sleep that moves a clock instead, and remembers how far."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def __call__(self, seconds):
        self.append(seconds)
        self.clock.advance(seconds)


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="waits")
def _waits(clock):
    return Waits(clock)


def build(inner, clock, waits, **options):
    return RetrySink(inner, clock=clock, sleep=waits, **{"random": lambda: 1.0} | options)


def test_only_what_is_unwritten_is_sent_again(clock, waits):
    inner = FailingSink(fail=[Fault(accept=2), Fault(accept=1), None])
    sink = build(inner, clock, waits)

    sink.write(batch(1, 2, 3, 4, 5))

    assert numbers(inner) == [1, 2, 3, 4, 5]
    assert inner.calls == 3
    assert sink.statistics().details["retry.attempts"] == 2
    assert sink.statistics().written == 5


def test_the_bound_of_a_wait_doubles_up_to_the_cap(clock, waits):
    sink = build(FailingSink(), clock, waits, attempts=6, base=0.5, cap=3)

    with pytest.raises(SinkUnavailableError):
        sink.write(batch(1))

    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_wait_is_anything_between_nothing_and_its_bound(clock, waits):
    draws = iter([0.0, 0.25, 0.5])
    sink = build(FailingSink(), clock, waits, attempts=4, base=1.0, random=lambda: next(draws))

    with pytest.raises(SinkUnavailableError):
        sink.write(batch(1))

    assert waits == [0.0, 0.5, 2.0]


def test_the_back_off_starts_anew_with_every_batch(clock, waits):
    sink = build(FailingSink(fail=[Fault(), None, Fault(), None]), clock, waits)

    sink.write(batch(1))
    sink.write(batch(2))

    assert waits == [0.1, 0.1]


def test_after_the_last_try_it_raises_that_error_with_what_is_left(clock, waits):
    inner = FailingSink(fail=[Fault(accept=1), Fault(SinkTimeoutError, accept=1), None])
    sink = build(inner, clock, waits, attempts=2)
    records = batch(1, 2, 3)

    with pytest.raises(SinkTimeoutError) as caught:
        sink.write(records)

    assert caught.value.unwritten == (records[2],)
    assert numbers(inner) == [1, 2]
    assert sink.statistics().written == 2


def test_one_attempt_is_no_retry(clock, waits):
    inner = FailingSink()

    with pytest.raises(SinkUnavailableError):
        build(inner, clock, waits, attempts=1).write(batch(1))

    assert inner.calls == 1


def test_a_rejection_is_not_tried_again(clock, waits):
    inner = FailingSink(fault=Fault(SinkRejectedError, accept=1))
    records = batch(1, 2)

    with pytest.raises(SinkRejectedError) as caught:
        build(inner, clock, waits).write(records)

    assert (inner.calls, waits) == (1, [])
    assert caught.value.unwritten == (records[1],)


def test_a_closed_inner_sink_is_not_tried_again(clock, waits):
    inner = MemorySink()
    sink = build(inner, clock, waits)
    inner.close()

    with pytest.raises(SinkClosedError):
        sink.write(batch(1))

    assert waits == []


def test_an_error_with_nothing_unwritten_is_a_success(clock, waits):
    inner = FailingSink(fault=Fault(accept=9))

    build(inner, clock, waits).write(batch(1, 2))

    assert (inner.calls, numbers(inner)) == (1, [1, 2])


def test_an_oserror_that_nobody_translated_is_tried_again(clock, waits):
    inner = FailingSink(fail=[Fault(ConnectionResetError), None])

    build(inner, clock, waits).write(batch(1))

    assert numbers(inner) == [1]


def test_any_other_exception_is_a_rejection(clock, waits):
    with pytest.raises(SinkRejectedError, match="ValueError"):
        build(FailingSink(fault=Fault(ValueError)), clock, waits).write(batch(1))


class TestDeadline:
    def test_a_wait_that_would_end_after_it_is_not_begun(self, clock, waits):
        inner = FailingSink()
        sink = build(inner, clock, waits, attempts=100, base=1, cap=100, deadline="10 s")

        with pytest.raises(SinkUnavailableError):
            sink.write(batch(1))

        assert waits == [1.0, 2.0, 4.0]  # eight more would end at 15 seconds
        assert inner.calls == 4

    def test_the_time_of_the_calls_counts(self, clock, waits):
        def slow(records):
            clock.advance(4)
            return Fault()

        inner = FailingSink(fail=slow)
        with pytest.raises(SinkUnavailableError):
            build(inner, clock, waits, attempts=100, base=1, cap=1, deadline=9.5).write(batch(1))

        assert inner.calls == 2

    def test_without_one_the_attempts_decide(self, clock, waits):
        inner = FailingSink()
        sink = build(inner, clock, waits, attempts=200, base=1, cap=3600, deadline=None)

        with pytest.raises(SinkUnavailableError):
            sink.write(batch(1))

        assert inner.calls == 200
        assert max(waits) == 3600


class Throttled(MemorySink):
    """Asks for a pause, once."""

    def __init__(self, retry_after):
        super().__init__()
        self.retry_after = retry_after
        self.asked = False

    def _write(self, records):
        if self.asked:
            super()._write(records)
            return
        self.asked = True
        error = SinkUnavailableError("429", records)
        error.retry_after = self.retry_after
        raise error


class TestRetryAfter:
    def test_it_is_honoured_when_it_is_longer(self, clock, waits):
        inner = Throttled(7)

        build(inner, clock, waits).write(batch(1))

        assert waits == [7.0]
        assert numbers(inner) == [1]

    @pytest.mark.parametrize("asked", [0.01, None, float("nan"), -5, "7"])
    def test_it_is_ignored_when_it_is_shorter_or_nonsense(self, clock, waits, asked):
        build(Throttled(asked), clock, waits).write(batch(1))

        assert waits == [0.1]

    @pytest.mark.parametrize("options", [{"deadline": 60}, {"deadline": None, "cap": 60}])
    def test_longer_than_the_deadline_or_else_the_cap_is_giving_up_at_once(
        self, clock, waits, options
    ):
        with pytest.raises(SinkUnavailableError, match="429"):
            build(Throttled(61), clock, waits, **options).write(batch(1))

        assert waits == []


class TestClose:
    def test_it_ends_a_wait_and_the_batch_is_unwritten(self, clock):
        inner = FailingSink(fault=Fault(accept=1))
        sink = RetrySink(inner, base=3600, cap=3600, deadline=None, random=lambda: 1.0)
        records = batch(1, 2)
        errors = []
        tried = threading.Event()

        def fail(given):
            tried.set()
            return Fault(accept=1)

        inner.fail = fail

        def work():
            try:
                sink.write(records)
            except SinkClosedError as error:
                errors.append(error)

        writer = threading.Thread(target=work)
        writer.start()
        assert tried.wait(PATIENCE)
        sink.close()
        writer.join(PATIENCE)

        assert not writer.is_alive()
        assert errors[0].unwritten == (records[1],)
        assert inner.calls == 1

    def test_it_closes_the_inner_sink(self, clock, waits):
        inner = MemorySink()
        build(inner, clock, waits).close()

        with pytest.raises(SinkClosedError):
            inner.write(batch(1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("closed", [False, True])
def test_a_child_of_a_fork_is_as_open_as_its_parent(clock, closed):
    inner = FailingSink(fail=[Fault(), None])
    sink = RetrySink(inner, clock=clock, base=0.001)
    if closed:
        sink.close()

    sink._after_fork_in_child()

    if closed:
        with pytest.raises(SinkClosedError):
            sink.write(batch(1))
    else:
        sink.write(batch(1))
        assert numbers(inner) == [1]


class TestArguments:
    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True])
    def test_attempts_are_a_positive_number(self, value):
        with pytest.raises(ConfigError, match=r"RetrySink\.attempts"):
            RetrySink(MemorySink(), attempts=value)

    @pytest.mark.parametrize("name", ["base", "cap", "deadline"])
    @pytest.mark.parametrize("value", [0, -1, "soon", True])
    def test_durations_are_more_than_nothing(self, name, value):
        with pytest.raises(ConfigError, match=rf"RetrySink\.{name}"):
            RetrySink(MemorySink(), **{name: value})

    def test_the_cap_is_not_below_the_base(self):
        with pytest.raises(ConfigError, match=r"RetrySink\.cap: .*at least 2"):
            RetrySink(MemorySink(), base=2, cap=1)

    def test_what_is_no_sink_is_refused(self):
        with pytest.raises(ConfigError, match=r"RetrySink\.sink"):
            RetrySink("stdout")

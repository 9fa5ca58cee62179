"""The fault sinks refuse by the contract: what they take is theirs, the rest is the caller's."""

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
from pylog_struct.testing import CloggedSink, FailingSink, FakeClock, Fault, ShortSink, SlowSink

PATIENCE = 10.0


class TestFailingSink:
    def test_it_fails_until_it_is_repaired_and_fails_again_when_told_to(self):
        sink = FailingSink()
        records = batch(1, 2)

        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(records)
        sink.fail = False
        sink.write(batch(3))
        sink.fail = True
        with pytest.raises(SinkUnavailableError):
            sink.write(batch(4))

        assert caught.value.unwritten == tuple(records)
        assert numbers(sink) == [3]
        assert sink.lines == [b"3"]
        assert sink.calls == 3

    def test_a_fault_says_which_error_and_how_much_is_taken(self):
        sink = FailingSink(fault=Fault(SinkRejectedError, accept=2, message="bad mapping"))
        records = batch(1, 2, 3)

        with pytest.raises(SinkRejectedError, match="bad mapping") as caught:
            sink.write(records)

        assert caught.value.unwritten == (records[2],)
        assert numbers(sink) == [1, 2]
        assert sink.statistics().written == 2

    def test_a_plan_goes_write_by_write_and_then_all_is_well(self):
        sink = FailingSink(fail=[None, Fault(), Fault(TimeoutError)])

        sink.write(batch(1))
        with pytest.raises(SinkUnavailableError):
            sink.write(batch(2))
        with pytest.raises(TimeoutError):
            sink.write(batch(3))
        sink.write(batch(4))

        assert numbers(sink) == [1, 4]

    def test_a_function_decides_by_the_batch(self):
        sink = FailingSink(fail=lambda records: Fault() if len(records) > 1 else None)

        sink.write(batch(1))
        with pytest.raises(SinkUnavailableError):
            sink.write(batch(2, 3))

        assert numbers(sink) == [1]

    def test_flush_and_close_can_fail_and_close_closes_the_inner_sink_first(self):
        inner = MemorySink()
        sink = FailingSink(inner, fail=False, fail_flush=True, fail_close=True)

        with pytest.raises(SinkUnavailableError, match="flush"):
            sink.flush()
        with pytest.raises(SinkUnavailableError, match="close"):
            sink.close()

        with pytest.raises(SinkClosedError):
            inner.write(batch(1))

    def test_the_error_of_the_inner_sink_names_what_was_not_tried_either(self):
        inner = FailingSink(fault=Fault(accept=1))
        sink = FailingSink(inner, fault=Fault(accept=2))
        records = batch(1, 2, 3)

        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(records)

        assert caught.value.unwritten == tuple(records[1:])
        assert numbers(sink) == numbers(inner) == [1]


class TestShortSink:
    def test_it_takes_the_first_of_each_batch(self):
        sink = ShortSink(accept=2, error=SinkTimeoutError)
        records = batch(1, 2, 3)

        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(records)
        sink.write(batch(4, 5))

        assert caught.value.unwritten == (records[2],)
        assert numbers(sink) == [1, 2, 4, 5]

    @pytest.mark.parametrize("value", [-1, 1.5, "2"])
    def test_its_number_is_a_number(self, value):
        with pytest.raises(ConfigError, match=r"ShortSink\.accept"):
            ShortSink(accept=value)


def test_a_slow_sink_takes_its_time_and_then_all():
    clock = FakeClock(monotonic=0.0)
    inner = MemorySink()
    sink = SlowSink(inner, delay=3.0, sleep=clock.advance)

    sink.write(batch(1, 2))

    assert clock.monotonic() == 3.0
    assert numbers(sink) == numbers(inner) == [1, 2]


class TestCloggedSink:
    def blocked(self, sink, records):
        """A thread that is inside ``sink.write(records)``, and the list of what that raised."""
        errors = []

        def work():
            try:
                sink.write(records)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert sink.entered.wait(PATIENCE)
        return thread, errors

    def test_a_blocked_write_goes_on_when_it_is_released(self):
        sink = CloggedSink()
        thread, errors = self.blocked(sink, batch(1))
        assert sink.records == []

        sink.release()
        thread.join(PATIENCE)

        assert (numbers(sink), errors) == ([1], [])
        sink.write(batch(2))
        assert numbers(sink) == [1, 2]

    def test_it_can_start_free_and_clog_later(self):
        sink = CloggedSink(clogged=False)
        sink.write(batch(1))
        sink.clog()
        with pytest.raises(SinkTimeoutError):
            sink.flush(0.01)

        sink.release()
        sink.flush(0.01)

        assert numbers(sink) == [1]

    def test_a_blocked_write_can_fail_when_it_is_released(self):
        sink = CloggedSink(error=SinkUnavailableError)
        records = batch(1)
        thread, errors = self.blocked(sink, records)

        sink.release()
        thread.join(PATIENCE)

        assert errors[0].unwritten == tuple(records)
        assert sink.records == []

    def test_close_releases_a_blocked_write_which_is_refused(self):
        sink = CloggedSink()
        records = batch(1)
        thread, errors = self.blocked(sink, records)

        sink.close()
        thread.join(PATIENCE)

        assert isinstance(errors[0], SinkClosedError)
        assert errors[0].unwritten == tuple(records)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.parametrize("clogged", [True, False])
    def test_a_child_of_a_fork_is_as_clogged_as_its_parent(self, clogged):
        sink = CloggedSink(clogged=clogged)

        sink._after_fork_in_child()

        if clogged:
            with pytest.raises(SinkTimeoutError):
                sink.flush(0.01)
        else:
            sink.write(batch(1))
            assert numbers(sink) == [1]

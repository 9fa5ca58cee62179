"""Failover: arguments, flush, close, poll, fork."""

from __future__ import annotations

import pytest
from support.failover import batch, details, numbers

from pylog_struct.errors import ConfigError, SinkClosedError, SinkUnavailableError
from pylog_struct.sinks.failover import FailoverSink, SwitchEvent
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.testing import FailingSink, FakeClock


class TestArguments:
    @pytest.mark.parametrize("sinks", [[], (), "stdout", None, 3, iter([])])
    def test_no_list_of_sinks_is_refused(self, sinks):
        with pytest.raises(ConfigError, match=r"FailoverSink\.sinks: .* at least one"):
            FailoverSink(sinks)

    def test_what_is_no_sink_is_named_with_its_place(self):
        with pytest.raises(ConfigError, match=r"FailoverSink\.sinks\[1\]: 'x' is no sink"):
            FailoverSink([MemorySink(), "x"])

    def test_a_sink_cannot_stand_in_for_itself(self):
        sink = MemorySink()

        with pytest.raises(ConfigError, match=r"sinks\[1\].*sinks\[0\].*cannot stand in"):
            FailoverSink([sink, sink])

    def test_neither_at_any_depth(self):
        leaf = MemorySink()

        with pytest.raises(ConfigError, match=r"sinks\[1\].*is \(or contains\)"):
            FailoverSink([leaf, FailoverSink([MemorySink(), FailoverSink([leaf])])])

    def test_nor_may_a_failover_be_an_alternative_to_its_own_child(self):
        inner = FailoverSink([MemorySink(), MemorySink()])

        with pytest.raises(ConfigError, match="cannot stand in"):
            FailoverSink([inner, inner.children[1]])

    def test_a_foreign_sink_is_known_by_its_identity(self):
        class Bare:
            def write(self, records):
                pass

            def flush(self, timeout=None):
                pass

            def close(self, timeout=None):
                pass

        bare = Bare()
        with pytest.raises(ConfigError, match="cannot stand in"):
            FailoverSink([bare, MemorySink(), bare])
        FailoverSink([Bare(), Bare()])

    @pytest.mark.parametrize("value", [0, -1, "soon", None, float("nan"), True])
    def test_a_retry_interval_is_a_duration(self, value):
        with pytest.raises(ConfigError, match=r"FailoverSink\.retry_interval"):
            FailoverSink([MemorySink()], retry_interval=value)

    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True])
    def test_probes_are_a_positive_number(self, value):
        with pytest.raises(ConfigError, match=r"FailoverSink\.probes"):
            FailoverSink([MemorySink()], probes=value)

    @pytest.mark.parametrize("value", [0, -1, "soon"])
    def test_a_timeout_is_a_duration(self, value):
        with pytest.raises(ConfigError, match=r"FailoverSink\.timeout"):
            FailoverSink([MemorySink()], timeout=value)

    def test_on_switch_is_something_to_call(self):
        with pytest.raises(ConfigError, match=r"FailoverSink\.on_switch"):
            FailoverSink([MemorySink()], on_switch="page somebody")

    def test_an_event_is_frozen(self):
        event = SwitchEvent("f", "a", "b", "why", recovered=False, at=1.0, in_flight=2)

        with pytest.raises(AttributeError):
            event.sink = "other"
        assert not hasattr(event, "__dict__")


class Recording(MemorySink):
    """Remembers the calls, and fails those that it is told to."""

    def __init__(self, *, failing=(), **options):
        super().__init__(**options)
        self.calls = []
        self.failing = set(failing)
        self.wait = None

    def _do(self, what, error=SinkUnavailableError):
        self.calls.append(what)
        if what in self.failing:
            raise error(f"{self.name} fails in {what}")

    def _flush(self, timeout):
        self._do("flush")

    def _close(self, timeout):
        self._do("close")

    def poll(self, now, /):
        self._do("poll")
        return self.wait


class TestFlush:
    def test_it_reaches_every_alternative_that_took_records_since_the_last_one(self):
        clock = FakeClock()
        primary, secondary, third = Recording(), Recording(), Recording()
        sink = FailoverSink([primary, secondary, third], clock=clock)
        sink.write(batch(1))
        primary.close()
        sink.write(batch(2))

        sink.flush()
        sink.flush()

        # The primary is closed: its own flush has nothing to do any more.
        assert [s.calls for s in (primary, secondary, third)] == [["close"], ["flush"], []]

    def test_an_alternative_that_failed_since_is_flushed_too(self):
        class Moody(Recording):
            def _write(self, records):
                if self.calls == ["down"]:
                    raise SinkUnavailableError("down", records)
                super()._write(records)

        primary, secondary = Moody(), Recording()
        sink = FailoverSink([primary, secondary], clock=FakeClock())
        sink.write(batch(1))
        primary.calls.append("down")
        sink.write(batch(2))

        sink.flush()

        assert primary.calls == ["down", "flush"]
        assert secondary.calls == ["flush"]

    def test_it_never_lies_and_tries_again_what_failed(self):
        primary = Recording(failing=["flush"])
        sink = FailoverSink([primary, MemorySink()], clock=FakeClock())
        sink.write(batch(1))

        for _ in range(2):
            with pytest.raises(SinkUnavailableError, match="fails in flush"):
                sink.flush()
        primary.failing.clear()
        sink.flush()
        sink.flush()

        assert primary.calls == ["flush"] * 3

    def test_what_took_a_part_before_it_failed_is_flushed(self):
        primary = FailingSink(fail_flush=True)
        primary.fault = type(primary.fault)(accept=1)
        sink = FailoverSink([primary, MemorySink()], clock=FakeClock())
        sink.write(batch(1, 2))

        with pytest.raises(SinkUnavailableError):
            sink.flush()


class TestClose:
    def test_all_are_closed_once_even_if_some_fail(self):
        sinks = [Recording(failing=["close"], name=name) for name in "abc"]
        sink = FailoverSink(sinks, clock=FakeClock())

        with pytest.raises(SinkUnavailableError, match="a fails in close"):
            sink.close()
        sink.close()

        assert [one.calls for one in sinks] == [["close"]] * 3

    def test_the_error_has_what_all_of_them_could_not_pass_on(self):
        class Full(MemorySink):
            def _close(self, timeout):
                raise SinkUnavailableError("full", self.records)

        first, second = Full(), Full()
        sink = FailoverSink([first, second], clock=FakeClock())
        first.write(batch(1))
        second.write(batch(2))

        with pytest.raises(SinkUnavailableError) as caught:
            sink.close()

        assert [record.line for record in caught.value.unwritten] == [b"1", b"2"]

    def test_a_foreign_error_in_close_is_translated(self):
        class Odd(MemorySink):
            def _close(self, timeout):
                raise KeyError("odd")

        with pytest.raises(SinkUnavailableError, match="KeyError"):
            FailoverSink([Odd()], clock=FakeClock()).close()

    def test_afterwards_write_refuses_the_whole_batch(self):
        sink = FailoverSink([MemorySink()], clock=FakeClock())
        sink.close()
        records = batch(1, 2)

        with pytest.raises(SinkClosedError) as caught:
            sink.write(records)

        assert caught.value.unwritten == tuple(records)


class TestPoll:
    def test_it_asks_all_and_answers_the_shortest_wait(self):
        sinks = [Recording(), Recording(), Recording()]
        sinks[0].wait, sinks[2].wait = 7.0, 3.0
        sink = FailoverSink(sinks, clock=FakeClock())

        assert sink.poll(1.0) == 3.0
        assert [one.calls for one in sinks] == [["poll"]] * 3

    def test_one_that_fails_keeps_no_other_from_its_work(self):
        sinks = [Recording(failing=["poll"]), Recording()]

        with pytest.raises(SinkUnavailableError):
            FailoverSink(sinks, clock=FakeClock()).poll(1.0)

        assert sinks[1].calls == ["poll"]

    def test_a_degraded_failover_asks_for_nothing_because_a_probe_needs_a_record(self):
        sink = FailoverSink([FailingSink(), MemorySink()], clock=FakeClock())
        sink.write(batch(1))

        assert sink.poll(1.0) is None


def test_a_child_of_a_fork_keeps_the_choice_and_forgets_the_numbers():
    clock = FakeClock()
    primary, secondary = FailingSink(name="a"), MemorySink(name="b")
    sink = FailoverSink([primary, secondary], clock=clock)
    sink.write(batch(1))

    for one in (sink, primary, secondary):
        one._after_fork_in_child()
    assert details(sink) == {"active.a": 0, "active.b": 1}
    assert sink.statistics().received == 0
    sink.write(batch(2))

    assert numbers(secondary) == [2]
    assert sink.statistics().received == 1

"""Failover: who gets which records when an alternative fails."""

from __future__ import annotations

import pytest
from support.failover import batch, details, notices, numbers

from pylog_struct.errors import (
    SinkClosedError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks.base import BaseSink
from pylog_struct.sinks.failover import FailoverSink, SwitchEvent
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.testing import FailingSink, FakeClock, Fault, ShortSink


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


def build(*sinks, clock, **options):
    return FailoverSink(sinks, clock=clock, **options)


def test_a_healthy_primary_gets_everything(clock):
    primary, secondary = MemorySink(name="a"), MemorySink(name="b")
    sink = build(primary, secondary, clock=clock)

    sink.write(batch(1, 2))
    sink.write(batch(3))

    assert numbers(primary) == [1, 2, 3]
    assert secondary.records == []
    assert details(sink) == {"active.a": 1, "active.b": 0}
    assert sink.active is primary


def test_a_primary_that_is_down_at_the_start_is_an_announced_switch(clock):
    primary, secondary = FailingSink(name="a"), MemorySink(name="b")
    events: list[SwitchEvent] = []
    sink = build(primary, secondary, clock=clock, on_switch=events.append)

    sink.write(batch(1, 2, 3))

    assert numbers(secondary) == [1, 2, 3]
    assert sink.active is secondary
    assert details(sink) == {"active.a": 0, "active.b": 1, "switches": 1}
    assert events == [
        SwitchEvent(
            sink="failover",
            source="a",
            target="b",
            reason="SinkUnavailableError: injected fault",
            recovered=False,
            at=clock.time(),
            in_flight=3,
        )
    ]


def test_a_failure_in_the_middle_of_a_batch_hands_on_exactly_the_rest(clock):
    primary = FailingSink(fail=[None, Fault(accept=2)], name="a")
    secondary = MemorySink(name="b")
    sink = build(primary, secondary, clock=clock)

    sink.write(batch(1))
    sink.write(batch(2, 3, 4, 5))

    assert numbers(primary) == [1, 2, 3]
    assert numbers(secondary) == [4, 5]
    assert sink.statistics().balanced


def test_the_notice_comes_before_the_records_that_are_handed_on(clock):
    primary, secondary = ShortSink(accept=1, name="a"), MemorySink(name="b")
    sink = build(primary, secondary, clock=clock, name="safe")

    sink.write(batch(1, 2, 3))

    assert secondary.records[0].level == 30
    (notice,) = notices(secondary)
    assert secondary.records[0].fields["event"] == "sink.switch"
    assert {key: notice[key] for key in ("sink", "source", "target", "recovered", "in_flight")} == {
        "sink": "safe",
        "source": "a",
        "target": "b",
        "recovered": False,
        "in_flight": 2,
    }
    assert notices(primary) == []


def test_a_notice_is_in_the_ledger_and_the_ledger_balances(clock):
    sink = build(FailingSink(name="a"), MemorySink(name="b"), clock=clock)

    sink.write(batch(1, 2))

    now = sink.statistics()
    assert (now.received, now.written, now.dropped, now.waiting) == (3, 3, 0, 0)
    assert dict(now.errors) == {}  # nothing failed above: a switch is not an error of this sink


def test_a_switch_is_one_line_on_stderr(clock, capsys):
    build(FailingSink(name="a"), MemorySink(name="b"), clock=clock, name="safe").write(batch(1))

    assert capsys.readouterr().err == (
        "pylog_struct: safe switched from a to b: SinkUnavailableError: injected fault\n"
    )


def test_after_a_switch_the_failed_sink_is_left_in_peace(clock):
    primary, secondary = FailingSink(name="a"), MemorySink(name="b")
    sink = build(primary, secondary, clock=clock, retry_interval=30)
    for number in range(5):
        sink.write(batch(number))
        clock.advance(5)

    assert primary.calls == 1
    assert numbers(secondary) == [0, 1, 2, 3, 4]
    assert details(sink)["switches"] == 1


def test_three_alternatives_share_a_batch_without_loss(clock):
    first = FailingSink(fault=Fault(accept=1), name="a")
    second = FailingSink(fault=Fault(accept=2), name="b")  # its first record is the notice
    third = MemorySink(name="c")
    events: list[SwitchEvent] = []
    sink = build(first, second, third, clock=clock, on_switch=events.append)

    sink.write(batch(1, 2, 3, 4))

    assert [numbers(first), numbers(second), numbers(third)] == [[1], [2], [3, 4]]
    assert [(event.source, event.target, event.in_flight) for event in events] == [
        ("a", "b", 3),
        ("b", "c", 2),
    ]


def test_an_alternative_that_takes_nothing_is_passed_over_in_silence(clock):
    third = MemorySink(name="c")
    events: list[SwitchEvent] = []
    sink = build(
        FailingSink(name="a"), FailingSink(name="b"), third, clock=clock, on_switch=events.append
    )

    sink.write(batch(1))

    assert [(event.source, event.target) for event in events] == [("a", "c")]
    assert len(notices(third)) == 1
    assert details(sink)["switches"] == 1


def test_when_the_last_one_fails_the_preferred_ones_are_asked_again(clock):
    primary = FailingSink(fail=[Fault()], name="a")
    secondary = FailingSink(fail=[None, Fault()], name="b")
    events: list[SwitchEvent] = []
    sink = build(primary, secondary, clock=clock, on_switch=events.append)

    sink.write(batch(1))
    sink.write(batch(2))  # long before the first probe is due

    assert numbers(secondary) == [1]
    assert numbers(primary) == [2]
    assert [(event.target, event.recovered) for event in events] == [("b", False), ("a", True)]
    assert [record.level for record in primary.records] == [30, 20]  # a failure caused it


@pytest.mark.parametrize("error", [SinkUnavailableError, SinkTimeoutError, SinkClosedError])
def test_every_failure_of_the_contract_switches(clock, error):
    secondary = MemorySink()
    sink = build(FailingSink(fault=Fault(error, accept=1)), secondary, clock=clock)

    sink.write(batch(1, 2, 3))

    assert numbers(secondary) == [2, 3]


@pytest.mark.parametrize("error", [OSError, ValueError, TimeoutError])
def test_an_exception_that_nobody_translated_switches_with_the_whole_batch(clock, error):
    secondary = MemorySink(name="b")
    events: list[SwitchEvent] = []
    sink = build(
        FailingSink(fault=Fault(error), name="a"), secondary, clock=clock, on_switch=events.append
    )

    sink.write(batch(1, 2))

    assert numbers(secondary) == [1, 2]
    assert error.__name__ in events[0].reason


def test_a_sink_that_was_closed_from_outside_is_a_failed_one(clock):
    primary, secondary = MemorySink(), MemorySink()
    sink = build(primary, secondary, clock=clock)
    primary.close()

    sink.write(batch(1))

    assert numbers(secondary) == [1]


def test_poison_does_not_fail_over(clock):
    def poisoned(records):
        raise SinkRejectedError("mapping", [r for r in records if r.line == b"13"])

    class Picky(MemorySink):
        def _write(self, records):
            super()._write([record for record in records if record.line != b"13"])
            if any(record.line == b"13" for record in records):
                poisoned(records)

    primary, secondary = Picky(name="a"), MemorySink(name="b")
    sink = build(primary, secondary, clock=clock)
    records = batch(*range(20))

    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records)

    assert caught.value.unwritten == (records[13],)
    assert caught.value.retryable is False
    assert numbers(primary) == [number for number in range(20) if number != 13]
    assert secondary.records == []
    assert "switches" not in details(sink)
    assert sink.statistics().written == 19


def test_records_that_the_second_one_refuses_are_raised_and_the_others_are_written(clock):
    second = FailingSink(fault=Fault(SinkRejectedError, accept=3), name="b")
    sink = build(FailingSink(fault=Fault(accept=1), name="a"), second, clock=clock)
    records = batch(1, 2, 3, 4, 5)

    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records)

    assert numbers(second) == [2, 3]
    assert caught.value.unwritten == tuple(records[3:])
    assert sink.active is second  # a refusal is an answer: it is alive


def test_a_refused_notice_is_nobodys_business(clock):
    class Strict(MemorySink):
        def _write(self, records):
            odd = [record for record in records if not record.line.isdigit()]
            super()._write([record for record in records if record.line.isdigit()])
            if odd:
                raise SinkRejectedError("no digits", odd)

    second = Strict(name="b")
    sink = build(FailingSink(name="a"), second, clock=clock)

    sink.write(batch(1, 2))

    assert numbers(second) == [1, 2]
    assert sink.statistics().received == 2  # the notice was not accepted by anybody


def test_an_error_with_nothing_unwritten_needs_no_switch(clock):
    primary, secondary = FailingSink(fault=Fault(accept=9)), MemorySink()
    sink = build(primary, secondary, clock=clock)

    sink.write(batch(1, 2))

    assert numbers(primary) == [1, 2]
    assert secondary.records == []
    assert sink.active is primary


def test_the_same_record_several_times_in_a_batch_is_counted_as_often(clock):
    primary, secondary = FailingSink(fault=Fault(accept=1)), FailingSink(fault=Fault(accept=2))
    sink = build(primary, secondary, clock=clock)
    (one,) = batch(1)

    with pytest.raises(SinkUnavailableError) as caught:
        sink.write([one, one, one])

    assert (len(numbers(primary)), len(numbers(secondary))) == (1, 1)
    assert caught.value.unwritten == (one,)


class TestAllFailed:
    def test_what_nobody_took_is_raised_in_order_and_can_be_tried_again(self, clock):
        sink = build(
            FailingSink(fault=Fault(accept=1)), FailingSink(fault=Fault(accept=2)), clock=clock
        )
        records = batch(1, 2, 3, 4)

        with pytest.raises(SinkUnavailableError, match="every alternative failed") as caught:
            sink.write(records)

        assert caught.value.unwritten == tuple(records[2:])
        assert caught.value.retryable
        assert details(sink)["all_failed"] == 1
        assert sink.statistics().balanced

    def test_it_is_not_a_switch_and_the_next_write_tries_the_same_one_first(self, clock):
        primary, secondary = FailingSink(name="a"), FailingSink(name="b")
        events: list[SwitchEvent] = []
        sink = build(primary, secondary, clock=clock, on_switch=events.append)
        for _ in range(3):
            with pytest.raises(SinkUnavailableError):
                sink.write(batch(1))
        primary.fail = False

        sink.write(batch(2))

        assert events == []
        assert numbers(primary) == [2]
        assert secondary.calls == 3
        assert details(sink) == {"active.a": 1, "active.b": 0, "all_failed": 3}

    def test_all_timed_out_is_a_timeout(self, clock):
        slow = Fault(SinkTimeoutError)
        sink = build(FailingSink(fault=slow), FailingSink(fault=slow), clock=clock)

        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch(1))

        assert caught.value.retryable

    def test_refused_records_stay_with_those_that_can_be_tried_again(self, clock):
        first, second = FailingSink(), FailingSink(fail=[])
        sink = build(first, second, clock=clock, retry_interval=10, probes=2)
        sink.write(batch(0))
        clock.advance(10)
        first.fail = [Fault(SinkRejectedError), Fault()]  # the probe is refused, then it is down
        second.fail = True
        records = batch(1, 2, 3)

        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(records)

        assert caught.value.unwritten == tuple(records)
        assert caught.value.retryable

    def test_one_alternative_is_a_list_too(self, clock):
        sink = build(FailingSink(fail=[Fault(accept=1)]), clock=clock)
        records = batch(1, 2)

        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(records)

        assert caught.value.unwritten == (records[1],)


class TestOnSwitch:
    def test_what_it_raises_is_contained_and_reported(self, clock, capsys):
        def explode(event):
            raise RuntimeError("pager is down")

        secondary = MemorySink()
        sink = build(FailingSink(), secondary, clock=clock, on_switch=explode)

        sink.write(batch(1))

        assert numbers(secondary) == [1]
        assert "pager is down" in capsys.readouterr().err

    def test_it_sees_the_ledger_after_the_batch(self, clock):
        seen = []
        secondary = MemorySink()
        sink = build(
            FailingSink(),
            secondary,
            clock=clock,
            on_switch=lambda event: seen.append((sink.statistics().written, sink.active)),
        )

        sink.write(batch(1, 2))

        assert seen == [(3, secondary)]

    def test_it_may_log_into_the_same_sink(self, clock):
        secondary = MemorySink()
        sink = build(
            FailingSink(),
            secondary,
            clock=clock,
            on_switch=lambda event: sink.write(batch(99)),
        )

        sink.write(batch(1))

        assert numbers(secondary) == [1, 99]

    def test_a_switch_that_it_causes_itself_is_told_at_the_next_occasion(self, clock):
        targets = []
        primary = FailingSink(fail=[Fault()], name="a")
        secondary = FailingSink(fail=[None, Fault()], name="b")

        def log(event):
            targets.append(event.target)
            if len(targets) == 1:
                sink.write(batch(99))

        sink = build(primary, secondary, clock=clock, on_switch=log)
        sink.write(batch(1))

        assert targets == ["b"]
        assert numbers(primary) == [99]
        sink.poll(clock.monotonic())
        assert targets == ["b", "a"]

    def test_it_is_called_when_the_write_raises_too(self, clock):
        events = []
        sink = build(
            FailingSink(), FailingSink(fault=Fault(accept=2)), clock=clock, on_switch=events.append
        )

        with pytest.raises(SinkUnavailableError):
            sink.write(batch(1, 2))

        assert len(events) == 1


def test_names_given_later_are_the_labels_from_then_on(clock):
    primary, secondary = MemorySink(), MemorySink()
    sink = build(primary, secondary, clock=clock)
    assert details(sink) == {"active.memory": 1, "active.memory#2": 0}

    primary.name, secondary.name = "memory", "memory-2"
    sink.write(batch(1))

    assert details(sink) == {"active.memory": 1, "active.memory-2": 0}
    assert set(sink.ledger.details) == {"failover.active.memory", "failover.active.memory-2"}


def test_a_sink_of_somebody_else_can_be_an_alternative(clock):
    class Bare:
        def __init__(self):
            self.records = []

        def write(self, records):
            raise ConnectionError("gone")

        def flush(self, timeout=None):
            pass

        def close(self, timeout=None):
            pass

    secondary = MemorySink()
    sink = build(Bare(), secondary, clock=clock)

    sink.write(batch(1))

    assert numbers(secondary) == [1]
    assert isinstance(sink.children[0], BaseSink)

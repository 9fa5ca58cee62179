"""Failover: the way back."""

from __future__ import annotations

import pytest
from support.failover import batch, details, notices, numbers

from pylog_struct.errors import SinkRejectedError, SinkUnavailableError
from pylog_struct.sinks.failover import FailoverSink, SwitchEvent
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.testing import FailingSink, FakeClock, Fault


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


def degraded(clock, *others, **options):
    """A failover whose primary "a" failed just now, and works again."""
    primary, secondary = FailingSink(name="a"), MemorySink(name="b")
    events: list[SwitchEvent] = []
    sink = FailoverSink(
        [primary, secondary, *others], clock=clock, on_switch=events.append, **options
    )
    sink.write(batch(0))
    primary.fail = False
    primary.calls = 0
    events.clear()
    return sink, primary, secondary, events


def test_one_successful_probe_brings_the_primary_back_with_a_notice(clock):
    sink, primary, secondary, events = degraded(clock, retry_interval="30 s")
    clock.advance(30)

    sink.write(batch(1, 2, 3))

    assert numbers(primary) == [1, 2, 3]
    assert numbers(secondary) == [0]
    assert details(sink) == {"active.a": 1, "active.b": 0, "switches": 2}
    (notice,) = notices(primary)
    assert notice["recovered"] is True
    assert [record.level for record in primary.records] == [20, 20, 20, 20]
    assert events == [
        SwitchEvent(
            sink="failover",
            source="b",
            target="a",
            reason="1 successful probe(s) of a",
            recovered=True,
            at=clock.time(),
            in_flight=2,
        )
    ]
    assert sink.statistics().received == 4 + 2  # records and two notices


def test_no_probe_before_its_time(clock):
    sink, primary, secondary, _ = degraded(clock, retry_interval=30)
    clock.advance(29.9)

    sink.write(batch(1))

    assert primary.calls == 0
    assert numbers(secondary) == [0, 1]


def test_a_fail_back_with_a_batch_of_one_still_says_so(clock):
    sink, primary, _, events = degraded(clock)
    clock.advance(30)

    sink.write(batch(1))

    assert numbers(primary) == [1]
    assert len(notices(primary)) == 1
    assert events[0].in_flight == 0


def test_only_one_record_is_risked_on_a_probe(clock):
    sink, primary, secondary, _ = degraded(clock, probes=2)
    clock.advance(30)

    sink.write(batch(1, 2, 3))

    assert numbers(primary) == [1]
    assert numbers(secondary) == [0, 2, 3]


def test_a_failed_probe_is_no_switch_loses_nothing_and_waits_another_interval(clock):
    sink, primary, secondary, events = degraded(clock, retry_interval=30)
    primary.fail = True
    clock.advance(30)

    sink.write(batch(1, 2))
    clock.advance(29)
    sink.write(batch(3))

    assert primary.calls == 1
    assert numbers(secondary) == [0, 1, 2, 3]
    assert events == []
    assert details(sink)["switches"] == 1
    primary.fail = False
    clock.advance(1)
    sink.write(batch(4))
    assert numbers(primary) == [4]


def test_a_probe_counts_its_interval_from_its_end(clock):
    sink, primary, _, _ = degraded(clock, retry_interval=30)

    def slow_and_down(records):
        clock.advance(60)
        return Fault()

    primary.fail = slow_and_down
    clock.advance(30)
    sink.write(batch(1))
    clock.advance(29)

    sink.write(batch(2))

    assert primary.calls == 1


class TestNoFlapping:
    def test_three_probes_must_succeed_in_a_row_each_an_interval_after_the_last(self, clock):
        sink, primary, _, events = degraded(clock, retry_interval=10, probes=3)

        for _ in range(2):
            clock.advance(10)
            sink.write(batch(1, 2))
            sink.write(batch(3))  # the interval has just begun: not a probe
        assert events == []
        assert primary.calls == 2

        clock.advance(10)
        sink.write(batch(4, 5))

        assert [event.target for event in events] == ["a"]
        assert numbers(primary) == [1, 1, 4, 5]

    def test_a_failure_between_them_starts_the_count_anew(self, clock):
        sink, primary, secondary, events = degraded(clock, retry_interval=10, probes=3)
        primary.fail = [None, None, Fault(), None, None, None]

        for number in range(1, 6):
            clock.advance(10)
            sink.write(batch(number))
        assert events == []
        assert numbers(primary) == [1, 2, 4, 5]
        assert numbers(secondary) == [0, 3]

        clock.advance(10)
        sink.write(batch(6))
        assert [event.target for event in events] == ["a"]

    def test_a_primary_that_only_takes_probes_switches_once_an_interval_at_most(self, clock):
        sink, primary, secondary, events = degraded(clock, retry_interval=10, probes=2)
        primary.fail = lambda records: None if len(records) == 1 else Fault()

        for number in range(100):
            clock.advance(1)
            sink.write(batch(number, number))

        # At most one fail-back in two intervals, and each is undone by the next batch.
        assert len(events) <= 2 * 5
        assert len(numbers(primary)) + len(numbers(secondary)) == 1 + 200

    def test_successes_before_a_fail_back_do_not_count_for_the_next_one(self, clock):
        sink, primary, _, events = degraded(clock, retry_interval=10, probes=2)
        for _ in range(2):
            clock.advance(10)
            sink.write(batch(1))
        assert [event.target for event in events] == ["a"]
        primary.fail = [Fault()]
        sink.write(batch(2))

        clock.advance(10)
        sink.write(batch(3))

        assert [event.target for event in events] == ["a", "b"]


class TestSeveralPreferredOnes:
    def test_the_most_preferred_is_probed_first_and_the_next_if_that_fails(self, clock):
        first, second, third = FailingSink(name="a"), FailingSink(name="b"), MemorySink(name="c")
        sink = FailoverSink([first, second, third], clock=clock, retry_interval=10)
        sink.write(batch(0))
        second.fail = False
        clock.advance(10)

        sink.write(batch(1, 2))

        assert (first.calls, sink.active) == (2, second)
        assert numbers(second) == [1, 2]
        assert numbers(third) == [0]

        first.fail = False
        clock.advance(10)
        sink.write(batch(3))
        assert sink.active is first
        assert numbers(first) == [3]

    def test_each_has_an_interval_of_its_own(self, clock):
        first, second, third = FailingSink(name="a"), FailingSink(fail=[], name="b"), MemorySink()
        sink = FailoverSink([first, second, third], clock=clock, retry_interval=10)
        sink.write(batch(0))
        clock.advance(5)
        second.fail = True
        sink.write(batch(1))
        assert sink.active is third
        calls = second.calls
        clock.advance(5)

        sink.write(batch(2))  # the second one failed only five seconds ago

        assert first.calls == 2  # at the start, and now as a probe
        assert second.calls == calls


def test_a_refused_probe_is_a_living_sink(clock):
    sink, primary, _, events = degraded(clock)
    primary.fail = [Fault(SinkRejectedError)]
    clock.advance(30)
    records = batch(1, 2)

    with pytest.raises(SinkRejectedError) as caught:
        sink.write(records)

    assert caught.value.unwritten == (records[0],)
    assert numbers(primary) == [2]
    assert [event.target for event in events] == ["a"]


def test_a_probe_that_took_its_record_and_failed_is_a_failed_probe_and_no_duplicate(clock):
    sink, primary, secondary, events = degraded(clock)
    primary.fail = [Fault(accept=1)]
    clock.advance(30)

    sink.write(batch(1, 2))

    assert numbers(primary) == [1]
    assert numbers(secondary) == [0, 2]
    assert events == []


def test_a_primary_that_fails_right_after_its_fail_back_hands_the_rest_over(clock):
    sink, primary, secondary, events = degraded(clock)
    primary.fail = [None, Fault(accept=0)]
    clock.advance(30)

    sink.write(batch(1, 2, 3))

    assert numbers(primary) == [1]
    assert numbers(secondary) == [0, 2, 3]
    assert [event.target for event in events] == ["a", "b"]
    assert sink.active is secondary


def test_a_notice_that_cannot_be_written_is_not_counted(clock):
    sink, primary, secondary, _ = degraded(clock)
    primary.fail = [None, Fault()]
    clock.advance(30)

    sink.write(batch(1))

    assert numbers(primary) == [1]
    assert notices(primary) == []
    assert sink.statistics().received == 3  # two records and the first notice
    sink.write(batch(2))
    assert numbers(primary) == [1, 2]
    assert numbers(secondary) == [0]


def test_any_sequence_can_be_probed(clock):
    sink, primary, _, _ = degraded(clock)
    clock.advance(30)

    sink.write(tuple(batch(1, 2)))

    assert numbers(primary) == [1, 2]


def test_all_down_during_a_probe_keeps_every_record(clock):
    sink, primary, secondary, _ = degraded(clock)
    primary.fail = True
    secondary.close()
    clock.advance(30)
    records = batch(1, 2)

    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records)

    assert caught.value.unwritten == tuple(records)
    assert primary.calls == 1  # the probe was its chance in this write

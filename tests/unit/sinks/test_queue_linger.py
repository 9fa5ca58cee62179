"""How long the queue's worker waits for a fuller batch: by a clock that is an argument."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pylog_struct.sinks._queue.linger import Linger


def made(*, linger=0.0, batch_records=100, capacity=1000, reserve=100, batch_bytes=10_000):
    options = SimpleNamespace(
        linger=linger,
        batch_records=batch_records,
        capacity=capacity,
        reserve=reserve,
        batch_bytes=batch_bytes,
    )
    buffer = SimpleNamespace(held=(), queued=1, size=1, bytes=100)
    return Linger(options, buffer), buffer


class TestWithoutALinger:
    def test_the_first_record_after_a_pause_goes_at_once(self):
        linger, _ = made()
        assert linger.is_over(50.0, urgent=False)
        linger.delivered(50.0)
        assert linger.is_over(50.5, urgent=False)
        assert linger.until == 0.0

    def test_after_a_batch_there_is_a_breath_of_a_millisecond(self):
        linger, _ = made()
        linger.delivered(50.0)
        assert not linger.is_over(50.0002, urgent=False)
        assert (linger.until, linger.size) == (pytest.approx(50.001), 25)
        assert linger.is_over(50.0011, urgent=False)

    def test_the_breath_is_not_taken_anew_for_each_record(self):
        linger, buffer = made()
        linger.delivered(50.0)
        for step in range(1, 10):
            buffer.size = buffer.queued = step
            assert not linger.is_over(50.0 + step / 10_000, urgent=False)
            assert linger.until == pytest.approx(50.001)

    def test_also_while_nothing_is_there_so_that_the_next_record_wakes_nobody(self):
        linger, buffer = made()
        buffer.queued = buffer.size = buffer.bytes = 0
        linger.delivered(50.0)
        assert not linger.is_over(50.0005, urgent=False)
        assert linger.is_over(50.001, urgent=False)

    def test_a_quarter_of_a_full_batch_ends_it(self):
        linger, buffer = made()
        linger.delivered(50.0)
        buffer.size = 24
        assert not linger.is_over(50.0001, urgent=False)
        buffer.size = 25
        assert linger.is_over(50.0001, urgent=False)

    def test_a_small_queue_counts_as_a_batch_that_is_full_sooner(self):
        linger, buffer = made(capacity=10, reserve=2)
        linger.delivered(50.0)
        buffer.size = 2
        assert linger.is_over(50.0001, urgent=False)

    def test_a_notice_of_ours_does_not_wait(self):
        linger, _ = made()
        linger.delivered(50.0)
        linger.skip()
        assert linger.is_over(50.0001, urgent=False)


class TestWithALinger:
    def test_it_begins_with_the_first_record(self):
        linger, _ = made(linger=2.0)
        assert not linger.is_over(50.0, urgent=False)
        assert not linger.is_over(51.9, urgent=False)
        assert (linger.until, linger.size) == (52.0, 100)
        assert linger.is_over(52.0, urgent=False)
        assert not linger.is_over(52.1, urgent=False)  # the next one's

    def test_an_empty_queue_does_not_wait(self):
        linger, buffer = made(linger=2.0)
        buffer.queued = 0
        assert linger.is_over(50.0, urgent=False)

    @pytest.mark.parametrize("full", [{"size": 100}, {"bytes": 10_000}, {"held": (1,)}])
    def test_a_full_batch_and_one_that_failed_go_at_once(self, full):
        linger, buffer = made(linger=2.0)
        vars(buffer).update(full)
        assert linger.is_over(50.0, urgent=False)


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_nobody_who_waits_is_kept_waiting(seconds):
    linger, _ = made(linger=seconds)
    linger.delivered(50.0)
    assert linger.is_over(50.0001, urgent=True)
    assert linger.until == 0.0

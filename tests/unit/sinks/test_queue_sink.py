"""The queue with its thread: order, retry, batching, flush, close, gap notices."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from support.queue_sinks import (
    PATIENCE,
    FailingSink,
    GatedSink,
    PoisonedSink,
    record,
    texts,
)

from pylog_struct.errors import SinkClosedError, SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.record import Record
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import MemorySink
from pylog_struct.testing import FakeClock

POLICIES = ["discard", "block", "discard_low_level", "discard_oldest"]


def wait_until(condition):
    ends = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        pause.wait(0.002)


def gaps(sink):
    return [event for event in sink.events if event["event"] == "log.gap"]


def clog(queue, sink, text="first"):
    """Let the worker take one record and stand in write with it."""
    queue.put(record(text))
    assert sink.entered.wait(PATIENCE)


# -- delivery -------------------------------------------------------------------------------------


def test_records_arrive_in_order_and_are_accounted_for():
    sink = MemorySink()
    queue = QueueSink(sink)
    queue.write([record(number) for number in range(3000)])
    queue.flush(PATIENCE)
    assert texts(sink) == [str(number) for number in range(3000)]
    queue.close()
    found = queue.statistics()
    assert (found.received, found.written, found.waiting) == (3000, 3000, 0)
    assert found.received_by_level == {"info": 3000}
    assert found.bytes_written == sum(len(str(number)) for number in range(3000))


def test_a_record_arrives_by_itself_without_flush():
    sink = MemorySink()
    queue = QueueSink(sink)
    for number in range(3):  # each time the worker has gone to sleep before
        queue.put(record(number))
        wait_until(lambda number=number: len(sink.lines) == number + 1)
    queue.close()


def test_a_failing_sink_is_tried_again_without_reordering_or_doubles():
    sink = FailingSink(accepts=1)
    queue = QueueSink(sink, retry_min=0.001, retry_max=0.01)
    queue.write([record(number) for number in range(10)])
    wait_until(lambda: sink.attempts >= 3)
    sink.failing = False
    queue.flush(PATIENCE)
    assert texts(sink) == [str(number) for number in range(10)]
    assert queue.statistics().errors["SinkUnavailableError"] >= 2
    queue.close()


def test_one_poisoned_record_costs_only_itself():
    sink, letters = PoisonedSink(), MemorySink()
    queue = QueueSink(sink, dead_letter=letters)
    queue.write([record("poison" if number == 250 else number) for number in range(500)])
    queue.close()
    assert len(sink.lines) == 499
    assert letters.lines == [b"poison"]
    assert queue.statistics().drops == {("rejected", "info"): 1}
    with pytest.raises(SinkClosedError):
        letters.write([record("x")])


def test_batches_respect_both_limits():
    class Sizes(GatedSink):
        def __init__(self):
            super().__init__()
            self.sizes = []

        def _write(self, batch):
            self.sizes.append([len(item.line) for item in batch])
            super()._write(batch)

    sink = Sizes()
    queue = QueueSink(sink, batch_records=4, batch_bytes=100)
    clog(queue, sink, "f")
    queue.write([record("x" * 30)] * 5 + [record("y" * 300)] + [record("z")] * 5)
    sink.gate.set()
    queue.flush(PATIENCE)
    assert sink.sizes == [[1], [30, 30, 30], [30, 30], [300], [1, 1, 1, 1], [1]]
    queue.close()


@pytest.mark.parametrize(
    ("limits", "number"),
    [({"batch_records": 5}, 5), ({"batch_bytes": 50}, 5), ({"capacity": 5, "policy": "block"}, 6)],
)
def test_linger_ends_when_the_batch_is_full(limits, number):
    sink = GatedSink(shut=False)
    queue = QueueSink(sink, linger=3600, **limits)
    for _ in range(4):
        queue.put(record("x" * 10))
    assert not sink.entered.wait(0.05)
    for _ in range(number - 4):
        queue.put(record("x" * 10))
    assert sink.entered.wait(PATIENCE)
    queue.close()


@pytest.mark.parametrize("end", ["flush", "close"])
def test_linger_is_cut_short_by_flush_and_close(end):
    sink = MemorySink()
    queue = QueueSink(sink, linger=3600)
    queue.put(record("x"))
    getattr(queue, end)(PATIENCE)
    assert texts(sink) == ["x"]
    queue.close()


def test_a_short_linger_ends_by_itself():
    sink = GatedSink(shut=False)
    queue = QueueSink(sink, linger="5 ms")
    queue.put(record("x"))
    assert sink.entered.wait(PATIENCE)
    queue.close()


def test_timed_work_of_the_sink_is_driven():
    class Polled(MemorySink):
        def __init__(self):
            super().__init__()
            self.readings = []
            self.enough = threading.Event()

        def poll(self, now):
            self.readings.append(now)
            if len(self.readings) == 2:
                raise SinkUnavailableError("not now")
            if len(self.readings) >= 4:
                self.enough.set()
            return 0.001

    sink = Polled()
    queue = QueueSink(sink, retry_min=0.001, retry_max=0.001, clock=FakeClock(monotonic=77.0))
    queue.put(record("x"))
    assert sink.enough.wait(PATIENCE)
    queue.close()
    assert set(sink.readings) == {77.0}
    assert queue.statistics().errors == {"SinkUnavailableError": 1}
    assert queue.poll(0.0) is None


def test_the_age_of_records_and_the_time_of_writes_are_observed():
    clock = FakeClock(time=1000.0)
    queue = QueueSink(MemorySink(), clock=clock)
    queue.put(record("old", created=997.0))
    queue.flush(PATIENCE)
    queue.put(record("ageless"))
    queue.close()
    assert queue.ledger.delivery_seconds.total == pytest.approx(3.0)
    assert sum(queue.ledger.delivery_seconds.counts) == 1
    assert sum(queue.ledger.write_seconds.counts) == 2


# -- a full queue ---------------------------------------------------------------------------------


def test_a_small_queue_over_a_slow_sink_drops_info_and_never_an_error():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=8, guarantee_timeout=0.01)
    sent = []
    for number in range(400):
        level = 40 if number % 10 == 0 else 20
        sent.append((number, level))
        queue.put(record(number, level))
    sink.gate.set()
    queue.flush(PATIENCE)
    arrived = texts(sink)
    missing = {str(number) for number, _ in sent} - set(arrived)
    assert len(arrived) == len(set(arrived))
    assert not missing & {str(number) for number, level in sent if level == 40}
    found = queue.statistics()
    assert found.drops == {("queue_full", "info"): len(missing)}
    assert found.balanced
    queue.close()


def test_a_stuck_sink_sheds_info_bounds_errors_and_replays_them_once():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=4, reserve=0, guarantee_timeout=0.05)
    clog(queue, sink)
    for number in range(3):
        queue.put(record(number))
    began = time.monotonic()
    for _ in range(1000):
        queue.put(record("shed"))
    for number in range(1000):
        queue.put(record(f"error {number}", 40))
    assert time.monotonic() - began < 20, "the wait of one, not of a thousand"
    found = queue.statistics()
    assert found.drops == {("queue_full", "info"): 1000}
    assert found.waiting == 1004
    assert found.details["spool.records"] == 1000
    assert found.details["spool.bytes"] > 7000
    with pytest.raises(SinkTimeoutError):
        queue.flush(0.01)
    sink.gate.set()
    queue.flush(PATIENCE)
    arrived = texts(sink)
    assert [text for text in arrived if text[0] == "e"] == [f"error {n}" for n in range(1000)]
    assert len(arrived) == 1004
    found = queue.statistics()
    assert (found.waiting, found.details["spool.records"]) == (0, 0)
    queue.close()


def test_an_error_waits_for_room_within_its_bound():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, guarantee_timeout=0.02, spill=False)
    clog(queue, sink)
    queue.put(record("waits in vain", 40))
    assert queue.statistics().drops == {("guarantee_failed", "error"): 1}
    sink.gate.set()
    queue.flush(PATIENCE)
    queue.close()
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, guarantee_timeout=3600)
    clog(queue, sink)
    waiting = threading.Thread(target=queue.put, args=(record("finds room", 40),))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    sink.gate.set()
    waiting.join(PATIENCE)
    queue.close()
    assert texts(sink) == ["first", "finds room"]


def test_an_error_that_finds_no_place_is_reported_with_its_text(capfd):
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, spill=False, guarantee_timeout=0.01)
    clog(queue, sink)
    for number in range(30):
        queue.put(record(f"lost {number}", 40))
    sink.gate.set()
    queue.close()
    err = capfd.readouterr().err
    assert all(f"LOST (guarantee_failed): lost {number}\n" in err for number in range(30))
    assert queue.statistics().drops == {("guarantee_failed", "error"): 30}


def test_without_a_spill_file_an_idle_sink_is_written_synchronously():
    sink = MemorySink()
    queue = QueueSink(sink, max_bytes=10, spill=False)
    queue.put(record("far too large for the queue", 40))
    assert texts(sink) == ["far too large for the queue"]
    assert queue.statistics().written == 1
    queue.close()


def test_an_oversize_error_does_not_hang_with_a_sink_of_which_nothing_is_known():
    sink = GatedSink()
    queue = QueueSink(sink, max_bytes=10)
    before = threading.active_count()
    queue.put(record("far too large for the queue", 40))  # in this thread it would be for ever
    assert threading.active_count() == before + 1
    assert queue.statistics().waiting == 1
    sink.gate.set()
    queue.flush(PATIENCE)
    assert texts(sink) == ["far too large for the queue"]
    queue.close(PATIENCE)
    assert queue.statistics().balanced


@pytest.mark.parametrize("idle", [True, False])
def test_an_oversize_error_is_written_at_once_where_the_spill_file_is_not_to_be_had(
    tmp_path, idle, capfd
):
    (tmp_path / "a file").touch()
    sink = MemorySink() if idle else GatedSink()
    queue = QueueSink(sink, max_bytes=10, spill=str(tmp_path / "a file" / "spill"))
    if not idle:
        clog(queue, sink, "f")
    queue.put(record("far too large for the queue", 40))
    if idle:
        assert texts(sink) == ["far too large for the queue"]
        assert (queue.statistics().written, queue.statistics().dropped) == (1, 0)
    else:
        assert queue.statistics().drops == {("oversize", "error"): 1}
        assert "LOST (oversize): far too large" in capfd.readouterr().err
        sink.gate.set()
    queue.close(PATIENCE)
    assert queue.statistics().balanced


def test_an_oversize_error_over_a_stuck_sink_is_spilled_and_without_spill_reported(capfd):
    sink = GatedSink()
    queue = QueueSink(sink, max_bytes=10, spill=False)
    clog(queue, sink, "f")
    queue.put(record("far too large for the queue", 40))
    assert queue.statistics().drops == {("oversize", "error"): 1}
    sink.gate.set()
    queue.close()
    sink = GatedSink()
    queue = QueueSink(sink, max_bytes=10)
    clog(queue, sink, "f")
    queue.put(record("far too large for the queue", 40))
    sink.gate.set()
    queue.close()
    assert "far too large for the queue" in texts(sink)


def test_block_waits_for_room_and_loses_nothing():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=4, policy="block")

    def work(number):
        for step in range(100):
            queue.put(record(f"{number}.{step}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert sink.entered.wait(PATIENCE)
    sink.gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    queue.close()
    arrived = texts(sink)
    assert sorted(arrived) == sorted(f"{a}.{b}" for a in range(4) for b in range(100))
    for number in range(4):
        mine = [text for text in arrived if text.startswith(f"{number}.")]
        assert mine == [f"{number}.{step}" for step in range(100)]
    assert queue.statistics().dropped == 0


def test_block_gives_up_only_when_the_sink_makes_no_progress(capfd):
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=0.05, spill=False)
    clog(queue, sink)
    queue.put(record("gives up"))
    assert queue.statistics().drops == {("block_timeout", "info"): 1}
    sink.gate.set()
    queue.close()
    assert "dropped: block_timeout" in capfd.readouterr().err
    assert [event["reasons"] for event in gaps(sink)] == [{"block_timeout": 1}]


def test_block_spills_when_it_gives_up():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=0.02)
    clog(queue, sink)
    for number in range(3):
        queue.put(record(number))
    sink.gate.set()
    queue.flush(PATIENCE)
    assert texts(sink) == ["first", "0", "1", "2"]
    queue.close()


def test_discard_low_level_drops_low_and_blocks_for_the_rest():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="DiscardLowLevel")
    clog(queue, sink)
    queue.put(record("low"))
    waiting = threading.Thread(target=queue.put, args=(record("warning", 30),))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    sink.gate.set()
    waiting.join(PATIENCE)
    queue.close()
    assert texts(sink) == ["first", "warning"]
    assert queue.statistics().drops == {("low_level", "info"): 1}


def test_an_event_loop_is_never_blocked():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=3600, guarantee_timeout=3600)
    clog(queue, sink)

    async def main():
        queue.put(record("info"))
        queue.put(record("error", 40))

    asyncio.run(main())
    assert queue.statistics().details["spool.records"] == 2
    sink.gate.set()
    queue.close()
    assert texts(sink) == ["first", "info", "error"]


def test_an_event_loop_without_spill_drops_at_once():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=3600, spill=False)
    clog(queue, sink)

    async def main():
        queue.put(record("info"))

    asyncio.run(main())
    assert queue.statistics().drops == {("queue_full", "info"): 1}
    sink.gate.set()
    queue.close()


def test_spilled_records_come_through_a_sink_that_fails_meanwhile():
    sink = FailingSink()
    queue = QueueSink(
        sink, capacity=2, reserve=0, guarantee_timeout=0.0, retry_min=0.001, retry_max=0.005
    )
    queue.write([record(number, 40) for number in range(20)])
    wait_until(lambda: queue.statistics().details["spool.records"] >= 18)
    sink.accepts = 1
    wait_until(lambda: len(sink.lines) >= 5)
    sink.failing = False
    queue.flush(PATIENCE)
    assert sorted(map(int, texts(sink))) == list(range(20))
    assert queue.statistics().written == 20
    queue.close()


def test_a_damaged_spill_file_is_counted(tmp_path, capfd):
    sink = GatedSink()
    queue = QueueSink(
        sink, capacity=1, guarantee_timeout=0.0, spill=tmp_path / "s", gap_notice=False
    )
    clog(queue, sink)
    queue.put(record("error one", 40))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    sink.gate.set()
    queue.flush(PATIENCE)
    queue.close()
    assert queue.statistics().drops == {("unavailable", "error"): 1}
    assert "damaged spill file" in capfd.readouterr().err


# -- the notice of a loss -------------------------------------------------------------------------


def test_the_end_of_a_loss_is_told_in_the_stream():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=4, clock=FakeClock(time=60.0), name="main")
    clog(queue, sink)
    for number in range(10):
        queue.put(record(number))
    sink.gate.set()
    wait_until(lambda: gaps(sink))
    (notice,) = gaps(sink)
    assert notice["level"] == "warning"
    assert (notice["sink"], notice["dropped"]) == ("main", 7)
    assert notice["levels"] == {"info": 7}
    assert notice["reasons"] == {"queue_full": 7}
    assert notice["first"] == notice["last"] == "1970-01-01T00:01:00.000000Z"
    queue.close()
    found = queue.statistics()
    assert (found.received, found.written, found.dropped) == (12, 5, 7)
    assert found.received_by_level == {"info": 11, "warning": 1}


def test_a_loss_in_an_idle_queue_is_told_too():
    sink = MemorySink()
    queue = QueueSink(sink, max_bytes=1000)
    queue.put(record("x" * 2000))
    wait_until(lambda: gaps(sink))
    queue.close()
    assert gaps(sink)[0]["reasons"] == {"oversize": 1}


@pytest.mark.parametrize("end", ["flush", "close"])
def test_flush_and_close_tell_of_a_loss_that_goes_on(end):
    sink = GatedSink()
    queue = QueueSink(sink, capacity=2)
    for _ in range(2):  # the second one within the second after the first notice
        sink.gate.clear()
        sink.entered.clear()
        clog(queue, sink)
        for number in range(3):
            queue.put(record(number))
        sink.gate.set()
        wait_until(lambda: queue.statistics().waiting == 0)
        if end == "flush":
            queue.flush(PATIENCE)
    queue.close()
    assert sum(event["dropped"] for event in gaps(sink)) == 4


def test_notices_can_be_off_and_may_fail(capfd):
    for arguments in ({"gap_notice": False}, {}):
        sink = GatedSink()
        queue = QueueSink(sink, capacity=1, **arguments)

        def broken(level, event, fields):
            raise ZeroDivisionError

        queue.notice = broken
        clog(queue, sink)
        queue.put(record("x"))
        sink.gate.set()
        queue.flush(PATIENCE)
        queue.close()
        assert gaps(sink) == []
    assert "log.gap not written" in capfd.readouterr().err


# -- flush ----------------------------------------------------------------------------------------


def test_flush_waits_for_what_was_there_and_flushes_the_sink():
    calls = []

    class Flushing(GatedSink):
        def flush(self, timeout=None):
            calls.append((timeout, len(self.lines)))

    sink = Flushing()
    queue = QueueSink(sink)
    queue.write([record(number) for number in range(100)])
    with pytest.raises(SinkTimeoutError):
        queue.flush(0.02)
    assert calls == []
    sink.gate.set()
    queue.flush(PATIENCE)
    assert len(calls) == 1
    assert 0 < calls[0][0] <= PATIENCE
    assert calls[0][1] == 100
    queue.flush()
    assert calls[1] == (None, 100)
    queue.close()


@pytest.mark.parametrize("error", [SinkUnavailableError("no"), OSError("no")])
def test_a_flush_that_fails_below_fails_above(error):
    class Unflushable(MemorySink):
        def flush(self, timeout=None):
            raise error

    queue = QueueSink(Unflushable())
    queue.put(record("x"))
    with pytest.raises(SinkUnavailableError):
        queue.flush(PATIENCE)
    queue.close()


def test_flush_is_over_although_others_go_on_logging():
    sink = GatedSink(shut=False)
    queue = QueueSink(sink, policy="block", capacity=64)
    stop = threading.Event()

    def chatter():
        while not stop.is_set():
            queue.put(record("noise"))

    noise = threading.Thread(target=chatter)
    noise.start()
    for number in range(20):
        queue.put(record(f"mine {number}"))
        queue.flush(PATIENCE)
        assert f"mine {number}".encode() in sink.lines
    stop.set()
    noise.join()
    queue.close()


def test_flush_of_an_unused_queue_starts_nothing():
    queue = QueueSink(MemorySink())
    before = threading.active_count()
    queue.flush(0.0)
    assert threading.active_count() == before


def test_a_failing_sink_makes_flush_say_so():
    queue = QueueSink(FailingSink(), spill=False)
    queue.put(record("x"))
    with pytest.raises(SinkTimeoutError, match="1 record"):
        queue.flush(0.05)
    with pytest.raises(SinkTimeoutError):
        queue.close(0.01)


# -- close ----------------------------------------------------------------------------------------


def test_close_drains_closes_what_is_wrapped_and_refuses_what_comes_later():
    sink = MemorySink()
    queue = QueueSink(sink, linger=3600)
    queue.write([record(number) for number in range(100)])
    queue.close()
    queue.close()
    assert len(sink.lines) == 100
    late = [record("late"), record("later", 40)]
    with pytest.raises(SinkClosedError) as caught:
        queue.write(late)
    assert caught.value.unwritten == tuple(late)
    with pytest.raises(SinkClosedError):
        queue.put(late[0])
    with pytest.raises(SinkClosedError):
        sink.write(late)
    assert queue.statistics().received == 100
    queue.flush(0.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_close_of_a_stuck_sink_is_bounded_and_says_what_was_abandoned(policy, capfd):
    sink = GatedSink()
    queue = QueueSink(sink, capacity=10, policy=policy)
    clog(queue, sink)
    queue.write([record(number, 30) for number in range(5)])
    began = time.monotonic()
    with pytest.raises(SinkTimeoutError) as caught:
        queue.close(0.05)
    assert time.monotonic() - began < 10
    assert [item.line for item in caught.value.unwritten] == [
        b"first",
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    found = queue.statistics()
    assert found.drops == {("shutdown", "info"): 1, ("shutdown", "warning"): 5}
    assert found.details["shutdown.abandoned"] == 6
    sink.gate.set()
    wait_until(lambda: sink._closed)
    assert queue.statistics() == found, "the late return of the stuck write changes nothing"
    assert "6 record(s) were abandoned" in capfd.readouterr().err


def test_a_stuck_close_below_does_not_hang_the_caller():
    release = threading.Event()

    class Unclosable(MemorySink):
        def close(self, timeout=None):
            release.wait(PATIENCE)

    queue = QueueSink(Unclosable())
    queue.put(record("x"))
    began = time.monotonic()
    with pytest.raises(SinkTimeoutError):
        queue.close(0.05)
    assert time.monotonic() - began < 10
    release.set()
    assert queue.statistics().written == 1


def test_an_error_of_the_close_below_is_raised_after_all_was_released():
    class Bad(MemorySink):
        def close(self, timeout=None):
            raise SinkUnavailableError("could not finish")

    letters = MemorySink()
    queue = QueueSink(Bad(), dead_letter=letters)
    queue.put(record("x"))
    with pytest.raises(SinkUnavailableError, match="could not finish"):
        queue.close()
    with pytest.raises(SinkClosedError):
        letters.write([record("x")])


def test_close_releases_those_who_wait_for_room():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=3600, spill=False)
    clog(queue, sink)
    blocked = [
        threading.Thread(target=queue.put, args=(record("blocked", level),))
        for level in (20, 30, 40)
    ]
    for thread in blocked:
        thread.start()
    with pytest.raises(SinkTimeoutError):
        queue.close(0.2)
    for thread in blocked:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    sink.gate.set()
    found = queue.statistics()
    assert found.received == found.dropped == 4
    assert found.balanced


def test_remnants_go_to_a_named_spill_file_and_the_next_process_delivers_them(tmp_path):
    sink = FailingSink()
    first = QueueSink(sink, capacity=10, spill=tmp_path / "spill", retry_min=60, retry_max=60)
    first.write([record(number, 30, 5.0) for number in range(6)])
    assert sink.tried.wait(PATIENCE)
    first.close(0.01)
    found = first.statistics()
    assert (found.waiting, found.dropped) == (6, 0)
    assert (found.details["shutdown.spooled"], found.details["shutdown.abandoned"]) == (6, 0)

    healthy = MemorySink()
    second = QueueSink(healthy, spill=tmp_path / "spill")
    second.put(record("new"))
    second.flush(PATIENCE)
    second.close()
    assert sorted(texts(healthy)) == ["0", "1", "2", "3", "4", "5", "new"]
    found = second.statistics()
    assert (found.received, found.written) == (7, 7)
    assert found.details["spool.adopted"] == 6
    assert list(tmp_path.iterdir()) == []


def test_what_a_stuck_write_holds_is_not_saved_twice(tmp_path):
    sink = GatedSink()
    queue = QueueSink(sink, spill=tmp_path / "spill")
    clog(queue, sink)
    queue.put(record("queued"))
    with pytest.raises(SinkTimeoutError) as caught:
        queue.close(0.01)
    assert [item.line for item in caught.value.unwritten] == [b"first"]
    assert queue.statistics().waiting == 1
    sink.gate.set()


def test_a_retained_queue_is_only_flushed():
    sink = MemorySink()
    queue = QueueSink(sink)
    queue.retained = True
    queue.put(record("a"))
    queue.close()
    queue.put(record("b"))
    queue.retained = False
    queue.close()
    assert texts(sink) == ["a", "b"]


def test_a_foreign_sink_will_do():
    class Theirs:
        def __init__(self):
            self.lines = []

        def write(self, batch):
            self.lines += [item.line for item in batch]

        def flush(self, timeout=None):
            pass

        def close(self, timeout=None):
            self.lines.append(b"closed")

    theirs = Theirs()
    queue = QueueSink(theirs)
    queue.put(Record(20, b"x"))
    queue.close()
    assert theirs.lines == [b"x", b"closed"]


def test_queues_can_be_stacked():
    sink = MemorySink()
    outer = QueueSink(QueueSink(sink, name="inner"))
    outer.write([record(number) for number in range(100)])
    outer.flush(PATIENCE)
    assert len(sink.lines) == 100
    outer.close()


def test_the_watermark_is_the_most_that_waited_at_once():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=100)
    clog(queue, sink)
    queue.write([record(number) for number in range(41)])
    sink.gate.set()
    queue.flush(PATIENCE)
    found = queue.statistics().details
    assert (found["queue.high_watermark"], found["queue.bytes"]) == (42, 0)
    queue.close()


# -- what a tree above it asks --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "waiting"),
    [
        ("discard", {40}),
        ("discard_oldest", {40}),
        ("discard_low_level", {30, 40}),
        ("block", {20, 30, 40}),
    ],
)
def test_whether_a_put_would_wait_can_be_asked(policy, waiting):
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy=policy)
    items = [record("x", level) for level in (20, 30, 40)]
    assert not any(queue.must_wait(item) for item in items)
    clog(queue, sink)
    assert {item.level for item in items if queue.must_wait(item)} == waiting
    sink.gate.set()
    queue.close()
    assert not any(queue.must_wait(item) for item in items)


def test_callers_that_wait_are_handed_to_the_successor():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", guarantee_timeout=3600)
    clog(queue, sink)
    refused = []

    def work(level):
        try:
            queue.put(record(level, level))
        except SinkClosedError as error:
            refused.extend(error.unwritten)

    threads = [threading.Thread(target=work, args=(level,)) for level in (20, 40)]
    for thread in threads:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    queue.hand_over()
    with pytest.raises(SinkTimeoutError):
        queue.close(0.1)
    for thread in threads:
        thread.join(PATIENCE)
    sink.gate.set()
    assert sorted(item.level for item in refused) == [20, 40]
    assert queue.statistics().received == 1


def test_writes_can_be_held_back():
    sink = GatedSink(shut=False)
    queue = QueueSink(sink)
    with queue.held():
        queue.put(record("x"))
        assert not sink.entered.wait(0.05)
    assert sink.entered.wait(PATIENCE)
    queue.close()


def test_statistics_do_not_disturb_and_flush_releases_many_at_once():
    sink = GatedSink()
    queue = QueueSink(sink)
    clog(queue, sink)
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(queue.flush(PATIENCE))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert queue.statistics().balanced
    sink.gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(done) == 5
    queue.close()


def test_a_flush_that_close_overtakes_is_told():
    sink = GatedSink()
    queue = QueueSink(sink)
    clog(queue, sink)
    errors = []

    def work():
        try:
            queue.flush(PATIENCE)
        except SinkError as error:
            errors.append(error)

    waiting = threading.Thread(target=work)
    waiting.start()
    wait_until(lambda: queue._worker._requests)
    with pytest.raises(SinkTimeoutError):
        queue.close(0.05)
    waiting.join(PATIENCE)
    assert not waiting.is_alive(), "although the sink still hangs"
    assert [type(error) for error in errors] == [SinkClosedError]
    sink.gate.set()


def test_leftovers_that_cannot_be_read_are_reported(tmp_path, monkeypatch, capfd):
    def broken(self):
        raise OSError("no disk")

    monkeypatch.setattr("pylog_struct.sinks._queue.spill.Spill.adopt", broken)
    sink = MemorySink()
    queue = QueueSink(sink, spill=tmp_path / "s")
    queue.put(record("x"))
    queue.close()
    assert texts(sink) == ["x"]
    assert "leftovers not read" in capfd.readouterr().err


def test_a_spill_file_that_has_no_room_left_is_no_silent_end(tmp_path, capfd):
    sink = GatedSink()
    queue = QueueSink(
        sink, capacity=1, guarantee_timeout=0.0, spill=tmp_path / "s", spill_max_bytes=60
    )
    clog(queue, sink)
    for number in range(3):
        queue.put(record(f"error {number} " + "x" * 30, 40))
    assert queue.statistics().drops == {("guarantee_failed", "error"): 2}
    assert capfd.readouterr().err.count("LOST (guarantee_failed): error") == 2
    sink.gate.set()
    queue.close()


def test_a_tiny_queue_that_cannot_hold_the_notice_reports_it(capfd):
    sink = GatedSink()
    queue = QueueSink(sink, max_bytes=10)
    clog(queue, sink, "f")
    queue.put(record("x" * 11))
    sink.gate.set()
    queue.flush(PATIENCE)
    queue.put(record("x" * 11))
    wait_until(lambda: not queue._buffer.gap)
    queue.close()
    assert "no room for" in capfd.readouterr().err


def test_a_sink_that_logs_while_the_queue_drains_into_it_does_not_disturb_itself():
    class Chatty(GatedSink):
        queue = None

        def _write(self, batch):
            super()._write(batch)
            self.queue.put(record("too late", 40))

    sink = Chatty()
    queue = sink.queue = QueueSink(sink)
    clog(queue, sink)
    closing = threading.Thread(target=queue.close, args=(PATIENCE,))
    closing.start()
    wait_until(lambda: queue._buffer.closed)
    sink.gate.set()
    closing.join(PATIENCE)
    found = queue.statistics()
    assert (found.written, dict(found.drops)) == (1, {("closed", "error"): 1})

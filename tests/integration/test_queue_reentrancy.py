"""Whoever logs in the middle of a log call: signal handlers, __del__, the sink, a wounded worker."""

from __future__ import annotations

import ctypes
import gc
import threading
import time

import pytest
from support.alarms import alarms
from support.queue_sinks import PATIENCE, GatedSink, record, texts

from pylog_struct.errors import SinkError
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import MemorySink

# By a thread, because SIGALRM is used here.
pytestmark = pytest.mark.timeout(100, method="thread")

POLICIES = ["discard", "block", "discard_low_level", "discard_oldest"]


class Breathing(MemorySink):
    """Takes its time, so that the queue above it is full most of the time."""

    def _write(self, batch):
        time.sleep(0.0005)  # what is slow here is the sink itself
        super()._write(batch)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("capacity", [4, 100_000])
def test_signal_handlers_log_while_the_main_thread_logs(policy, capacity):
    sink = Breathing()
    queue = QueueSink(sink, capacity=capacity, policy=policy, guarantee_timeout=0.01)
    nested = 0

    def handler():
        nonlocal nested
        nested += 1
        queue.put(record(f"nested {nested}", 40))
        queue.put(record("nested info"))

    with alarms(handler, 0.001):
        ends = time.monotonic() + 1.0
        outer = 0
        while time.monotonic() < ends:
            queue.put(record("outer"))
            outer += 1
            if outer % 20 == 0:
                queue.put(record(f"error {outer}", 40))
                queue.statistics()
    queue.flush(PATIENCE)
    queue.close(PATIENCE)
    found = queue.statistics()
    arrived = texts(sink)
    assert found.balanced
    assert found.waiting == 0
    assert found.written == len(sink.lines)
    assert sum(found.drops.values()) == found.dropped
    assert sum(found.received_by_level.values()) == found.received
    errors = [f"nested {n + 1}" for n in range(nested)]
    errors += [f"error {n}" for n in range(20, outer + 1, 20)]
    wanted = [text for text in arrived if text.startswith(("nested", "error"))]
    assert sorted(text for text in wanted if text != "nested info") == sorted(errors)


def test_a_handler_logs_while_the_main_thread_waits_for_room():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=1, policy="block", block_timeout=PATIENCE)
    queue.put(record("first"))
    calls = 0

    def handler():
        nonlocal calls
        calls += 1
        if calls <= 20:
            queue.put(record(f"handler {calls}", 20 + 20 * (calls % 2)))
        elif calls == 21:
            sink.gate.set()

    with alarms(handler, 0.001):
        queue.put(record("waits"))
    queue.flush(PATIENCE)
    queue.close()
    assert sorted(texts(sink)) == sorted(
        ["first", "waits", *(f"handler {n + 1}" for n in range(20))]
    )


def test_finalizers_log_during_garbage_collection():
    sink = MemorySink()
    queue = QueueSink(sink, capacity=8, policy="discard_oldest", guarantee_timeout=0.01)

    class Loud:
        count = 0

        def __init__(self):
            self.me = self

        def __del__(self):
            Loud.count += 1
            queue.put(record(f"farewell {Loud.count}", 40))

    previous = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(500):
            Loud()
            queue.put(record(number))
    finally:
        gc.set_threshold(*previous)
    ends = time.monotonic() + PATIENCE
    while Loud.count < 500 and time.monotonic() < ends:
        gc.collect()  # does nothing while a collection runs in the worker
        threading.Event().wait(0.005)
    queue.close(PATIENCE)
    assert Loud.count == 500
    assert sum(text.startswith("farewell") for text in texts(sink)) == 500
    assert queue.statistics().written == len(sink.lines)
    assert queue.statistics().balanced


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sink_that_logs_gets_its_records_and_no_deadlock(policy):
    class Chatty(MemorySink):
        queue = None
        said = 0

        def _write(self, batch):
            if self.said < 500:
                for level in (20, 30, 40):
                    self.said += 1
                    self.queue.put(record(f"sink {self.said}", level))
            super()._write(batch)

    sink = Chatty()
    queue = sink.queue = QueueSink(sink, capacity=4, policy=policy, guarantee_timeout=0.01)
    for number in range(300):
        queue.put(record(number))
    ends = time.monotonic() + PATIENCE
    while sink.said < 500 and time.monotonic() < ends:  # each of its errors leads to a next write
        threading.Event().wait(0.002)
    queue.flush(PATIENCE)
    queue.close()
    found = queue.statistics()
    assert found.balanced
    assert found.waiting == 0
    assert {key[1] for key in found.drops} <= {"info", "warning"}
    assert sum(text.startswith("sink") for text in texts(sink)) >= sink.said // 3


def test_a_sink_that_flushes_or_closes_its_own_queue_is_not_deadlocked():
    class Suicidal(MemorySink):
        queue = None

        def _write(self, batch):
            super()._write(batch)
            with pytest.raises(SinkError):
                self.queue.flush(PATIENCE)
            self.queue.close(PATIENCE)

    sink = Suicidal()
    queue = sink.queue = QueueSink(sink)
    queue.put(record("x"))
    ends = time.monotonic() + PATIENCE
    while not sink._closed and time.monotonic() < ends:
        threading.Event().wait(0.005)
    assert sink._closed


def _workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pylog-queue")]


class Stray(BaseException):
    """What somebody throws into a thread that is none of theirs."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_hit_by_stray_exceptions_goes_on_and_is_counted(capfd):
    sink = MemorySink()
    queue = QueueSink(sink, capacity=1000, policy="block", retry_min=0.001, retry_max=0.001)
    hits = 0
    for number in range(20_000):
        queue.put(record(number))
        if number % 200 == 100:
            for thread in _workers():
                hits += ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(Stray)
                )
    queue.flush(PATIENCE)
    queue.close(PATIENCE)
    arrived = texts(sink)
    found = queue.statistics()
    assert hits > 0
    assert set(arrived) == {str(number) for number in range(20_000)}
    assert list(dict.fromkeys(arrived)) == [str(number) for number in range(20_000)]
    assert found.balanced
    assert (found.waiting, found.dropped, found.written) == (0, 0, 20_000)
    assert found.details["worker.restarts"] > 0
    assert "the worker was hit" in capfd.readouterr().err


def test_a_sink_that_raises_what_is_no_exception_loses_nothing():
    class Exits(MemorySink):
        left = 3

        def _write(self, batch):
            if self.left:
                self.left -= 1
                raise SystemExit(3)
            super()._write(batch)

    sink = Exits()
    queue = QueueSink(sink, retry_min=0.001, retry_max=0.001)
    queue.write([record("a"), record("b")])
    queue.flush(PATIENCE)
    queue.close()
    assert texts(sink) == ["a", "b"]
    assert queue.statistics().details["worker.restarts"] == 3


def test_without_a_thread_the_caller_delivers(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    class Chatty(MemorySink):
        queue = None

        def _write(self, batch):
            super()._write(batch)
            if len(self._records) < 20:
                self.queue.put(record("more"))

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sink = Chatty()
    queue = sink.queue = QueueSink(sink, capacity=2, policy="block", spill=False)
    for number in range(5):
        queue.put(record(number, 40))
    queue.flush(PATIENCE)
    queue.close(PATIENCE)
    assert [text for text in texts(sink) if text != "more"] == ["0", "1", "2", "3", "4"]
    assert sink._closed
    assert queue.statistics().waiting == 0

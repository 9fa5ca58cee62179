"""Forks at any moment: the parent keeps its backlog, the child starts anew, nothing hangs."""

from __future__ import annotations

import os
import sys
import threading
import warnings

import pytest
from support.queue_sinks import PATIENCE, GatedSink, record, texts

from pylog_struct.errors import SinkClosedError
from pylog_struct.sinks.base import BaseSink
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import MemorySink

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


class AppendingSink(BaseSink):
    """One write(2) a batch to a shared file."""

    def __init__(self, path):
        super().__init__()
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _write(self, batch):
        os.write(self.descriptor, b"".join(item.line + b"\n" for item in batch))

    def _close(self, timeout):
        os.close(self.descriptor)


def fork(function):
    """Run *function* in a child; it reports failure by raising."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return child


def reap(child):
    assert os.waitpid(child, 0)[1] == 0, "the child failed"


def test_the_backlog_stays_with_the_parent():
    sink = GatedSink()
    queue = QueueSink(sink, capacity=4, guarantee_timeout=0.01)
    queue.put(record("parent's first"))
    assert sink.entered.wait(PATIENCE)
    queue.write([record(f"parent's {number}", 40) for number in range(8)])

    def in_child():
        sink.gate = threading.Event()
        sink.gate.set()
        found = queue.statistics()
        assert (found.received, found.waiting, found.details["spool.records"]) == (0, 0, 0)
        assert found.details["queue.capacity"] == 4
        queue.put(record("child's"))
        queue.flush(PATIENCE)
        assert texts(sink) == ["child's"]
        queue.close()

    reap(fork(in_child))
    sink.gate.set()
    queue.flush(PATIENCE)
    assert len(texts(sink)) == 9
    queue.close()


def test_the_child_of_a_closed_queue_stays_closed():
    queue = QueueSink(MemorySink())
    queue.put(record("x"))
    queue.close()

    def in_child():
        try:
            queue.put(record("y"))
        except SinkClosedError:
            return
        raise AssertionError

    reap(fork(in_child))


def test_a_leftover_of_a_killed_process_is_delivered_by_the_next(tmp_path):
    def in_child():
        sink = GatedSink()
        queue = QueueSink(sink, capacity=1, guarantee_timeout=0.0, spill=tmp_path / "spill")
        queue.put(record("in flight"))
        assert sink.entered.wait(PATIENCE)
        queue.write([record(number, 40) for number in range(10)])
        os._exit(0)

    reap(fork(in_child))
    sink = MemorySink()
    queue = QueueSink(sink, spill=tmp_path / "spill")
    queue.put(record("new"))
    queue.flush(PATIENCE)
    queue.close()
    assert [text for text in texts(sink) if text != "new"] == [str(n) for n in range(10)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_forks_while_four_threads_log(tmp_path):
    path = tmp_path / "all.log"
    queue = QueueSink(AppendingSink(path), capacity=64, policy="block")
    stop = threading.Event()
    counts = [0] * 4

    def work(number):
        while not stop.is_set():
            queue.put(record(f"parent {number}.{counts[number]}"))
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    def in_child():
        for step in range(10):
            queue.put(record(f"child {os.getpid()}.{step}"))
        queue.close(PATIENCE)
        found = queue.statistics()
        assert (found.received, found.written, found.waiting) == (10, 10, 0)

    children = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # more places to be interrupted at, and less waiting for a turn
    try:
        for _ in range(100):
            child = fork(in_child)
            children.append(child)
            reap(child)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    queue.close(PATIENCE)
    wanted = [f"parent {number}.{step}" for number in range(4) for step in range(counts[number])]
    wanted += [f"child {child}.{step}" for child in children for step in range(10)]
    assert sorted(path.read_text().splitlines()) == sorted(wanted)
    found = queue.statistics()
    assert (found.received, found.written) == (sum(counts), sum(counts))

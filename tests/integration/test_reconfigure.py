"""A second configure under load: nothing lost, nothing twice, both doors."""

from __future__ import annotations

import json
import logging
import threading
import time

import structlog

import pylog_struct
from pylog_struct.sinks import MemorySink, QueueSink, RollingFileSink

WATCHDOG = 60.0


class Load:
    """Eight threads that log through both doors until told to stop."""

    def __init__(self):
        self.stop = threading.Event()
        self.sent = [0] * 8
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(8)]

    def _work(self, number):
        bound = structlog.get_logger("s").bind(thread=number)
        stdlib = logging.getLogger("s")
        while not self.stop.is_set():
            index = self.sent[number]
            if index % 2:
                bound.info("x", index=index)
            else:
                stdlib.info("x", extra={"thread": number, "index": index})
            self.sent[number] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        for thread in self.threads:
            thread.join(WATCHDOG)
            assert not thread.is_alive()

    @property
    def all(self):
        return {(n, index) for n in range(8) for index in range(self.sent[n])}


def pairs(lines):
    found = [json.loads(line) for line in lines]
    return [(event["thread"], event["index"]) for event in found if event["event"] == "x"]


class OneAtATimeSink(MemorySink):
    """Notices when two threads are in it at once: a leaf need not be thread-safe."""

    def __init__(self):
        super().__init__()
        self.inside = threading.Lock()
        self.overlaps = 0

    def _write(self, batch):
        if not self.inside.acquire(blocking=False):
            self.overlaps += 1
            super()._write(batch)
            return
        try:
            time.sleep(0.002)  # long enough for another one to come
            super()._write(batch)
        finally:
            self.inside.release()


def test_twenty_queues_in_a_row_over_one_shared_sink():
    shared = OneAtATimeSink()

    def configure():
        queue = QueueSink(shared, policy="block", capacity=500)
        return pylog_struct.configure(sink=queue, format="json")

    configure()
    with Load() as load:
        for _ in range(20):
            manager = configure()
            assert pylog_struct.statistics().balanced
    assert pylog_struct.flush(WATCHDOG)

    arrived = pairs(shared.lines)
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == load.all
    assert manager.shutdown().complete
    assert shared.overlaps == 0


def test_bare_and_queued_by_turns_over_one_shared_sink():
    shared = OneAtATimeSink()

    pylog_struct.configure(sink=shared, format="json")
    with Load() as load:
        for number in range(10):
            queue = {"queue_size": 500, "full_policy": "block"} if number % 2 else {}
            pylog_struct.configure(sink=shared, format="json", **queue)
    assert pylog_struct.shutdown(WATCHDOG).complete

    arrived = pairs(shared.lines)
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == load.all
    assert shared.overlaps == 0


def test_twenty_bare_sinks_in_a_row():
    sinks = [MemorySink() for _ in range(21)]

    pylog_struct.configure(sink=sinks[0], format="json")
    with Load() as load:
        for sink in sinks[1:]:
            pylog_struct.configure(sink=sink, format="json")

    arrived = [pair for sink in sinks for pair in pairs(sink.lines)]
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == load.all


def test_twenty_queues_over_files_of_their_own(tmp_path):
    def configure(number):
        path = tmp_path / f"app-{number}.jsonl"
        queue = QueueSink(RollingFileSink(path), policy="block", capacity=500)
        pylog_struct.configure(sink=queue, format="json")

    configure(0)
    with Load() as load:
        for number in range(1, 21):
            configure(number)
    assert pylog_struct.shutdown(WATCHDOG).complete

    arrived = [
        pair for path in tmp_path.glob("*.jsonl") for pair in pairs(path.read_bytes().splitlines())
    ]
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == load.all


def test_changing_between_queue_and_bare_sink_over_the_same_file(tmp_path):
    shared = RollingFileSink(tmp_path / "app.jsonl")

    pylog_struct.configure(sink=shared, format="json")
    with Load() as load:
        for number in range(10):
            if number % 2:
                pylog_struct.configure(sink=shared, format="json")
            else:
                pylog_struct.configure(
                    sink=shared, format="json", queue_size=500, full_policy="block"
                )
    assert pylog_struct.shutdown(WATCHDOG).complete

    arrived = pairs((tmp_path / "app.jsonl").read_bytes().splitlines())
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == load.all


def test_threads_that_configure_at_once_take_turns():
    sinks = [MemorySink() for _ in range(8)]
    barrier = threading.Barrier(8)

    def configure(sink):
        barrier.wait()
        pylog_struct.configure(sink=sink, format="json")

    threads = [threading.Thread(target=configure, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG)
    structlog.get_logger().info("x")

    assert sum(len(sink.records) for sink in sinks) == 1

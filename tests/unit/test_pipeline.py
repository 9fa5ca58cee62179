"""The pipeline by itself: re-entrancy, mutation under its feet, and every odd moment to log in."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.alarms import alarms
from support.events import memory_pipeline

import pylog_struct
from pylog_struct.active import ACTIVE
from pylog_struct.levels import INFO
from pylog_struct.metrics import Pipeline as PipelineCounts
from pylog_struct.pipeline import Pipeline
from pylog_struct.sinks import FailoverSink, LockedSink, MemorySink, QueueSink
from pylog_struct.testing import FailingSink
from pylog_struct.thresholds import named_logger

WATCHDOG = 60.0


def bounded(work, *arguments):
    """Run *work* in threads, one for each argument; fail instead of hanging."""
    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG)
        assert not thread.is_alive(), "deadlock"


class LoggingSink(MemorySink):
    """Logs on every write, once for each record that is not its own."""

    def _write(self, batch):
        super()._write(batch)
        if any(b"from the sink" not in record.line for record in batch):
            structlog.get_logger("sink").error("from the sink")
            logging.getLogger("sink").error("from the sink")


@pytest.mark.parametrize("queued", [False, True])
def test_a_sink_that_logs_neither_deadlocks_nor_loses_its_events(queued):
    sink = LoggingSink()
    pylog_struct.configure(sink=QueueSink(sink, capacity=50) if queued else sink, format="json")

    def work(number):
        for index in range(100):
            structlog.get_logger().error("outer", thread=number, index=index)

    bounded(work, 0, 1, 2, 3)

    assert pylog_struct.flush(WATCHDOG)
    events = [event["event"] for event in sink.events]
    assert events.count("outer") == 400
    assert events.count("from the sink") > 0
    assert pylog_struct.statistics().balanced


@pytest.mark.timeout(120, method="thread")  # the timer of the other method is used here
@pytest.mark.parametrize("queued", [False, True])
def test_a_signal_handler_that_logs_every_millisecond(queued):
    sink = MemorySink()
    pylog_struct.configure(
        sink=QueueSink(sink, capacity=100, policy="block") if queued else sink, format="json"
    )
    log, door = structlog.get_logger("s"), logging.getLogger("l")
    fired = 0

    def handler():
        nonlocal fired
        fired += 1
        log.error("from the handler", number=fired)
        door.error("from the handler")

    with alarms(handler, 0.001):
        for index in range(3000):
            log.info("main", index=index)

    assert pylog_struct.flush(WATCHDOG)
    events = [event["event"] for event in sink.events]
    assert events.count("main") == 3000
    assert events.count("from the handler") == 2 * fired > 0
    assert pylog_struct.statistics().balanced


@pytest.mark.parametrize("queued", [False, True])
def test_finalisers_that_log_during_garbage_collection(queued):
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink) if queued else sink, format="json")
    thresholds = gc.get_threshold()
    gone = []

    class Loud:
        def __init__(self):
            self.me = self

        def __del__(self):
            structlog.get_logger("gc").error("finalised")
            gone.append(None)

    gc.set_threshold(10, 2, 2)
    try:
        for index in range(1000):
            Loud()
            structlog.get_logger().info("main", index=index, extra=[{}, {}])
    finally:
        gc.set_threshold(*thresholds)
    ends = time.monotonic() + WATCHDOG
    while len(gone) < 1000 and time.monotonic() < ends:
        gc.collect()  # does nothing while another thread is at it

    assert pylog_struct.flush(WATCHDOG)
    events = [event["event"] for event in sink.events]
    assert (events.count("main"), events.count("finalised")) == (1000, 1000)


def test_processors_and_values_that_log_do_so_to_a_bounded_depth():
    class Loud:
        def __repr__(self):
            structlog.get_logger("repr").error("from repr", value=self)
            return "loud"

    def processor(logger, name, event_dict):
        if logger.name != "processor":
            structlog.get_logger("processor").error("from a processor")
        return event_dict

    sink = memory_pipeline(processors=[processor])

    def work(_):
        structlog.get_logger().info("outer", value=Loud())

    bounded(work, 0)

    events = [event["event"] for event in sink.events]
    assert events.count("outer") == 1
    assert 1 <= events.count("from repr") < 50
    assert 1 <= events.count("from a processor") < 100


@pytest.mark.slow
def test_eight_threads_change_what_is_being_logged():
    sink = memory_pipeline()
    shared = {"n": {"a": 1}, "items": list(range(20))}
    stop = threading.Event()

    def change(index):
        shared[f"k{index % 50}"] = index
        shared["n"][f"k{index % 50}"] = [index]
        shared["items"].append(index)
        del shared["items"][0]
        shared.pop(f"k{(index + 25) % 50}", None)
        shared["n"].pop(f"k{(index + 25) % 50}", None)

    def mutate():
        index = 0
        while not stop.is_set():
            index += 1
            change(index)

    def work(number):
        for index in range(150):
            change(number * 31 + index)
            mine = {"at": index, "list": [index]}
            structlog.get_logger().info("x", thread=number, index=index, mine=mine, shared=shared)
            mine["at"] = mine["list"][0] = "LATER"
            logging.getLogger("l").info("y", extra={"shared": shared})

    mutators = [threading.Thread(target=mutate, daemon=True) for _ in range(2)]
    for thread in mutators:
        thread.start()
    try:
        bounded(work, *range(8))
    finally:
        stop.set()
        for thread in mutators:
            thread.join(WATCHDOG)

    events = [event for event in sink.events if event["event"] == "x"]
    assert len(events) == 1200
    assert len(sink.records) == 2400
    assert all(
        event["mine"] == {"at": event["index"], "list": [event["index"]]} for event in events
    )
    assert all("LATER" not in json.dumps(event["mine"]) for event in events)


def test_the_callers_objects_are_never_changed():
    def rude(logger, name, event_dict):
        event_dict["added"] = True
        event_dict.pop("mine", None)
        return event_dict

    memory_pipeline(processors=[rude])
    fields, extra = {"mine": {"a": [1]}}, {"mine": {"a": [1]}}
    log = structlog.get_logger().bind(mine={"a": [1]})

    log.info("x")
    structlog.get_logger().info("x", **fields)
    logging.getLogger("x").info("x", extra=extra)

    assert fields == extra == {"mine": {"a": [1]}}
    assert structlog.get_context(log) == {"mine": {"a": [1]}}


def test_a_poisoned_record_stops_nothing_behind_it(capfd):
    class Picky(MemorySink):
        def _write(self, batch):
            if any(b"poison" in record.line for record in batch):
                raise ValueError("cannot")
            super()._write(batch)

    sink = Picky()
    pylog_struct.configure(sink=QueueSink(sink), format="json")
    for index in range(500):
        structlog.get_logger().info("poison" if index == 250 else "fine", index=index)

    assert pylog_struct.flush(WATCHDOG)
    assert len(sink.records) == 499
    ledger = pylog_struct.statistics()
    assert ledger["queue"].drops == {("rejected", "info"): 1}
    assert ledger.balanced


def test_render_and_deliver_are_two_steps_for_those_who_need_them():
    sink = MemorySink()
    pipeline = Pipeline(
        LockedSink(sink, absorb=True),
        render=lambda event_dict: json.dumps(event_dict).encode(),
        counts=PipelineCounts(),
    )

    record = pipeline.render(INFO, "info", named_logger("x"), "event", (), {"a": 1}, {"b": 2})
    assert not sink.records
    pipeline.deliver(record)

    assert sink.events[0]["a"] == 1
    assert record.level == INFO
    assert record.created > 1_700_000_000
    assert ACTIVE.pipeline is None


def test_an_event_that_comes_to_a_closed_tree_goes_to_the_one_that_took_over():
    sink = memory_pipeline()
    late = ACTIVE.pipeline
    second = memory_pipeline()

    late.emit(INFO, "info", named_logger("x"), "late", (), {}, {})

    assert not sink.records
    assert second.events[0]["event"] == "late"


def test_notices_of_ours_are_no_conflicts_in_ecs(capfd):
    """A failover's ``source`` and a status page's ``client`` have names of objects there."""
    registry, spare = CollectorRegistry(), MemorySink(name="spare")
    pylog_struct.configure(
        sink=FailoverSink([FailingSink(name="broken"), spare]), format="ecs", registry=registry
    )
    structlog.get_logger().error("x")
    ACTIVE.pipeline.deliver(ACTIVE.pipeline.notice(30, "level.changed", {"client": "127.0.0.1"}))

    switch, changed = (
        next(event for event in spare.events if event["message"] == name)
        for name in ("sink.switch", "level.changed")
    )
    assert (switch["labels"]["source"], switch["target"]) == ("broken", "spare")
    assert changed["labels"] == {"client": "127.0.0.1"}
    assert registry.get_sample_value(
        "pylog_processing_errors_total", {"stage": "type_conflict"}
    ) in (
        None,
        0,
    )
    assert "ECS" not in capfd.readouterr().err

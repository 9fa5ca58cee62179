"""Signal handlers, finalisers, a sink and eight threads log at once, over a queue that is too small."""

from __future__ import annotations

import collections
import gc
import logging
import sys
import threading

import pytest
import structlog
from support.alarms import alarms
from support.events import only_the_bridge

import pylog_struct
from pylog_struct.sinks import MemorySink
from pylog_struct.thresholds import Thresholds

WATCHDOG = 60.0
# Made beforehand: getLogger() has a lock of the stdlib's, which a signal handler must not wait for.
DOORS = {name: logging.getLogger(name) for name in ("sink", "alarm")}

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="no interval timer"),
    pytest.mark.timeout(120, method="thread"),  # the timer of the other method is used here
]


class Chatty(MemorySink):
    """Logs an error through each door for the first writes that are not its own."""

    said = 0

    def _write(self, batch):
        super()._write(batch)
        if self.said < 200 and any(b'"from the sink"' not in record.line for record in batch):
            self.said += 2
            structlog.get_logger("sink").error("from the sink")
            DOORS["sink"].error("from the sink")


@pytest.fixture
def eager_collection():
    before = gc.get_threshold()
    gc.set_threshold(50, 5, 5)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("eager_collection")
@pytest.mark.parametrize("policy", ["Discard", "DiscardLowLevel", "Block"])
def test_10_000_events_with_handlers_finalisers_and_a_sink_that_log(policy):
    sink = Chatty()
    manager = pylog_struct.configure(sink=sink, format="json", queue_size=64, full_policy=policy)
    only_the_bridge()  # a handler with a lock of its own can deadlock with a signal handler: not ours
    log = structlog.get_logger()
    sent = collections.Counter()

    class Farewell:
        def __init__(self):
            self.me = self

        def __del__(self):
            sent["farewell"] += 1
            log.error("farewell")

    def on_alarm():
        sent["alarm"] += 1
        log.error("alarm")
        DOORS["alarm"].error("alarm")

    def work():
        for _ in range(1000):
            log.info("thread")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    with alarms(on_alarm, 0.001):
        for thread in threads:
            thread.start()
        for number in range(6000):
            log.info("main")
            if number % 20 == 0:
                Farewell()
        for thread in threads:
            thread.join(WATCHDOG)
            assert not thread.is_alive(), "deadlock"
    gc.collect()

    said = None
    while said != sink.said:  # what the sink says during a flush comes after it
        said = sink.said
        assert pylog_struct.flush(WATCHDOG)
    arrived = collections.Counter(event["event"] for event in sink.events)
    assert sent["alarm"] > 0
    assert arrived["alarm"] == 2 * sent["alarm"]
    assert arrived["farewell"] == sent["farewell"] == 300
    assert arrived["from the sink"] == sink.said > 0
    ledger = manager.statistics()
    assert ledger.balanced
    (root,) = (one for one in ledger.sinks.values() if "queue.capacity" in one.details)
    missing = 10_000 - arrived["main"] - arrived["thread"]
    assert missing == root.dropped
    assert {level for _, level in root.drops} <= {"info"}


def test_a_logger_can_be_had_and_follows_its_level_while_another_thread_makes_one():
    """What a finaliser meets that runs while the logger of some other name is being made."""
    thresholds = Thresholds()
    held, done = threading.Event(), threading.Event()

    def hold():
        with thresholds._lock:
            held.set()
            assert done.wait(WATCHDOG)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(WATCHDOG)
    logger = thresholds.logger("app.db")
    passing = thresholds.passing("app.db")
    done.set()
    thread.join(WATCHDOG)
    first = thresholds.logger("app.db")
    thresholds.set("app", logging.ERROR)

    assert (logger.level, first.level) == (logging.ERROR, logging.ERROR)
    assert (logger.name, passing.name) == ("app.db", "app.db")
    assert thresholds.logger("app.db") is first

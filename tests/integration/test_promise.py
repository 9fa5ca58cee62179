"""The promise as a whole: no call raises, none blocks without a bound, no event disappears unseen."""

from __future__ import annotations

import json
import logging
import random
import threading
import time

import pytest
import structlog
from support.payloads import PAYLOADS
from support.queue_sinks import FlakySink, GatedSink

import pylog_struct
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink
from pylog_struct.stdlib_bridge import BridgeHandler

WATCHDOG = 60.0


def test_a_small_queue_over_a_slow_sink_drops_info_counts_it_and_delivers_every_error():
    sink = GatedSink()
    pylog_struct.configure(sink=QueueSink(sink, capacity=32, policy="discard"), format="json")
    log = structlog.get_logger()

    for number in range(500):
        log.info("info", number=number)
        if number % 50 == 0:
            log.error("error", number=number)
    sink.gate.set()

    assert pylog_struct.flush(WATCHDOG)
    names = [event["event"] for event in sink.events]
    ledger = pylog_struct.statistics()
    assert names.count("error") == 10
    dropped = sum(n for (_, level), n in ledger["queue"].drops.items() if level == "info")
    assert names.count("info") + dropped == 500
    assert dropped > 0
    assert ledger.balanced


@pytest.mark.parametrize("policy", ["discard", "discard_oldest", "discard_low_level", "block"])
def test_threads_payloads_faults_and_shutdown_in_the_middle_still_add_up(policy, capfd):
    sink = FlakySink(7)
    manager = pylog_struct.configure(
        sink=QueueSink(
            FailoverSink([sink, MemorySink(capacity=1)]), capacity=64, policy=policy, spill=False
        ),
        format="json",
        level="DEBUG",
        shutdown_timeout=10,
    )
    cheap = [one for one in PAYLOADS if not one.expensive and "M" not in one.name.upper()]
    sent = [0] * 8
    stop = threading.Event()

    def work(number):
        chance = random.Random(number)
        log, door = structlog.get_logger("s"), logging.getLogger("l")
        while not stop.is_set() and sent[number] < 1500:
            payload = chance.choice(cheap).make() if sent[number] % 100 == 0 else sent[number]
            level = chance.choice([10, 20, 30, 40])
            if chance.random() < 0.5:
                log.log(level, "x", payload=payload)
            else:
                door.log(level, "x", extra={"payload": payload})
            sent[number] += 1

    door = logging.getLogger("l")
    # A bridge of its own: pytest's handlers raise on odd values, and shutdown takes the common one away.
    bridge = BridgeHandler()
    door.propagate = False
    door.setLevel(logging.DEBUG)
    door.addHandler(bridge)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    try:
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        report = pylog_struct.shutdown()
        stop.set()
        for thread in threads:
            thread.join(WATCHDOG)
            assert not thread.is_alive()
    finally:
        door.propagate = True
        door.setLevel(logging.NOTSET)
        door.removeHandler(bridge)

    ledger = manager.statistics()
    assert ledger.balanced, ledger
    assert report.written == ledger["queue"].written
    notices = ledger.emitted - sum(sent)
    assert 0 <= notices < 200  # log.gap and the like, which the sinks themselves add
    assert ledger["queue"].waiting == 0


def test_a_caller_is_never_held_longer_than_its_policy_says():
    sink = GatedSink()
    pylog_struct.configure(
        sink=QueueSink(
            sink, capacity=2, policy="block", block_timeout=0.2, guarantee_timeout=0.2, reserve=0
        ),
        format="json",
    )
    log = structlog.get_logger()
    slowest = 0.0
    for number in range(6):
        began = time.monotonic()
        (log.error if number % 2 else log.info)("x", number=number)
        slowest = max(slowest, time.monotonic() - began)
    sink.gate.set()

    assert slowest < 10
    assert pylog_struct.flush(WATCHDOG)
    assert sorted(json.loads(line)["number"] for line in sink.lines) == list(range(6))
    assert pylog_struct.statistics().balanced

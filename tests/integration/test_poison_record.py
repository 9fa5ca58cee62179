"""One record that no sink takes, and a worker that somebody kills: all the others arrive."""

from __future__ import annotations

import ctypes
import threading
import time

import pytest
import structlog
from prometheus_client import CollectorRegistry

import pylog_struct
from pylog_struct.errors import SinkRejectedError
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink

PATIENCE = 30.0


class Picky(MemorySink):
    """Waits for its gate, notes the size of every batch, and refuses poison in one of two ways."""

    def __init__(self, *, translated):
        super().__init__(name="picky")
        self.translated = translated
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.sizes = []

    def _write(self, batch):
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        self.sizes.append(len(batch))
        bad = [record for record in batch if b"poison" in record.line]
        if bad and not self.translated:
            raise ValueError("no such document")
        super()._write([record for record in batch if b"poison" not in record.line])
        if bad:
            raise SinkRejectedError("no such document", bad)


@pytest.mark.parametrize(
    ("translated", "behind_failover"),
    [
        pytest.param(True, False, id="SinkRejectedError"),
        pytest.param(False, False, id="ValueError"),
        # A failover sink takes an error that nobody translated for a failure of the whole sink.
        pytest.param(True, True, id="SinkRejectedError behind a failover"),
    ],
)
def test_499_of_a_batch_of_500_arrive_and_one_is_a_dead_letter_with_its_reason(
    translated, behind_failover, capfd
):
    picky, second, dead = Picky(translated=translated), MemorySink(name="second"), MemorySink()
    registry = CollectorRegistry()
    inner = FailoverSink([picky, second]) if behind_failover else picky
    queue = QueueSink(inner, dead_letter=dead, name="q")
    pylog_struct.configure(sink=queue, format="json", registry=registry)
    log = structlog.get_logger()

    log.info("opener")
    assert picky.entered.wait(PATIENCE)
    for number in range(500):
        log.info("poison" if number == 250 else "fine", number=number)
    picky.gate.set()

    assert pylog_struct.flush(PATIENCE)
    assert 500 in picky.sizes, "the poison was meant to be in one batch with the others"
    fine = [event["number"] for event in picky.events if event["event"] == "fine"]
    assert fine == [number for number in range(500) if number != 250]
    [letter] = dead.events
    assert (letter["event"], letter["number"]) == ("poison", 250)
    assert letter["dead_letter"]["sink"] == inner.name
    assert "no such document" in letter["dead_letter"]["reason"]
    assert not second.records, "a poisoned record is no reason to fail over"
    ledger = pylog_struct.statistics()
    assert ledger.balanced
    assert ledger["q"].drops == {("rejected", "info"): 1}
    labels = {"sink": "q", "reason": "rejected", "level": "info"}
    assert registry.get_sample_value("pylog_events_dropped_total", labels) == 1
    assert registry.get_sample_value("pylog_events_written_total", {"sink": "q"}) == 500
    said = capfd.readouterr().err
    assert "1 record(s) rejected, in the dead letters" in said
    assert "no such document" in said


class Stray(BaseException):
    """What somebody throws into a thread that is none of theirs."""


def hit_the_worker():
    for thread in threading.enumerate():
        if thread.name.startswith("pylog-queue"):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(Stray)
            )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_killed_by_an_asynchronous_exception_is_started_again_and_counted(capfd):
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink, policy="block", name="q"), format="json")
    log = structlog.get_logger()

    def restarts():
        return pylog_struct.statistics()["q"].details.get("worker.restarts", 0)

    number = 0
    ends = time.monotonic() + PATIENCE
    while restarts() < 3 and time.monotonic() < ends:
        hit_the_worker()
        for _ in range(50):  # the exception strikes when the worker next runs
            log.info("x", number=number)
            number += 1
        assert pylog_struct.flush(PATIENCE)

    assert restarts() >= 3
    log.info("x", number=number)
    assert pylog_struct.flush(PATIENCE)
    assert [event["number"] for event in sink.events] == list(range(number + 1))
    ledger = pylog_struct.statistics()
    assert ledger.balanced
    assert (ledger["q"].dropped, ledger["q"].waiting) == (0, 0)
    assert "the worker was hit" in capfd.readouterr().err

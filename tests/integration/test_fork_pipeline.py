"""Configured before a fork, it works after it, in parent and child, with no hook in the user's code."""

from __future__ import annotations

import json

import pytest
from support.process import run

SETUP = """
import json, os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork() with threads around
import logging, pylog_struct, structlog
from pylog_struct.sinks import MemorySink, QueueSink, StreamSink

def log(first, last, who):
    logger = structlog.get_logger(who)
    for number in range(first, last):
        logger.info("x", number=number)

def child(work, *args):
    pid = os.fork()
    if pid == 0:
        work(*args)
        sys.exit(0)
    return pid

def join(*pids):
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def events(done):
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    return [(event["logger"], event["number"]) for event in done.named("x")]


def test_the_backlog_stays_the_parents():
    done = run(
        SETUP
        + """
class Slow(StreamSink):
    def write(self, batch):
        time.sleep(0.01)
        super().write(batch)
pylog_struct.configure(sink=QueueSink(Slow("stdout"), batch_records=10), format="json")
log(0, 500, "parent")
pids = [child(log, 0, 500, f"child-{n}") for n in range(3)]
log(500, 1000, "parent")
join(*pids)
"""
    )

    found = events(done)
    assert len(found) == len(set(found)) == 1000 + 3 * 500


def test_a_fork_while_other_threads_log():
    done = run(
        SETUP
        + """
pylog_struct.configure(sink=QueueSink(StreamSink("stdout"), policy="block"), format="json")
stop = threading.Event()
sent = [0] * 4
def busy(n):
    while not stop.is_set():
        structlog.get_logger(f"thread-{n}").info("x", number=sent[n])
        logging.getLogger("std").debug("not audible")
        sent[n] += 1
        if sent[n] % 50 == 0:
            time.sleep(0.001)
threads = [threading.Thread(target=busy, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for n in range(10):
    join(child(log, 0, 50, f"child-{n}"))
stop.set()
for thread in threads: thread.join()
structlog.get_logger("total").info("total", sent=sum(sent))
"""
    )

    found = events(done)
    assert len(found) == len(set(found)) == done.named("total")[0]["sent"] + 10 * 50


def test_without_a_queue_and_with_grandchildren():
    done = run(
        SETUP
        + """
pylog_struct.configure(format="json")
log(0, 100, "parent")
def family():
    log(0, 100, "child")
    join(child(log, 0, 100, "grandchild"))
join(child(family))
log(100, 200, "parent")
"""
    )

    found = events(done)
    assert len(found) == len(set(found)) == 400


def test_the_childs_ledger_starts_at_zero_and_balances():
    done = run(
        SETUP
        + """
def drop(logger, name, event):
    if event["number"] == 3:
        raise structlog.DropEvent
    return event
pylog_struct.configure(sink=QueueSink(StreamSink("stdout")), format="json", processors=[drop])
log(0, 10, "parent")
def look():
    log(0, 7, "child")
    assert pylog_struct.flush(20)
    ledger = pylog_struct.statistics()
    assert (ledger.emitted, ledger.discarded) == (7, 1), ledger
    assert ledger.balanced
    assert pylog_struct.shutdown().written == 6
join(child(look))
assert pylog_struct.flush(20)
assert pylog_struct.statistics().emitted == 10
"""
    )

    assert len(events(done)) == 15


def test_the_child_can_configure_while_the_parent_was_just_doing_so():
    done = run(
        SETUP
        + """
class Slow(StreamSink):
    def close(self, timeout=None):
        closing.set()
        time.sleep(1)
        super().close(timeout)
closing = threading.Event()
pylog_struct.configure(sink=Slow("stdout"), format="json")
thread = threading.Thread(target=pylog_struct.configure, kwargs={"format": "json"})
thread.start()
assert closing.wait(20)
def work():
    pylog_struct.configure(format="json")
    log(0, 10, "child")
join(child(work))
thread.join()
log(0, 10, "parent")
"""
    )

    assert len(events(done)) == 20


def test_set_level_with_a_duration_reverts_in_the_child_too():
    done = run(
        SETUP
        + """
pylog_struct.configure(format="json", level="ERROR")
pylog_struct.set_level("INFO", duration=0.5)
def work():
    log(0, 1, "child")
    logger = structlog.get_logger("child")
    ends = time.monotonic() + 20
    while logger.is_enabled_for(20) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not logger.is_enabled_for(20)
join(child(work))
"""
    )

    assert events(done) == [("child", 0)]


def test_a_child_after_shutdown_is_closed_too():
    done = run(
        SETUP
        + """
pylog_struct.configure(format="json")
pylog_struct.shutdown()
def work():
    assert pylog_struct.flush()
    pylog_struct.configure(format="json")
    log(0, 5, "child")
join(child(work))
"""
    )

    assert len(events(done)) == 5


@pytest.mark.parametrize("queued", [False, True])
def test_ecs_documents_name_the_process_that_logged(queued):
    done = run(
        f"""
        import os, warnings, structlog, pylog_struct
        from pylog_struct.sinks import QueueSink, StreamSink

        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork() with threads around
        sink = StreamSink("stdout")
        pylog_struct.configure(sink=QueueSink(sink) if {queued} else sink, format="ecs")
        log = structlog.get_logger("x")
        for number in range(3):
            log.info("parent", number=number, own=os.getpid())
        child = os.fork()
        if child == 0:
            for number in range(3):
                log.info("child", number=number, own=os.getpid())
            raise SystemExit(0)
        os.waitpid(child, 0)
        log.info("parent", number=3, own=os.getpid())
        """
    )

    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) == 7
    assert all(document["process.pid"] == document["own"] for document in documents)
    assert len({document["own"] for document in documents}) == 2

"""The threads that are started here end cleanly, also where gevent changed names under them."""

from __future__ import annotations

import threading

from pylog_struct._background import BackgroundThread
from pylog_struct.sinks import MemorySink, QueueSink


def test_it_is_a_daemon_and_is_forgotten_at_its_end():
    thread = BackgroundThread(target=lambda: None, name="x")
    thread.start()
    thread.join()

    assert thread.daemon
    assert thread not in threading.enumerate()


def test_an_ident_that_changed_meanwhile_is_no_error(monkeypatch):
    """What gevent's patches do to a thread that runs already."""
    failures = []
    monkeypatch.setattr("sys.unraisablehook", failures.append)
    begun, go_on = threading.Event(), threading.Event()

    def run():
        begun.set()
        go_on.wait(60)

    thread = BackgroundThread(target=run)
    thread.start()
    begun.wait(60)
    real = threading.get_ident

    monkeypatch.setattr(threading, "get_ident", lambda: real() + (real() == thread.ident))
    go_on.set()
    thread.join()
    monkeypatch.undo()

    assert failures == []
    assert thread not in threading.enumerate()


def test_a_worker_that_lives_on_in_a_child_leaves_the_parents_records_alone():
    """Under gevent a thread is a greenlet, and the child of a fork has all of them."""
    inner = MemorySink()
    queue = QueueSink(inner, linger=60)
    queue.put((30, b'{"event":"parent"}', 0.0))
    worker = queue._worker

    queue._after_fork_in_child()  # as if this process were the child
    queue.put((30, b'{"event":"child"}', 0.0))
    worker.ring()
    worker._thread.join(60)
    queue.close(10)

    assert not worker._thread.is_alive()
    assert [record[1] for record in inner.records] == [b'{"event":"child"}']

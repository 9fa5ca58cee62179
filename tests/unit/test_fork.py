"""Care for forks: locks are held around them, and every registered object is re-armed in the child."""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
import warnings
import weakref
from typing import ClassVar

import pytest

from pylog_struct import diagnostics, fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def _child_says(work, timeout=30.0):
    """Fork, run *work* in the child, and return the text it answered with ("" if it died or hung)."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: what we test
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            os.write(writer, str(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    done = threading.Event()
    killer = threading.Timer(timeout, lambda: done.is_set() or os.kill(pid, 9))
    killer.start()
    try:
        with os.fdopen(reader, "rb") as stream:
            answer = stream.read().decode()
        os.waitpid(pid, 0)
    finally:
        done.set()
        killer.cancel()
        killer.join()
    return answer


class Rearmed:
    def __init__(self, error=None):
        self.calls = 0
        self.error = error
        fork.register(self)

    def _after_fork_in_child(self):
        self.calls += 1
        if self.error is not None:
            raise self.error


def test_registered_objects_are_rearmed_in_the_child_only():
    thing = Rearmed()
    assert _child_says(lambda: thing.calls) == "1"
    assert thing.calls == 0


def test_one_that_fails_is_reported_and_keeps_no_other_from_its_turn(monkeypatch):
    things = [Rearmed(), Rearmed(ValueError("broken")), Rearmed()]
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    answer = _child_says(lambda: f"{[thing.calls for thing in things]} {stream.getvalue()}")
    assert answer.startswith("[1, 1, 1] pylog_struct: could not re-arm Rearmed after a fork")
    assert "ValueError: broken" in answer


def test_registering_keeps_nothing_alive():
    thing, lock = Rearmed(), threading.Lock()
    fork.hold(lock)
    references = weakref.ref(thing), weakref.ref(lock)
    del thing, lock
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.slow
def test_a_held_lock_is_free_in_the_child_though_a_thread_keeps_taking_it():
    lock = threading.Lock()
    fork.hold(lock)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with lock:
                pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        answers = [_child_says(lambda: lock.acquire(timeout=10)) for _ in range(50)]
    finally:
        stop.set()
        thread.join()
    assert answers == ["True"] * 50
    assert lock.acquire(timeout=10)
    lock.release()


def test_a_fork_waits_for_the_thread_that_has_a_held_lock():
    lock = threading.Lock()
    fork.hold(lock)
    taken, go_on = threading.Event(), threading.Event()

    def work():
        with lock:
            taken.set()
            go_on.wait(0.3)

    thread = threading.Thread(target=work)
    thread.start()
    assert taken.wait(20)
    try:
        assert _child_says(lambda: lock.acquire(blocking=False)) == "True"
    finally:
        go_on.set()
        thread.join()


def test_a_lock_that_is_never_released_does_not_hold_up_the_fork_for_ever():
    lock = threading.Lock()
    fork.hold(lock)
    with lock:
        assert _child_says(lambda: lock.locked()) == "True"
    assert not lock.locked()


def test_two_threads_may_fork_at_once():
    locks = [threading.RLock() for _ in range(5)]
    for lock in locks:
        fork.hold(lock)
    barrier = threading.Barrier(2)
    errors = []
    before = sys.unraisablehook

    def work():
        barrier.wait()
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if all(lock.acquire(timeout=10) for lock in locks) else 1)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                errors.append("a lock was taken in the child")

    sys.unraisablehook = lambda problem: errors.append(repr(problem.exc_value))
    try:
        threads = [threading.Thread(target=work) for _ in range(2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.unraisablehook = before
    assert errors == []
    assert all(lock.acquire(timeout=10) for lock in locks)
    for lock in locks:
        lock.release()


class ForkingLock:
    """Lets another thread fork in the middle of a fork: between two locks that are taken for it."""

    journal: ClassVar[list] = []

    def acquire(self, timeout):
        self.journal.append(("acquire", threading.get_ident()))
        if len(self.journal) == 2:
            other = threading.Thread(target=self._another_fork)
            other.start()
            other.join()
        return True

    def release(self):
        self.journal.append(("release", threading.get_ident()))

    @staticmethod
    def _another_fork():
        # Our two steps of it only: concurrent.futures, imported after us, holds its lock since
        # before the fork that is under way, and a true one would wait for that.
        fork._before()
        fork._after_in_parent()


@pytest.mark.slow
def test_a_fork_gives_back_only_what_it_took_itself():
    locks = [ForkingLock(), ForkingLock()]
    for lock in locks:
        fork.hold(lock)
    assert _child_says(lambda: "x") == "x"
    threads = [thread for _, thread in ForkingLock.journal]
    me = threading.get_ident()
    assert len(threads) == 8
    assert [thread == me for thread in threads] == [True] * 2 + [False] * 4 + [True] * 2


class ShakySet:
    """A set that another thread adds to while it is read."""

    def __init__(self, things, failures):
        self.things, self.failures = things, failures

    def __iter__(self):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("Set changed size during iteration")
        return iter(self.things)


def test_objects_may_be_registered_while_another_thread_forks(monkeypatch):
    thing = Rearmed()
    monkeypatch.setattr(fork, "_objects", ShakySet([thing], failures=3))
    assert _child_says(lambda: thing.calls) == "1"


def test_the_child_starts_with_diagnostics_of_its_own(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    diagnostics.report("a", "in the parent")
    with diagnostics._lock:
        assert _child_says(lambda: diagnostics.report("a", "in the child")) == "True"

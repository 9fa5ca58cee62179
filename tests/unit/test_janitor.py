"""The one background thread: jobs in order, timed work, forks, and life without threads."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import warnings

import pytest

from pylog_struct import _janitor, fork
from pylog_struct._janitor import Janitor

_LONG = 20.0  # seconds; only a broken janitor takes them


@pytest.fixture(name="janitor")
def _janitor_of_the_test(monkeypatch):
    monkeypatch.setattr(_janitor, "_IDLE", 0.05)
    janitor = Janitor()
    yield janitor
    for owner in list(janitor._polls):
        janitor.cancel(owner)


@pytest.fixture(name="no_threads")
def _no_threads(monkeypatch):
    """Like an interpreter that is shutting down; call it to let threads start again."""

    def refuse(_self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield patch.undo


def _wait_until(condition):
    ends = time.monotonic() + _LONG
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.002)


class Blocker:
    """A job that runs until it is told to go on."""

    def __init__(self):
        self.running, self.go_on = threading.Event(), threading.Event()

    def __call__(self):
        self.running.set()
        assert self.go_on.wait(_LONG)


# -- jobs -----------------------------------------------------------------------------------------


def test_jobs_run_one_after_the_other_in_one_background_thread(janitor):
    done, threads = [], set()

    def job(number):
        done.append(number)
        threads.add(threading.current_thread())

    for number in range(50):
        janitor.submit("owner", lambda number=number: job(number))
    assert janitor.join("owner", _LONG)
    assert done == list(range(50))
    assert len(threads) == 1
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name == "pylog-janitor"


def test_a_job_that_fails_is_reported_and_the_next_one_runs(janitor, capsys):
    done = []
    janitor.submit("disk", lambda: 1 / 0)
    janitor.submit("disk", lambda: done.append(1))
    assert janitor.join("disk", _LONG)
    assert done == [1]
    assert "background file work failed (ZeroDivisionError" in capsys.readouterr().err


def test_a_job_that_wants_to_exit_does_not_take_the_others_along(janitor, capsys):
    blocker, done = Blocker(), []
    janitor.submit("a", blocker)
    janitor.submit("a", lambda: sys.exit(3))
    janitor.submit("a", lambda: done.append(1))
    blocker.go_on.set()
    assert janitor.join("a", _LONG)
    assert done == [1]
    assert "background file work wanted to exit (SystemExit: 3)" in capsys.readouterr().err


def test_many_threads_may_submit(janitor):
    done = []
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(100):
            janitor.submit("x", lambda: done.append(1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert janitor.join("x", _LONG)
    assert len(done) == 800


def test_a_job_may_submit_another(janitor):
    done = []
    janitor.submit("a", lambda: janitor.submit("a", lambda: done.append(1)))
    assert janitor.join("a", _LONG)
    assert done == [1]


# -- join -----------------------------------------------------------------------------------------


def test_joining_nothing_is_done_at_once(janitor):
    assert janitor.join("nobody", 0.0)


def test_join_gives_up_after_its_timeout_and_the_work_goes_on(janitor):
    blocker, done = Blocker(), []
    janitor.submit("a", blocker)
    janitor.submit("b", lambda: done.append(1))
    assert blocker.running.wait(_LONG)
    assert janitor.join("a", 0.01) is False
    assert janitor.join("b", 0.01) is False
    assert janitor.join("c", 0.01) is True
    blocker.go_on.set()
    assert janitor.join("a")
    assert janitor.join("b")
    assert done == [1]


def test_a_job_that_joins_does_not_wait_for_itself(janitor):
    answers = {}

    def job():
        answers.update({owner: janitor.join(owner) for owner in ("a", "b", "c")})

    blocker = Blocker()
    janitor.submit("start", blocker)
    janitor.submit("a", job)
    janitor.submit("b", lambda: None)
    blocker.go_on.set()
    assert janitor.join("b", _LONG)
    assert answers == {"a": False, "b": False, "c": True}


# -- timed work -----------------------------------------------------------------------------------


def test_a_poll_is_called_at_once_and_again_after_what_it_returns(janitor):
    calls, enough = [], threading.Event()

    def poll(now):
        calls.append((now, time.monotonic()))
        if len(calls) == 5:
            enough.set()
        return 0.02

    janitor.schedule("a", poll)
    assert enough.wait(_LONG)
    janitor.cancel("a")
    starts = [now for now, _ in calls]
    assert len(starts) >= 5
    assert all(later - earlier >= 0.02 for earlier, later in itertools.pairwise(starts))
    assert all(now <= called for now, called in calls)


@pytest.mark.parametrize("wait", [0.0, -5.0, None])
def test_a_poll_that_is_overdue_or_has_nothing_pending_is_asked_again(janitor, monkeypatch, wait):
    monkeypatch.setattr(_janitor, "_PAUSE", 0.01)
    enough, calls = threading.Event(), []

    def poll(_now):
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        return wait

    janitor.schedule("a", poll)
    assert enough.wait(_LONG)


@pytest.mark.parametrize("answer", [ValueError("broken"), SystemExit(1), "soon"])
def test_a_poll_that_fails_is_reported_and_asked_again(janitor, monkeypatch, capsys, answer):
    monkeypatch.setattr(_janitor, "_PAUSE", 0.01)
    enough, calls, others = threading.Event(), [], []

    def poll(_now):
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    janitor.schedule("a", poll)
    janitor.schedule("b", lambda _now: others.append(1))
    assert enough.wait(_LONG)
    _wait_until(lambda: others)
    assert "timed work failed (" in capsys.readouterr().err


def test_after_cancel_a_poll_is_not_called_any_more(janitor):
    calls, called = [], threading.Event()

    def poll(_now):
        calls.append(1)
        janitor.cancel("a")
        called.set()
        return 0.0

    janitor.schedule("a", poll)
    assert called.wait(_LONG)
    janitor.submit("b", lambda: None)
    assert janitor.join("b", _LONG)
    turn = threading.Event()
    janitor.schedule("b", lambda _now: turn.set() or 60.0)
    assert turn.wait(_LONG)
    assert calls == [1]
    janitor.cancel("a")
    janitor.cancel("never scheduled")


def test_a_schedule_made_while_the_old_one_is_running_is_not_put_off_by_it(janitor):
    running, go_on, second = threading.Event(), threading.Event(), threading.Event()

    def old(_now):
        running.set()
        assert go_on.wait(_LONG)
        return 60.0

    janitor.schedule("a", old)
    assert running.wait(_LONG)
    janitor.schedule("a", lambda _now: second.set() or 60.0)
    go_on.set()
    assert second.wait(_LONG)


def test_jobs_and_polls_share_the_thread(janitor):
    threads, polled, stop = set(), threading.Event(), threading.Event()

    def poll(_now):
        threads.add(threading.current_thread())
        polled.set()
        return 0.001 if not stop.is_set() else 60.0

    janitor.schedule("a", poll)
    assert polled.wait(_LONG)
    for _ in range(20):
        janitor.submit("b", lambda: threads.add(threading.current_thread()))
    assert janitor.join("b", _LONG)
    stop.set()
    assert len(threads) == 1


# -- the thread -----------------------------------------------------------------------------------


def test_the_thread_ends_when_it_has_nothing_to_do_and_starts_again(janitor):
    seen = []
    for _ in range(2):
        janitor.submit("a", lambda: seen.append(threading.current_thread()))
        assert janitor.join("a", _LONG)
        seen[-1].join(_LONG)
        assert not seen[-1].is_alive()
    assert seen[0] is not seen[1]


def test_where_no_thread_can_be_started_jobs_run_in_the_callers(janitor, no_threads, capsys):
    done = []
    janitor.submit("a", lambda: done.append(threading.current_thread()))
    assert done == [threading.current_thread()]
    janitor.submit("a", lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert janitor.join("a", 0.0)


def test_where_no_thread_can_be_started_a_schedule_waits_for_one(janitor, no_threads):
    called = threading.Event()
    janitor.schedule("a", lambda _now: called.set() or 60.0)
    assert not called.is_set()
    no_threads()
    janitor.submit("b", lambda: None)
    assert called.wait(_LONG)


def test_join_waits_for_a_job_in_its_callers_thread(janitor, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "pylog-janitor":
            raise RuntimeError("can't start new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    blocker = Blocker()
    caller = threading.Thread(target=janitor.submit, args=("a", blocker))
    caller.start()
    assert blocker.running.wait(_LONG)
    assert janitor.join("a", 0.01) is False
    assert janitor.join("b", 0.01) is True
    blocker.go_on.set()
    assert janitor.join("a", _LONG)
    caller.join(_LONG)


def test_a_job_in_its_callers_thread_may_submit_and_join(janitor, no_threads):
    done = []

    def job():
        janitor.submit("b", lambda: done.append("inner"))
        done.append(janitor.join("a"))
        done.append(janitor.join("b"))

    janitor.submit("a", job)
    assert done == ["inner", False, True]
    assert janitor.join("a", 0.0)


# -- fork -----------------------------------------------------------------------------------------


def _in_child(work):
    """Whether *work*, run in the child of a fork, said yes in time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    killer = threading.Timer(40, os.kill, (pid, 9))
    killer.start()
    _, status = os.waitpid(pid, 0)
    killer.cancel()
    killer.join()
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_polls_by_itself_and_leaves_the_parents_jobs_to_the_parent(janitor):
    blocker, done = Blocker(), []
    polled = threading.Event()
    parent = os.getpid()

    def poll(_now):
        if os.getpid() != parent:
            polled.set()
        return 0.01

    janitor.schedule("timed", poll)
    janitor.submit("a", blocker)
    janitor.submit("a", lambda: done.append(1))
    assert blocker.running.wait(_LONG)

    def child():
        own = []
        janitor.submit("b", lambda: own.append(1))
        return (
            polled.wait(_LONG)
            and janitor.join("a", 0.0)
            and janitor.join("b", _LONG)
            and own == [1]
            and done == []
        )

    assert _in_child(child)
    blocker.go_on.set()
    assert janitor.join("a", _LONG)
    assert done == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_works_whatever_the_parents_threads_were_doing(janitor):
    stop = threading.Event()

    def work():
        while not stop.is_set():
            janitor.submit("a", lambda: None)
            janitor.schedule("b", lambda _now: 0.001)
            janitor.join("a", 1.0)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()

    def child():
        own = []
        janitor.submit("c", lambda: own.append(1))
        return janitor.join("c", _LONG) and own == [1]

    try:
        answers = [_in_child(child) for _ in range(25)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answers == [True] * 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_polls_only_when_everybody_has_forgotten_the_parent(janitor):
    """It would publish the parent's numbers as the child's, and release locks that are exchanged."""
    parent, seen, polled = os.getpid(), [], threading.Event()

    class Slow:
        def __init__(self):
            fork.register(self)

        def _after_fork_in_child(self):
            seen.append(polled.wait(0.01))

    def poll(_now):
        if os.getpid() != parent:
            polled.set()
        return 0.001

    many = [Slow() for _ in range(20)]  # they are called in no order
    janitor.schedule("timed", poll)
    assert _in_child(lambda: polled.wait(_LONG) and seen == [False] * len(many))


def test_a_thread_that_was_replaced_ends(janitor):
    blocker = Blocker()
    janitor.submit("a", blocker)
    assert blocker.running.wait(_LONG)
    old = janitor._thread
    janitor._after_fork_in_child()
    blocker.go_on.set()
    old.join(_LONG)
    assert not old.is_alive()
    assert janitor.join("a", 0.0)

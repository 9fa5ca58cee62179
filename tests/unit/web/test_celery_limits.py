"""A soft time limit in the middle of a log call comes a moment later; the task gets it all the same."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

pytest.importorskip("celery")

from billiard import pool
from billiard.exceptions import SoftTimeLimitExceeded
from support.events import memory_pipeline

import pylog_struct
from pylog_struct.web._celery.limits import PatientLimit, guard_limit

NUMBER = pool.SIG_SOFT_TIMEOUT


@pytest.fixture(autouse=True)
def _handler():
    before = signal.signal(NUMBER, pool.soft_timeout_sighandler)
    yield
    signal.signal(NUMBER, before)


class Limited:
    """Its own time limit comes while it is rendered."""

    def __repr__(self):
        os.kill(os.getpid(), NUMBER)
        return "rendered"


def test_the_event_is_whole_and_the_limit_comes_right_behind_it():
    sink = memory_pipeline()
    guard_limit()
    guard_limit()  # it is in place: changes nothing
    log = pylog_struct.get_logger()
    reached = []
    before = sys.gettrace()
    with pytest.raises(SoftTimeLimitExceeded):  # noqa: PT012 - behind the first of the two
        log.info("limited", value=Limited())
        reached.append("the next line")
    sys.settrace(before)

    [event] = [record.fields for record in sink.records]
    assert event["value"] == "rendered"
    assert reached == []


def test_a_log_call_that_is_the_last_thing_a_function_does():
    sink = memory_pipeline()
    guard_limit()
    before = sys.gettrace()

    def last():
        pylog_struct.get_logger().info("limited", value=Limited())

    with pytest.raises(SoftTimeLimitExceeded):
        last()
    sys.settrace(before)

    assert len(sink.records) == 1


def test_elsewhere_it_comes_at_once():
    guard_limit()
    assert isinstance(signal.getsignal(NUMBER), PatientLimit)
    with pytest.raises(SoftTimeLimitExceeded):
        os.kill(os.getpid(), NUMBER)


def test_another_handler_and_another_thread_are_left_alone():
    own = lambda *_: None  # noqa: E731
    signal.signal(NUMBER, own)
    guard_limit()
    assert signal.getsignal(NUMBER) is own
    signal.signal(NUMBER, pool.soft_timeout_sighandler)
    thread = threading.Thread(target=guard_limit)
    thread.start()
    thread.join()
    assert signal.getsignal(NUMBER) is pool.soft_timeout_sighandler

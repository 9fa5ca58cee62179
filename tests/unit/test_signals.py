"""The drain on a signal, without a process that dies of it: see integration/test_signals.py for those."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time

import pytest

from pylog_struct import ConfigError
from pylog_struct.signals import SignalDrain, parse_signals

WATCHDOG = 20.0
USR1 = signal.SIGUSR1


@pytest.fixture(autouse=True)
def _handlers():
    saved = {number: signal.getsignal(number) for number in (USR1, signal.SIGUSR2)}
    yield
    for number, handler in saved.items():
        signal.signal(number, handler)


class Handler:
    """A handler of the application's own, that counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, number, frame):
        self.calls.append(number)

    def reached(self, count=1):
        """Whether it is called so often before long.

        In short waits: a signal that comes just before a long one would not end it.
        """
        ends = time.monotonic() + WATCHDOG
        while len(self.calls) < count and time.monotonic() < ends:
            time.sleep(0.001)
        return len(self.calls) == count


@pytest.fixture
def previous():
    handler = Handler()
    signal.signal(USR1, handler)
    return handler


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ()),
        ("SIGTERM", (signal.SIGTERM,)),
        (["sigterm", signal.SIGINT, 10], (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)),
        (["SIGTERM", 15, signal.SIGTERM], (signal.SIGTERM,)),
    ],
)
def test_signals_by_name_or_number_each_once(given, expected):
    assert parse_signals(given) == expected


@pytest.mark.parametrize("given", [5, ["SIGNOPE"], ["SIGKILL"], [None], [1000], [True]])
def test_others_are_refused(given):
    with pytest.raises(ConfigError, match="signals: "):
        parse_signals(given)


def test_the_pipeline_drains_then_the_previous_handler_runs_once(previous):
    order = []
    drain = SignalDrain([USR1], lambda last: order.append(("drain", last, bool(previous.calls))))
    drain.install()

    os.kill(os.getpid(), USR1)

    assert previous.reached()
    assert order == [("drain", False, False)]
    assert previous.calls == [USR1]
    assert signal.getsignal(USR1) is previous


def test_a_drain_that_raises_does_not_swallow_the_signal(previous, monkeypatch):
    failures = []
    failed = threading.Event()
    monkeypatch.setattr("sys.unraisablehook", lambda args: (failures.append(args), failed.set()))

    def drain(last):
        raise ZeroDivisionError

    SignalDrain([USR1], drain).install()

    os.kill(os.getpid(), USR1)

    assert previous.reached()
    assert failed.wait(WATCHDOG)
    assert failures[0].exc_type is ZeroDivisionError


def test_no_io_happens_in_the_handler_itself(previous):
    threads = []
    SignalDrain([USR1], lambda last: threads.append(threading.get_ident())).install()

    os.kill(os.getpid(), USR1)

    assert previous.reached()
    assert threads
    assert threads[0] != threading.get_ident()


def test_a_second_signal_while_draining_is_passed_on_at_once(previous):
    entered, go_on = threading.Event(), threading.Event()

    def drain(last):
        entered.set()
        go_on.wait(WATCHDOG)

    other = Handler()
    signal.signal(signal.SIGUSR2, other)
    SignalDrain([USR1, signal.SIGUSR2], drain).install()

    os.kill(os.getpid(), USR1)
    assert entered.wait(WATCHDOG)
    os.kill(os.getpid(), USR1)
    assert previous.reached()
    os.kill(os.getpid(), signal.SIGUSR2)
    assert other.reached()
    go_on.set()
    assert previous.reached(2)


def test_an_ignored_signal_stays_ignored():
    signal.signal(USR1, signal.SIG_IGN)
    drained = []
    drain = SignalDrain([USR1], drained.append)
    drain.install()

    os.kill(os.getpid(), USR1)
    drain.uninstall()

    assert not drained
    assert signal.getsignal(USR1) is signal.SIG_IGN


def test_handlers_are_given_back_unless_somebody_took_over(previous):
    drain = SignalDrain([USR1], lambda last: None)
    drain.install()
    drain.uninstall()
    assert signal.getsignal(USR1) is previous

    drain.install()
    signal.signal(USR1, signal.SIG_DFL)
    drain.uninstall()
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_taken_back_from_another_thread_the_handler_stays_and_passes_on(previous):
    drain = SignalDrain([USR1], lambda last: None)
    drain.install()

    thread = threading.Thread(target=drain.uninstall)
    thread.start()
    thread.join(WATCHDOG)
    assert signal.getsignal(USR1) != previous
    os.kill(os.getpid(), USR1)

    assert previous.reached()
    assert signal.getsignal(USR1) is previous


def test_installed_again_after_that_it_still_knows_the_first_handler(previous):
    drain = SignalDrain([USR1], lambda last: None)
    drain.install()
    thread = threading.Thread(target=drain.uninstall)
    thread.start()
    thread.join(WATCHDOG)

    drain.install()
    drain.uninstall()

    assert signal.getsignal(USR1) is previous


def test_installing_outside_of_the_main_thread_is_refused():
    caught = []

    def install():
        try:
            SignalDrain([USR1], lambda last: None).install()
        except ConfigError as error:
            caught.append(error)

    thread = threading.Thread(target=install)
    thread.start()
    thread.join(WATCHDOG)

    assert "main thread" in str(caught[0])


def test_when_no_thread_can_be_started_the_signal_is_passed_on(previous, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    drained = []
    SignalDrain([USR1], drained.append).install()
    monkeypatch.setattr(_thread, "start_new_thread", refuse)

    os.kill(os.getpid(), USR1)

    assert previous.reached()
    assert not drained


def test_where_no_thread_can_be_signalled_the_process_is(previous, monkeypatch):
    monkeypatch.delattr(signal, "pthread_kill")
    order = []
    drain = SignalDrain([USR1], order.append)

    drain._drain_and_raise(USR1, last=False)

    assert previous.reached()
    assert order == [False]

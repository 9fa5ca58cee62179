"""Signals to a real process: drained, then exactly what the signal did before."""

from __future__ import annotations

import signal
import time

import pytest
from support.process import finish, run, start

SETUP = """
import os, signal, sys, threading, time
import pylog_struct, structlog
from pylog_struct.sinks import QueueSink, StreamSink

class Slow(StreamSink):
    def write(self, batch):
        time.sleep(0.02)
        super().write(batch)

def setup(*signals, **options):
    sink = QueueSink(Slow("stdout"), batch_records=50, capacity=5000)
    return pylog_struct.configure(sink=sink, format="json", signals=signals, **options)

def burst():
    log = structlog.get_logger()
    for number in range(1000):
        log.info("burst", number=number)

def ready():
    os.write(2, b"ready\\n")

def wait():
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        time.sleep(0.05)
"""


def launch(script, *arguments):
    process = start(SETUP + script, *arguments)
    assert process.stderr.readline() == "ready\n"
    return process


def numbers(done):
    return sorted(event["number"] for event in done.named("burst"))


def test_sigterm_with_a_backlog_delivers_all_and_keeps_the_exit_code():
    process = launch("setup('SIGTERM'); burst(); ready(); wait()")

    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == -signal.SIGTERM
    assert numbers(done) == list(range(1000))


def test_without_signals_sigterm_is_left_alone():
    process = launch("setup(); burst(); ready(); wait()")

    process.send_signal(signal.SIGTERM)

    assert finish(process).code == -signal.SIGTERM


def test_a_handler_of_the_applications_own_runs_once_and_decides_the_exit_code():
    process = launch(
        """
def handler(number, frame):
    structlog.get_logger().info("previous handler")
    sys.exit(42)
signal.signal(signal.SIGTERM, handler)
setup('SIGTERM'); burst(); ready(); wait()
"""
    )

    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == 42
    assert len(done.named("previous handler")) == 1
    assert numbers(done) == list(range(1000))


def test_sigint_is_a_keyboard_interrupt_as_usual():
    process = launch(
        """
setup('SIGINT'); burst(); ready()
try:
    wait()
except KeyboardInterrupt:
    structlog.get_logger().info("interrupted")
    sys.exit(7)
"""
    )

    process.send_signal(signal.SIGINT)
    done = finish(process)

    assert done.code == 7
    assert len(done.named("interrupted")) == 1
    assert numbers(done) == list(range(1000))


def test_an_ignored_signal_stays_ignored():
    process = launch(
        """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
setup('SIGTERM'); burst(); ready()
sys.stdin = None
time.sleep(0.5)
structlog.get_logger().info("alive")
"""
    )

    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == 0
    assert len(done.named("alive")) == 1


def test_a_second_signal_does_not_wait_for_the_drain():
    process = launch(
        """
class Stuck(StreamSink):
    def write(self, batch):
        ready()
        threading.Event().wait()
pylog_struct.configure(sink=QueueSink(Stuck("stdout"), spill=False), signals=("SIGTERM",), shutdown_timeout=30)
structlog.get_logger().info("x"); wait()
"""
    )
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == -signal.SIGTERM
    assert time.monotonic() - began < 25


def test_with_a_stuck_sink_the_timeout_bounds_the_drain():
    process = launch(
        """
class Stuck(StreamSink):
    def write(self, batch):
        ready()
        threading.Event().wait()
pylog_struct.configure(sink=QueueSink(Stuck("stdout"), spill=False), signals=("SIGTERM",), shutdown_timeout=0.3)
structlog.get_logger().info("x"); wait()
"""
    )

    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == -signal.SIGTERM
    # "still wait" if there was a handler before ours, as coverage has one: then it only flushes.
    assert "1 record(s) abandoned" in done.stderr or "1 record(s) still wait" in done.stderr


def test_a_signal_in_the_middle_of_heavy_logging():
    process = launch(
        """
setup('SIGTERM')
log = structlog.get_logger()
number = 0
ready()
while True:
    log.error("burst", number=number)
    number += 1
"""
    )
    time.sleep(0.3)

    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.code == -signal.SIGTERM
    found = numbers(done)
    assert found == list(range(len(found)))  # no gap: what was accepted before the end arrived


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_in_the_child_of_a_fork_too(name):
    done = run(
        SETUP
        + f"""
setup({name!r})
pid = os.fork()
if pid == 0:
    burst()
    os.kill(os.getpid(), signal.{name})
    wait()
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
structlog.get_logger().info("child", code=code)
"""
    )

    assert done.code == 0
    assert done.named("child")[0]["code"] == -getattr(signal, name)
    assert numbers(done) == list(range(1000))

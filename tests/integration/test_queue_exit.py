"""The end of a process: everything logged arrives, and nothing hangs on a stuck sink."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import pylog_struct

PRELUDE = """
import atexit, asyncio, sys, threading, time
from pylog_struct.record import Record
from pylog_struct.errors import SinkError
from pylog_struct.sinks.base import BaseSink
from pylog_struct.sinks.bounded_queue import QueueSink

class Slow(BaseSink):
    def _write(self, batch):
        time.sleep(0.01)
        for record in batch:
            print(record.line.decode(), flush=True)

def close():
    try:
        queue.close()
    except SinkError as error:
        print("abandoned", len(error.unwritten), flush=True)

queue = QueueSink(Slow(), batch_records=100)
"""
LOG = "atexit.register(close)\nfor n in range(1000): queue.put(Record(20, b'%d' % n))\n"


def run(code, timeout=60):
    root = str(Path(pylog_struct.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{PRELUDE}{code}"],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("async def main(): queue.put(Record(20, b'1000'))\nasyncio.run(main())", 0),
    ],
    ids=["falls off the end", "sys.exit", "unhandled exception", "asyncio.run"],
)
def test_everything_arrives_at_a_normal_exit(ending, code):
    done = run(LOG + ending)
    assert done.returncode == code
    assert done.stdout.split()[:1000] == [str(number) for number in range(1000)]


def test_the_first_record_of_all_may_come_at_exit():
    done = run(
        "def last():\n"
        "    queue.put(Record(40, b'last words'))\n"
        "    queue.flush(5)\n"
        "    close()\n"
        "atexit.register(last)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "last words\n", "")


def test_a_stuck_sink_does_not_keep_the_process():
    began = time.monotonic()
    done = run(
        "class Stuck(BaseSink):\n"
        "    def _write(self, batch): threading.Event().wait()\n"
        "queue = QueueSink(Stuck(), close_timeout=0.2)\n" + LOG
    )
    assert time.monotonic() - began < 20
    assert done.returncode == 0
    assert done.stdout == "abandoned 1000\n"
    assert "1000 record(s) were abandoned" in done.stderr

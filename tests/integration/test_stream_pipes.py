"""StreamSink on real pipes, sockets and terminals, whose readers are slow, stuck or gone."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty

import pytest
from support.pipes import pipe
from support.wrappers import names, records

from pylog_struct.errors import SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.record import Record
from pylog_struct.sinks import LockedSink, QueueSink, StreamSink

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guarantees are Linux's")

NOWAIT = [True, False]


@pytest.fixture(params=NOWAIT, ids=["nowait", "poll"])
def either_way(request, monkeypatch):
    """With per-write non-blocking, and as on a kernel that has none."""
    if not request.param:

        def unsupported(*_):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "pwritev", unsupported)


def lines(number, size=100):
    return [Record(20, b"%06d" % position + b"x" * (size - 7)) for position in range(number)]


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_that_nobody_reads_costs_one_timeout(blocking):
    with pipe(blocking=blocking) as end:
        end.fill()
        sink = StreamSink(end.writer, timeout=0.2)
        started = time.monotonic()
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(records(3))
        assert time.monotonic() - started >= 0.2
        assert names(caught.value.unwritten) == ["0", "1", "2"]
        for _ in range(1000):  # 200 s if each of them waited
            with pytest.raises(SinkTimeoutError):
                sink.write(records(3))
        assert time.monotonic() - started < 20
        assert os.get_blocking(end.writer.fileno()) == blocking
        end.read(8192)
        sink.write(caught.value.unwritten)
        assert sink.statistics().written == 3


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("size", [100, 5000, 100_000])
def test_what_does_not_fit_is_exactly_unwritten(blocking, size):
    batch = lines(3_000_000 // size, size)
    with pipe(blocking=blocking) as end:
        sink = StreamSink(end.writer, timeout=0.05)
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch)
        left = caught.value.unwritten
        assert 0 < len(left) < len(batch)
        assert list(left) == batch[-len(left) :]
        statistics = sink.statistics()
        assert statistics.balanced
        assert statistics.received == len(batch) - len(left)
        end.drain()
        for _ in range(100_000):
            try:
                sink.write(left)
            except SinkTimeoutError as error:
                left = error.unwritten
                time.sleep(0.001)
            else:
                break
        sink.flush()
        assert end.close() == b"".join(record.line + b"\n" for record in batch)
        assert sink.statistics().waiting == 0


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_drains_slowly_gets_all(blocking):
    batch = lines(2000, 300)
    with pipe(blocking=blocking) as end:
        sink = StreamSink(end.writer, timeout=60)
        end.drain(chunk=777)
        sink.write(batch)
        assert end.close() == b"".join(record.line + b"\n" for record in batch)


@pytest.mark.usefixtures("either_way")
def test_a_reader_that_is_gone_is_unavailable_and_all_is_the_callers():
    with pipe() as end:
        sink = StreamSink(end.writer)
        sink.write(records(1))
        end.hang_up()
        with pytest.raises(SinkUnavailableError, match="BrokenPipeError") as caught:
            sink.write(records(3))
        assert names(caught.value.unwritten) == ["0", "1", "2"]
        assert sink.statistics().written == 1
        assert sink.statistics().waiting == 0


def test_a_line_begun_before_the_reader_left_is_told_by_close():
    giant = Record(20, b"g" * 200_000)
    with pipe() as end:
        sink = StreamSink(end.writer, timeout=0.05)
        sink.write([giant])
        assert sink.statistics().waiting == 1
        end.hang_up()
        with pytest.raises(SinkUnavailableError):
            sink.flush()
        with pytest.raises(SinkUnavailableError) as caught:
            sink.close()
        assert caught.value.unwritten == (giant,)
        assert sink.statistics().balanced


def test_a_new_reader_of_a_fifo_gets_the_whole_line(tmp_path):
    giant = Record(20, b"g" * 100_000)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("wb", buffering=0) as writer:
        sink = StreamSink(writer, timeout=0.05)
        sink.write([giant])
        os.read(first, 1000)
        os.close(first)
        assert sink.poll(0.0) == 1.0
        got = []
        second = os.open(path, os.O_RDONLY)

        def read():
            while data := os.read(second, 65536):
                got.append(data)

        thread = threading.Thread(target=read)
        thread.start()
        while sink.poll(0.0) is not None:
            time.sleep(0.001)
    thread.join()
    os.close(second)
    assert b"".join(got).endswith(giant.line + b"\n")
    assert b"".join(got).count(b"\n") == 1


def test_the_order_with_print_is_kept_in_a_pipe():
    with pipe() as end, os.fdopen(os.dup(end.writer.fileno()), "w") as text:
        sink = StreamSink(text)
        end.drain()
        expected = ""
        for number in range(200):
            print("printed", number, file=text)
            sink.write([Record(20, b"logged %d" % number)])
            expected += f"printed {number}\nlogged {number}\n"
            while len(end.got) < len(expected):  # a reader that keeps up
                time.sleep(0.0005)
        assert end.got.decode() == expected


def test_a_full_pipe_is_not_waited_for_because_of_what_was_printed():
    with pipe() as end:
        text = os.fdopen(os.dup(end.writer.fileno()), "w")
        print("printed and buffered", file=text)
        end.fill()
        with pytest.raises(SinkTimeoutError):
            StreamSink(text, timeout=0.05).write(records(1))
        with pytest.raises(SinkError):
            StreamSink(text, timeout=0).write(records(1))
        end.drain()
        text.close()
        assert b"printed and buffered\n" in end.close()


@pytest.mark.usefixtures("either_way")
def test_a_socket_whose_reader_is_stuck_is_bounded_and_exact():
    ours, theirs = socket.socketpair()
    with os.fdopen(ours.detach(), "wb", buffering=0) as file, theirs:
        os.set_blocking(file.fileno(), False)  # without RWF_NOWAIT only that bounds a socket
        batch = lines(20_000, 100)
        sink = StreamSink(file, timeout=0.05)
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch)
        left = caught.value.unwritten
        assert list(left) == batch[-len(left) :]
        got = []
        done = threading.Event()

        def read():
            while data := theirs.recv(65536):
                got.append(data)
            done.set()

        thread = threading.Thread(target=read)
        thread.start()
        while left:
            try:
                sink.write(left)
            except SinkTimeoutError as error:
                left = error.unwritten
                time.sleep(0.001)
            else:
                left = ()
        sink.flush()
        file.close()
        thread.join()
    assert b"".join(got) == b"".join(record.line + b"\n" for record in batch)


def test_a_blocking_socket_is_bounded_too():
    ours, theirs = socket.socketpair()
    with os.fdopen(ours.detach(), "wb", buffering=0) as file, theirs:
        sink = StreamSink(file, timeout=0.05)
        with pytest.raises(SinkTimeoutError):
            sink.write(lines(20_000, 100))
        assert os.get_blocking(file.fileno())


def test_a_terminal_gets_the_lines():
    master, slave = pty.openpty()
    tty.setraw(slave)
    with os.fdopen(slave, "wb", buffering=0) as file:
        sink = StreamSink(file)
        assert sink.isatty()
        sink.write(records(2))
        assert os.read(master, 1000) == b'{"event":"0"}\n{"event":"1"}\n'
    os.close(master)
    assert not sink.isatty()


def test_a_terminal_that_nobody_reads_is_bounded():
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    with os.fdopen(slave, "wb", buffering=0) as file:
        sink = StreamSink(file, timeout=0.1)
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(lines(20_000, 100))
        assert caught.value.unwritten
        assert os.get_blocking(file.fileno())
        termios.tcflush(slave, termios.TCIOFLUSH)
    os.close(master)


def test_a_terminal_that_hung_up_is_unavailable():
    master, slave = pty.openpty()
    with os.fdopen(slave, "wb", buffering=0) as file:
        sink = StreamSink(file)
        os.close(master)
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(records(2))
        assert len(caught.value.unwritten) == 2


def test_lines_of_several_processes_in_one_pipe_are_not_torn():
    code = (
        "import sys\n"
        "from pylog_struct.record import Record\n"
        "from pylog_struct.sinks import StreamSink\n"
        "sink = StreamSink('stdout', timeout=60)\n"
        "me = sys.argv[1].encode()\n"
        "for _ in range(20):\n"
        "    sink.write([Record(20, me * (37 + 13 * i)) for i in range(100)])\n"
    )
    with pipe() as end:
        end.drain()
        children = [
            subprocess.Popen([sys.executable, "-c", code, letter], stdout=end.writer)
            for letter in "abcd"
        ]
        assert [child.wait(60) for child in children] == [0] * 4
        got = end.close().splitlines()
    assert len(got) == 4 * 2000
    assert all(len(set(line)) == 1 for line in got)


CHILD = """
import sys, time
from pylog_struct.levels import ERROR
from pylog_struct.record import Record
from pylog_struct.sinks import LockedSink, QueueSink, StreamSink
sink = StreamSink("stdout", timeout=0.2)
kind = sys.argv[1]
sink = QueueSink(sink, capacity=100) if kind == "queue" else LockedSink(sink, absorb=True)
worst = 0.0
for number in range(5000):
    before = time.monotonic()
    sink.put(Record(20, b"x" * 100))
    worst = max(worst, time.monotonic() - before)
numbers = sink.statistics()
try:
    sink.close(0.5)
except Exception:
    pass
end = sink.statistics()
print(worst, end.received, numbers.balanced and end.balanced, end.dropped > 0, file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["queue", "locked"])
def test_a_process_whose_stdout_is_a_full_pipe_goes_on(kind):
    with pipe() as end:
        end.fill()
        child = subprocess.run(
            [sys.executable, "-c", CHILD, kind],
            stdout=end.writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert child.returncode == 0, child.stderr
    worst, received, balanced, dropped = child.stderr.strip().splitlines()[-1].split()
    assert float(worst) < 5.0
    assert received == "5000"
    assert balanced == "True"
    assert dropped == "True"


def test_behind_a_queue_the_app_goes_on_while_the_pipe_is_full_and_nothing_is_lost():
    with pipe() as end:
        filled = end.fill()
        sink = QueueSink(StreamSink(end.writer, timeout=0.1), capacity=10_000)
        started = time.monotonic()
        for record in records(5000):
            sink.put(record)
        assert time.monotonic() - started < 10
        assert sink.statistics().waiting == 5000
        end.drain()
        sink.flush(30)
        sink.close(30)
        got = end.close()[filled:].splitlines()
    assert got == [record.line for record in records(5000)]


@pytest.mark.usefixtures("either_way")
def test_signals_during_a_wait_do_not_shorten_or_break_it():
    with pipe() as end:
        end.fill()
        sink = LockedSink(StreamSink(end.writer, timeout=0.3), absorb=False)
        calls = []
        before = signal.signal(signal.SIGALRM, lambda *_: calls.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            started = time.monotonic()
            with pytest.raises(SinkTimeoutError):
                sink.write(records(1))
            assert time.monotonic() - started >= 0.29
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert calls

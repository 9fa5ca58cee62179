"""Internal trouble on stderr: one line, rate-limited, never raising and never waiting."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import threading
from contextlib import contextmanager

import pytest

from pylog_struct import diagnostics
from pylog_struct.diagnostics import INTERVAL, describe, report


class _Clock:
    def __init__(self):
        self.now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture(name="clock")
def _clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(diagnostics, "time", clock)
    return clock


class CapturedStderr:
    """pytest's own replacement of stderr, read as often as one likes."""

    def __init__(self, capsys):
        self._capsys, self._text = capsys, ""

    def getvalue(self):
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture(name="stderr")
def _stderr(capsys):
    return CapturedStderr(capsys)


@contextmanager
def _pipe_as_stderr(monkeypatch, *, blocking=True):
    """A real pipe whose reading end nobody empties."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, blocking)
    stream = os.fdopen(writer, "w", closefd=False)
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        yield reader, writer
    finally:
        monkeypatch.undo()
        stream.close()
        os.close(reader)
        os.close(writer)


def _fill(writer):
    blocking = os.get_blocking(writer)
    os.set_blocking(writer, False)
    total = 0
    try:
        for size in (4096, 1):
            while True:
                try:
                    total += os.write(writer, b"x" * size)
                except BlockingIOError:
                    break
    finally:
        os.set_blocking(writer, blocking)
    return total


def _in_time(call):
    """The answer of *call*, which must not wait."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits"
    return answers[0]


# -- what a report looks like ---------------------------------------------------------------------


def test_a_report_is_one_line_with_the_error_behind_it(stderr):
    assert report("kind", "the disk is gone", OSError(5, "I/O error"))
    assert stderr.getvalue() == "pylog_struct: the disk is gone (OSError: [Errno 5] I/O error)\n"


@pytest.mark.parametrize(
    "mark",
    ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b[2J", "\x85", "\u2028", "\u2029", "\x7f", "\0"],
)
def test_nothing_ends_the_line_or_steers_the_terminal(stderr, mark):
    assert report("kind", f"a{mark}b", ValueError(f"c{mark}d"))
    line = stderr.getvalue()
    assert len(line.splitlines()) == 1
    assert all(character.isprintable() for character in line[:-1])
    assert line.startswith("pylog_struct: a\\")


def test_a_line_has_a_limit_and_ends_between_two_characters(stderr):
    assert report("kind", "é" * 10_000)
    line = stderr.getvalue()
    assert 3_900 < len(line.encode()) <= 4_096
    assert set(line.removeprefix("pylog_struct: ").removesuffix("\n")) == {"é"}


def test_text_that_is_no_unicode_is_escaped(stderr):
    assert report("kind", "a \ud800 b")
    assert "\\ud800" in stderr.getvalue()


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


class FatalError(Exception):
    def __str__(self):
        raise SystemExit(3)


@pytest.mark.parametrize("error", [HostileError("x"), FatalError("x")])
def test_an_error_that_cannot_be_printed_is_still_named(stderr, error):
    assert report("kind", "text", error)
    assert type(error).__name__ in stderr.getvalue()


def test_a_message_that_cannot_be_formatted_loses_the_report_only(stderr):
    class Hostile(str):
        __slots__ = ()

        def __format__(self, spec):
            raise RuntimeError("no")

    assert report("kind", Hostile("x")) is False
    assert report("other", "works") is True


def test_an_exception_is_described_in_one_short_line():
    assert describe(ValueError("a\nb\t c")) == "ValueError: a b c"
    assert len(describe(ValueError("x" * 100_000))) == 1_000
    error = ValueError("x")
    error.add_note("a note")
    assert describe(error) == "ValueError: x a note"
    with pytest.raises(SyntaxError) as broken:
        compile("a b", "file.py", "exec")
    assert "\n" not in describe(broken.value)


def test_what_traceback_cannot_describe_is_named_by_its_type(monkeypatch):
    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(diagnostics.traceback, "format_exception_only", fail)
    assert describe(ValueError("x")) == "ValueError"


# -- how often ------------------------------------------------------------------------------------


def test_one_kind_is_reported_once_per_interval_and_the_rest_is_counted(stderr, clock):
    assert report("a", "first")
    assert [report("a", "held") for _ in range(41)] == [False] * 41
    clock.now += INTERVAL - 0.1
    assert not report("a", "held")
    clock.now += 0.2
    assert report("a", "second")
    clock.now += INTERVAL
    assert report("a", "third")
    assert stderr.getvalue().splitlines() == [
        "pylog_struct: first",
        "pylog_struct: second [42 more of this kind since the last report]",
        "pylog_struct: third",
    ]


def test_kinds_are_limited_apart_from_each_other(stderr, clock):
    assert report("a", "one")
    assert report("b", "two")
    assert not report("a", "three")
    assert stderr.getvalue().count("\n") == 2


def test_the_last_word_is_not_limited_and_brings_the_count_along(stderr, clock):
    assert report("a", "one")
    assert not report("a", "two")
    assert report("a", "three", always=True)
    assert report("a", "four", always=True)
    assert stderr.getvalue().splitlines()[1:] == [
        "pylog_struct: three [1 more of this kind since the last report]",
        "pylog_struct: four",
    ]


def test_endless_new_kinds_do_not_fill_the_memory(stderr, clock):
    for number in range(5_000):
        report(f"kind {number}", "x")
    assert len(diagnostics._last) < 300


def test_reset_forgets(stderr, clock):
    report("a", "one")
    report("a", "two")
    diagnostics.reset()
    assert report("a", "three")
    assert "more of this kind" not in stderr.getvalue()


def test_a_report_that_stderr_did_not_take_is_counted_in_the_next(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", None)
    assert not report("a", "lost")
    assert not report("a", "held")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock.now += INTERVAL
    assert report("a", "seen")
    assert stream.getvalue() == "pylog_struct: seen [2 more of this kind since the last report]\n"


# -- re-entry and threads -------------------------------------------------------------------------


class LoggingStderr:
    """A stderr that reports trouble of its own, as one that is redirected into logging would."""

    def __init__(self, *, always):
        self.always = always
        self.lines = []
        self.inner = []

    def fileno(self):
        raise io.UnsupportedOperation("fileno")

    def write(self, text):
        self.lines.append(text)
        self.inner.append(report(f"inner {len(self.lines)}", "inside", always=self.always))


@pytest.mark.parametrize("always", [False, True])
def test_a_stderr_that_reports_does_not_recurse(monkeypatch, always):
    stream = LoggingStderr(always=always)
    monkeypatch.setattr(sys, "stderr", stream)
    assert report("outer", "text", always=always)
    assert stream.inner == [False]
    assert report("another", "text", always=always)
    assert len(stream.lines) == 2


class InterruptedStderr:
    """Raises once what no handler of ordinary exceptions stops."""

    def __init__(self):
        self.lines = []

    def fileno(self):
        raise io.UnsupportedOperation("fileno")

    def write(self, text):
        self.lines.append(text)
        if len(self.lines) == 1:
            raise KeyboardInterrupt


def test_an_interrupt_passes_and_leaves_nothing_locked(monkeypatch):
    stream = InterruptedStderr()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(KeyboardInterrupt):
        report("a", "text")
    assert report("b", "text")


class SlowStderr:
    """Holds its writer until it is told to go on."""

    def __init__(self):
        self.entered, self.go_on = threading.Event(), threading.Event()

    def fileno(self):
        raise io.UnsupportedOperation("fileno")

    def write(self, text):
        self.entered.set()
        self.go_on.wait(20)


def test_no_thread_waits_for_another_ones_report(monkeypatch):
    monkeypatch.setattr(sys, "stderr", SlowStderr())
    slow, stream = sys.stderr, io.StringIO()
    thread = threading.Thread(target=report, args=("slow", "text"))
    thread.start()
    try:
        assert slow.entered.wait(20)
        monkeypatch.setattr(sys, "stderr", stream)
        assert _in_time(lambda: report("quick", "text"))
    finally:
        slow.go_on.set()
        thread.join()
    assert stream.getvalue() == "pylog_struct: text\n"


def test_while_the_state_is_locked_only_the_last_word_is_written(stderr):
    with diagnostics._lock:  # as a signal handler finds it that interrupts a report
        assert not report("a", "text")
        assert report("a", "last", always=True)
    assert stderr.getvalue() == "pylog_struct: last\n"


def test_threads_may_report_at_once(stderr):
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        for _ in range(200):
            report(f"kind {number}", "text", always=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {line.partition(" [")[0] for line in stderr.getvalue().splitlines()} == {
        "pylog_struct: text"
    }
    assert stderr.getvalue().count("\n") == 1_600


# -- what stderr may be ---------------------------------------------------------------------------


def test_no_stderr_is_no_problem(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert report("a", "text") is False


def test_a_closed_stderr_is_no_problem(monkeypatch, tmp_path):
    stream = (tmp_path / "file").open("w")
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert report("a", "text") is False


def test_a_descriptor_closed_below_stderr_is_no_problem(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)

    class Gone:
        def fileno(self):
            return writer

    monkeypatch.setattr(sys, "stderr", Gone())
    assert report("a", "text") is False


def test_pytests_captures_get_the_line(capsys):
    assert report("a", "text")
    assert capsys.readouterr().err == "pylog_struct: text\n"


def test_a_captured_descriptor_gets_the_line(capfd):
    assert report("a", "text")
    assert capfd.readouterr().err == "pylog_struct: text\n"


def test_a_file_as_stderr_gets_the_line(monkeypatch, tmp_path):
    with (tmp_path / "file").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert report("a", "text")
        monkeypatch.undo()
    assert (tmp_path / "file").read_text() == "pylog_struct: text\n"


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_gets_the_line_and_a_full_one_does_not_hold_the_thread(monkeypatch, blocking):
    with _pipe_as_stderr(monkeypatch, blocking=blocking) as (reader, writer):
        assert report("a", "text")
        assert os.read(reader, 1_000) == b"pylog_struct: text\n"
        size = _fill(writer)
        assert size >= 4_096
        assert _in_time(lambda: report("b", "lost")) is False
        assert _in_time(lambda: report("c", "lost", always=True)) is False
        while size > 0:
            size -= len(os.read(reader, 65_536))
        assert report("b", "seen", always=True)
        assert (
            os.read(reader, 1_000)
            == b"pylog_struct: seen [1 more of this kind since the last report]\n"
        )


def test_a_pipe_with_little_room_does_not_hold_the_thread(monkeypatch):
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("the size of a pipe can be set on Linux only")
    with _pipe_as_stderr(monkeypatch) as (_, writer):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4_096)
        os.write(writer, b"x" * 4_000)
        assert _in_time(lambda: report("a", "y" * 3_000)) is False


def test_a_pipe_without_a_reader_is_no_problem(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        assert report("a", "text") is False
    finally:
        monkeypatch.undo()
        stream.close()


def test_where_there_is_no_poll_the_line_is_written(monkeypatch, tmp_path):
    monkeypatch.delattr(diagnostics.select, "poll", raising=False)
    with (tmp_path / "file").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert report("a", "text")
        monkeypatch.undo()
    assert (tmp_path / "file").read_text() == "pylog_struct: text\n"

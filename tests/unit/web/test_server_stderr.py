"""Standard error as events: lines, tracebacks, what is said already, and what stays as it is."""

from __future__ import annotations

import io
import os
import sys
import threading
import traceback
from pathlib import Path

import pytest
from support.events import memory_pipeline

import pylog_struct
from pylog_struct.sinks import FanOutSink, MemorySink, StreamSink
from pylog_struct.web._server import stderr as server_stderr
from pylog_struct.web._server.stderr import EventStream


@pytest.fixture
def behind(tmp_path):
    """The real stream: a file."""
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as file:
        yield file


@pytest.fixture
def stream(behind):
    """An event stream before it."""
    return EventStream(behind)


@pytest.fixture
def as_stderr(stream, monkeypatch):
    """Call it in the test (pytest sets ``sys.stderr`` before each): it is ``sys.stderr`` from then on."""
    return lambda: monkeypatch.setattr(sys, "stderr", stream)


@pytest.fixture
def sink():
    """What arrives; the tree has a terminal stream, too."""
    found = MemorySink()
    pylog_struct.configure(
        format="json", sink=FanOutSink([found, StreamSink(io.StringIO(), name="terminal")])
    )
    return found


def written(behind):
    behind.flush()
    return Path(behind.name).read_text("utf-8")


def test_each_line_is_an_event(stream, sink, behind):
    print("one\ntwo", file=stream)
    stream.write("thr")
    stream.write("ee\r\n\n  \n")

    assert [event["event"] for event in sink.events] == ["one", "two", "three"]
    assert {(event["logger"], event["level"]) for event in sink.events} == {("stderr", "warning")}
    assert written(behind) == ""


def test_the_exception_being_handled_is_one_event(stream, sink):
    try:
        raise ValueError("boom\nbang")
    except ValueError:
        traceback.print_exc(file=stream)
        print("and on", file=stream)

    failed, after = sink.events
    assert failed["exception"]["message"] == "boom\nbang"
    assert failed["level"] == "error"
    assert after["event"] == "and on"
    assert "exception" not in after


def test_a_chain_and_a_group_are_one_event_each(stream, sink):
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ExceptionGroup("outer", [ValueError("a"), TypeError("b")]) from error
    except ExceptionGroup:
        traceback.print_exc(file=stream)

    assert len(sink.events) == 1
    assert "outer" in sink.events[0]["exception"]["message"]


def test_a_line_between_is_not_swallowed(stream, sink):
    try:
        raise ValueError("boom")
    except ValueError as error:
        head, *rest = "".join(traceback.format_exception(error)).splitlines(keepends=True)
        stream.write(head)
        stream.write("something else\n")
        stream.write("".join(rest[-1:]))

    assert [event["event"] for event in sink.events] == [
        "ValueError: boom",
        "something else",
        "ValueError: boom",
    ]


def test_what_multiprocessing_prints_is_one_event(stream, sink):
    try:
        raise ValueError("boom")
    except ValueError:
        stream.write("Process SpawnProcess-1:\n")
        traceback.print_exc(file=stream)

    assert len(sink.events) == 1
    assert sink.events[0]["event"] == "Process SpawnProcess-1"
    assert sink.events[0]["exception"]["message"] == "boom"


def test_a_traceback_of_another_time_is_one_event_with_its_text(stream, sink):
    text = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: boom'

    print(text, file=stream)
    print("next", file=stream)

    failed, after = sink.events
    assert failed["event"] == "ValueError: boom"
    assert failed["exc_text"] == text
    assert after["event"] == "next"


def test_a_traceback_without_an_end_is_bounded(stream, sink):
    print("Traceback (most recent call last):", file=stream)
    for _ in range(1000):
        print("  more", file=stream)

    assert len(sink.events) == 1


def test_what_an_event_has_said_is_swallowed_once(stream, sink, as_stderr):
    as_stderr()
    server_stderr.expect("why\nindeed")
    print("why\nindeed", file=stream)
    print("why", file=stream)

    assert [event["event"] for event in sink.events] == ["why"]


def test_a_line_without_an_end_comes_at_the_end(stream, sink):
    stream.write("no newline")
    assert sink.events == []

    stream.finish()

    assert [event["event"] for event in sink.events] == ["no newline"]


def test_an_open_traceback_comes_at_the_end(stream, sink):
    print("Traceback (most recent call last):", file=stream)

    stream.finish()

    assert sink.events[0]["exc_text"].startswith("Traceback")


def test_a_line_that_never_ends_is_cut(stream, sink):
    stream.write("x" * 70_000)

    assert len(sink.events) == 1


def test_threads_do_not_mix_lines(stream, sink):
    stream.write("mine ")
    other = threading.Thread(target=lambda: print("theirs", file=stream))
    other.start()
    other.join()
    stream.write("again\n")

    assert [event["event"] for event in sink.events] == ["theirs", "mine again"]


def test_where_no_event_goes_to_a_terminal_stderr_stays_as_it_is(stream, behind):
    sink = memory_pipeline()

    print("plain", file=stream)

    assert sink.events == []
    assert written(behind) == "plain\n"


def test_after_the_end_it_is_plain_too(stream, behind, sink):
    pylog_struct.shutdown()

    print("plain", file=stream)

    assert written(behind) == "plain\n"


def test_a_sink_on_stderr_writes_to_the_real_one(stream, behind, as_stderr):
    as_stderr()
    pylog_struct.configure(format="json", sink=StreamSink("stderr"))

    print("line", file=stream)

    text = written(behind)
    assert text.count("\n") == 1
    assert '"event":"line"' in text


def test_a_sink_that_was_given_it_as_an_object_too(stream, behind):
    pylog_struct.configure(format="json", sink=StreamSink(stream), queue_size=10)

    print("line", file=stream)
    pylog_struct.shutdown()

    assert written(behind).count('"event":"line"') == 1


def test_what_a_sink_prints_goes_behind(stream, behind):
    class Printing(MemorySink):
        def write(self, batch, /):
            print("from the sink", file=stream)
            super().write(batch)

    inner = Printing()
    pylog_struct.configure(format="json", sink=FanOutSink([inner, StreamSink(io.StringIO())]))

    print("line", file=stream)

    assert [event["event"] for event in inner.events] == ["line"]
    assert written(behind) == "from the sink\n"


def test_it_passes_for_the_real_one(stream, behind):
    assert stream.fileno() == behind.fileno()
    assert stream.encoding == behind.encoding
    assert stream.errors == behind.errors
    assert stream.name == behind.name
    assert stream.writable()
    assert not stream.isatty()
    stream.flush()
    stream.close()
    assert not behind.closed
    with pytest.raises(TypeError):
        stream.write(b"bytes")


def test_a_child_of_a_fork_starts_without_the_parents_line(stream, sink):
    stream.write("the parent's ")
    stream._after_fork_in_child()
    stream.write("child\n")

    assert [event["event"] for event in sink.events] == ["child"]


def test_install_and_uninstall(behind, monkeypatch):
    monkeypatch.setattr(sys, "stderr", behind)

    server_stderr.install()
    server_stderr.install()
    assert isinstance(sys.stderr, EventStream)
    assert sys.stderr.pylog_struct_behind is behind
    server_stderr.uninstall()
    server_stderr.uninstall()

    assert sys.stderr is behind
    server_stderr.expect("nobody prints this")


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_without_a_descriptor_it_is_left_alone(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)

    server_stderr.install()

    assert sys.stderr is stream


def test_a_closed_one_is_left_alone(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    server_stderr.install()

    assert sys.stderr is stream

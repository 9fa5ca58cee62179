"""Exceptions that nobody caught: logged once, passed on where that is right, given back."""

from __future__ import annotations

import io
import logging
import sys
import threading
from types import SimpleNamespace

import pytest
from support.events import memory_pipeline

import pylog_struct
from pylog_struct.active import ACTIVE
from pylog_struct.sinks import MemorySink, StreamSink


def boom(kind=ValueError):
    try:
        raise kind("boom")
    except BaseException as error:
        return error


def report_main(error):
    sys.excepthook(type(error), error, error.__traceback__)


def thread_args(error, thread=None, kind=None):
    return threading.ExceptHookArgs((kind or type(error), error, None, thread))


def unraisable(error, obj=None, message=None):
    return SimpleNamespace(
        exc_type=type(error), exc_value=error, exc_traceback=None, err_msg=message, object=obj
    )


@pytest.fixture
def heard():
    """Stands in for the hooks of somebody else (an error tracker), who was there before us."""
    calls = []
    sys.excepthook = lambda *args: calls.append("main")
    threading.excepthook = lambda *args: calls.append("thread")
    sys.unraisablehook = lambda *args: calls.append("unraisable")
    return calls


def test_all_three_are_logged_with_their_exception_and_passed_on(heard):
    sink = memory_pipeline()

    report_main(boom())
    threading.excepthook(thread_args(boom(), threading.current_thread()))
    sys.unraisablehook(unraisable(boom(), obj=len, message="while testing"))

    events = sink.events
    assert [(event["level"], event["event"]) for event in events] == [
        ("critical", "uncaught exception"),
        ("error", "uncaught exception in thread"),
        ("error", "unraisable exception"),
    ]
    assert all(event["exception"]["message"] == "boom" for event in events)
    assert all(event["logger"] == "uncaught" for event in events)
    assert events[1]["thread"] == "MainThread"
    assert events[2]["detail"] == "while testing"
    assert "len" in events[2]["object"]
    assert heard == ["main", "thread", "unraisable"]


def test_interrupts_and_exits_are_not_logged(heard):
    sink = memory_pipeline()

    report_main(boom(KeyboardInterrupt))
    threading.excepthook(thread_args(boom(SystemExit)))
    threading.excepthook(thread_args(None, kind=ValueError))
    sys.unraisablehook(unraisable(None))

    assert not sink.records
    assert heard == ["main", "thread", "thread", "unraisable"]


def test_pythons_own_traceback_is_printed_only_if_no_sink_is_a_stream(capsys):
    sys.excepthook = sys.__excepthook__
    pylog_struct.configure(sink=MemorySink())
    report_main(boom())
    with_memory = capsys.readouterr().err

    sys.excepthook = sys.__excepthook__
    out = io.StringIO()
    pylog_struct.configure(sink=StreamSink(out))
    report_main(boom())

    assert "ValueError: boom" in with_memory
    assert capsys.readouterr().err == ""
    assert out.getvalue().count("uncaught exception") == 1


def test_without_a_pipeline_python_does_it(heard):
    memory_pipeline()
    ACTIVE.pipeline = None

    report_main(boom())

    assert heard == ["main"]


def test_a_second_configuration_does_not_log_twice_even_if_somebody_wrapped_the_first(heard):
    memory_pipeline()
    ours = sys.excepthook, threading.excepthook, sys.unraisablehook
    sys.excepthook = lambda *args: (heard.append("wrapper"), ours[0](*args))
    threading.excepthook = lambda *args: (heard.append("wrapper"), ours[1](*args))
    sys.unraisablehook = lambda *args: (heard.append("wrapper"), ours[2](*args))

    sink = memory_pipeline()
    report_main(boom())
    threading.excepthook(thread_args(boom()))
    sys.unraisablehook(unraisable(boom()))

    assert len(sink.records) == 3
    assert heard == ["wrapper", "main", "wrapper", "thread", "wrapper", "unraisable"]


def test_they_can_be_left_alone(heard):
    before = sys.excepthook, threading.excepthook, sys.unraisablehook

    memory_pipeline(uncaught=False)

    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before


def test_without_the_bridge_asyncios_errors_arrive_all_the_same():
    sink = memory_pipeline(stdlib=False)

    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=boom())
    logging.getLogger("asyncio").warning("slow callback")
    pylog_struct.shutdown()
    logging.getLogger("asyncio").error("not ours any more")

    assert [event["event"] for event in sink.events] == ["Task exception was never retrieved"]

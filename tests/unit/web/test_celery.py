"""Celery in one process: eager tasks, headers, options, prints."""

from __future__ import annotations

import io
import logging
import sys
from contextlib import contextmanager

import pytest

pytest.importorskip("celery")

from celery import Celery, signals
from celery.apps import worker as celery_worker
from celery.apps.beat import Beat
from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars
from support.events import memory_pipeline, only_the_bridge

import pylog_struct
from pylog_struct import ConfigError, diagnostics
from pylog_struct.sinks import MemorySink, StreamSink
from pylog_struct.web import install_celery
from pylog_struct.web._celery import context as celery_context
from pylog_struct.web._celery.headers import from_headers, to_headers
from pylog_struct.web._celery.lines import LINES
from pylog_struct.web._celery.process import PROCESS
from pylog_struct.web._celery.signals import connect, disconnect
from pylog_struct.web._celery.stdout import Prints, end_lines, redirect, restore

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-00"
SIGNALS = (
    "before_task_publish",
    "beat_init",
    "celeryd_after_setup",
    "celeryd_init",
    "setup_logging",
    "task_postrun",
    "task_prerun",
    "task_revoked",
    "worker_process_init",
    "worker_process_shutdown",
)


@pytest.fixture(autouse=True)
def _leave_celery_alone():
    run, say = Beat.run, celery_worker.safe_say
    yield
    for name in SIGNALS:
        disconnect(getattr(signals, name))
    LINES.uninstall()
    LINES.arguments = False
    PROCESS.redirect_stdouts = None
    Beat.run = run
    celery_worker.safe_say = say
    restore()


@pytest.fixture
def sink():
    sink = memory_pipeline()
    only_the_bridge()
    return sink


@pytest.fixture
def app():
    app = Celery("tests", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    yield app
    app.close()


def plain():
    return None


def add(a, b):
    return a + b


def events(sink, name=None):
    found = [dict(record.fields) for record in sink.records]
    return [one for one in found if name in (None, one["event"])]


# -- eager ----------------------------------------------------------------------------------------


def test_an_eager_task_is_a_part_of_its_callers_request_and_leaves_its_context_alone(app, sink):
    install_celery(app)

    @app.task(shared=False, name="eager")
    def eager():
        bind_contextvars(stray=1, mine="changed")
        pylog_struct.get_logger("app").info("inside")

    with bound_contextvars(request_id="r-1", mine="own"):
        eager.delay()
        assert get_contextvars() == {"request_id": "r-1", "mine": "own"}
    assert get_contextvars() == {}

    [inside] = events(sink, "inside")
    assert (inside["request_id"], inside["task_name"], inside["mine"]) == (
        "r-1",
        "eager",
        "changed",
    )
    [end] = events(sink, "task succeeded")
    assert (end["state"], end["request_id"], end["task_id"]) == (
        "SUCCESS",
        "r-1",
        inside["task_id"],
    )
    assert "stray" not in pylog_struct.get_logger()._context


def test_eager_tasks_within_eager_tasks_keep_their_ids(app, sink):
    install_celery(app)
    log = pylog_struct.get_logger("app")

    @app.task(shared=False, name="inner")
    def inner():
        log.info("in inner")

    @app.task(shared=False, name="outer")
    def outer():
        log.info("before")
        inner.delay()
        log.info("behind")

    outer.delay()

    [before], [deep], [behind] = (events(sink, name) for name in ("before", "in inner", "behind"))
    assert before["task_id"] == behind["task_id"] == deep["parent_id"] == deep["root_id"]
    assert "parent_id" not in behind
    assert deep["task_id"] != before["task_id"]


@pytest.mark.parametrize("propagates", [False, True])
def test_an_eager_task_that_fails_ends_once(propagates, app, sink):
    install_celery()
    app.conf.task_eager_propagates = propagates

    @app.task(shared=False, name="failing")
    def failing():
        raise ValueError("boom")

    if propagates:
        with pytest.raises(ValueError, match="boom"):
            failing.delay()
    else:
        failing.delay()

    [end] = events(sink, "task failed")
    assert (end["level"], end["state"], end["task_name"]) == ("error", "FAILURE", "failing")
    assert type(end["duration"]) is float
    # Who gets the exception has the stack to log.
    assert ("exception" in end) is not propagates
    assert end.get("reason") == ("ValueError: boom" if propagates else None)
    assert get_contextvars() == {}


def test_under_ecs_the_fields_have_its_names(app):
    sink = memory_pipeline(format="ecs", level="INFO")
    only_the_bridge()
    install_celery()
    app.task(shared=False, name="plain")(plain).delay()

    found = [record.fields for record in sink.records]
    [end] = [one for one in found if one["message"] == "task succeeded"]
    assert type(end["event.duration"]) is int
    headers = to_headers({"http.request.id": "r-1", "trace.id": TRACE, "span.id": SPAN})
    assert headers == {"x-request-id": "r-1", "traceparent": PARENT}
    assert from_headers(headers) == {
        "http.request.id": "r-1",
        "trace.id": TRACE,
        "span.id": SPAN,
    }


def test_a_task_of_another_shape_passes_with_its_own_words(app, sink, monkeypatch):
    monkeypatch.setattr("celery.app.trace.LOG_SUCCESS", "%(name)s went well")
    app.task(shared=False, name="plain")(plain).delay()
    install_celery()
    monkeypatch.setattr("celery.app.trace.LOG_SUCCESS", "%(name)s went very well")
    app.task(shared=False, name="other")(plain).delay()

    last = events(sink)[-1]
    assert last["event"] == "other went very well"
    assert "data" not in last


def test_arguments_are_shown_only_if_that_is_asked_for(app, sink):
    task = app.task(shared=False, name="add")(add)
    install_celery()
    task.delay(1, b=2)
    install_celery(arguments=True)
    task.delay(1, b=2)

    first, second = events(sink, "task succeeded")
    assert not {"task_args", "task_kwargs", "result"} & first.keys()
    assert (second["task_args"], second["task_kwargs"], second["result"]) == (
        "[1]",
        "{'b': 2}",
        "3",
    )


# -- headers --------------------------------------------------------------------------------------


def test_what_is_sent_has_the_ids_of_the_request(app, sink):
    install_celery(app)
    app.conf.task_always_eager = False
    sent = []
    receive = lambda headers=None, **_: sent.append(dict(headers))  # noqa: E731
    signals.before_task_publish.connect(receive, weak=False)
    task = app.task(shared=False, name="plain")(plain)
    try:
        with bound_contextvars(request_id="r-1", trace_id=TRACE, span_id=SPAN):
            task.delay()
            task.apply_async(headers={"x-request-id": "my own"})
        install_celery(app, propagate=False)
        with bound_contextvars(request_id="r-1"):
            task.delay()
    finally:
        signals.before_task_publish.disconnect(receive)

    assert [one.get("x-request-id") for one in sent] == ["r-1", "my own", None]
    assert [one.get("traceparent") for one in sent] == [PARENT, PARENT, None]


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"request_id": "a b"},
        {"request_id": "x" * 129},
        {"request_id": 17},
        {"trace_id": TRACE},
        {"trace_id": TRACE.upper(), "span_id": SPAN},
        {"trace_id": "0" * 32, "span_id": SPAN},
    ],
)
def test_what_is_no_id_is_not_sent(context, sink):
    assert to_headers(context) == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-id": "x" * 1_000_000},
        {"x-request-id": 'a"}\r\n'},
        {"x-request-id": b"bytes"},
        {"x-request-id": None, "traceparent": ["a"]},
        {"traceparent": f"ff-{TRACE}-{SPAN}-00"},
        {"traceparent": f"00-{TRACE}-{SPAN}-00-more"},
    ],
)
def test_what_is_no_id_is_not_bound(headers, sink):
    assert from_headers(headers) == {}


def test_opentelemetrys_span_goes_before_a_bound_one(sink):
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(
        trace.SpanContext(int("ab" * 16, 16), int("cd" * 8, 16), False, trace.TraceFlags(1))
    )
    with trace.use_span(span):
        headers = to_headers({"trace_id": TRACE, "span_id": SPAN})

    assert headers["traceparent"] == f"00-{'ab' * 16}-{'cd' * 8}-01"


def test_trouble_in_a_receiver_is_reported_and_goes_no_further(capsys, sink):
    class Hostile:
        @property
        def request(self):
            raise RuntimeError("no request")

    celery_context.on_prerun("id", Hostile())
    celery_context.on_postrun("id", Hostile())
    celery_context.on_publish({1: 2}.keys())

    assert "a task runs without its context (RuntimeError: no request)" in capsys.readouterr().err


# -- installing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"app": "tasks"}, "install_celery.app: 'tasks' is no celery.Celery"),
        ({"propagate": 1}, "install_celery.propagate: 1 is neither True nor False"),
        ({"arguments": "yes"}, "install_celery.arguments: 'yes' is neither"),
        (
            {"redirect_stdouts": 0},
            "install_celery.redirect_stdouts: 0 is neither True, False nor None",
        ),
    ],
)
def test_arguments_that_are_wrong(arguments, words):
    with pytest.raises(ConfigError, match=words):
        install_celery(**arguments)
    assert not any(entry[0][0] == "pylog_struct" for entry in signals.task_prerun.receivers)


def test_without_celery_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ImportError, match="pip install celery"):
        install_celery()


def test_again_changes_nothing_but_the_options(app, sink):
    for _ in range(3):
        install_celery(app)
    app.task(shared=False, name="plain")(plain).delay()

    assert len(events(sink, "task succeeded")) == 1
    for name in SIGNALS:
        ours = [
            entry for entry in getattr(signals, name).receivers if entry[0][0] == "pylog_struct"
        ]
        assert len(ours) == 1


def test_ours_is_the_first_or_the_last_receiver():
    signal = signals.task_prerun
    called = []
    users = lambda **_: called.append("user's")  # noqa: E731
    signal.connect(users, weak=False)
    try:
        connect(signal, lambda **_: called.append("ours"), first=True)
        signal.send(sender=None)
        connect(signal, lambda **_: called.append("ours"))
        signal.send(sender=None)
    finally:
        signal.disconnect(users)

    assert called == ["ours", "user's", "user's", "ours"]


def test_celery_sets_up_no_logging_and_an_app_without_configure_gets_the_default(app, monkeypatch):
    monkeypatch.setattr("celery.app.log.Logging._setup", False)
    showwarning = __import__("warnings").showwarning
    install_celery(app)
    root = logging.getLogger()
    before = [handler for handler in root.handlers if isinstance(handler, logging.StreamHandler)]

    app.log.setup("ERROR", redirect_stdouts=True)
    logging.captureWarnings(False)

    assert not isinstance(sys.stdout, Prints)
    after = [handler for handler in root.handlers if isinstance(handler, logging.StreamHandler)]
    assert [handler for handler in after if handler not in before] == []
    handlers = logging.getLogger("celery").handlers
    assert [type(one) for one in handlers] == [logging.NullHandler]  # a library's own
    assert pylog_struct.statistics().emitted == 0
    assert not pylog_struct.get_logger().is_enabled_for(logging.WARNING)
    assert logging.getLogger("multiprocessing").propagate
    assert showwarning is not None


def test_a_pipeline_without_the_stdlib_is_reported(capsys):
    pylog_struct.configure(sink=MemorySink(), stdlib=False)
    PROCESS.on_setup_logging()

    assert "configure() was called with stdlib=False" in capsys.readouterr().err


# -- prints ---------------------------------------------------------------------------------------


@contextmanager
def streams():
    """Put others in the place of pytest's: it changes them between a fixture and its test."""
    before = sys.stdout, sys.stderr
    out, err = sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        yield out, err
        restore()
        assert (sys.stdout, sys.stderr) == (out, err)
    finally:
        sys.stdout, sys.stderr = before


def test_prints_are_events_line_by_line(sink):
    with streams() as (out, err):
        redirect(logging.WARNING)
        redirect(logging.INFO)
        print("one\ntwo", end="")
        print(" goes on\r\n\n   ")
        print("to stderr", file=sys.stderr)
        print("unended", end="")
        sys.stdout.flush()
        assert [one["event"] for one in events(sink)] == ["one", "two goes on", "to stderr"]
        end_lines()

        assert [one["event"] for one in events(sink)][3:] == ["unended"]
        assert {(one["logger"], one["level"]) for one in events(sink)} == {
            ("celery.redirected", "info")
        }
        assert [one["stream"] for one in events(sink)] == ["stdout", "stdout", "stderr", "stdout"]
        assert [out.getvalue(), err.getvalue()] == ["", ""]


def test_a_stream_sink_writes_behind_the_prints():
    with streams() as (out, _):
        pylog_struct.configure(format="json", sink=StreamSink("stdout"))
        redirect(logging.WARNING)
        print("printed")
        restore()

        assert out.getvalue().count('"event":"printed"') == 1


def test_what_a_sink_prints_goes_to_the_stream_itself():
    with streams() as (out, _):

        class Printing(MemorySink):
            def write(self, batch, /):
                print("in the sink")
                super().write(batch)

        pylog_struct.configure(format="json", sink=Printing())
        redirect(logging.WARNING)
        print("printed")

        assert out.getvalue() == "in the sink\n"


def test_a_line_without_an_end_is_not_kept_for_ever(sink):
    with streams():
        redirect(logging.WARNING)
        for _ in range(70):
            sys.stdout.write("x" * 1000)

        assert len(events(sink)) == 1


def test_prints_below_the_level_and_without_a_pipeline_are_dropped(sink):
    with streams():
        pylog_struct.set_level("ERROR")
        redirect(logging.WARNING)
        print("nobody wants that")

        assert events(sink) == []


def test_the_stand_in_looks_like_a_stream(capfd):
    prints = Prints(sys.__stdout__, "stdout", logging.WARNING)

    assert prints.writable()
    assert not prints.isatty()
    assert prints.fileno() == sys.__stdout__.fileno()
    assert prints.encoding == sys.__stdout__.encoding
    diagnostics.reset()

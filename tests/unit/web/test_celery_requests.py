"""What a worker's main process says of its tasks, with Celery's own ``Request`` and no worker."""

from __future__ import annotations

import logging
import signal
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("celery")

from billiard.einfo import ExceptionInfo
from celery import Celery, signals
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from structlog.contextvars import get_contextvars
from support.events import memory_pipeline, only_the_bridge

from pylog_struct.web import install_celery
from pylog_struct.web._celery import process as celery_process
from pylog_struct.web._celery import request as celery_request
from pylog_struct.web._celery.lines import LINES
from pylog_struct.web._celery.process import PROCESS
from pylog_struct.web._celery.signals import disconnect

PATCHED = ("__init__", *celery_request._METHODS)
SIGNALS = (
    *("before_task_publish", "beat_init", "celeryd_after_setup", "celeryd_init", "setup_logging"),
    *("task_postrun", "task_prerun", "task_revoked"),
    *("worker_process_init", "worker_process_shutdown"),
)


@pytest.fixture
def app():
    app = Celery("tests", broker="memory://", set_as_current=False)
    app.conf.worker_redirect_stdouts = False
    yield app
    app.close()


@pytest.fixture
def sink(app):
    """The pipeline of a worker that has just been set up."""
    sink = memory_pipeline(level="INFO")
    only_the_bridge()
    before = {name: getattr(Request, name) for name in PATCHED}
    from celery.apps import worker
    from celery.apps.beat import Beat

    say, beat = worker.safe_say, Beat.run
    install_celery(app)
    instance = SimpleNamespace(quiet=False)
    PROCESS.on_worker_init(instance)
    PROCESS.on_worker_init(None)
    assert instance.quiet
    yield sink
    worker.safe_say, Beat.run = say, beat
    for name, method in before.items():
        setattr(Request, name, method)
    del Request._pylog_struct
    LINES.uninstall()
    LINES.of_request, LINES.ends = lambda _id: {}, dict
    for name in SIGNALS:
        disconnect(getattr(signals, name))


@pytest.fixture
def received(app, sink):
    """A task as the worker has received it."""

    @app.task(shared=False, name="heavy")
    def heavy():
        return None

    @app.task(
        shared=False,
        name="stubborn",
        retry_on_worker_lost=True,
        acks_late=True,
        default_retry_delay=0,
    )
    def stubborn():
        return None

    def receive(task, **headers):
        body = ((), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
        message = SimpleNamespace(
            headers={
                "id": f"id-{task}",
                "task": task,
                "root_id": "root",
                "parent_id": "parent",
                "retries": 1,
                "x-request-id": "r-1",
                **headers,
            },
            body=body,
            payload=body,
            content_type=None,
            content_encoding=None,
            delivery_info={},
            properties={},
            acknowledged=True,
        )
        return Request(message, app=app, task=app.tasks[task], decoded=True, body=body)

    app.finalize()
    return receive


def events(sink):
    return [dict(record.fields) for record in sink.records]


def ended(request, error, **options):
    """Have the pool report the end of a task's child."""
    try:
        raise error
    except Exception:
        request.on_failure(ExceptionInfo(), **options)


def test_a_hard_time_limit_is_one_event_whoever_says_it_first(sink, received):
    for first in ("pool", "timer"):
        request = received("heavy", id=f"id-{first}")
        request.on_accepted(1, time.monotonic() - 2)
        steps = [
            lambda request=request: ended(request, TimeLimitExceeded(1)),
            lambda request=request: request.on_timeout(False, 1),
        ]
        for step in steps if first == "pool" else reversed(steps):
            step()

    by_pool, by_timer = events(sink)
    for one in (by_pool, by_timer):
        assert (one["event"], one["level"], one["state"]) == ("task failed", "error", "FAILURE")
        assert one["reason"] == "hard time limit"
        assert 2 <= one["duration"] < 60
        assert (one["task_name"], one["request_id"], one["retries"]) == ("heavy", "r-1", 1)
        assert (one["root_id"], one["parent_id"]) == ("root", "parent")
    assert by_pool["exception"]["type"] == "TimeLimitExceeded"
    assert by_pool["time_limit"] == by_timer["time_limit"] == 1
    assert get_contextvars() == {}


def test_a_soft_time_limit_is_no_end(sink, received):
    request = received("heavy")
    request.on_timeout(True, 3)
    ended(request, WorkerLostError("gone"))

    soft, end = events(sink)
    assert (soft["event"], soft["level"]) == ("task reached its soft time limit", "warning")
    assert (soft["time_limit"], soft["task_id"]) == (3, "id-heavy")
    assert "state" not in soft
    assert (end["event"], end["reason"]) == ("task failed", "worker lost")
    assert "duration" not in end  # it was never accepted


def test_a_task_that_is_sent_once_more_after_its_child_was_lost(sink, received, monkeypatch):
    request = received("stubborn")
    monkeypatch.setattr(request.task.backend, "mark_as_retry", lambda *_, **__: None, raising=False)
    monkeypatch.setattr(Request, "_success_was_stored", lambda _: False)
    ended(request, WorkerLostError("gone"))

    [end] = [one for one in events(sink) if one["logger"] == "celery.worker.request"]
    assert (end["event"], end["state"], end["reason"]) == ("task retried", "RETRY", "worker lost")
    assert end["request_id"] == "r-1"


def test_what_the_strategy_says_has_the_ids_of_the_request(sink, received):
    request = received("heavy")
    log = logging.getLogger("celery.worker.strategy")
    for task_id in ("id-heavy", "unknown"):
        data = {"id": task_id, "name": "heavy", "args": "()", "kwargs": "{}", "eta": None}
        log.info("Task %(name)s[%(id)s] received", data, extra={"data": data})

    known, unknown = events(sink)
    assert known["event"] == unknown["event"] == "task received"
    assert (known["task_id"], known["request_id"]) == (request.id, "r-1")
    assert (unknown["task_id"], unknown["task_name"]) == ("unknown", "heavy")
    assert "request_id" not in unknown
    assert "data" not in known


@pytest.mark.parametrize(
    ("details", "reason", "level", "name"),
    [
        ({"expired": True}, "expired", "info", None),
        ({"terminated": True, "signum": signal.SIGTERM}, "terminated", "warning", "SIGTERM"),
        ({"terminated": True, "signum": "15 and more"}, "terminated", "warning", "15 and more"),
        ({}, "revoked", "info", None),
    ],
)
def test_revoked(details, reason, level, name, sink, received):
    request = received("heavy")
    logging.getLogger("celery.worker.request").info(
        "Discarding revoked task: %s[%s]", "heavy", "id"
    )
    signals.task_revoked.send(sender=request.task, request=request._context, **details)

    [end] = events(sink)
    assert (end["event"], end["state"], end["level"]) == ("task revoked", "REVOKED", level)
    assert (end["reason"], end.get("signal")) == (reason, name)
    assert (end["task_id"], end["request_id"]) == ("id-heavy", "r-1")


def test_a_task_that_was_revoked_while_it_ran_does_not_fail_as_well(sink, received):
    request = received("heavy")
    request.on_accepted(1, time.monotonic())
    jobs = SimpleNamespace(terminate_job=lambda *_: None)
    request.terminate(jobs, "KILL")
    ended(request, WorkerLostError("gone"))
    signals.task_revoked.send(sender=request.task, request=request._context)

    first, *others = events(sink)
    assert (first["event"], first["signal"]) == ("task revoked", "SIGKILL")
    assert type(first["duration"]) is float
    # Sent by hand, outside of any method of the request: nobody can know whose it is.
    assert [one["event"] for one in others] == ["task revoked"]


def test_trouble_is_reported_and_goes_no_further(sink, received, capsys):
    request = received("heavy")
    signals.task_revoked.send(sender=None, request=None)
    del request._request_dict["id"]
    request.__dict__["_context"] = None
    request.on_timeout(True, 1)
    record = logging.makeLogRecord(
        {"name": "celery.worker.request", "msg": "Task accepted: %s[%s] pid:%r"}
    )
    record.args = ("one",)
    assert LINES.filter(record)

    text = capsys.readouterr().err
    assert "the end of a task is not told" in text
    assert "a line of a task has none of its ids" in text
    assert "a line of Celery's is left as it is" in text


def test_what_celery_says_to_a_terminal_is_an_event(sink):
    from celery.apps import worker

    worker.safe_say("worker: Warm shutdown (MainProcess)")

    [event] = events(sink)
    assert event["event"] == "worker: Warm shutdown (MainProcess)"
    assert event["logger"] == "celery.worker"


def test_a_banner_without_a_broker_is_a_banner_all_the_same(app, sink, capsys, monkeypatch):
    monkeypatch.setattr(app, "connection", lambda: 1 / 0)
    instance = SimpleNamespace(app=app, concurrency=1, pool_cls="celery.concurrency.solo:TaskPool")
    app.conf.worker_redirect_stdouts = True
    app.conf.worker_redirect_stdouts_level = "NOISE"
    with monkeypatch.context() as patch:
        levels = []
        patch.setattr(celery_process.celery_stdout, "redirect", levels.append)
        PROCESS.on_worker_setup("a@b", instance)

    assert levels == [logging.WARNING]
    [starting] = events(sink)
    assert (starting["event"], starting["pool"], starting["hostname"]) == (
        "worker starting",
        "solo:TaskPool",
        "a@b",
    )
    assert "broker" not in starting
    text = capsys.readouterr().err
    assert "the broker or the results cannot be named" in text
    assert "prints become warnings" in text


def test_a_child_that_cannot_deliver_in_time_says_so(sink, monkeypatch):
    called = []
    manager = SimpleNamespace(
        _timeout=0.5,
        flush=lambda timeout: called.append(("flush", timeout)),
        shutdown=lambda timeout: called.append(("shutdown", timeout)),
    )
    monkeypatch.setattr(celery_process, "current_manager_or_none", lambda: manager)
    PROCESS.on_child_exit()
    monkeypatch.setattr(celery_process, "current_manager_or_none", lambda: None)
    PROCESS.on_child_exit()

    assert called == [("flush", 0.5), ("shutdown", 1.0)]

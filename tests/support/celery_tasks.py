"""Tasks for a real worker, and a program that sends them: what the tests of Celery look at.

    python -m celery -A support.celery_tasks worker
    python -m support.celery_tasks

The folder of broker and results is ``CELERY_DATA``; what the test wants otherwise is in the environment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import structlog
from celery import Celery, chain, chord, group, signals
from celery.exceptions import (
    Ignore,
    Reject,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)

import pylog_struct
from pylog_struct.sinks import QueueSink, StreamSink
from pylog_struct.web import install_celery

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PATIENCE = 60.0

data = Path(os.environ["CELERY_DATA"])
app = Celery(
    "tasks",
    broker="filesystem://localhost//",
    backend=f"file://{data / 'results'}",
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "data_folder_in": str(data / "in"),
        "data_folder_out": str(data / "in"),
        "control_folder": str(data / "control"),
        "polling_interval": 0.1,
    },
    result_extended=True,
    worker_lost_wait=0.5,
    worker_enable_remote_control="CELERY_CONTROL" in os.environ,
    beat_schedule={"every now and then": {"task": "succeed", "schedule": 0.2, "args": ("beat",)}},
    beat_schedule_filename=str(data / "schedule"),
)
log = pylog_struct.get_logger("app")


def configure():
    """Set up logging the way that a test asks for."""
    for folder in ("in", "control", "results"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    sink = StreamSink("stdout")
    if "CELERY_QUEUE" in os.environ:
        # What is not flushed stays in the queue for longer than any test runs.
        sink = QueueSink(sink, capacity=100_000, linger=300, batch_records=100_000, policy="block")
    pylog_struct.configure(format="json", sink=sink, strict=False)
    install_celery(app, arguments="CELERY_ARGUMENTS" in os.environ)


configure()


@signals.task_prerun.connect(weak=False)
def _prerun(**_):
    log.info("receiver before")


@signals.task_postrun.connect(weak=False)
def _postrun(**_):
    log.info("receiver after")


@app.task(name="succeed")
def succeed(tag):
    log.info("inside", tag=tag)
    return tag


@app.task(name="litter")
def litter(tag):
    """Bind something and forget it; say what was there before."""
    found = structlog.contextvars.get_contextvars()
    log.info("inside", tag=tag, found=sorted(found))
    structlog.contextvars.bind_contextvars(**{"stray": tag, f"stray_{tag % 5}": tag})
    print(f"printed by {tag}\nand not ended by {tag}", end="")
    return tag


@app.task(name="fail")
def fail(tag):
    raise ValueError(f"failed: {tag}")


@app.task(name="expected", throws=(KeyError,))
def expected():
    raise KeyError("missing")


@app.task(name="again", bind=True, max_retries=3)
def again(self):
    log.info("inside", tag="again")
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@app.task(name="ignored")
def ignored():
    raise Ignore


@app.task(name="rejected", bind=True, acks_late=True)
def rejected(self):
    raise Reject("not for me", requeue=False)


@app.task(name="softly", soft_time_limit=1)
def softly():
    time.sleep(PATIENCE)


class Slow:
    """A value whose rendering is most of what the task does."""

    def __repr__(self):
        time.sleep(0.2)
        return "slow"


@app.task(name="logging all the time", soft_time_limit=1)
def logging_all_the_time():
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        log.info("chat", value=Slow())


@app.task(name="hardly", time_limit=1)
def hardly():
    log.info("inside", tag="hardly")
    time.sleep(PATIENCE)


@app.task(name="killed")
def killed():
    log.info("inside", tag="killed")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(
    name="lost once", bind=True, acks_late=True, retry_on_worker_lost=True, default_retry_delay=0
)
def lost_once(self):
    if self.request.retries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    log.info("inside", tag="lost once")


@app.task(name="sleepy")
def sleepy():
    (data / "asleep").touch()
    time.sleep(PATIENCE)


@app.task(name="add")
def add(*numbers):
    log.info("inside", tag="add")
    return sum(numbers[0]) if isinstance(numbers[0], list) else sum(numbers)


@app.task(name="chatty")
def chatty(tag):
    for number in range(50):
        log.info("chat", tag=tag, number=number)


@app.task(name="parent")
def parent(tag):
    log.info("inside", tag=tag)
    succeed.delay(f"child of {tag}")


# -- the program that sends them ------------------------------------------------------------------


def ends(result, error=None):
    """Wait for the end of a task, and check how it ended."""
    try:
        result.get(timeout=PATIENCE, interval=0.05, disable_sync_subtasks=False)
    except Exception as caught:
        if error is None or not isinstance(caught, error):
            raise
    else:
        assert error is None


def everything():
    """One task of each kind, then many at once, each under a request of its own."""
    bound = structlog.contextvars.bound_contextvars
    with bound(request_id="r-kinds", trace_id=TRACE, span_id=SPAN):
        kinds = [
            (succeed.delay("one"), None),
            (fail.delay("one"), ValueError),
            (expected.delay(), KeyError),
            (again.delay(), None),
            (rejected.apply_async(), Reject),
            (softly.delay(), SoftTimeLimitExceeded),
            (logging_all_the_time.delay(), SoftTimeLimitExceeded),
        ]
        ignored.delay()
        # The worker looks at it when the time for it has come, which is later than its expiry.
        succeed.apply_async(("too late",), countdown=1.5, expires=0.5)
        hostile = succeed.apply_async(
            ("hostile",), headers={"x-request-id": 'a"\r\n{}', "traceparent": "0" * 55}
        )
    with bound(request_id="r-canvas"):
        kinds.append((chain(add.s(1, 2), add.s(3)).apply_async(), None))
        kinds.append((group(add.s(1, number) for number in range(3)).apply_async(), None))
        kinds.append((chord([add.s(1, 1), add.s(2, 2)], add.s()).apply_async(), None))
        kinds.append((parent.delay("nested"), None))
    for result, error in [*kinds, (hostile, None)]:
        ends(result, error)


def crowd(number):
    results = []
    for tag in range(number):
        with structlog.contextvars.bound_contextvars(request_id=f"r-{tag}"):
            results.append(litter.delay(tag))
    for result in results:
        ends(result)


def deaths():
    """Have children killed: by themselves, and by the pool.

    The last one comes last.  A child that dies of its hard time limit can die with a lock of the pool in
    its hands, and then no task runs any more: billiard's own trouble, with transports such as this one.
    """
    with structlog.contextvars.bound_contextvars(request_id="r-deaths"):
        ends(killed.delay(), WorkerLostError)
        ends(lost_once.delay())
        ends(hardly.delay(), TimeLimitExceeded)


def revoke():
    """Have a task terminated that runs, and one that does not yet."""
    with structlog.contextvars.bound_contextvars(request_id="r-revoke"):
        runs, waits = sleepy.delay(), succeed.apply_async(("late",), countdown=1)
    while not (data / "asleep").exists():
        time.sleep(0.05)
    app.control.revoke(waits.id)
    # Not SIGTERM: Celery sends it twice, and then the same can happen as with a hard time limit.
    app.control.revoke(runs.id, terminate=True, signal="SIGKILL")
    for result in (runs, waits):
        ends(result, TaskRevokedError)


def main(what, *arguments):
    if what == "everything":
        everything()
        crowd(30)
    elif what == "crowd":
        crowd(int(arguments[0]))
    elif what == "deaths":
        deaths()
    elif what == "revoke":
        revoke()
    elif what == "chatty":
        results = [chatty.delay(tag) for tag in range(int(arguments[0]))]
        for result in results:
            ends(result)
    print("DONE")


if __name__ == "__main__":
    main(*sys.argv[1:])

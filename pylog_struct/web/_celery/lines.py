"""Celery's own lines as events: names instead of sentences, values as fields.

Celery logs what becomes of a task, once, with the level that its policy gives it (a failure that the
task ``throws`` is INFO).  Those records are kept, and told in other words, rather than repeated by
events of ours: so there is one event for each end of a task, and each stack comes once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct.web._celery.context import lasted, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._celery.context import Running

__all__ = ["LINES", "Lines"]

_LOGGERS: Final = (
    "celery.app.trace",
    "celery.apps.worker",
    "celery.beat",
    "celery.worker.consumer.connection",
    "celery.worker.request",
    "celery.worker.strategy",
)
_LIMIT: Final = "hard time limit"
_LOST: Final = {"TimeLimitExceeded": _LIMIT, "WorkerLostError": "worker lost"}
"""Why a task has no child that could have told its end, by the name of Celery's exception."""


class Lines(logging.Filter):
    """Rewrites the records of some of Celery's loggers, and drops what an event of ours says already.

    A record that it does not know passes as it is.  Never raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arguments = False
        self.of_request: Callable[[object], dict[str, Any]] = lambda _id: {}
        """Returns the fields of a task that the worker's main process has received."""
        self.ends: Callable[[], dict[str, Any] | None] = dict
        """Returns what the main process knows of a task's end; None if it was told already."""
        self._traced: dict[str, tuple[str, str | None]] = {}
        self._others: Final[dict[tuple[str, object], Callable[[logging.LogRecord], bool]]] = {
            ("celery.apps.worker", "%s ready."): _worded("worker ready", "hostname"),
            ("celery.beat", "beat: Starting..."): lambda _record: (
                False
            ),  # "beat starting" says more
            ("celery.beat", "Scheduler: Sending due task %s (%s)"): _worded(
                "task due", "schedule_entry", "task_name"
            ),
            ("celery.beat", "%s sent. id->%s"): _worded("task sent", "task_name", "task_id"),
            ("celery.worker.consumer.connection", "Connected to %s"): _worded(
                "connected to broker", "broker"
            ),
            ("celery.worker.request", "Task accepted: %s[%s] pid:%r"): _worded(
                "task accepted", None, None, "worker_pid"
            ),
            ("celery.worker.request", "Soft time limit (%ss) exceeded for %s[%s]"): _worded(
                "task reached its soft time limit", "time_limit", None, None
            ),
            (
                "celery.worker.request",
                "Hard time limit (%ss) exceeded for %s[%s]",
            ): self._hard_limit,
            ("celery.worker.request", "Task handler raised error: %r"): self._lost,
            ("celery.worker.request", "Task %s[%s] retry: %s"): self._retried,
        }

    def install(self) -> None:
        """Start to rewrite; again changes nothing."""
        from celery.app import trace  # type: ignore[import-untyped]  # noqa: PLC0415 - Celery is there when this is called

        self._traced = {
            trace.LOG_RECEIVED.strip(): ("task received", None),
            trace.LOG_SUCCESS.strip(): ("task succeeded", "SUCCESS"),
            trace.LOG_FAILURE.strip(): ("task failed", "FAILURE"),
            trace.LOG_IGNORED.strip(): ("task ignored", "IGNORED"),
            trace.LOG_REJECTED.strip(): ("task rejected", "REJECTED"),
            trace.LOG_RETRY.strip(): ("task retried", "RETRY"),
        }
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def uninstall(self) -> None:
        """Leave Celery's records alone again."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite *record* in place; False drops it."""
        try:
            data = record.__dict__.get("data")
            if isinstance(data, dict) and "id" in data and "name" in data:
                return self._trace(record, data)
            if isinstance(record.msg, str) and record.msg.startswith("Discarding revoked task: "):
                return False  # the event "task revoked" says it, with its reason
            known = self._others.get((record.name, record.msg))
            return True if known is None else known(record)
        except Exception as error:
            diagnostics.report("celery lines", "a line of Celery's is left as it is", error)
            return True

    # -- what the tracer and the strategy say -----------------------------------------------------

    def _trace(self, record: logging.LogRecord, data: dict[str, Any]) -> bool:
        """Tell one with the values in ``extra={"data": …}``: the text of the stack is one of them."""
        known = self._traced.get(record.msg.strip()) if isinstance(record.msg, str) else None
        run = running(data["id"])
        if known is None:  # a format of the user's own
            del record.__dict__["data"]
            return True
        event, state = known
        fields: dict[str, Any] = {}
        if run is None:
            fields.update(self.of_request(data["id"]))
            fields.setdefault("task_id", data["id"])
            fields.setdefault("task_name", data["name"])
        if state is None:
            fields["eta"] = data.get("eta")
        else:
            fields["state"] = state
            fields.update(_duration(data, run))
            fields["reason"] = _reason(event, data)
            if run is not None:
                run.ended = True
        if self.arguments:
            fields["task_args"] = data.get("args")
            fields["task_kwargs"] = data.get("kwargs")
            fields["result"] = data.get("return_value")
        del record.__dict__["data"]
        _rewrite(record, event, fields)
        return True

    # -- what the worker's main process says of a child -------------------------------------------

    def _hard_limit(self, record: logging.LogRecord) -> bool:
        limit = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return self._end(record, "task failed", "FAILURE", reason=_LIMIT, time_limit=limit)

    def _lost(self, record: logging.LogRecord) -> bool:
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        limit = None
        if isinstance(error, BaseException):
            # Celery has a wrapper with a text there; the task's own frames are gone with its child.
            record.exc_info = (type(error), error, None)
            limit = error.args[0] if error.args else None
        reason = _LOST.get(type(error).__name__)
        limit = limit if reason == _LIMIT else None
        return self._end(record, "task failed", "FAILURE", reason=reason, time_limit=limit)

    def _retried(self, record: logging.LogRecord) -> bool:
        return self._end(record, "task retried", "RETRY", reason="worker lost")

    def _end(self, record: logging.LogRecord, event: str, state: str, **fields: Any) -> bool:
        known = self.ends()
        if known is None:
            return False
        _rewrite(record, event, {"state": state, **known, **fields})
        return True


def _duration(data: dict[str, Any], run: Running | None) -> dict[str, float]:
    runtime = data.get("runtime")
    if isinstance(runtime, int | float):
        return lasted(runtime)
    return {} if run is None else lasted(run.seconds)


def _reason(event: str, data: dict[str, Any]) -> Any:
    """What is said in words and nowhere else; an exception's own text comes with the exception."""
    if event in {"task retried", "task rejected"}:
        return data.get("exc")
    description = data.get("description")
    if event == "task failed":
        return {"raised expected": data.get("exc"), "INTERNAL ERROR": "internal error"}.get(
            str(description)
        )
    return None if description == "ignored" else description


def _worded(event: str, *names: str | None) -> Callable[[logging.LogRecord], bool]:
    """Return what rewrites a record to *event*, its ``%`` arguments under *names* (None: left out)."""

    def rewrite(record: logging.LogRecord) -> bool:
        values = record.args if isinstance(record.args, tuple) else (record.args,)
        pairs = zip(names, values, strict=True)
        _rewrite(record, event, {name: value for name, value in pairs if name is not None})
        return True

    return rewrite


def _rewrite(record: logging.LogRecord, event: str, fields: dict[str, Any]) -> None:
    record.msg = event
    record.args = ()
    record.__dict__.update({key: value for key, value in fields.items() if value is not None})


LINES: Final = Lines()
"""The one of this process: Celery's loggers are a process's, too."""

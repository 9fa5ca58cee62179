"""Which task is running: its ids in the context of every line, and the duration at its end.

``task_prerun`` and ``task_postrun`` come in the thread that runs the task, in every pool and in eager
mode, whatever the task's outcome is.  The context is noted before and restored after, wholly: what a
task binds and forgets does not reach the next one, and an eager task leaves its caller's as it was.
"""

from __future__ import annotations

import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import structlog

from pylog_struct import diagnostics, get_logger
from pylog_struct.processors.safe_repr import safe_str
from pylog_struct.structlog_context import CONTEXT_VARIABLES, current_context
from pylog_struct.web._celery.headers import PROPAGATED, from_headers, to_headers
from pylog_struct.web._celery.limits import guard_limit
from pylog_struct.web._celery.stdout import end_lines
from pylog_struct.web._request.names import current_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Running", "lasted", "on_postrun", "on_prerun", "on_publish", "running", "task_fields"]

_TASK_KEYS: Final = ("task_id", "task_name", "parent_id", "root_id", "retries")
_TEXT_MAX: Final = 256  # characters of an id or name: they come from the broker


class Running:
    """A task that is being run: when it began, and what the context was before."""

    __slots__ = ("before", "ended", "started", "task_id")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.started = time.monotonic()
        self.ended = False
        """Whether the event of its end was seen."""
        self.before: dict[str, Any] = {}

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started


_stack: Final[ContextVar[tuple[Running, ...]]] = ContextVar("pylog_struct_tasks", default=())
"""The tasks that run in this context; more than one in eager mode."""


def running(task_id: object) -> Running | None:
    """Return the innermost task that runs here, if it is that one."""
    stack = _stack.get()
    return stack[-1] if stack and stack[-1].task_id == task_id else None


# -- signals --------------------------------------------------------------------------------------


def on_publish(headers: Any = None, **_: Any) -> None:
    """Take the request's ids along (``before_task_publish``); what the caller set stays."""
    try:
        if isinstance(headers, dict):
            for name, value in to_headers(current_context()).items():
                headers.setdefault(name, value)
    except Exception as error:
        diagnostics.report("celery publish", "a task was sent without its request's ids", error)


def on_prerun(task_id: Any = None, task: Any = None, **_: Any) -> None:
    """Bind the task's context (``task_prerun``)."""
    try:
        request = task.request
        run = Running(task_id)
        run.before = _noted()
        _stack.set((*_stack.get(), run))
        fields: dict[str, Any] = dict.fromkeys(_TASK_KEYS, ...)
        if not request.is_eager:  # an eager task is a part of its caller's request
            guard_limit()
            fields.update(dict.fromkeys(PROPAGATED, ...))
        fields.update(task_fields(request, request.shadow or task.name))
        structlog.contextvars.bind_contextvars(**fields)
    except Exception as error:
        diagnostics.report("celery prerun", "a task runs without its context", error)


def on_postrun(task_id: Any = None, task: Any = None, **_: Any) -> None:
    """Restore the context (``task_postrun``)."""
    try:
        end_lines()
        run = running(task_id)
        if run is not None:
            _tell_end(run, task)
            _stack.set(_stack.get()[:-1])
            _restore(run.before)
    except Exception as error:
        diagnostics.report("celery postrun", "a task's context could not be restored", error)


def _tell_end(run: Running, task: Any) -> None:
    """Emit the end that Celery does not log: an eager task's whose exception goes to its caller."""
    error = sys.exc_info()[1]
    if run.ended or error is None or not task.request.is_eager:
        return
    text = f"{type(error).__name__}: {safe_str(error)}"
    log = get_logger("celery.app.trace")
    # Without its stack: who catches the exception, or does not, logs that.
    log.error("task failed", state="FAILURE", reason=text, **lasted(run.seconds))


# -- fields ---------------------------------------------------------------------------------------


def lasted(seconds: float) -> dict[str, float]:
    """Return the field with a duration: seconds, or nanoseconds by ECS's name for it."""
    names = current_names()
    return {names.duration: round(seconds * 1e9) if names.ecs else round(seconds, 6)}


def task_fields(request: Any, name: object) -> dict[str, Any]:
    """Return the ids of a task and of the request that it belongs to.

    Args:
        request: Celery's ``Context`` of it.
        name: The task's name.
    """
    fields: dict[str, Any] = {"task_id": _text(request.id), "task_name": _text(name)}
    for key in ("parent_id", "root_id"):
        value = getattr(request, key, None)
        if value is not None:
            fields[key] = _text(value)
    retries = getattr(request, "retries", None)
    fields["retries"] = retries if type(retries) is int else 0
    headers = getattr(request, "headers", None)
    if isinstance(headers, dict):
        fields.update(from_headers(headers))
    return fields


def _text(value: object) -> str:
    return str(value)[:_TEXT_MAX]


# -- the context ----------------------------------------------------------------------------------


def _noted() -> dict[str, Any]:
    return {key: variable.get(...) for key, variable in CONTEXT_VARIABLES.copy().items()}


def _restore(before: Mapping[str, Any]) -> None:
    for key, variable in CONTEXT_VARIABLES.copy().items():
        value = before.get(key, ...)
        if variable.get(...) is not value:
            variable.set(value)

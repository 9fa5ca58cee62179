"""Tasks seen from the worker's main process: time limits, lost children, revocation.

There no task runs, so nothing is bound: the methods of Celery's ``Request`` that log are wrapped, and
run with the ids of the task that they are about.
"""

from __future__ import annotations

import functools
import logging
import signal
import time
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import structlog

from pylog_struct import diagnostics, get_logger
from pylog_struct.web._celery.context import lasted, task_fields
from pylog_struct.web._celery.lines import LINES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["install", "on_revoked"]

_METHODS: Final = ("on_accepted", "on_failure", "on_timeout", "revoked", "terminate", "cancel")
_MARK: Final = "_pylog_struct_ended"

_requests: Final[weakref.WeakValueDictionary[str, Any]] = weakref.WeakValueDictionary()
_current: Final[ContextVar[Any]] = ContextVar("pylog_struct_celery_request", default=None)


def install() -> None:
    """Wrap the methods, once in a process's life, and tell the lines about the requests."""
    from celery.worker.request import Request  # type: ignore[import-untyped]  # noqa: PLC0415 - only a worker needs it

    request: Any = Request
    LINES.of_request = _fields_by_id
    LINES.ends = _ends
    if getattr(request, "_pylog_struct", False):
        return
    request._pylog_struct = True
    request.__init__ = _remembering(request.__init__)
    for name in _METHODS:
        setattr(request, name, _about(getattr(request, name)))


def _remembering(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _requests[str(self.id)] = self

    return remember


def _about(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that what is logged in it has the ids of its task."""

    @functools.wraps(original)
    def about(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _current.set(self)
        try:
            with structlog.contextvars.bound_contextvars(**_fields(self)):
                return original(self, *args, **kwargs)
        finally:
            _current.reset(token)

    return about


def _fields(request: Any) -> dict[str, Any]:
    try:
        return task_fields(request._context, request.name)
    except Exception as error:
        diagnostics.report("celery request", "a line of a task has none of its ids", error)
        return {}


def _fields_by_id(task_id: object) -> dict[str, Any]:
    request = _requests.get(str(task_id))
    return {} if request is None else _fields(request)


def _ends() -> dict[str, Any] | None:
    """Note the end of the current request's task; None if there was one: a task ends once."""
    request = _current.get()
    if request is None:
        return {}
    if request.__dict__.get(_MARK):
        return None
    request.__dict__[_MARK] = True
    return _duration(request)


def _duration(request: Any) -> dict[str, Any]:
    """Return how long a task has run, if it has begun to."""
    begun = request.time_start
    return lasted(max(0.0, time.time() - begun)) if begun else {}


def on_revoked(
    request: Any = None,
    terminated: Any = None,
    signum: Any = None,
    expired: Any = None,
    sender: Any = None,
    **_: Any,
) -> None:
    """Emit the end of a task that was revoked, killed on demand, or came too late (``task_revoked``)."""
    try:
        current = _current.get()
        if current is not None and current.__dict__.get(_MARK):
            return
        fields = task_fields(request, getattr(sender, "name", None) or request.task)
        reason = "expired" if expired else "terminated" if terminated else "revoked"
        if signum is not None:
            fields["signal"] = _signal_name(signum)
        if current is not None:
            current.__dict__[_MARK] = True
            fields.update(_duration(current))
        log = get_logger("celery.worker.request")
        level = logging.WARNING if terminated else logging.INFO
        log.log(level, "task revoked", state="REVOKED", reason=reason, **fields)
    except Exception as error:
        diagnostics.report("celery revoked", "the end of a task is not told", error)


def _signal_name(number: object) -> str:
    try:
        return signal.Signals(number).name  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return str(number)

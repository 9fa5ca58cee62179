"""A soft time limit that comes in the middle of a log call: put off until the call has returned.

The pool raises ``SoftTimeLimitExceeded`` from a signal handler, wherever the task is.  A log call lets no
exception of its processors and sinks through, so it would take this one for one of theirs: the event
would be lost, and the limit with it.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["PatientLimit", "guard_limit"]

_OURS: Final = "pylog_struct"


class PatientLimit:
    """The handler of a soft time limit's signal, in front of billiard's.

    Args:
        original: Billiard's, which raises the exception.
    """

    def __init__(self, original: Callable[[int, Any], object]) -> None:
        self._original = original

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise the exception: now, or in whoever called us as soon as we have returned there."""
        caller = _caller(frame)
        if caller is None:
            self._original(number, frame)
            return
        before = sys.gettrace()

        # Coverage cannot see these lines: they run in the place of its tracer.
        def returned(here: FrameType, event: str, arg: Any) -> None:  # pragma: no cover
            del event, arg
            here.f_trace = None
            sys.settrace(before)
            self._original(number, here)

        # The one means to interrupt that very frame: the way a debugger stops in the caller.
        caller.f_trace = returned
        sys.settrace(_trace_no_other)


def _trace_no_other(*_: object) -> None:  # pragma: no cover - the same
    """Stand for the trace function of the thread: without one, no frame's own is called."""


def _caller(frame: FrameType | None) -> FrameType | None:
    """Return the frame that has called into our code; None if that was not interrupted."""
    found = None
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and name.partition(".")[0] == _OURS:
            found = frame.f_back
        frame = frame.f_back
    return found


def guard_limit() -> None:
    """Stand in front of billiard's handler, if that is in place here: in a child of its pool."""
    pool: Any = sys.modules.get("billiard.pool")
    number = getattr(pool, "SIG_SOFT_TIMEOUT", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    handler: Any = signal.getsignal(number)
    if handler is pool.soft_timeout_sighandler:
        signal.signal(number, PatientLimit(handler))

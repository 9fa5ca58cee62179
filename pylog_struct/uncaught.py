"""Exceptions that nobody caught: main thread, threads, unraisable ones.

asyncio reports its own through ``logging`` (logger ``asyncio``), so the bridge brings those.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from pylog_struct.active import ACTIVE
from pylog_struct.levels import CRITICAL, ERROR
from pylog_struct.processors.safe_repr import safe_repr
from pylog_struct.stdlib_bridge import BridgeHandler
from pylog_struct.thresholds import named_logger

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UncaughtHooks"]


class UncaughtHooks:
    """Takes over Python's three hooks, and gives them back.

    The previous hook is called as well if it is not Python's own (Sentry's, an IDE's), or if
    *traceback* asks for the usual text on stderr.

    Args:
        bridged: Whether the stdlib bridge is on; if not, the ``asyncio`` logger gets a bridge
            of its own.
        traceback: Whether Python's own traceback should be printed too: right when no sink of
            the pipeline is a terminal stream, so that a person still sees why a script died.
    """

    def __init__(self, *, bridged: bool, traceback: bool) -> None:
        self._traceback = traceback
        self._asyncio = None if bridged else BridgeHandler(ERROR)
        self._previous: tuple[Any, Any, Any] = (
            sys.__excepthook__,
            threading.__excepthook__,
            sys.__unraisablehook__,
        )
        self._installed = False

    def install(self) -> None:
        """Take over the hooks."""
        self._previous = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        self._installed = True
        sys.excepthook = self._main
        threading.excepthook = self._thread
        sys.unraisablehook = self._unraisable
        if self._asyncio is not None:
            logging.getLogger("asyncio").addHandler(self._asyncio)

    def uninstall(self) -> None:
        """Give back those that nobody else took meanwhile; in those, only pass on from now."""
        if sys.excepthook == self._main:
            sys.excepthook = self._previous[0]
        if threading.excepthook == self._thread:
            threading.excepthook = self._previous[1]
        if sys.unraisablehook == self._unraisable:
            sys.unraisablehook = self._previous[2]
        if self._asyncio is not None:
            logging.getLogger("asyncio").removeHandler(self._asyncio)
        self._installed = False

    def _main(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        previous = self._previous[0]
        logged = False
        if self._installed and issubclass(kind, Exception):
            logged = _log(CRITICAL, "uncaught exception", error, {})
        if not logged or self._traceback or previous is not sys.__excepthook__:
            previous(kind, error, trace)

    def _thread(self, args: threading.ExceptHookArgs) -> None:
        previous = self._previous[1]
        logged = False
        if self._installed and args.exc_value is not None and args.exc_type is not SystemExit:
            fields = {"thread": args.thread.name if args.thread is not None else None}
            logged = _log(ERROR, "uncaught exception in thread", args.exc_value, fields)
        if not logged or self._traceback or previous is not threading.__excepthook__:
            previous(args)

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        previous = self._previous[2]
        logged = False
        if self._installed and args.exc_value is not None:
            fields = {"object": safe_repr(args.object), "detail": args.err_msg}
            logged = _log(ERROR, "unraisable exception", args.exc_value, fields)
        if not logged or self._traceback or previous is not sys.__unraisablehook__:
            previous(args)


def _log(level: int, event: str, error: BaseException, fields: dict[str, Any]) -> bool:
    """Emit one event; False if there is no pipeline to take it."""
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        return False
    name = "critical" if level == CRITICAL else "error"
    fields = {key: value for key, value in fields.items() if value is not None}
    fields["exc_info"] = error
    pipeline.emit(level, name, named_logger("uncaught"), event, (), {}, fields)
    return True

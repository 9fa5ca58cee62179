"""The stdlib's door: ``logging`` records and warnings through the same pipeline, rendered once."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, TextIO

from pylog_struct import fork
from pylog_struct._clients import diverts_record, diverts_warning
from pylog_struct._exception_context import context_of
from pylog_struct.active import ACTIVE
from pylog_struct.dispatch import level_name
from pylog_struct.levels import WARNING
from pylog_struct.processors.safe_repr import safe_str
from pylog_struct.thresholds import THRESHOLDS, named_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.pipeline import Pipeline

__all__ = ["BRIDGE", "SHAPES", "WARNINGS", "Bridge", "BridgeHandler", "WarningsHook"]

SHAPES: Final[dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any]], str | None]]] = {}
"""By logger name: what makes fields of a record's arguments, for records that are data in the form of
a sentence (a server's access log).  It adds to the fields and returns the event's name, or returns
None and the record stays a sentence."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SPECIAL: Final = frozenset({"exc_info", "stack_info"})
_BESIDE: Final = "_pylog_struct_extra"
_GUARD: Final[Any] = getattr(logging.Logger, "_tls", None)
# What uvicorn adds for its own console formatter (the same message again, with colours), and
# what structlog's wrap_for_formatter adds for its own.
_NOISE: Final = frozenset({"color_message", "_logger", "_name"})


class BridgeHandler(logging.Handler):
    """Turns each ``LogRecord`` into an event of the active pipeline.

    ``extra=`` becomes fields, ``exc_info`` and ``stack_info`` are kept, the message is formatted
    once; one that cannot be formatted is kept as it is, with ``log_format_error``.
    Never raises, takes no lock of its own.
    """

    def createLock(self) -> None:  # noqa: N802 - the stdlib's name
        """Need none: the pipeline is thread-safe, and a lock here could deadlock a signal handler."""
        self.lock: Any = None

    def handle(self, record: logging.LogRecord) -> Any:
        """Filter and deliver one record, without the lock that ``Handler.handle`` holds meanwhile."""
        passed = self.filter(record)
        if not passed:
            return passed
        if isinstance(passed, logging.LogRecord):  # a filter's own, from Python 3.12 on
            record = passed
        if _GUARD is None:
            self.emit(record)
            return passed
        # From Python 3.13.4 on, records that come while a thread handles one are dropped without a
        # word; ours may come: from a sink, a signal handler, __del__.
        before = getattr(_GUARD, "in_progress", False)
        _GUARD.in_progress = False
        try:
            self.emit(record)
        finally:
            _GUARD.in_progress = before
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Deliver one record."""
        pipeline = ACTIVE.pipeline
        if pipeline is None or diverts_record(record):
            return
        try:
            _forward(pipeline, record)
        except Exception:
            if pipeline.strict:
                raise
            pipeline.counts.error("bridge")
            self._forward_stub(pipeline, record)

    def _forward_stub(self, pipeline: Pipeline, record: logging.LogRecord) -> None:
        fields = {"bridge_error": "the log record could not be read in full"}
        level = record.levelno if type(record.levelno) is int else WARNING
        text = safe_str(getattr(record, "msg", None))
        pipeline.emit(level, level_name(level), named_logger(), text, (), {}, fields)


def _forward(pipeline: Pipeline, record: logging.LogRecord) -> None:
    if type(record.levelno) is not int:
        msg = f"levelno is of type {type(record.levelno).__name__}"
        raise TypeError(msg)
    fields = {
        key: value
        for key, value in record.__dict__.items()
        if key not in _STANDARD and key not in _NOISE
    }
    if _BESIDE in fields:
        for key, value in fields.pop(_BESIDE).items():
            fields[f"extra.{key}" if key in _SPECIAL else key] = value
    event: Any = record.msg
    if isinstance(event, dict):  # structlog's own wrap_for_formatter, or logger.info({...})
        fields = {**event, **fields}
        event = fields.pop("event", None)
    elif not isinstance(event, str | bytes | bytearray | BaseException):
        event = safe_str(event)
    args: Any = record.args or ()
    if not isinstance(args, tuple):  # the stdlib unpacks a single mapping
        args = (args,)
    if record.exc_info:
        fields["exc_info"] = record.exc_info
        for key, value in context_of(record.exc_info[1]).items():
            fields.setdefault(key, value)
    elif record.exc_text:
        fields["exc_text"] = record.exc_text
    if record.stack_info:
        fields["stack_info"] = record.stack_info
    shape = SHAPES.get(record.name)
    if shape is not None and (name := shape(event, args, fields)) is not None:
        event, args = name, ()
    pipeline.emit(
        record.levelno,
        record.levelname.lower() if record.levelname else level_name(record.levelno),
        THRESHOLDS.passing(record.name),
        event,
        args,
        {},
        fields,
        round(record.created * 1_000_000) * 1_000,
        record,
    )


def _make_record_of(original: Any) -> Any:
    """Return ``Logger.makeRecord`` without its ``KeyError`` for ``extra={"name": …}`` and the like.

    Such keys travel beside the record's own attributes, under :data:`_BESIDE`.
    """

    @functools.wraps(original)
    def make_record(self: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:
        # (name, level, fn, lno, msg, args, exc_info, func=None, extra=None, sinfo=None)
        extra = args[8] if len(args) > 8 else kwargs.get("extra")
        beside: dict[str, Any] = {}
        if extra and not _STANDARD.isdisjoint(extra):
            beside = {key: extra[key] for key in extra if key in _STANDARD}
            rest = {key: extra[key] for key in extra if key not in _STANDARD}
            if len(args) > 8:
                args = (*args[:8], rest, *args[9:])
            else:
                kwargs["extra"] = rest
        record: logging.LogRecord
        try:
            record = original(self, *args, **kwargs)
        except Exception:  # it asks the first argument whether it is a true mapping
            if len(args) < 7:
                raise
            record = original(self, *args[:5], (), *args[6:], **kwargs)
            record.args = args[5]
        if beside:
            record.__dict__[_BESIDE] = beside
        return record

    return make_record


def _learn_uvicorn() -> None:
    from pylog_struct.web._server import uvicorn as server_uvicorn  # noqa: PLC0415 - only where there is uvicorn

    server_uvicorn.register()


def _first_access(event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> str | None:
    """Stand in until the first record: uvicorn was imported after ``configure``.

    It logs that record from its event loop, in the middle of a request: never in a signal handler.
    """
    _learn_uvicorn()
    return SHAPES["uvicorn.access"](event, args, fields)


SHAPES["uvicorn.access"] = _first_access


class Bridge:
    """Puts a :class:`BridgeHandler` on the root logger, and takes it away again.

    While it is there, ``extra=`` may have any keys: the stdlib refuses those that are attributes of
    a ``LogRecord``, with a ``KeyError`` in the log call.

    Handlers of the root logger that write to stdout or stderr are taken off meanwhile (the lines
    would come twice); others, a file or a test's capture, stay.
    """

    def __init__(self) -> None:
        self._handler = BridgeHandler()
        self._removed: list[logging.Handler] = []
        self._level = logging.WARNING
        self._installed = False
        self._make_record: tuple[Any, Any] | None = None  # the stdlib's, and ours

    @property
    def installed(self) -> bool:
        """Whether records are forwarded now."""
        return self._installed

    def install(self) -> None:
        """Start forwarding records from the root's level up.

        Installed already, it looks after what others did to the root logger meanwhile:
        ``dictConfig``, ``fileConfig`` and ``basicConfig(force=True)`` take all handlers off.
        """
        root = logging.getLogger()
        if not self._installed:
            self._level = root.level
            original = logging.Logger.makeRecord
            self._make_record = (original, _make_record_of(original))
            logging.Logger.makeRecord = self._make_record[1]  # type: ignore[method-assign]
            self._installed = True
            if "uvicorn" in sys.modules:  # nothing is imported by a log call that can be before it
                _learn_uvicorn()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        for handler in filter(_is_console, root.handlers[:]):
            root.removeHandler(handler)
            self._removed.append(handler)
        self.apply(THRESHOLDS.effective(""))

    def apply(self, level: int) -> None:
        """Let the root logger pass what the pipeline wants to see."""
        if self._installed:
            logging.getLogger().setLevel(level)

    def uninstall(self) -> None:
        """Restore handlers and level as they were."""
        if not self._installed:
            return
        root = logging.getLogger()
        root.removeHandler(self._handler)
        for handler in self._removed:
            root.addHandler(handler)
        root.setLevel(self._level)
        if self._make_record is not None and logging.Logger.makeRecord is self._make_record[1]:
            logging.Logger.makeRecord = self._make_record[0]  # type: ignore[method-assign]
        self._removed = []
        self._installed = False


def _is_console(handler: logging.Handler) -> bool:
    """Whether a handler prints to the terminal (a StreamHandler, and no subclass with ideas of its own)."""
    return type(handler) in {logging.StreamHandler, logging._StderrHandler}  # type: ignore[attr-defined]


class WarningsHook:
    """Sends ``warnings.warn`` through the pipeline, as fields instead of formatted text."""

    def __init__(self) -> None:
        self._previous: Any = None

    def install(self) -> None:
        """Take over ``warnings.showwarning``.

        Installed already, it does so again if it was undone, as at the end of a ``catch_warnings``
        block; one that somebody put in place since, which may call this one, is left alone.
        """
        current = warnings.showwarning
        if current != self._show and (self._previous is None or current == self._previous):
            self._previous = current
            warnings.showwarning = self._show

    def uninstall(self) -> None:
        """Give it back, unless somebody else took it meanwhile."""
        if self._previous is not None and warnings.showwarning == self._show:
            warnings.showwarning = self._previous
        self._previous = None

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        pipeline = ACTIVE.pipeline
        if pipeline is not None and diverts_warning(message, category):
            return
        if file is not None or pipeline is None:
            if self._previous is not None:
                self._previous(message, category, filename, lineno, file, line)
            return
        logger = named_logger("py.warnings")
        if logger.level <= WARNING:
            fields: dict[str, Any] = {
                "category": category.__name__,
                "filename": filename,
                "lineno": lineno,
            }
            record = pipeline.render(WARNING, "warning", logger, safe_str(message), (), {}, fields)
            if record is None:
                return
            if fork.under_way():
                # Python 3.12 warns of threads in the middle of os.fork(): not the time to wait.
                ACTIVE.overdue.append(record)
            else:
                pipeline.deliver(record)


BRIDGE: Final = Bridge()
"""The bridge of this process: one, so that a second ``configure`` finds it in place."""

WARNINGS: Final = WarningsHook()
"""The hook for warnings, one a process for the same reason."""

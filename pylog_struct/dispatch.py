"""From structlog's processor list to the active pipeline: the way of every event, step by step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from structlog import DropEvent

from pylog_struct import diagnostics
from pylog_struct.active import ACTIVE
from pylog_struct.levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_label
from pylog_struct.pipeline import as_line
from pylog_struct.processors.interpolation import interpolate
from pylog_struct.processors.safe_repr import safe_str
from pylog_struct.record import Record
from pylog_struct.thresholds import NamedLogger, named_logger

if TYPE_CHECKING:
    from pylog_struct.bound_logger import BoundLogger

__all__ = ["DISPATCH", "PROCESSORS", "level_name", "named", "step_by_step"]

_NUMBERS: Final = {
    "debug": DEBUG,
    "info": INFO,
    "msg": INFO,
    "warn": WARNING,
    "warning": WARNING,
    "error": ERROR,
    "err": ERROR,
    "exception": ERROR,
    "failure": ERROR,
    "fatal": CRITICAL,
    "critical": CRITICAL,
}


def level_name(level: int) -> str:
    """Return what stands under ``level``: a standard or an added name, else ``level 25``."""
    name = logging.getLevelName(level)
    return name.lower() if isinstance(name, str) else level_label(level)


class _Dispatch:
    """The one processor in structlog's list: hands the event to the active pipeline.

    Loggers bound before ``configure`` hold structlog's list, and call whatever is in it; this is
    how their events arrive.  It ends the chain by ``DropEvent``, structlog's own word for that.
    """

    __slots__ = ()

    def __call__(self, logger: Any, method_name: str, event_dict: Any) -> Any:
        if "_from_structlog" in event_dict:
            # Somebody gave the list to a ProcessorFormatter as well: that is formatting, not logging.
            return event_dict
        level = _NUMBERS.get(method_name, INFO)
        target = logger if isinstance(logger, NamedLogger) else named(logger)
        if level >= target.level:
            fields = dict(event_dict)
            event = fields.pop("event", None)
            args = fields.pop("positional_args", ())
            if method_name == "exception":
                fields.setdefault("exc_info", True)
            _emit(level, level_label(level), target, event, tuple(args), {}, fields)
        raise DropEvent

    def __repr__(self) -> str:
        return "<pylog_struct dispatch>"

    def __reduce__(self) -> str:
        return "DISPATCH"


DISPATCH: Final = _Dispatch()


class _Processors(list[Any]):
    """structlog's processor list, which says when somebody changes what is in it."""

    def append(self, item: Any) -> None:
        super().append(item)
        _choose_way()

    def extend(self, items: Iterable[Any]) -> None:
        super().extend(items)
        _choose_way()

    def insert(self, index: SupportsIndex, item: Any) -> None:
        super().insert(index, item)
        _choose_way()

    def remove(self, item: Any) -> None:
        super().remove(item)
        _choose_way()

    def pop(self, index: SupportsIndex = -1) -> Any:
        item = super().pop(index)
        _choose_way()
        return item

    def clear(self) -> None:
        super().clear()
        _choose_way()

    def reverse(self) -> None:
        super().reverse()
        _choose_way()

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)
        _choose_way()

    def __delitem__(self, index: Any) -> None:
        super().__delitem__(index)
        _choose_way()

    def __iadd__(self, items: Iterable[Any]) -> Any:  # type: ignore[misc]
        self.extend(items)
        return self

    def __imul__(self, number: SupportsIndex) -> Any:
        self[:] = list(self) * int(number)
        return self


PROCESSORS: Final[list[Any]] = _Processors([DISPATCH])
"""structlog's processor list, for good: tools that swap its contents (``capture_logs``) work."""


def _choose_way() -> None:
    ACTIVE.set_direct(direct=len(PROCESSORS) == 1 and PROCESSORS[0] is DISPATCH)


def named(logger: Any) -> NamedLogger:
    """Return the logger of ours that has the name of somebody else's."""
    name = getattr(logger, "name", None)
    return named_logger(name) if isinstance(name, str) and name else named_logger()


def step_by_step(
    logger: BoundLogger,
    level: int,
    name: str,
    event: Any,
    args: tuple[Any, ...],
    fields: dict[str, Any],
    moment: int | None = None,
) -> None:
    """Take an event as a bound logger gives it; the way of whatever the fast lane leaves alone.

    Args:
        logger: Whose event it is.
        level: Severity.
        name: The level's name.
        event: What happened.
        args: Values for its placeholders.
        fields: The call's own; used up.
        moment: When the call was made, in nanoseconds since 1970; now, if None.
    """
    if event is None and "event" in fields:
        event = fields.pop("event")
    if logger.is_ours:
        _emit(level, name, logger._logger, event, args, logger._context, fields, moment)
    else:
        _through(logger, level, name, event, args, fields)


def _emit(
    level: int,
    name: str,
    logger: NamedLogger,
    event: Any,
    args: tuple[Any, ...],
    context: Any,
    fields: dict[str, Any],
    moment: int | None = None,
) -> None:
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        diagnostics.report("not configured", "an event came before configure() or after a reset")
        return
    try:
        if ACTIVE.overdue:
            ACTIVE.catch_up()
        pipeline.emit(level, name, logger, event, args, context, fields, moment)
    except RecursionError:
        if pipeline.strict:
            raise
        # No frame left to render in: keep what needs none, and deliver it with the next event.
        ACTIVE.overdue.append(
            (level, name, logger, event if type(event) is str else "?", moment or time.time_ns())
        )
    except Exception as error:
        if pipeline.strict:
            raise
        diagnostics.report("log call", "a log call failed; its event is lost", error)


def _through(
    logger: BoundLogger,
    level: int,
    name: str,
    event: Any,
    args: tuple[Any, ...],
    fields: dict[str, Any],
) -> None:
    """Run the processors that somebody put in place of ours, e.g. ``capture_logs``.

    What they return goes on into the pipeline: text as the line, a dict as the fields.
    """
    event_dict: Any = {**logger._context, **fields}
    if args:
        event, problem = interpolate(event, args)
        if problem is not None:
            event_dict.setdefault("log_format_error", problem)
    if event is not None:
        event_dict["event"] = event
    result: Any = event_dict
    try:
        for processor in logger._processors:
            result = processor(logger._logger, name, result)
    except DropEvent:
        return
    except Exception as error:
        pipeline = ACTIVE.pipeline
        if pipeline is not None and pipeline.strict:
            raise
        diagnostics.report("processors", "a foreign processor chain failed", error)
        event_dict["processor_error"] = f"{type(error).__name__}: {safe_str(error)}"
        result = event_dict
    if isinstance(result, str | bytes | bytearray):
        _emit_line(level, result)
    elif isinstance(result, Mapping):
        rest = dict(result)
        _emit(level, name, logger._logger, rest.pop("event", event), (), {}, rest)
    else:
        _emit(level, name, logger._logger, event, (), {}, {"result": result})


def _emit_line(level: int, text: str | bytes | bytearray) -> None:
    """Deliver what a foreign chain has rendered already."""
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        diagnostics.report("not configured", "an event came before configure() or after a reset")
        return
    pipeline.deliver(Record(level, as_line(text), time.time()))

"""The bound logger: structlog's interface, with a level that can change and calls that never raise."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, cast

import structlog
from structlog import BoundLoggerBase, DropEvent
from structlog._config import BoundLoggerLazyProxy

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError
from pylog_struct.levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_label, parse_level
from pylog_struct.pipeline import ACTIVE, as_line
from pylog_struct.processors.interpolation import interpolate
from pylog_struct.processors.safe_repr import safe_str
from pylog_struct.record import Record
from pylog_struct.thresholds import NamedLogger, named_logger

if TYPE_CHECKING:
    from pylog_struct.pipeline import Pipeline

__all__ = [
    "DISPATCH",
    "PROCESSORS",
    "BoundLogger",
    "get_logger",
    "install",
    "level_name",
    "logger_factory",
]

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


def _number(level: Any) -> int:
    try:
        return parse_level(int(level) if isinstance(level, int) else level)
    except ConfigError:
        return INFO


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
        named = logger if isinstance(logger, NamedLogger) else _named(logger)
        if level >= named.level:
            fields = dict(event_dict)
            event = fields.pop("event", None)
            args = fields.pop("positional_args", ())
            if method_name == "exception":
                fields.setdefault("exc_info", True)
            _emit(level, level_label(level), named, event, tuple(args), {}, fields)
        raise DropEvent

    def __repr__(self) -> str:
        return "<pylog_struct dispatch>"

    def __reduce__(self) -> str:
        return "DISPATCH"


DISPATCH: Final = _Dispatch()
PROCESSORS: Final[list[Any]] = [DISPATCH]
"""structlog's processor list, for good: tools that swap its contents (``capture_logs``) work."""


def _named(logger: Any) -> NamedLogger:
    name = getattr(logger, "name", None)
    return named_logger(name) if isinstance(name, str) and name else named_logger()


def _emit(
    level: int,
    name: str,
    logger: NamedLogger,
    event: Any,
    args: tuple[Any, ...],
    context: Any,
    fields: dict[str, Any],
) -> None:
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        diagnostics.report("not configured", "an event came before configure() or after a reset")
        return
    try:
        if ACTIVE.overdue:
            ACTIVE.catch_up()
        pipeline.emit(level, name, logger, event, args, context, fields)
    except RecursionError:
        if pipeline.strict:
            raise
        # No frame left to render in: keep what needs none, and deliver it with the next event.
        ACTIVE.overdue.append(
            (level, name, logger, event if type(event) is str else "?", time.time_ns())
        )
    except Exception as error:
        if pipeline.strict:
            raise
        diagnostics.report("log call", "a log call failed; its event is lost", error)


def _emit_line(level: int, text: str | bytes | bytearray) -> None:
    """Deliver what a foreign chain has rendered already."""
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        diagnostics.report("not configured", "an event came before configure() or after a reset")
        return
    pipeline.deliver(Record(level, as_line(text), time.time()))


def _deliver_elsewhere(pipeline: Pipeline, record: Record) -> Awaitable[None] | None:
    """Wait for room in another thread; None if there is no loop, or no thread to be had any more."""
    try:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, pipeline.deliver, record)
    except RuntimeError:
        return None


class _Delivery(Coroutine[Any, Any, None]):
    """What ``await log.ainfo(…)`` waits for.  The event is on its way even if nobody awaits it."""

    __slots__ = ("_future", "_steps")

    def __init__(self, future: Awaitable[None] | None = None) -> None:
        self._future = future
        self._steps: Any = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._future is not None:
            # Shielded: a cancelled caller stops waiting, its event does not get lost.
            yield from asyncio.shield(self._future).__await__()

    def send(self, value: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


def _method(level: int, name: str) -> Callable[..., Any]:
    def log(self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any) -> None:
        if level >= self._logger.level:
            self._log(level, name, event, args, fields)

    log.__name__ = name
    log.__qualname__ = f"BoundLogger.{name}"
    log.__doc__ = (
        f"Log *event* at level {name}; ``%`` placeholders take *args*, the rest are fields."
    )
    return log


def _async_method(level: int, name: str) -> Callable[..., Any]:
    def log(
        self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        if level >= self._logger.level:
            return self._alog(level, name, event, args, fields)
        return _Delivery()

    log.__name__ = log.__qualname__ = f"a{name}"
    log.__doc__ = (
        f"Like ``{name}``; awaiting it waits for room where the policy would block a thread."
    )
    return log


class BoundLogger(BoundLoggerBase):
    """What ``get_logger`` gives: structlog's bound logger, delivering to the active pipeline.

    ``bind``, ``unbind``, ``try_unbind`` and ``new`` return new loggers, as in structlog.  Every
    method takes the event first (positionally, or as ``event=``), values for its ``%`` placeholders,
    and any keyword as a field: no name is reserved, clashing ones move under ``extra.``.

    Threads: thread-safe.  Raises: nothing (unless configured with ``strict=True``).
    Blocks: only as the root sink's policy says; the ``a…`` methods wait without blocking a loop.
    Fork: works on.  Pickle: keeps name and bound values.
    """

    _logger: NamedLogger
    _context: dict[str, Any]

    def __init__(self, logger: Any, processors: Any, context: Any) -> None:
        # Another factory, or wrap_logger(), may hand us a logger of somebody else's: its name stays.
        self._logger = logger if type(logger) is NamedLogger else _named(logger)
        self._processors = processors
        self._context = context

    def bind(self, /, **new_values: Any) -> Self:
        """Return a logger with *new_values* added; any name will do, ``self`` too."""
        return self.__class__(self._logger, self._processors, {**self._context, **new_values})

    def new(self, /, **new_values: Any) -> Self:
        """Return a logger that has *new_values* only; this one keeps its own."""
        return self.__class__(self._logger, self._processors, new_values)

    def _log(
        self, level: int, name: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> None:
        if event is None and "event" in fields:
            event = fields.pop("event")
        processors: Any = self._processors
        if len(processors) == 1 and processors[0] is DISPATCH:
            _emit(level, name, self._logger, event, args, self._context, fields)
        else:
            self._log_through(processors, level, name, event, args, fields)

    def _log_through(
        self,
        processors: Any,
        level: int,
        name: str,
        event: Any,
        args: tuple[Any, ...],
        fields: dict[str, Any],
    ) -> None:
        """Run the processors that somebody put in place of ours, e.g. ``capture_logs``.

        What they return goes on into the pipeline: text as the line, a dict as the fields.
        """
        event_dict: Any = {**self._context, **fields}
        if args:
            event, problem = interpolate(event, args)
            if problem is not None:
                event_dict.setdefault("log_format_error", problem)
        if event is not None:
            event_dict["event"] = event
        result: Any = event_dict
        try:
            for processor in processors:
                result = processor(self._logger, name, result)
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
            _emit(level, name, self._logger, rest.pop("event", event), (), {}, rest)
        else:
            _emit(level, name, self._logger, event, (), {}, {"result": result})

    def _alog(
        self, level: int, name: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> Coroutine[Any, Any, None]:
        if event is None and "event" in fields:
            event = fields.pop("event")
        processors: Any = self._processors
        pipeline = ACTIVE.pipeline
        must_wait = None if pipeline is None else getattr(pipeline.root, "must_wait", None)
        if (
            pipeline is None
            or must_wait is None
            or len(processors) != 1
            or processors[0] is not DISPATCH
        ):
            self._log(level, name, event, args, fields)
            return _Delivery()
        try:
            record = pipeline.render(level, name, self._logger, event, args, self._context, fields)
            if record is None:
                return _Delivery()
            if must_wait(record) and (waiting := _deliver_elsewhere(pipeline, record)) is not None:
                return _Delivery(waiting)
            pipeline.deliver(record)
        except Exception as error:
            if pipeline.strict:
                raise
            diagnostics.report("log call", "a log call failed; its event is lost", error)
        return _Delivery()

    debug: Callable[..., None] = cast("Callable[..., None]", _method(DEBUG, "debug"))
    info: Callable[..., None] = cast("Callable[..., None]", _method(INFO, "info"))
    warning: Callable[..., None] = cast("Callable[..., None]", _method(WARNING, "warning"))
    error: Callable[..., None] = cast("Callable[..., None]", _method(ERROR, "error"))
    critical: Callable[..., None] = cast("Callable[..., None]", _method(CRITICAL, "critical"))
    warn = warning
    fatal = critical
    msg = info
    adebug: Callable[..., Coroutine[Any, Any, None]] = cast(
        "Callable[..., Coroutine[Any, Any, None]]", _async_method(DEBUG, "debug")
    )
    ainfo: Callable[..., Coroutine[Any, Any, None]] = cast(
        "Callable[..., Coroutine[Any, Any, None]]", _async_method(INFO, "info")
    )
    awarning: Callable[..., Coroutine[Any, Any, None]] = cast(
        "Callable[..., Coroutine[Any, Any, None]]", _async_method(WARNING, "warning")
    )
    aerror: Callable[..., Coroutine[Any, Any, None]] = cast(
        "Callable[..., Coroutine[Any, Any, None]]", _async_method(ERROR, "error")
    )
    acritical: Callable[..., Coroutine[Any, Any, None]] = cast(
        "Callable[..., Coroutine[Any, Any, None]]", _async_method(CRITICAL, "critical")
    )
    awarn = awarning
    afatal = acritical
    amsg = ainfo

    def exception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log at level error with the exception being handled (``exc_info=False`` leaves it out)."""
        if self._logger.level <= ERROR:
            fields.setdefault("exc_info", True)
            self._log(ERROR, "error", event, args, fields)

    def aexception(
        self, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        """Like :meth:`exception`, awaitable."""
        if self._logger.level <= ERROR:
            fields.setdefault("exc_info", True)
            return self._alog(ERROR, "error", event, args, fields)
        return _Delivery()

    def log(self, level: int | str, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log at any *level*: a number, or a name; what is neither is taken for info."""
        level = level if type(level) is int else _number(level)
        if level >= self._logger.level:
            self._log(level, level_name(level), event, args, fields)

    def alog(
        self, level: int | str, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        """Like :meth:`log`, awaitable."""
        level = level if type(level) is int else _number(level)
        if level >= self._logger.level:
            return self._alog(level, level_name(level), event, args, fields)
        return _Delivery()

    @property
    def name(self) -> str:
        """The logger's name."""
        return self._logger.name

    def is_enabled_for(self, level: int) -> bool:
        """Whether an event of *level* would be emitted now."""
        return level >= self._logger.level

    def get_effective_level(self) -> int:
        """The level below which nothing is emitted now."""
        return self._logger.level

    isEnabledFor = is_enabled_for  # noqa: N815 - the stdlib's spelling, as in structlog.stdlib
    getEffectiveLevel = get_effective_level  # noqa: N815 - the same

    def __reduce__(self) -> tuple[Any, tuple[str, dict[str, Any]]]:
        return (_rebuild, (self._logger.name, self._context))


def _rebuild(name: str, context: dict[str, Any]) -> BoundLogger:
    return BoundLogger(named_logger(name), PROCESSORS, context)


def logger_factory(*args: Any) -> NamedLogger:
    """Serve as structlog's hook for the wrapped logger: the first positional argument is the name."""
    return named_logger(str(args[0])) if args and args[0] else named_logger()


def install() -> None:
    """Make structlog use all this, for loggers to come and for those that exist already."""
    config = structlog.get_config()
    before = config["processors"]
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=BoundLogger,
        context_class=dict,
        logger_factory=logger_factory,
        cache_logger_on_first_use=True,
    )
    _let_cached_proxies_pickle()
    if before is not PROCESSORS:
        _adopt(before)
        if isinstance(before, list):
            before[:] = [DISPATCH]


def _adopt(processors: Any) -> None:
    """Turn bound loggers that hold *processors* into ours: theirs raise on bad ``%`` or a clashing key.

    Those of a class of the user's own keep it; their events arrive by the processor list.
    """
    import gc  # noqa: PLC0415 - once in a process's life, and only if somebody configured before

    for thing in gc.get_objects():
        cls = type(thing)
        if not issubclass(cls, BoundLoggerBase) or cls is BoundLogger:
            continue
        if thing.__dict__.get("_processors") is not processors:
            continue
        thing._processors = PROCESSORS
        if cls is structlog.BoundLogger or cls.__module__ == "structlog._native":
            thing._logger = _named(thing._logger)
            if type(thing._context) is not dict:
                thing._context = dict(thing._context)
            thing.__class__ = BoundLogger


def _let_cached_proxies_pickle() -> None:
    """Leave the cached ``bind`` closure of structlog's lazy proxy out of pickles and copies.

    structlog's proxies can be pickled until their first use when caching is on; we turn caching on,
    and users rely on pickling (it works in structlog's default, uncached).
    """
    proxy: Any = BoundLoggerLazyProxy

    def state(self: Any) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "bind"}

    proxy.__getstate__ = state


def get_logger(name: str | None = None, **initial: Any) -> BoundLogger:
    """Return structlog's logger, typed.

    Args:
        name: The logger's name; stands under ``logger`` and is what ``set_level`` matches.
        initial: Values bound from the start.

    May be called before ``configure``; the logger follows whatever configuration comes.
    """
    args = () if name is None else (name,)
    return cast("BoundLogger", structlog.get_logger(*args, **initial))

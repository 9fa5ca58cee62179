"""The bound logger: structlog's interface, with a level that can change and calls that never raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, cast

import structlog
from structlog import BoundLoggerBase

from pylog_struct import diagnostics
from pylog_struct._awaitable import Delivery, deliver_elsewhere
from pylog_struct._compiled import SPEED
from pylog_struct.active import ACTIVE
from pylog_struct.dispatch import DISPATCH, PROCESSORS, level_name, named, step_by_step
from pylog_struct.errors import ConfigError
from pylog_struct.fast_lane import LEVEL_NAMES, NO_LANE, Prepared
from pylog_struct.levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, parse_level
from pylog_struct.thresholds import NamedLogger, named_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pylog_struct.fast_lane import FastLane

__all__ = ["BoundLogger", "get_logger", "go_step_by_step", "hold_below"]


def _number(level: Any) -> int:
    try:
        return parse_level(int(level) if isinstance(level, int) else level)
    except ConfigError:
        return INFO


def _method(level: int, name: str) -> Callable[..., None]:
    def log(self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any) -> None:
        if level >= self._logger.level:
            ACTIVE.emit(self, level, name, event, args, fields)

    return log


def _named_method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = name
    function.__qualname__ = f"BoundLogger.{name}"
    function.__doc__ = (
        f"Log *event* at level {name}; ``%`` placeholders take *args*, the rest are fields."
    )
    return function


def _async_method(level: int, name: str) -> Callable[..., Any]:
    def log(
        self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        if level >= self._logger.level:
            return self._alog(level, name, event, args, fields)
        return Delivery()

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
    _lane: Prepared = NO_LANE  # what the fast lane needs of this logger

    def __init__(self, logger: Any, processors: Any, context: Any) -> None:
        # Another factory, or wrap_logger(), may hand us a logger of somebody else's: its name stays.
        self._logger = logger if type(logger) is NamedLogger else named(logger)
        self._processors = processors
        self._context = context

    def bind(self, /, **new_values: Any) -> Self:
        """Return a logger with *new_values* added; any name will do, ``self`` too."""
        return self.__class__(self._logger, self._processors, {**self._context, **new_values})

    def new(self, /, **new_values: Any) -> Self:
        """Return a logger that has *new_values* only; this one keeps its own."""
        return self.__class__(self._logger, self._processors, new_values)

    def _prepare(self) -> Prepared | None:
        """Make ready what the compiled lane needs; None if the events go step by step."""
        lane = ACTIVE.lane
        return None if lane is None else lane.prepare(self)

    def _slow(
        self,
        level: int,
        name: str,
        event: Any,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        moment: int | None,
    ) -> None:
        """Take what the compiled methods leave alone."""
        ACTIVE.emit(self, level, name, event, args, fields, moment)

    def _alog(
        self, level: int, name: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> Coroutine[Any, Any, None]:
        pipeline = ACTIVE.pipeline
        must_wait = None if pipeline is None else getattr(pipeline.root, "must_wait", None)
        if pipeline is None or must_wait is None or not self.is_ours:
            step_by_step(self, level, name, event, args, fields)
            return Delivery()
        if event is None and "event" in fields:
            event = fields.pop("event")
        try:
            record = pipeline.render(level, name, self._logger, event, args, self._context, fields)
            if record is None:
                return Delivery()
            if must_wait(record) and (waiting := deliver_elsewhere(pipeline, record)) is not None:
                return Delivery(waiting)
            pipeline.deliver(record)
        except Exception as error:
            if pipeline.strict:
                raise
            diagnostics.report("log call", "a log call failed; its event is lost", error)
        return Delivery()

    debug: Callable[..., None] = _method(DEBUG, "debug")
    info: Callable[..., None] = _method(INFO, "info")
    warning: Callable[..., None] = _method(WARNING, "warning")
    error: Callable[..., None] = _method(ERROR, "error")
    critical: Callable[..., None] = _method(CRITICAL, "critical")
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
            ACTIVE.emit(self, ERROR, "error", event, args, fields)

    def aexception(
        self, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        """Like :meth:`exception`, awaitable."""
        if self._logger.level <= ERROR:
            fields.setdefault("exc_info", True)
            return self._alog(ERROR, "error", event, args, fields)
        return Delivery()

    def log(self, level: int | str, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log at any *level*: a number, or a name; what is neither is taken for info."""
        level = level if type(level) is int else _number(level)
        if level >= self._logger.level:
            ACTIVE.emit(self, level, level_name(level), event, args, fields)
        elif _HOLD:
            _HOLD[0](self, level, level_name(level), event, args, fields)

    def alog(
        self, level: int | str, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        """Like :meth:`log`, awaitable."""
        level = level if type(level) is int else _number(level)
        if level >= self._logger.level:
            return self._alog(level, level_name(level), event, args, fields)
        if _HOLD:
            _HOLD[0](self, level, level_name(level), event, args, fields)
        return Delivery()

    @property
    def is_ours(self) -> bool:
        """Whether its events go straight to the pipeline: nobody put processors in between."""
        processors: Any = self._processors
        return len(processors) == 1 and processors[0] is DISPATCH

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


_ALIASES: Final = {"info": ("msg",), "warning": ("warn",), "critical": ("fatal",)}
_NUMBERS: Final[dict[str, int]] = dict(
    zip(LEVEL_NAMES, (DEBUG, INFO, WARNING, ERROR, CRITICAL), strict=True)
)


_SLOW: Final[set[str]] = set()  # methods that leave the lanes alone
_COMPILED: Final = {} if SPEED is None else SPEED.methods_for(BoundLogger)


def _install_methods(lane: FastLane | None) -> None:
    """Give the class the methods of a fast lane, or those that let every event go step by step."""
    for name, level in _NUMBERS.items():
        if lane is None or name in _SLOW:
            method: Callable[..., None] | None = _method(level, name)
        else:
            method = lane.method(level, name)
        if method is not None:
            _set_method(name, _named_method(method, name))


def go_step_by_step(*names: str) -> None:
    """Let the events of these methods go step by step, whatever the lane; none: all as it was.

    For somebody who wants to see each of them (:func:`pylog_struct.pipeline.watch`).
    """
    _SLOW.clear()
    _SLOW.update(names)
    _install_methods(ACTIVE.lane)
    for name, method in _COMPILED.items():
        if name not in _SLOW:
            _set_method(name, method)


_HOLD: Final[list[Callable[..., None]]] = []  # who wants what a logger's level does not let through
_HELD: Final[set[str]] = set()  # of which methods
_ASYNC: Final[dict[str, Any]] = {name: vars(BoundLogger)[f"a{name}"] for name in LEVEL_NAMES}


def hold_below(hold: Callable[..., None] | None, *names: str) -> None:
    """Hand events of these methods that are below their logger's level to *hold*; None: all as it was.

    It gets the logger, the level, its name, the event, its ``%`` arguments and the fields.  What is
    not below the level goes on, step by step; the other methods are left alone.
    """
    _HOLD[:] = [] if hold is None else [hold]
    _HELD.clear()
    _HELD.update(names)
    go_step_by_step(*_SLOW)
    for name, method in _ASYNC.items():
        made = _holding(name)[1] if name in _HELD else method
        for one in (name, *_ALIASES.get(name, ())):
            setattr(BoundLogger, f"a{one}", made)


def _holding(name: str) -> tuple[Callable[..., None], Callable[..., Any]]:
    """Return the method of a level, and its awaitable form, that hand over what they do not emit."""
    level, hold = _NUMBERS[name], _HOLD[0]

    def log(self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any) -> None:
        if level >= self._logger.level:
            ACTIVE.emit(self, level, name, event, args, fields)
        else:
            hold(self, level, name, event, args, fields)

    def alog(
        self: BoundLogger, event: Any = None, /, *args: Any, **fields: Any
    ) -> Coroutine[Any, Any, None]:
        if level >= self._logger.level:
            return self._alog(level, name, event, args, fields)
        hold(self, level, name, event, args, fields)
        return Delivery()

    alog.__name__ = alog.__qualname__ = f"a{name}"
    return _named_method(log, name), alog


def _set_method(name: str, method: Callable[..., Any]) -> None:
    if name in _HELD:
        method = _holding(name)[0]
    for one in (name, *_ALIASES.get(name, ())):
        setattr(BoundLogger, one, method)


if SPEED is None:
    ACTIVE.set_up(step_by_step, _install_methods)
else:
    for _name, _compiled in _COMPILED.items():
        _set_method(_name, _compiled)
    ACTIVE.set_up(step_by_step, lambda _lane: None)


def get_logger(name: str | None = None, **initial: Any) -> BoundLogger:
    """Return structlog's logger, typed.

    Args:
        name: The logger's name; stands under ``logger`` and is what ``set_level`` matches.
        initial: Values bound from the start.

    May be called before ``configure``; the logger follows whatever configuration comes.
    """
    args = () if name is None else (name,)
    return cast("BoundLogger", structlog.get_logger(*args, **initial))

"""Making structlog use the bound logger: for loggers to come, and for those that exist already."""

from __future__ import annotations

from typing import Any

import structlog
from structlog import BoundLoggerBase
from structlog._config import BoundLoggerLazyProxy

from pylog_struct.bound_logger import BoundLogger
from pylog_struct.dispatch import DISPATCH, PROCESSORS, named
from pylog_struct.thresholds import NamedLogger, named_logger

__all__ = ["install", "logger_factory"]


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
            thing._logger = named(thing._logger)
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

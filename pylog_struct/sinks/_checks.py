"""Checks that several constructors share: each names the argument, the value and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.sinks.base import BaseSink

__all__ = ["check_count", "check_distinct", "check_path"]


def check_count(value: Any, argument: str, *, minimum: int = 1, unit: str = "records") -> int:
    """Return *value* if it is a whole number of at least *minimum*.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        msg = f"{argument}: {value!r} is no number of {unit}; use a whole number of at least {minimum}"
        raise ConfigError(msg)
    return value


def check_path(value: Any, argument: str) -> str:
    """Return *value* if it is a dotted path into a record's fields, e.g. ``trace.id``.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, str) or not all(value.split(".")):
        msg = f'{argument}: {value!r} is no field; use a key or a dotted path such as "trace.id"'
        raise ConfigError(msg)
    return value


def check_distinct(sinks: Sequence[BaseSink], argument: str) -> None:
    """Refuse a sink that is listed twice: it would get every record twice.

    Raises:
        ConfigError: it is.
    """
    seen: set[int] = set()
    for sink in sinks:
        if id(sink) in seen:
            msg = f"{argument}: {sink!r} is listed twice; list each sink once"
            raise ConfigError(msg)
        seen.add(id(sink))

"""Checks that several constructors share: each names the argument, the value and what would be right."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.sinks.base import BaseSink

__all__ = ["check_count", "check_distinct", "check_flag", "check_path", "is_file_name"]


def check_count(value: Any, argument: str, *, minimum: int = 1, unit: str = "records") -> int:
    """Return *value* if it is a whole number of at least *minimum*, and no larger than an index.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        msg = f"{argument}: {value!r} is no number of {unit}; use a whole number of at least {minimum}"
        raise ConfigError(msg)
    if value > sys.maxsize:  # a container's length would overflow, with an error of its own
        msg = f"{argument}: {value!r} {unit} are too many; use at most {sys.maxsize}"
        raise ConfigError(msg)
    return value


def check_flag(value: Any, argument: str) -> bool:
    """Return *value* if it is True or False.

    Raises:
        ConfigError: it is not; a text such as ``"no"`` would count as yes.
    """
    if isinstance(value, bool):
        return value
    msg = f"{argument}: {value!r} is neither True nor False; use one of them"
    raise ConfigError(msg)


def is_file_name(value: Any) -> TypeGuard[str]:
    """Whether the operating system could take *value* for the name of a file.

    Half of a surrogate pair is refused here and not at the first write, where it is no ``OSError``.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


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

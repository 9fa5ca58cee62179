"""Severity levels: the stdlib's numbers, and the closed set of names that metrics use."""

from __future__ import annotations

import logging
from typing import Final

from pylog_struct.errors import ConfigError

__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "NOTSET", "WARNING", "level_label", "parse_level"]

NOTSET: Final = 0
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50

_BY_NAME: Final[dict[str, int]] = {
    "notset": NOTSET,
    "debug": DEBUG,
    "info": INFO,
    "warn": WARNING,
    "warning": WARNING,
    "error": ERROR,
    "exception": ERROR,
    "fatal": CRITICAL,
    "critical": CRITICAL,
}
_LABELS: Final[dict[int, str]] = {
    DEBUG: "debug",
    INFO: "info",
    WARNING: "warning",
    ERROR: "error",
    CRITICAL: "critical",
}


def parse_level(value: int | str, argument: str = "level") -> int:
    """Return *value* as a number: a name in any case, a number, or a number as text.

    Names added with :func:`logging.addLevelName` count too.

    Args:
        value: The level as the user wrote it.
        argument: The name of the setting, for the error.

    Raises:
        ConfigError: no such level, or a negative number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= 0:
            return value
    elif isinstance(value, str):
        text = value.strip()
        if text.lower() in _BY_NAME:
            return _BY_NAME[text.lower()]
        if text.isdecimal() and len(text) < 10:
            return int(text)
        for name, number in logging.getLevelNamesMapping().items():
            if name.lower() == text.lower():
                return number
    msg = (
        f"{argument}: {value!r} is no level; use debug, info, warning, error, critical"
        " or a number from 0 up"
    )
    raise ConfigError(msg)


def level_label(level: int) -> str:
    """Return the name of the standard level at or below *level*: five names, whatever comes in."""
    label = _LABELS.get(level)
    if label is not None:
        return label
    for number in (CRITICAL, ERROR, WARNING, INFO):
        if level >= number:
            return _LABELS[number]
    return "debug"

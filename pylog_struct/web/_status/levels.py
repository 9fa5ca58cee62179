"""Levels over HTTP: what they are, and changing them for a while, with an event that says who did it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.active import ACTIVE
from pylog_struct.errors import ConfigError
from pylog_struct.levels import NOTSET, WARNING, level_label, parse_level
from pylog_struct.manager import LogManager, current_manager_or_none
from pylog_struct.notices import timestamp
from pylog_struct.thresholds import ROOT_NAME, THRESHOLDS
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from pylog_struct.web._http import Request

__all__ = ["Levels", "Override", "current_levels", "document", "level_text", "logger_names"]

DEFAULT: Final = 600.0
"""Seconds for which a level changes if nobody says how long."""

_OVERRIDES_MAX: Final = 100  # at once: each is looked at for every new logger
_NAME_MAX: Final = 200
_LEVEL_MAX: Final = 100


@frozen
class Override:
    """The level of one logger and those below it; of all others, if *logger* is empty."""

    logger: str
    level: int
    left: float | None
    """Seconds until it reverts; None if it stays."""


def current_levels() -> list[Override]:
    """Return the root's level, and every logger's that has its own."""
    manager = current_manager_or_none()
    left = {} if manager is None else manager._levels.left()
    levels = THRESHOLDS.save()
    return [Override(name, levels[name], left.get(name)) for name in sorted(levels)]


def logger_names(most: int = 200) -> list[str]:
    """Return names of loggers that this process has: to choose from."""
    return sorted(name for name in list(THRESHOLDS._loggers) if name != ROOT_NAME)[:most]


def level_text(level: int) -> str:
    """Return the level's name, or its number if it has none."""
    if level == NOTSET:
        return "notset"
    label = level_label(level)
    return label if parse_level(label) == level else str(level)


def document() -> dict[str, Any]:
    """Return the levels as JSON shows them: zap's ``level``, and what we have beside it."""
    found = {one.logger: one for one in current_levels()}
    root = found.pop("")
    return {
        "level": level_text(root.level),
        "expires_in": _rounded(root.left),
        "loggers": {
            name: {"level": level_text(one.level), "expires_in": _rounded(one.left)}
            for name, one in found.items()
        },
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


class Levels:
    """Changes levels for people.

    Args:
        most: Longest duration, in seconds.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.default: float = min(DEFAULT, most)

    def change(
        self, request: Request, identity: str, level: Any, logger: Any, duration: Any
    ) -> None:
        """Set a level for a while.

        Args:
            request: Where it came from, for the audit event.
            identity: Who it was.
            level: A name, or a number.
            logger: A name; None or "" is the root.
            duration: Seconds or text; None is ten minutes.

        Raises:
            ConfigError: something is wrong with it, in words for whoever asked.
        """
        manager = _manager()
        number = parse_level(level, "level")
        if number > _LEVEL_MAX:
            msg = f"level: {number} is beyond every level in use; use {_LEVEL_MAX} or less"
            raise ConfigError(msg)
        name = _name(logger)
        given = self.default if duration in (None, "") else duration
        seconds = parse_duration(given, "duration", exclusive=True)
        if seconds > self.most:
            msg = f"duration: {given!r} is longer than the {self.most:g} seconds that are allowed"
            raise ConfigError(msg)
        before = THRESHOLDS.effective(name)
        pending = manager._levels.left()
        if name not in pending and len(pending) >= _OVERRIDES_MAX:
            msg = f"logger: there are {len(pending)} changes already; revert one first"
            raise ConfigError(msg)
        manager.set_level(number, name or None, seconds)
        _audit(
            "level.changed",
            request,
            identity,
            name,
            level=level_text(number),
            before=level_text(before),
            seconds=seconds,
        )

    def revert(self, request: Request, identity: str, logger: Any) -> None:
        """Take a change back before its time.

        Raises:
            ConfigError: there is none.
        """
        manager = _manager()
        name = _name(logger)
        before = THRESHOLDS.effective(name)
        if not manager._levels.revert(name):
            msg = f"logger: the level of {name or ROOT_NAME!r} was not changed for a while"
            raise ConfigError(msg)
        after = level_text(THRESHOLDS.effective(name))
        _audit("level.reverted", request, identity, name, level=after, before=level_text(before))


def _manager() -> LogManager:
    manager = current_manager_or_none()
    if manager is None or manager._report is not None:
        msg = "level: nothing is configured in this process, or it was shut down"
        raise ConfigError(msg)
    return manager


def _name(logger: Any) -> str:
    if logger is None:
        return ""
    if not isinstance(logger, str) or len(logger) > _NAME_MAX or not logger.strip().isprintable():
        msg = f"logger: no name; use up to {_NAME_MAX} printable characters, or leave it out"
        raise ConfigError(msg)
    name = logger.strip()
    return "" if name == ROOT_NAME else name


def _audit(
    event: str,
    request: Request,
    identity: str,
    logger: str,
    *,
    level: str,
    before: str,
    seconds: float | None = None,
) -> None:
    """Say in the log who did it, whatever the level is now: the check of levels is passed by."""
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        return
    fields: dict[str, Any] = {
        "target": logger or ROOT_NAME,
        "to": level,
        "from": before,
        "by": identity,
        "client": request.client,
    }
    claimed = request.headers.get("x-forwarded-for")
    if claimed:
        fields["forwarded_for"] = claimed[:200]
    if seconds is not None:
        fields["duration"] = seconds
        fields["until"] = timestamp(time.time() + seconds)
    try:
        pipeline.deliver(pipeline.notice(WARNING, event, fields))
    except Exception as error:
        diagnostics.report("status audit", f"{event} by {identity} not logged", error)

"""The calendar of roll-overs: when a period starts and ends, in wall-clock time.

Periods are *naive wall-clock* datetimes in the zone of the archive names, and only ever compared
with each other.  That is what makes the clock changes harmless: in the hour that is repeated in
autumn the wall clock shows a time that is not later than the period held, so nothing is rolled and
the hour stays in one file; the hour that spring skips is a period that never comes.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, Protocol

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError

__all__ = ["At", "Every", "Schedule", "WallClock", "parse_at", "parse_interval"]

DAY: Final = 86_400
UNIT_SECONDS: Final[dict[str, int]] = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": DAY,
    "week": 7 * DAY,
    "month": 28 * DAY,
    "year": 365 * DAY,
}
"""The least length of each unit, in seconds."""

_ALIASES: Final[dict[str, str]] = {
    "s": "second", "sec": "second", "min": "minute", "h": "hour", "d": "day", "w": "week",
    "hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year",
}  # fmt: skip
_INTERVAL: Final = re.compile(r"(?:([0-9]{1,6})\s*)?([a-z]+)")
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AT: Final = re.compile(
    r"(?:(?P<day>[a-z]+)(?:\s+(?:at\s+)?|$))?(?:(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2}))?)?"
)


class WallClock:
    """Unix time to wall-clock time in one zone, and back.

    Args:
        zone: The zone, or None for the local time of the machine.
    """

    __slots__ = ("zone",)

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.zone = zone

    def wall(self, moment: float) -> datetime:
        """Return what the clock on the wall shows at *moment* (Unix seconds), to the second."""
        shown = datetime.fromtimestamp(moment, self.zone)
        return shown.replace(tzinfo=None, microsecond=0, fold=0)

    def instant(self, wall: datetime) -> float:
        """Return the first moment at which the clock shows *wall* or later (Unix seconds)."""
        low, high = sorted(wall.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1))
        if self.wall(low) >= wall:
            return low  # shown once, or twice and this is the first time
        while high - low >= 1:  # never shown: the moment at which the clock is put forward
            middle = (low + high) // 2
            if self.wall(middle) >= wall:
                high = middle
            else:
                low = middle + 1
        return high


class Schedule(Protocol):
    """A division of time into periods."""

    @property
    def seconds(self) -> int:
        """The length of a period, at least, in seconds."""
        ...

    def start(self, wall: datetime) -> datetime:
        """Return the start of the period that holds *wall*."""
        ...

    def end(self, start: datetime) -> datetime:
        """Return the start of the period after the one that holds *start*."""
        ...


@frozen
class Every:
    """Every *count* units, aligned: 6 hours to midnight, 2 weeks to Mondays, 3 months to January."""

    count: int
    unit: str

    @property
    def seconds(self) -> int:
        """The length of a period, at least, in seconds."""
        return self.count * UNIT_SECONDS[self.unit]

    def start(self, wall: datetime) -> datetime:
        """Return the start of the period that holds *wall*."""
        midnight = datetime.combine(wall.date(), time())
        if self.unit in {"second", "minute", "hour"}:
            passed = (wall - midnight).seconds
            return midnight + timedelta(seconds=passed - passed % self.seconds)
        if self.unit in {"day", "week"}:
            # Day 1 of the proleptic calendar was a Monday, so weeks align by the same rule.
            days = (midnight.toordinal() - 1) % (self.seconds // DAY)
            return midnight - timedelta(days=min(days, midnight.toordinal() - 1))
        months = midnight.year * 12 + midnight.month - 1
        months -= months % self._months
        return datetime(max(months // 12, 1), months % 12 + 1, 1)  # noqa: DTZ001 - wall-clock time

    def end(self, start: datetime) -> datetime:
        """Return the start of the period after the one that holds *start*."""
        start = self.start(start)
        if self.unit in {"second", "minute", "hour"}:
            midnight = datetime.combine(start.date(), time()) + timedelta(days=1)
            return min(start + timedelta(seconds=self.seconds), midnight)
        if self.unit in {"day", "week"}:
            return start + timedelta(seconds=self.seconds)
        months = start.year * 12 + start.month - 1 + self._months
        return datetime(months // 12, months % 12 + 1, 1)  # noqa: DTZ001 - wall-clock time

    @property
    def _months(self) -> int:
        return self.count * (12 if self.unit == "year" else 1)


@frozen
class At:
    """Once a day, or once a week, at a time of day."""

    moment: time
    weekday: int | None = None

    @property
    def seconds(self) -> int:
        """The length of a period, at least, in seconds."""
        return DAY if self.weekday is None else 7 * DAY

    def start(self, wall: datetime) -> datetime:
        """Return the start of the period that holds *wall*."""
        begin = datetime.combine(wall.date(), self.moment)
        if self.weekday is not None:
            begin -= timedelta(days=(begin.weekday() - self.weekday) % 7)
        return begin if begin <= wall else begin - timedelta(seconds=self.seconds)

    def end(self, start: datetime) -> datetime:
        """Return the start of the period after the one that holds *start*."""
        return self.start(start) + timedelta(seconds=self.seconds)


def parse_interval(value: float | str, argument: str) -> Every:
    """Return the schedule that *value* asks for: ``"1 day"``, ``"hour"``, ``"15 minutes"``, ``3600``.

    Raises:
        ConfigError: no such interval, or one that cannot be aligned to the calendar.
    """
    count, unit = 0, ""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        count, unit = int(value), "second"
    elif isinstance(value, str) and (found := _INTERVAL.fullmatch(value.strip().lower())):
        word = found[2] if found[2] in _ALIASES else found[2].removesuffix("s")
        count, unit = int(found[1] or 1), _ALIASES.get(word, word)
    if count < 1 or unit not in UNIT_SECONDS:
        msg = (
            f"{argument}: {value!r} is no interval; use whole seconds or text such as"
            ' "hour", "15 minutes", "1 day", "2 weeks" or "month"'
        )
        raise ConfigError(msg)
    every = Every(count, unit)
    if unit in {"second", "minute", "hour"} and every.seconds >= DAY:
        if every.seconds % DAY:
            msg = f"{argument}: {value!r} is longer than a day and not whole days; use whole days"
            raise ConfigError(msg)
        every = Every(every.seconds // DAY, "day")
    return every


def parse_at(value: str, argument: str) -> At:
    """Return the schedule for ``"HH:MM"``, ``"monday"`` or ``"monday 03:00"``.

    Raises:
        ConfigError: neither a time of day nor a weekday.
    """
    found = _AT.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is not None and (found["day"] or found["h"]):
        days = [n for n, day in enumerate(_WEEKDAYS) if found["day"] in {day, day[:3]}]
        hour, minute, second = (int(found[part] or 0) for part in "hms")
        if hour < 24 and minute < 60 and second < 60 and (days or not found["day"]):
            return At(time(hour, minute, second), days[0] if days else None)
    msg = f'{argument}: {value!r} is no time to roll at; use "HH:MM", "monday" or "monday 03:00"'
    raise ConfigError(msg)

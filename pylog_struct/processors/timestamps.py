"""Timestamps: RFC 3339 in UTC, of fixed width, taken when the log call is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pylog_struct.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TimestampSource", "format_timestamp"]

_SECOND: Final = 1_000_000_000
_FIRST: Final = -62_135_596_800  # 0001-01-01T00:00:00Z
_LAST: Final = 253_402_300_799  # 9999-12-31T23:59:59Z

# The second that was asked for last, and its text.  One tuple, replaced as a whole: no lock.
_cached: tuple[int, str] = (0, "1970-01-01T00:00:00")


def format_timestamp(ns: int, digits: int = 6) -> str:
    """Return Unix time *ns* (nanoseconds) as ``2024-02-29T12:34:56.123456Z``.

    Digits are cut, not rounded, so that texts sort like the moments.  What lies outside of the
    years 1 to 9999 becomes the first or last moment in them.

    Args:
        ns: Nanoseconds since 1970 in UTC; may be negative.
        digits: Digits of the second's fraction: 6, or 9 (or 3).
    """
    global _cached  # noqa: PLW0603 - a cache of one entry; a lost update costs nothing
    second, rest = divmod(ns, _SECOND)
    known, text = _cached
    if second != known:
        if second < _FIRST:
            second, rest = _FIRST, 0
        elif second > _LAST:
            second, rest = _LAST, _SECOND - 1
        text = _civil(second)
        _cached = (second, text)
    if digits == 6:
        return "%s.%06dZ" % (text, rest // 1000)  # noqa: UP031 - the quickest spelling
    return f"{text}.{rest // 10 ** (9 - digits):0{digits}d}Z"


def _civil(second: int) -> str:
    """Return Unix time as ``2024-02-29T12:34:56``.

    By arithmetic, not by :mod:`datetime`: that one crashes Python 3.13 when an object that logs in
    its ``__del__`` is the first to use it after the interpreter has begun to take modules down.
    The days are those of H. Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin in
    March, in eras of 400 years.
    """
    days, rest = divmod(second, 86_400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"


class TimestampSource:
    """The time of each log call, in nanoseconds since 1970.

    The readings do not go back, in no thread, when the clock is slewed or stepped by less than a
    second: the last reading is held until the clock has caught up.  A larger step is somebody
    setting the clock, and is followed.

    Args:
        clock: Where the time comes from; the system's clock is read in nanoseconds.

    Threads: thread-safe, lock-free.  Fork: nothing to do.  Picklable if *clock* is.
    """

    __slots__ = ("_clock", "last", "read")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.read: Callable[[], int] = (
            time.time_ns if clock is SYSTEM_CLOCK else lambda: round(clock.time() * 1e6) * 1000
        )
        """The clock itself."""
        self.last: list[int] = [0]
        """The latest reading; the fast lane has the steps of ``__call__`` once more."""

    def __call__(self) -> int:
        """Return the time now."""
        now = self.read()
        # No call from here on: under the GIL one step, as in RecordBuffer.  Without it two threads
        # may see each other's reading late, by as much as a call takes.
        last = self.last
        if now < last[0]:
            return self.steady(now)
        last[0] = now
        return now

    def steady(self, now: int) -> int:
        """Return what to show for a reading that lies before the latest one."""
        last = self.last[0]
        if last - _SECOND < now < last:
            return last
        self.last[0] = now
        return now

    def __reduce__(self) -> tuple[type[TimestampSource], tuple[Clock, ...]]:
        return (type(self), () if self._clock is SYSTEM_CLOCK else (self._clock,))

"""Timestamps: RFC 3339 in UTC, of fixed width, taken when the log call is made."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pylog_struct.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TimestampSource", "format_timestamp"]

_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
        text = (_EPOCH + timedelta(seconds=second)).isoformat()[:19]
        _cached = (second, text)
    if digits == 6:
        return "%s.%06dZ" % (text, rest // 1000)  # noqa: UP031 - the quickest spelling
    return f"{text}.{rest // 10 ** (9 - digits):0{digits}d}Z"


class TimestampSource:
    """The time of each log call, in nanoseconds since 1970.

    Within one thread the readings do not go back when the clock is slewed or stepped by less than a
    second: the last reading is held until the clock has caught up.  A larger step is somebody
    setting the clock, and is followed.

    Args:
        clock: Where the time comes from; the system's clock is read in nanoseconds.

    Threads: thread-safe, lock-free.  Fork: nothing to do.  Picklable if *clock* is.
    """

    __slots__ = ("_clock", "_local", "_read")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._local = threading.local()
        self._read: Callable[[], int] = (
            time.time_ns if clock is SYSTEM_CLOCK else lambda: round(clock.time() * 1e6) * 1000
        )

    def __call__(self) -> int:
        """Return the time now."""
        now = self._read()
        local = self._local
        try:
            last: int = local.last
        except AttributeError:  # this thread's first
            last = now
        if last - _SECOND < now < last:
            return last
        local.last = now
        return now

    def __reduce__(self) -> tuple[type[TimestampSource], tuple[Clock, ...]]:
        return (type(self), () if self._clock is SYSTEM_CLOCK else (self._clock,))

"""Time as an argument: what every timed object here takes instead of calling :mod:`time`."""

from __future__ import annotations

import time as _time
from typing import Final, Protocol

__all__ = ["SYSTEM_CLOCK", "Clock"]


class Clock(Protocol):
    """Two readings: the time of day for names and timestamps, a steady one for deadlines."""

    def time(self) -> float:
        """Unix time in seconds; may jump when somebody sets the clock."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class _SystemClock:
    __slots__ = ()
    time = staticmethod(_time.time)
    monotonic = staticmethod(_time.monotonic)

    def __repr__(self) -> str:
        return "SYSTEM_CLOCK"


SYSTEM_CLOCK: Final[Clock] = _SystemClock()
"""The machine's own clock."""

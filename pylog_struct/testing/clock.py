"""A clock that stands still until a test moves it."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """Both readings of :class:`pylog_struct.clock.Clock`, moved by hand.

    Args:
        time: The time of day to start at, Unix seconds.
        monotonic: The steady reading to start at, seconds.
    """

    def __init__(self, time: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._time = time
        self._monotonic = monotonic

    def time(self) -> float:
        """The time of day, Unix seconds."""
        return self._time

    def monotonic(self) -> float:
        """The steady reading, seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both."""
        self._time += seconds
        self._monotonic += seconds

    def set_time(self, moment: float) -> None:
        """Set the time of day only, as somebody (or NTP) would; it may go back."""
        self._time = moment

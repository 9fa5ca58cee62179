"""When to try a destination again: exponential back-off with jitter, without waiting inside."""

from __future__ import annotations

import random as _random
from typing import TYPE_CHECKING, Final

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backoff"]

_DOUBLINGS_MAX: Final = 60  # beyond it 2.0 ** n times anything is above any cap


class Backoff:
    """Says how long to leave a destination alone; never sleeps.

    After failure number n, between half of ``min(cap, base * 2 ** (n - 1))`` seconds and all of it:
    processes that lost one server together do not come back together.

    Args:
        base: Seconds after the first failure, at most.
        cap: Seconds after any failure, at most.
        clock: The source of time.
        random: Returns a number in [0, 1).
    """

    __slots__ = ("_base", "_cap", "_clock", "_draw", "_failures", "_until")

    def __init__(
        self,
        base: float,
        cap: float,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._base = base
        self._cap = cap
        self._clock = clock
        self._draw = random
        self.reset()

    def reset(self) -> None:
        """The destination works."""
        self._failures = 0
        self._until = float("-inf")

    def failed(self) -> None:
        """The destination failed now."""
        bound = min(self._cap, self._base * 2.0 ** min(self._failures, _DOUBLINGS_MAX))
        self._failures += 1
        self._until = self._clock.monotonic() + bound * (0.5 + 0.5 * self._draw())

    def hold(self, seconds: float) -> None:
        """The destination asked not to be called for so long."""
        self._until = max(self._until, self._clock.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds until the next try is due; 0.0 when it is."""
        return max(self._until - self._clock.monotonic(), 0.0)

    def check(self, text: str, cause: BaseException | None) -> None:
        """Refuse, at once, while no try is due.

        Raises:
            SinkUnavailableError: with ``retry_after`` in seconds.
        """
        left = self.remaining()
        if left > 0:
            error = SinkUnavailableError(f"{text}; next try in {left:.2f} s")
            error.retry_after = left
            raise error from cause

"""Tries again what can be tried again, with exponential back-off and full jitter."""

from __future__ import annotations

import random as _random
import threading
from typing import TYPE_CHECKING, Final

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError, SinkClosedError, SinkError
from pylog_struct.sinks.base import BaseSink, adopt, translate
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["RetrySink"]

_DOUBLINGS_MAX: Final = 62  # beyond it the cap has long decided, and 2.0 ** n would overflow


class RetrySink(BaseSink):
    """Writes again what the inner sink did not accept, as long as its errors are retryable.

    Accepted means: accepted by the inner sink.  Before try *n + 1* it waits a random time between 0
    and ``min(cap, base * 2 ** (n - 1))`` seconds, or the error's ``retry_after`` (seconds), if it
    has such an attribute and that is longer.  A wait that would end after *deadline* (without one,
    a ``retry_after`` above *cap*) is not begun: the error is raised at once.  Each try gets exactly
    what the last one left in ``unwritten``, so no record is sent twice.

    It blocks its caller for up to *deadline* seconds and the duration of one call: it belongs
    behind a ``QueueSink``, whose worker can wait.

    Args:
        sink: The inner sink; owned, and closed with this one.
        attempts: Most tries of one batch, the first included, 1 or more.
        base: Bound of the first wait, in seconds or as text, more than 0.
        cap: Bound of every wait, in seconds or as text, at least *base*.
        deadline: Longest time from the first try to the start of the last, in seconds or as text,
            more than 0; None leaves it to *attempts*.
        name: The sink's name in metrics and statistics.
        clock: For the deadline.
        random: Returns a number from 0.0 up to 1.0; for tests.
        sleep: Waits so many seconds; for tests.  By default a wait ends early when the sink is
            closed from another thread.

    Raises:
        ConfigError: *sink* is no sink, or a number is out of range.

    Threads: one caller at a time; ``close`` may be called from another one while it waits
    between two tries, and ends the wait.
    Blocks: see above.  Fork: nothing is inherited.
    Metrics: ``retry.attempts`` counts the tries after the first; what they cost is in
    ``pylog_sink_errors_total`` of the inner sink.
    Source: "full jitter" in "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    type_name = "retry"

    def __init__(
        self,
        sink: Sink,
        *,
        attempts: int = 5,
        base: float | str = 0.1,
        cap: float | str = 30.0,
        deadline: float | str | None = 60.0,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(name=name, children=(adopt(sink, "RetrySink.sink"),))
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            msg = f"RetrySink.attempts: {attempts!r} is no number of tries; use 1 or more"
            raise ConfigError(msg)
        self._attempts = attempts
        self._base = parse_duration(base, "RetrySink.base", exclusive=True)
        self._cap = parse_duration(cap, "RetrySink.cap", minimum=self._base)
        self._deadline = (
            None
            if deadline is None
            else parse_duration(deadline, "RetrySink.deadline", exclusive=True)
        )
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._closing = threading.Event()

    def _write(self, batch: Sequence[Record]) -> None:
        child = self.children[0]
        started = self._clock.monotonic()
        rest: Sequence[Record] = batch
        attempt = 1
        while True:
            try:
                child.write(rest)
            except SinkError as error:
                failure = error
            except Exception as error:
                failure = translate(error, rest, child.name)
                failure.__cause__ = error
            else:
                return
            rest = failure.unwritten
            if not rest:
                return
            if not failure.retryable or attempt >= self._attempts:
                raise failure
            wait = self._wait(attempt, failure)
            left = self._cap  # without a deadline no server may make the caller wait for ever
            if self._deadline is not None:
                left = started + self._deadline - self._clock.monotonic()
            if wait > left:
                raise failure
            self._pause(wait)
            if self._closing.is_set():
                msg = f"{self.name} was closed while it waited for its next try"
                raise SinkClosedError(msg, rest) from failure
            attempt += 1
            self.ledger.count("retry.attempts")

    def _wait(self, attempt: int, failure: SinkError) -> float:
        """Seconds to wait after try number *attempt* failed."""
        bound = min(self._cap, self._base * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
        wait = self._random() * bound
        asked = getattr(failure, "retry_after", None)
        if isinstance(asked, int | float) and asked > wait:  # NaN compares false
            return float(asked)
        return wait

    def _pause(self, seconds: float) -> None:
        if self._sleep is not None:
            self._sleep(seconds)
        else:
            self._closing.wait(min(seconds, threading.TIMEOUT_MAX))

    def _close(self, timeout: float | None) -> None:
        self._closing.set()
        super()._close(timeout)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        closing = self._closing.is_set()
        self._closing = threading.Event()  # its lock may have been held by another thread
        if closing:
            self._closing.set()

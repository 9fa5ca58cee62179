"""The last minutes of every sink, for the plots and the rates: one small sample every two seconds."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from pylog_struct import fork
from pylog_struct._frozen import frozen
from pylog_struct._janitor import JANITOR
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.manager import current_manager_or_none, on_start
from pylog_struct.web._status.verdict import Verdict, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.web._status.reading import SinkReading

__all__ = ["INTERVAL", "SPAN", "History", "Totals", "totals"]

INTERVAL: Final = 2.0
"""Seconds between two samples."""

SPAN: Final = 300.0
"""Seconds that are remembered."""

_LEAST: Final = 1.5  # seconds over which a rate is measured, at least


@frozen
class Totals:
    """A sink's counters at one moment."""

    received: int
    written: int
    lost: int
    waiting: int
    writes: int
    write_seconds: float


Sample = tuple[float, dict[str, Totals]]
"""When (monotonic), and each sink by name."""


def totals(reading: SinkReading) -> Totals | None:
    """Return what of a reading is remembered."""
    statistics = reading.statistics
    if statistics is None:
        return None
    return Totals(
        statistics.received,
        statistics.written,
        reading.lost,
        statistics.waiting,
        reading.writes,
        reading.write_seconds,
    )


class History:
    """Samples of the current pipeline, whichever that is, while there is one and somebody may look.

    Threads: thread-safe.  Fork: the child starts with none, and goes on sampling for itself.
    Memory: ``SPAN / INTERVAL`` samples of six numbers for each sink.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.watch: Watch = Watch(clock=clock)
        self._users = 0
        self._told = False  # whether the manager knows that we want to know
        self._forget()
        fork.register(self)

    def _forget(self) -> None:
        # Guards the samples and whether they are taken; re-entrant, because the finaliser of a page
        # may run in the middle of it.
        self._lock = threading.RLock()
        self._samples: deque[Sample] = deque(maxlen=int(SPAN / INTERVAL) + 1)
        self._running = False

    def _after_fork_in_child(self) -> None:
        running = self._running
        self._forget()
        self._running = running  # the janitor has kept the schedule

    # -- who wants it -----------------------------------------------------------------------------

    def use(self) -> None:
        """One more page may be looked at."""
        with self._lock:
            self._users += 1
            told, self._told = self._told, True
        if not told:
            on_start(self.start)
        self.start()

    def leave(self) -> None:
        """One page is gone; with the last one sampling ends."""
        with self._lock:
            self._users -= 1
        if not self._users:
            self.stop()

    def start(self) -> None:
        """Begin to sample, if there is something to sample and nobody does."""
        manager = current_manager_or_none()
        if manager is None or manager._report is not None:
            return
        with self._lock:
            if self._running or not self._users:
                return
            self._running = True
        JANITOR.schedule(self, self.poll)

    def stop(self) -> None:
        """End sampling; what there is stays."""
        with self._lock:
            self._running = False
        JANITOR.cancel(self)

    def poll(self, _now: float) -> float:
        """Take a sample; end the schedule when the pipeline has been shut down."""
        manager = current_manager_or_none()
        if manager is None or manager._report is not None:
            self.stop()
        else:
            self.look()
        return INTERVAL

    # -- what it knows ----------------------------------------------------------------------------

    def look(self) -> Verdict:
        """Look at the pipeline now, and remember what was seen if the last sample is old enough."""
        verdict = self.watch.look(current_manager_or_none())
        now = self._clock.monotonic()
        seen = {
            reading.name: found
            for reading, _, _ in verdict.sinks
            if (found := totals(reading)) is not None
        }
        with self._lock:
            if not self._samples or now - self._samples[-1][0] >= 0.9 * INTERVAL:
                self._samples.append((now, seen))
        return verdict

    def samples(self) -> tuple[float, Sequence[Sample]]:
        """Return the time now, and the samples of the last ``SPAN`` seconds, oldest first."""
        now = self._clock.monotonic()
        with self._lock:
            return now, [sample for sample in self._samples if now - sample[0] <= SPAN]


def rates(
    now: float,
    samples: Sequence[Sample],
    name: str,
    current: Totals | None,
    value: Callable[[Totals], float],
) -> float | None:
    """How much *value* of one sink grows in a second, now; None if that is not known yet."""
    if current is None:
        return None
    for at, sinks in reversed(samples):
        if now - at >= _LEAST:
            before = sinks.get(name)
            return None if before is None else max(value(current) - value(before), 0) / (now - at)
    return None


def series(
    samples: Sequence[Sample], name: str, value: Callable[[Totals], float], *, growth: bool
) -> list[tuple[float, float]]:
    """Return (when, how much) of one sink: *value* itself, or how much it grew per second."""
    points: list[tuple[float, float]] = []
    before: tuple[float, float] | None = None
    for at, sinks in samples:
        found = sinks.get(name)
        if found is None:
            before = None
            continue
        number = value(found)
        if not growth:
            points.append((at, number))
        elif before is not None and at > before[0]:
            points.append((at, max(number - before[1], 0) / (at - before[0])))
        before = at, number
    return points


HISTORY: Final = History()
"""The one of this process: every status page shows the same."""

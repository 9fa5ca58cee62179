"""Is the pipeline well?  The rules that the health checks and the status page share.

Counters say what ever happened; a verdict is about now.  So a :class:`Watch` remembers earlier looks,
and compares: what grew within the window, and since when nothing has moved.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pylog_struct import fork
from pylog_struct._frozen import frozen
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.ledger import DropReason
from pylog_struct.web._status.reading import SinkReading, read_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.manager import LogManager
    from pylog_struct.sinks.base import BaseSink

__all__ = ["Limits", "Reason", "State", "Verdict", "Watch"]

_MARKS: Final = 60  # looks remembered within one window


class State(StrEnum):
    """How well something is."""

    OK = "ok"
    DEGRADED = "degraded"
    """Events get through, but not as they should, or some were lost."""
    FAILING = "failing"
    """Events do not get through."""


class Reason(StrEnum):
    """Why something is not well: a closed set."""

    NOT_CONFIGURED = "not_configured"
    """``configure`` was not called in this process."""
    SHUT_DOWN = "shut_down"
    """The pipeline was shut down."""
    STUCK = "stuck"
    """Records wait in a queue, and none has got any further for a while."""
    ALL_FAILED = "all_failed"
    """All alternatives of a failover failed, and nothing was written since."""
    NOTHING_DELIVERED = "nothing_delivered"
    """Records were given up because the destination failed, and none was written."""
    ON_ALTERNATIVE = "on_alternative"
    """A failover does not use its first choice."""
    QUEUE_HIGH = "queue_high"
    """A queue is nearly full."""
    DROPS = "drops"
    """Records were dropped that nobody wanted dropped."""
    SINK_ERRORS = "sink_errors"
    """Calls to a sink failed."""
    ON_DISK = "on_disk"
    """Records wait in a spill file or spool."""
    BACKLOG = "backlog"
    """A branch of a fan-out is behind."""
    UNREADABLE = "unreadable"
    """A sink did not say how it is in time."""


_FAILING: Final = frozenset({
    Reason.NOT_CONFIGURED, Reason.SHUT_DOWN, Reason.STUCK, Reason.ALL_FAILED,
    Reason.NOTHING_DELIVERED,
})  # fmt: skip


@frozen(kw_only=True)
class Limits:
    """From when on something counts."""

    window: float = 60.0
    """Seconds that drops and errors count for."""
    stuck_after: float = 30.0
    """Seconds without progress after which a queue is stuck."""
    queue_high: float = 0.8
    """Fraction of a queue's capacity."""
    max_drops: int = 0
    """Unwanted drops of one sink within the window that are still fine."""
    max_errors: int = 0
    """Failed calls of one sink within the window that are still fine."""


@frozen
class Verdict:
    """How the pipeline is, and each sink of it."""

    state: State
    reasons: tuple[Reason, ...]
    """Why not ok: of the whole, or of any sink."""
    sinks: tuple[tuple[SinkReading, State, tuple[Reason, ...]], ...] = ()


class _Mark(NamedTuple):
    """What one look at a sink found."""

    at: float
    lost: int = 0
    errors: int = 0
    written: int = 0
    all_failed: int = 0
    unavailable: int = 0

    def since(self, before: _Mark) -> _Mark:
        """How much everything grew."""
        return _Mark(
            self.at - before.at,
            self.lost - before.lost,
            self.errors - before.errors,
            self.written - before.written,
            self.all_failed - before.all_failed,
            self.unavailable - before.unavailable,
        )


class _Memory:
    """What is remembered of one sink."""

    __slots__ = ("failed_at", "last", "marks", "moved", "moved_at")

    def __init__(self, start: _Mark) -> None:
        self.last = start
        self.marks: deque[_Mark] = deque((start,))  # oldest first
        self.moved = -1
        self.moved_at = 0.0
        self.failed_at = -1  # how much was written when all alternatives had failed

    def before(self, since: float) -> _Mark:
        """The last look before *since*, or the first one; earlier ones are forgotten."""
        marks = self.marks
        while len(marks) > 1 and marks[1].at <= since:
            marks.popleft()
        return marks[0]

    def add(self, mark: _Mark, distance: float) -> None:
        """Remember a look; of several within *distance* seconds, the last one is enough."""
        if mark.all_failed > self.last.all_failed:
            # If something was written since the last look as well, nobody knows which came last.
            self.failed_at = mark.written if mark.written == self.last.written else -1
        if len(self.marks) > 1 and mark.at - self.marks[-2].at < distance:
            self.marks[-1] = mark
        else:
            self.marks.append(mark)
        self.last = mark


class Watch:
    """Looks at the current pipeline, and compares with earlier looks.

    Drops and errors count from the first look that sees them until ``window`` seconds later.  If the
    first look comes later than one window after the watch was made, what it finds is history.

    Threads: thread-safe.  Blocks: see :func:`read_tree`, and behind another look.
    Fork: the child starts anew.
    """

    def __init__(self, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._made = clock.monotonic()
        self._forget()
        fork.register(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()  # guards the memories
        self._memories: weakref.WeakKeyDictionary[BaseSink, _Memory] = weakref.WeakKeyDictionary()
        self._looked = False

    def _after_fork_in_child(self) -> None:
        self._made = self._clock.monotonic()
        self._forget()

    def look(self, manager: LogManager | None) -> Verdict:
        """Return how the pipeline of *manager* is now.  Never raises."""
        if manager is None:
            return Verdict(State.FAILING, (Reason.NOT_CONFIGURED,))
        readings = read_tree(manager.root)
        with self._lock:
            now = self._clock.monotonic()
            history = not self._looked and now - self._made > self._limits.window
            self._looked = True
            judged = [self._judge(reading, now, history=history) for reading in readings]
        sinks = tuple(
            (reading, _state(reasons), reasons)
            for reading, reasons in zip(readings, judged, strict=True)
        )
        if manager._report is not None:
            return Verdict(State.FAILING, (Reason.SHUT_DOWN,), sinks)
        state = State.OK
        for reading, own, _ in sinks:
            if own is State.FAILING and reading.alone:
                state = State.FAILING
            elif own is not State.OK and state is State.OK:
                state = State.DEGRADED
        found = {reason for reasons in judged for reason in reasons}
        return Verdict(state, tuple(reason for reason in Reason if reason in found), sinks)

    def _judge(self, reading: SinkReading, now: float, *, history: bool) -> tuple[Reason, ...]:
        statistics = reading.statistics
        if statistics is None:
            return (Reason.UNREADABLE,)
        memory = self._memories.get(reading.sink)
        current = _Mark(
            at=now,
            lost=reading.lost,
            errors=sum(statistics.errors.values()),
            written=statistics.written,
            all_failed=int(statistics.details.get("failover.all_failed", 0)),
            unavailable=_by_reason(reading, DropReason.UNAVAILABLE),
        )
        if memory is None or any(
            new < old for new, old in zip(current, memory.last, strict=True)
        ):  # a sink that is new, or began to count anew
            memory = _Memory(current if history else _Mark(now))
            self._memories[reading.sink] = memory
        before = memory.before(now - self._limits.window)
        memory.add(current, self._limits.window / _MARKS)
        grown = current.since(before)
        limits = self._limits
        reasons: dict[Reason, bool] = {
            Reason.STUCK: self._stuck(reading, memory, now),
            Reason.ALL_FAILED: bool(grown.all_failed) and memory.failed_at == current.written,
            Reason.NOTHING_DELIVERED: bool(grown.unavailable) and not grown.written,
            Reason.ON_ALTERNATIVE: _on_alternative(reading),
            Reason.QUEUE_HIGH: fullness(reading) >= limits.queue_high,
            Reason.DROPS: grown.lost > limits.max_drops,
            Reason.SINK_ERRORS: grown.errors > limits.max_errors,
            Reason.ON_DISK: bool(statistics.details.get("spool.records")),
            Reason.BACKLOG: any(
                value
                for name, value in statistics.details.items()
                if name.startswith("fanout.backlog.")
            ),
        }
        return tuple(reason for reason, holds in reasons.items() if holds)

    def _stuck(self, reading: SinkReading, memory: _Memory, now: float) -> bool:
        statistics = reading.statistics
        if statistics is None or reading.kind != "queue":
            return False
        moved = statistics.written + _by_reason(reading, DropReason.REJECTED)
        if moved != memory.moved or not statistics.waiting:
            memory.moved, memory.moved_at = moved, now
            return False
        options: Any = getattr(reading.sink, "_options", None)
        linger = float(
            getattr(options, "linger", 0.0)
        )  # records that wait for company are not stuck
        return now - memory.moved_at >= self._limits.stuck_after + linger


def fullness(reading: SinkReading) -> float:
    """How full a queue is, from 0 to 1; what went to the disk is not in its way."""
    capacity = reading.details.get("queue.capacity", 0)
    if not capacity or reading.statistics is None:
        return 0.0
    held = reading.statistics.waiting - reading.details.get("spool.records", 0)
    return min(max(held, 0.0) / capacity, 1.0)


def active_of(reading: SinkReading) -> str | None:
    """Name of the alternative that a failover uses now."""
    prefix = "failover.active."
    for name, value in reading.details.items():
        if name.startswith(prefix) and value:
            return name.removeprefix(prefix)
    return None


def _on_alternative(reading: SinkReading) -> bool:
    active = active_of(reading)
    return active is not None and active != reading.sink.children[0].name


def _by_reason(reading: SinkReading, reason: str) -> int:
    return sum(number for (why, _), number in reading.drops.items() if why == reason)


def _state(reasons: Sequence[Reason]) -> State:
    if not reasons:
        return State.OK
    return State.FAILING if _FAILING.intersection(reasons) else State.DEGRADED

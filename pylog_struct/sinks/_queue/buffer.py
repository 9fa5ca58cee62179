"""The heart of the queue: a deque bounded in records and bytes, and the policies for a full one.

No thread, no wait and no I/O in here; a list is its model (``tests/property/test_queue_machine.py``).

**Without a lock.**  CPython lets another thread, a signal handler, or ``__del__`` in a garbage
collection run only after a call returned, at the start of a function, or at a jump back.  So a
record enters without a lock: the check for room, the plain integer steps that depend on it and the
append stand together with no call between them.  Whatever *shrinks* the queue holds the lock, which
is re-entrant because such code may log in the middle of it, and expects the queue to grow meanwhile:
a method that needs calls between reading and changing (eviction) marks itself busy and checks again.
An interpreter without the GIL gets a lock around the entrance as well.

**Late booking.**  A record that enters is not in the ledger yet.  :meth:`RecordBuffer.book` brings
all that entered into it: for every batch that the worker takes, and before anybody reads.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections import deque
from enum import Enum, auto
from itertools import accumulate, groupby, islice, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from pylog_struct._compiled import Gate
from pylog_struct.ledger import HAS_GIL, DropReason
from pylog_struct.levels import level_label
from pylog_struct.sinks._queue.gap import Gap, GapNotice
from pylog_struct.sinks._queue.options import Policy, QueueOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.record import Record

__all__ = ["NEVER", "Bounds", "RecordBuffer", "Ticket", "Verdict", "bytes_of"]

NEVER: Final = sys.maxsize
"""A size that is never reached."""

_level_of: Final = itemgetter(0)
_line_of: Final = itemgetter(1)

_RESUME: Final = 0.8  # of the high-water mark: below it, shedding ends
_EVICTION_ROUNDS: Final = 3  # a nested call may take the room that an eviction made


class Verdict(Enum):
    """What became of a record that found no room at first."""

    ENTERED = auto()
    """It is in the queue."""
    DROPPED = auto()
    """It was dropped by the policy, and counted."""
    FULL = auto()
    """No room now; the caller may wait, and still owns the record."""
    OVERSIZE = auto()
    """Of guarantee level and larger than the whole queue; the caller still owns the record."""
    CLOSED = auto()
    """Nothing enters any more; the caller still owns the record."""


class Bounds(NamedTuple):
    """A limit in records and in bytes."""

    records: int
    bytes: int


def bytes_of(records: Sequence[Record]) -> int:
    """Return how many bytes the lines of *records* have."""
    return sum(map(len, map(_line_of, records)))


class Ticket:
    """A place in the line: ``left`` records that were in the queue when it was drawn still are."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class RecordBuffer(Gate):
    """Records on their way: *queued* ones wait for the worker, *held* ones are in its hands.

    ``size`` and ``bytes`` count both, so that capacity bounds memory and not only the deque.

    Args:
        options: The limits and the policy.
        ledger: Where every change is counted, in the same step; its lock guards all of this.
        now: Unix time in seconds, for the notice of a loss.

    Threads: thread-safe and re-entrant.  Blocks: never.
    """

    __slots__ = (
        "_all", "_barren", "_booked", "_busy", "_levels", "_mark", "_now", "_options", "_ordinary",
        "_resume", "_shedding", "_tickets", "append", "closed", "gap", "generation", "held",
        "high_watermark", "ledger", "lock", "progress", "progress_at", "queued",
    )  # fmt: skip

    def __init__(self, options: QueueOptions, ledger: SinkLedger, now: Callable[[], float]) -> None:
        self._options = options
        self._now = now
        self.ledger = ledger
        self.lock = ledger.lock
        self._levels = ledger.received_by_level
        self.queued: deque[Record] = deque()
        self.append = self.queued.append
        self.held: list[Record] = []
        self.size = 0
        self.bytes = 0
        self.high_watermark = 0
        self.progress = 0
        self.progress_at = time.monotonic()
        self.generation = 0
        self.closed = False
        self.gap = Gap(enabled=options.gap_notice)
        self._tickets: list[Ticket] = []
        self._busy = False
        self._barren = 0  # how many of those queued, from the front, must not be evicted
        self._booked = 0  # how many of those held and queued, from the front, are in the ledger
        ledger.book = self.book
        self._all = Bounds(options.capacity, options.max_bytes)
        self._ordinary = Bounds(
            options.capacity - options.reserve, options.max_bytes - options.reserve_bytes
        )
        self._shedding = False
        self._mark: Bounds | None = None
        self._resume = self._ordinary
        if options.high_water is not None:
            self._mark = Bounds(
                max(1, min(int(options.capacity * options.high_water), self._ordinary.records)),
                max(1, min(int(options.max_bytes * options.high_water), self._ordinary.bytes)),
            )
            self._resume = Bounds(int(self._mark[0] * _RESUME), int(self._mark[1] * _RESUME))
        # What the entrance compares with: the room that is there for any level without a question.
        self.limit, self.byte_limit = self._mark or self._ordinary
        # A size from which the worker wants to be woken; it moves them, put() only looks.
        self.wake_size = 1
        self.wake_bytes = NEVER

    # -- producers --------------------------------------------------------------------------------

    def _offer(self, record: Record, bounds: Bounds | None = None) -> bool:
        """Take *record* if there is room without asking any policy.

        The fast lane has the same steps once more.

        Args:
            record: Any record.
            bounds: Use this much instead of what is free for every level.
        """
        size = len(record[1])
        if bounds is None:
            limit, byte_limit = self.limit, self.byte_limit
        else:
            limit, byte_limit = bounds
        append = self.append
        # No call from here to the append: see the top.
        if self.size >= limit or self.bytes + size > byte_limit:
            return False
        self.size += 1
        self.bytes += size
        append(record)
        return True

    def _offer_locked(self, record: Record, bounds: Bounds | None = None) -> bool:
        with self.lock:
            return self._offer(record, bounds)

    offer = _offer if HAS_GIL else _offer_locked

    def book(self) -> None:
        """Bring into the ledger what entered since the last time.  The caller holds the lock."""
        new = self.size - self._booked
        if new > 0:
            # Copies in one step: producers append meanwhile.
            self._book([*self.held, *list(self.queued)][self._booked : self._booked + new])

    def _book(self, records: list[Record]) -> None:
        """Count *records*, which follow those that are booked, run by run of one level."""
        levels, ledger = self._levels, self.ledger
        for level, run in groupby(map(_level_of, records)):
            number = len(list(run))
            # One step for a stray exception, and for a handler that logs: no call among these.
            try:
                levels[level] += number
            except KeyError:
                levels[level] = number
            self._booked += number
            ledger.received += number
            ledger.waiting += number

    def bounds_for(self, level: int) -> Bounds:
        """Return what a record of *level* may fill; nothing at all once the queue is closed."""
        if self.closed:
            return Bounds(0, 0)
        return self._all if level >= self._options.guarantee_level else self._ordinary

    def decide(self, record: Record) -> Verdict:
        """Say what becomes of a record that :meth:`offer` did not take."""
        level = record[0]
        size = len(record[1])
        with self.lock:
            if self.closed:
                return Verdict.CLOSED
            bounds = self.bounds_for(level)
            if level >= self._options.guarantee_level:
                if self.offer(record, bounds):
                    return Verdict.ENTERED
                return Verdict.OVERSIZE if size > bounds.bytes else Verdict.FULL
            if level <= self._options.low_level and self._sheds():
                return self.refuse(record, DropReason.LOW_LEVEL)
            if self.offer(record, bounds):
                return Verdict.ENTERED
            if size > bounds.bytes:
                return self.refuse(record, DropReason.OVERSIZE)
            return self._by_policy(record, level, size)

    def _by_policy(self, record: Record, level: int, size: int) -> Verdict:
        policy = self._options.policy
        if policy is Policy.DISCARD:
            return self.refuse(record, DropReason.QUEUE_FULL)
        if policy is Policy.DISCARD_OLDEST:
            for _ in range(_EVICTION_ROUNDS):
                if not self._make_room(size):
                    break
                if self.offer(record, self._ordinary):
                    return Verdict.ENTERED
            return self.refuse(record, DropReason.QUEUE_FULL)
        if policy is Policy.DISCARD_LOW_LEVEL and level <= self._options.low_level:
            return self.refuse(record, DropReason.LOW_LEVEL)
        return Verdict.FULL

    def refuse(self, record: Record, reason: DropReason, *, counted: bool = False) -> Verdict:
        """Count *record* as received and dropped; as dropped only if it is *counted* as waiting."""
        level = record[0]
        key = (reason.value, level_label(level))
        moment = self._now()
        ledger = self.ledger
        with self.lock:
            if counted:
                ledger.waiting -= 1
            else:
                ledger.received += 1
                try:
                    self._levels[level] += 1
                except KeyError:
                    self._levels[level] = 1
            ledger.dropped += 1
            try:
                ledger.drops[key] += 1
            except KeyError:
                ledger.drops[key] = 1
            if reason is not DropReason.CLOSED:  # what comes after the end is no gap in the stream
                self.gap.add(reason, level, moment)
        return Verdict.DROPPED

    def count_in(self, record: Record) -> None:
        """Count *record* as received and waiting elsewhere (the spill file)."""
        level = record[0]
        ledger = self.ledger
        with self.lock:
            ledger.received += 1
            ledger.waiting += 1
            try:
                self._levels[level] += 1
            except KeyError:
                self._levels[level] = 1

    def passed_by(
        self,
        record: Record,
        taken: Sequence[Record],
        lost: Sequence[Record],
        reason: DropReason | None,
    ) -> None:
        """Count a record that a caller wrote past the queue, if the sink took or refused it."""
        if not taken and not lost:
            return
        with self.lock:
            self.count_in(record)
            self.settle_elsewhere(taken, lost, reason)

    def settle_elsewhere(
        self, taken: Sequence[Record], lost: Sequence[Record], reason: DropReason | None
    ) -> None:
        """Count what became of records that waited outside the queue."""
        with self.lock:
            if taken:
                self.ledger.delivered(taken)
            if lost and reason is not None:
                self.ledger.gave_up(lost, reason)
            self.progress += 1
            self.progress_at = time.monotonic()

    def inject(self, notice: Record) -> bool:
        """Queue a notice of our own if capacity, reserve included, has room for it."""
        return self.offer(GapNotice(*notice), self._all)

    def _sheds(self) -> bool:
        mark = self._mark
        if mark is None:
            return False
        if not self._shedding and (self.size >= mark[0] or self.bytes >= mark[1]):
            self._shedding = True
            self.limit = self.byte_limit = 0  # every record asks now, until settle() ends it
        return self._shedding

    def _make_room(self, size: int) -> bool:
        """Evict as many of the oldest as *size* more bytes need; none if that cannot be enough."""
        if self._busy or self._barren >= len(self.queued):
            return False
        self._busy = True
        try:
            records = self.size + 1 - self._ordinary.records
            over = self.bytes + size - self._ordinary.bytes
            victims: list[int] = []
            position = self._barren
            # By index: a nested call may append, which would end an iterator with an error.
            for position in range(self._barren, len(self.queued)):
                if records <= 0 and over <= 0:
                    break
                victim = self.queued[position]
                if victim[0] < self._options.guarantee_level and type(victim) is not GapNotice:
                    victims.append(position)
                    records -= 1
                    over -= len(victim[1])
            if records > 0 or over > 0:
                if not victims:
                    self._barren = position + 1
                return False
            moment = self._now()
            for position in reversed(victims):
                self._evict(position, moment)
            return True
        finally:
            self._busy = False

    def _evict(self, position: int, moment: float) -> None:
        victim = self.queued[position]
        size = len(victim[1])
        key = (DropReason.EVICTED.value, level_label(victim[0]))
        place = position + len(self.held)
        ledger = self.ledger
        if place >= self._booked:
            self.book()
        if self.size > self.high_watermark:  # noqa: PLR1730 - max() would be a call, see above
            self.high_watermark = self.size
        del self.queued[position]
        self.size -= 1
        self.bytes -= size
        self._booked -= 1
        ledger.waiting -= 1
        ledger.dropped += 1
        try:
            ledger.drops[key] += 1
        except KeyError:
            ledger.drops[key] = 1
        for ticket in self._tickets:
            if place < ticket.left:
                ticket.left -= 1
        self.gap.add(DropReason.EVICTED, victim[0], moment)

    # -- the worker -------------------------------------------------------------------------------

    def take(self, max_records: int, max_bytes: int) -> list[Record]:
        """Hold the next batch, or return what is still held; never over a ticket's end.

        The limits are inviolable, except for a single record that is larger than *max_bytes*.
        """
        with self.lock:
            held, queued = self.held, self.queued
            if held or not queued:
                return held
            for ticket in self._tickets:
                if 0 < ticket.left < max_records:
                    max_records = ticket.left
            number = min(len(queued), max_records)
            if self.bytes > max_bytes:
                sizes = list(accumulate(map(len, map(_line_of, islice(queued, number)))))
                number = max(bisect_right(sizes, max_bytes), 1)
            # Held before they leave the deque: recover() can undo a double, not a loss.
            held.extend(islice(queued, number))
            popleft = queued.popleft
            self._barren = 0
            for _ in repeat(None, number):
                popleft()
            if number > self._booked:
                self._book(held[self._booked :])
            return held

    def settle(
        self,
        generation: int,
        taken: Sequence[Record],
        kept: list[Record],
        lost: Sequence[Record] = (),
        reason: DropReason | None = None,
    ) -> None:
        """Count what a write made of the held records: written, to be tried again, or given up.

        Args:
            generation: The number at the time of :meth:`take`; after :meth:`abandon` it is
                another, and what a stuck write reports too late changes nothing.
            taken: Written.
            kept: Still held, in order.
            lost: Given up.
            reason: Why they were.
        """
        taken_bytes, lost_bytes = bytes_of(taken), bytes_of(lost)
        written, dropped = len(taken), len(lost)
        gone = written + dropped
        moment = time.monotonic()
        ledger = self.ledger
        with self.lock:
            if generation != self.generation:
                return
            self.high_watermark = max(self.high_watermark, self.size)
            # One step for a stray exception in the worker: no call until all are changed.
            self.held = kept
            self.size -= gone
            self.bytes -= taken_bytes + lost_bytes
            self._booked -= gone
            ledger.waiting -= gone
            ledger.written += written
            ledger.bytes_written += taken_bytes
            ledger.dropped += dropped
            if not gone:
                return
            self.progress += 1
            self.progress_at = moment
            if self._shedding and self.size <= self._resume[0] and self.bytes <= self._resume[1]:
                self._shedding = False
                if not self.closed:
                    self.limit, self.byte_limit = self._mark or self._ordinary
            for ticket in self._tickets:
                ticket.left -= gone
            if reason is not None:
                for record in lost:
                    key = (reason.value, level_label(record[0]))
                    try:
                        ledger.drops[key] += 1
                    except KeyError:
                        ledger.drops[key] = 1

    def recover(self) -> None:
        """Repair what a stray exception may have left half done inside :meth:`take`."""
        with self.lock:
            size, double = -1, 0
            while size != self.size:  # until nobody appended in between
                size = self.size
                double = len(self.queued) + len(self.held) - size
            if double > 0:
                del self.held[-double:]
            self.book()

    @property
    def relaxed(self) -> bool:
        """Whether the queue is at most half full: a loss is over."""
        return self.size * 2 <= self._all[0] and self.bytes * 2 <= self._all[1]

    # -- flush and close --------------------------------------------------------------------------

    def draw(self) -> Ticket:
        """Return a ticket for everything in the queue now; give it back with :meth:`give_back`."""
        with self.lock:
            ticket = Ticket(self.size)
            self._tickets.append(ticket)
            return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Forget *ticket*."""
        with self.lock:
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def stop_intake(self) -> None:
        """Let nothing in any more."""
        with self.lock:
            self.closed = True
            self.limit = self.byte_limit = 0

    def abandon(self) -> tuple[list[Record], list[Record]]:
        """Empty the queue; return what was held and what was queued.

        In the ledger both still wait: the caller says what became of them.  Tickets stay as they
        are: nobody may be told that these were written.
        """
        with self.lock:
            self.stop_intake()
            self.book()
            held, queued = self.held, list(self.queued)
            self.generation += 1
            self.held = []
            self.queued.clear()
            self.size = 0
            self.bytes = 0
            self._booked = 0
            return held, queued

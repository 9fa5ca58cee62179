"""The ledger: for every sink, at every instant, received = written + dropped + waiting.

Counters are plain integers, changed under one lock per sink, once per batch.  Prometheus objects
are brought up to date from them by :mod:`pylog_struct.metrics`; they are never the source.
"""

from __future__ import annotations

import sys
import threading
import time
from bisect import bisect_left
from dataclasses import field
from enum import StrEnum
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.levels import level_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pylog_struct.record import Record

__all__ = [
    "HAS_GIL",
    "DropReason",
    "LatencyHistogram",
    "ReentrantLock",
    "SinkLedger",
    "SinkStatistics",
    "Statistics",
]


HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether a few plain steps with no call among them are one step for all other threads: CPython lets
another thread, a signal handler or a finaliser run only after a call, at the start of a function, or
at a jump back."""


class ReentrantLock(Protocol):
    """What ``threading.RLock()`` returns, whichever of its two classes that is."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock once more."""
        ...

    def release(self) -> None:
        """Give it back once."""
        ...

    def __enter__(self) -> bool: ...
    def __exit__(self, *error: object) -> None: ...


class DropReason(StrEnum):
    """Why a record was given up for good: the closed set of ``reason`` labels."""

    QUEUE_FULL = "queue_full"
    """No room: the new record was refused (policy ``discard``)."""
    LOW_LEVEL = "low_level"
    """No room, or above the high-water mark: a record at or below ``low_level`` was shed."""
    EVICTED = "evicted"
    """The oldest record made room for a newer one."""
    OVERSIZE = "oversize"
    """One record larger than the whole buffer."""
    BLOCK_TIMEOUT = "block_timeout"
    """A caller waited for room, the sink made no progress, and there was no spill file to go to."""
    GUARANTEE_FAILED = "guarantee_failed"
    """A record at or above ``guarantee_level`` found no room, no free sink and no spill file."""
    REJECTED = "rejected"
    """The destination refused the document for good."""
    UNAVAILABLE = "unavailable"
    """The destination failed and nobody above could keep the record."""
    CLOSED = "closed"
    """Logged after the pipeline was closed."""
    SHUTDOWN = "shutdown"
    """Still waiting when the time for shutting down ran out."""
    FILTERED = "filtered"
    """A filter said no: intended."""
    UNROUTED = "unrouted"
    """No route matched and there is no default: intended."""
    NOT_TRIGGERED = "not_triggered"
    """Held by a flight recorder whose trigger never came: intended."""
    PROCESSOR = "processor"
    """A processor raised ``DropEvent``: intended."""


@frozen
class SinkStatistics:
    """One sink's side of the ledger, all numbers in records unless named otherwise.

    ``received == written + dropped + waiting``, always.
    """

    name: str
    received: int = 0
    written: int = 0
    dropped: int = 0
    waiting: int = 0
    bytes_written: int = 0
    drops: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Dropped records by (reason, level)."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed calls by the name of the error's class; a retry is not a drop."""
    received_by_level: Mapping[str, int] = field(default_factory=dict)
    """Filled by the root of a tree only, which sees records one by one."""
    details: Mapping[str, float] = field(default_factory=dict)
    """What only this kind of sink knows (roll-overs, switches, high-water mark …)."""

    @property
    def balanced(self) -> bool:
        """Whether the identity holds."""
        return self.received == self.written + self.dropped + self.waiting


@frozen
class Statistics:
    """The ledger of a whole pipeline: ``emitted == root.received + discarded``.

    ``statistics()["queue"]`` is ``statistics().sinks["queue"]``.
    """

    sinks: Mapping[str, SinkStatistics]
    root: str = ""
    """Name of the outermost sink."""
    emitted: int = 0
    """Events that passed their level check, and notices of the sinks themselves."""
    discarded: int = 0
    """Events dropped on purpose before they came to a sink: by a processor, by the sampling of request
    middleware, or by a flight recorder whose request went well."""

    def __getitem__(self, name: str) -> SinkStatistics:
        return self.sinks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sinks)

    def __len__(self) -> int:
        return len(self.sinks)

    @property
    def balanced(self) -> bool:
        """Whether every sink balances, and the pipeline with its root."""
        if not all(sink.balanced for sink in self.sinks.values()):
            return False
        root = self.sinks.get(self.root)
        return root is None or self.emitted == root.received + self.discarded


_line_of: Final = itemgetter(1)

_BUCKETS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip


class LatencyHistogram:
    """Counts of durations per bucket; cheap to feed, read by the metrics.

    Threads: guarded by the lock of the ledger that owns it.
    """

    __slots__ = ("counts", "total")

    bounds: Final = _BUCKETS
    """Upper bounds, in seconds; one more bucket holds the rest."""

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(_BUCKETS) + 1)
        self.total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a negative one (a clock that was set back) counts as zero."""
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds


def _nothing() -> None:
    """Bring nothing in: everything is counted when it happens."""


class SinkLedger:
    """The counters of one sink.

    Args:
        lock: A re-entrant lock to share with the sink's own state, or None for one of its own.
            Re-entrant because a signal handler may log while the lock is held.

    Threads: thread-safe.  Every method changes the numbers in one step, so that the identity
    holds in every snapshot.
    """

    __slots__ = (
        "_lock",
        "book",
        "bytes_written",
        "delivery_seconds",
        "details",
        "dropped",
        "drops",
        "errors",
        "last_error",
        "received",
        "received_by_level",
        "waiting",
        "write_seconds",
        "written",
    )

    def __init__(self, lock: ReentrantLock | None = None) -> None:
        self._lock: ReentrantLock = (
            cast("ReentrantLock", threading.RLock()) if lock is None else lock
        )
        # Brings in what a sink counts late; called with the lock held, before numbers are read.
        self.book: Callable[[], None] = _nothing
        self._zero()

    def _zero(self) -> None:
        self.received: int = 0
        self.written: int = 0
        self.dropped: int = 0
        self.waiting: int = 0
        self.bytes_written: int = 0
        self.drops: dict[tuple[str, str], int] = {}
        self.errors: dict[str, int] = {}
        # When (Unix time) and what, in one line: for people who look, not for the metrics.
        self.last_error: tuple[float, str] | None = None
        self.received_by_level: dict[int, int] = {}
        self.details: dict[str, float] = {}
        self.write_seconds: LatencyHistogram = LatencyHistogram()
        self.delivery_seconds: LatencyHistogram = LatencyHistogram()

    def reset(self, lock: ReentrantLock | None = None) -> None:
        """Start from zero with a new lock: for the child of a fork, whose parent keeps the past."""
        self._lock = cast("ReentrantLock", threading.RLock()) if lock is None else lock
        self._zero()

    @property
    def lock(self) -> ReentrantLock:
        """The lock that guards every number here."""
        return self._lock

    # -- what a sink reports; each call is one atomic step ----------------------------------------
    # A signal handler may log while the lock is held, and CPython runs it after any call: so no
    # call stands between reading a number and storing the new one.

    def passed(self, records: Sequence[Record], *, seconds: float | None = None) -> None:
        """Records were received and written in one call (a leaf, or a wrapper that keeps nothing)."""
        number, size = len(records), sum(map(len, map(_line_of, records)))
        with self._lock:
            self.received += number
            self.written += number
            self.bytes_written += size
            if seconds is not None:
                self.write_seconds.observe(seconds)

    def accepted(self, records: Sequence[Record]) -> None:
        """Records were received and wait here."""
        number = len(records)
        with self._lock:
            self.received += number
            self.waiting += number

    def delivered(self, records: Sequence[Record], *, seconds: float | None = None) -> None:
        """Records that waited here were written."""
        number, size = len(records), sum(map(len, map(_line_of, records)))
        with self._lock:
            self.waiting -= number
            self.written += number
            self.bytes_written += size
            if seconds is not None:
                self.write_seconds.observe(seconds)

    def gave_up(self, records: Sequence[Record], reason: DropReason) -> None:
        """Records that waited here were dropped."""
        number = len(records)
        with self._lock:
            self.waiting -= number
            self.dropped += number
            self._label_drops(records, reason)

    def refused(self, records: Sequence[Record], reason: DropReason) -> None:
        """Records were received and dropped in one call."""
        number = len(records)
        with self._lock:
            self.received += number
            self.dropped += number
            self._label_drops(records, reason)

    def failed(self, error: BaseException, *, seconds: float | None = None) -> None:
        """A call to the destination failed; says nothing about records."""
        name = type(error).__name__
        last = time.time(), diagnostics.describe(error)
        with self._lock:
            self.last_error = last
            try:
                self.errors[name] += 1
            except KeyError:
                self.errors[name] = 1
            if seconds is not None:
                self.write_seconds.observe(seconds)

    def count(self, detail: str, amount: float = 1) -> None:
        """Add *amount* to a detail of this kind of sink, e.g. ``rollovers.size``."""
        with self._lock:
            try:
                self.details[detail] += amount
            except KeyError:
                self.details[detail] = amount

    def set(self, detail: str, value: float) -> None:
        """Set a detail of this kind of sink, e.g. ``queue.bytes``."""
        with self._lock:
            self.details[detail] = value

    def _label_drops(self, records: Sequence[Record], reason: DropReason) -> None:
        for record in records:
            key = (reason.value, level_label(record[0]))
            try:
                self.drops[key] += 1
            except KeyError:
                self.drops[key] = 1

    # -- what others read -----------------------------------------------------------------------

    def snapshot(self, name: str) -> SinkStatistics:
        """Return all numbers as they stand at one instant."""
        with self._lock:
            self.book()
            by_level: dict[str, int] = {}
            for level, number in self.received_by_level.copy().items():
                label = level_label(level)
                by_level[label] = by_level.get(label, 0) + number
            return SinkStatistics(
                name=name,
                received=self.received,
                written=self.written,
                dropped=self.dropped,
                waiting=self.waiting,
                bytes_written=self.bytes_written,
                drops=MappingProxyType(dict(self.drops)),
                errors=MappingProxyType(dict(self.errors)),
                received_by_level=MappingProxyType(by_level),
                details=MappingProxyType(dict(self.details)),
            )

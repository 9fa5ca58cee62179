"""Batches without a thread: records wait here until a batch is full or has lingered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.ledger import DropReason
from pylog_struct.sinks._checks import check_count
from pylog_struct.sinks._refusals import (
    Refusals,
    attempt,
    close_with,
    marks,
    reason_for,
    report_loss,
    restate,
)
from pylog_struct.sinks.base import BaseSink, Deadline, adopt
from pylog_struct.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.errors import SinkError
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["BatchSink"]

_PAUSE: Final = 0.1  # seconds; the least time between two tries of `poll` at a failing inner sink


class BatchSink(BaseSink):
    """Gathers records and writes them to the inner sink in batches.

    Accepted means: waits here, in this process's memory, in order; a crash loses up to one batch.
    The inner sink gets a batch when the next record would not fit, when *max_records* is reached,
    when the oldest record has waited for *linger* (noticed by ``poll`` or the next ``write``), on
    ``flush`` and on ``close``.  A record is never split.

    The limits hold always, for what is written and for what waits; only a record that is larger
    than *max_bytes* by itself goes alone.  When the inner sink fails, what it did not take waits on,
    new records are accepted as long as they fit, and the rest is raised as unwritten with the inner
    error's ``retryable``.  When it rejects records for good, those accepted in an earlier call are
    dropped (``rejected``) and reported; those of this call are raised.

    Args:
        sink: The inner sink; owned, and closed with this one.
        max_records: Most records in one batch, 1 or more.
        max_bytes: Most bytes in one batch, the sum of the lines; a number or text.
        linger: Longest time that a record waits for its batch, in seconds or as text; 0 lets none
            wait after a ``write``.
        name: The sink's name in metrics and statistics.
        clock: For the linger.

    Raises:
        ConfigError: *sink* is no sink, or a number is out of range.

    Threads: one caller at a time.  Blocks: as long as the inner sink.
    Fork: what waits stays the parent's.
    """

    type_name = "batch"

    def __init__(
        self,
        sink: Sink,
        *,
        max_records: int = 500,
        max_bytes: float | str = "1 MiB",
        linger: float | str = 1.0,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(name=name, children=(adopt(sink, "BatchSink.sink"),))
        self._max_records = check_count(max_records, "BatchSink.max_records")
        self._max_bytes = parse_size(max_bytes, "BatchSink.max_bytes")
        self._linger = parse_duration(linger, "BatchSink.linger")
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self._waiting: list[Record] = []
        self._bytes = 0
        self._fresh = 0  # how many at the end of _waiting belong to the running call of write
        self._due = 0.0  # when what waits has lingered, or may be tried again

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        refusals = Refusals(self)
        trouble: SinkError | None = None
        try:
            for position, record in enumerate(batch):
                if trouble is None and not self._fits(record):
                    trouble = self._send(refusals)
                if trouble is not None and not self._fits(record):
                    refusals.add(trouble, batch[position:])
                    break
                if not self._waiting:
                    self._due = self._clock.monotonic() + self._linger
                self._waiting.append(record)
                self._bytes += len(record.line)
                self._fresh += 1
                if trouble is None and self._full:
                    trouble = self._send(refusals)
            if trouble is None and self._waiting and self._clock.monotonic() >= self._due:
                self._send(refusals)
        finally:
            if self._fresh:
                self.ledger.accepted(self._waiting[-self._fresh :])
                self._fresh = 0
        refusals.settle(batch)

    def poll(self, now: float, /) -> float | None:
        """Write what has lingered; see :class:`pylog_struct.protocols.PolledSink`."""
        error = None
        if self._waiting and now >= self._due:
            error = self._send(Refusals(self))
        wait = self._poll_children(now)
        if error is not None:
            raise restate(error, ()) from error
        if not self._waiting:
            return wait
        own = max(self._due - now, 0.0)
        return own if wait is None else min(own, wait)

    def _fits(self, record: Record) -> bool:
        waiting = len(self._waiting)
        return not waiting or (
            waiting < self._max_records and self._bytes + len(record.line) <= self._max_bytes
        )

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= self._max_records or self._bytes >= self._max_bytes

    def _send(self, refusals: Refusals) -> SinkError | None:
        """Write all that waits, which is one batch; return the error if some of it waits on."""
        batch = tuple(self._waiting)
        old = len(batch) - self._fresh
        started = time.perf_counter()
        error = attempt(self.children[0], batch)
        seconds = time.perf_counter() - started
        if error is None:
            self._keep([], 0)
            self._count(batch[:old], batch[old:], seconds)
            return None
        self.ledger.failed(error, seconds=seconds)
        missing = marks(batch, error.unwritten)
        taken = [not one for one in missing]
        old_left, new_left = _pick(batch[:old], missing), _pick(batch[old:], missing[old:])
        self._keep([*old_left, *new_left] if error.retryable else [], len(new_left))
        self._count(_pick(batch[:old], taken), _pick(batch[old:], taken[old:]), None)
        if error.retryable:
            self._due = self._clock.monotonic() + max(self._linger, _PAUSE)
            return error
        if old_left:
            reason = reason_for(error)
            self.ledger.gave_up(old_left, reason)
            report_loss(self, old_left, reason, error)
        refusals.add(error, new_left)
        return None

    def _keep(self, records: list[Record], fresh: int) -> None:
        self._waiting = records
        self._fresh = fresh if records else 0
        self._bytes = sum([len(record.line) for record in records])

    def _count(self, old: Sequence[Record], new: Sequence[Record], seconds: float | None) -> None:
        if old:
            self.ledger.delivered(old, seconds=seconds)
            seconds = None  # one call, one observation
        if new:
            self.ledger.passed(new, seconds=seconds)

    def _flush(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        if self._waiting and (error := self._send(Refusals(self))) is not None:
            raise restate(error, ()) from error
        super()._flush(deadline.remaining())

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        error = self._send(Refusals(self)) if self._waiting else None
        left = self._waiting
        if left:
            self._keep([], 0)
            self.ledger.gave_up(left, DropReason.SHUTDOWN)
        close_with(self.children, deadline.remaining(), left, error)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._forget()


def _pick(records: Sequence[Record], wanted: Sequence[bool]) -> list[Record]:
    return [record for record, one in zip(records, wanted, strict=False) if one]

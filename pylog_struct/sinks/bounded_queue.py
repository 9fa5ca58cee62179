"""The bounded asynchronous queue: the only class here that starts a thread."""

from __future__ import annotations

import os  # noqa: TC003 - configuration evaluates the annotations
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError, SinkClosedError, SinkTimeoutError
from pylog_struct.ledger import HAS_GIL, DropReason
from pylog_struct.levels import WARNING
from pylog_struct.sinks._queue.buffer import RecordBuffer
from pylog_struct.sinks._queue.delivery import Delivery
from pylog_struct.sinks._queue.options import Policy, QueueOptions
from pylog_struct.sinks._queue.overflow import Overflow, Turnstile
from pylog_struct.sinks._queue.spill import Spill
from pylog_struct.sinks._queue.worker import CLOSE_GRACE, QueueWorker
from pylog_struct.sinks.base import BaseSink, Deadline, adopt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylog_struct.ledger import SinkStatistics
    from pylog_struct.record import Record

__all__ = ["QueueSink"]

_LOOK: Final = 0.2  # seconds between two looks at whether the worker is alive, while waiting for it


class QueueSink(BaseSink):
    """Takes records at once and writes them to another sink from a thread of its own.

    Accepted means: in this process's memory; at or above *guarantee_level*, also when the queue
    is full: when the call has returned, the record is in the queue, or accepted by the sink, or on
    the disk in the spill file, or its loss has been reported on stderr and counted.  Records are
    written in order; what went through the spill file or was written past a full queue arrives
    out of order.  Each is written once, unless the sink or the thread dies in the middle of a write.

    Args:
        sink: Where the records go; owned, and closed with the queue.
        capacity: Most records held, queued and in flight together.
        max_bytes: Most bytes of their lines held.
        policy: What a full queue does below *guarantee_level*: ``"discard"``,
            ``"discard_oldest"``, ``"discard_low_level"`` or ``"block"``.
        low_level: *discard_low_level* drops at or below this level, and so does *high_water*.
        block_timeout: A blocked caller gives up when the sink has made no progress for this long.
        guarantee_level: From this level up no policy drops a record.
        guarantee_timeout: Longest that such a record's caller waits for room.
        reserve: Records of *capacity* (and the same share of *max_bytes*) that only
            *guarantee_level* may use; None means a sixteenth, rounded down.
        high_water: Fraction of the limits from which *low_level* is shed early, until the queue is
            down to four fifths of it; None means never.
        batch_records: Most records in one write.
        batch_bytes: Most bytes in one write, except for a single record that is larger.
        linger: Longest wait for a fuller batch.  0 writes at once what comes after a pause, and then
            waits a millisecond between two batches while little comes.
        spill: Where to put what found no room: True for a private temporary file, a path for a
            file beside it that the next process takes over, False for nowhere.
        spill_max_bytes: Most bytes in the spill file.
        dead_letter: A sink for what *sink* refused for good; owned.
        retry_min: Shortest pause after a failed write, seconds.
        retry_max: Longest pause after a failed write, seconds.
        gap_notice: Whether to say ``log.gap`` in the stream when a loss has ended.
        close_timeout: What ``close()`` without a timeout means, seconds.
        name: The sink's name in metrics and statistics.
        clock: For the age of records, notices and ``poll``; waiting is always in real time.

    Raises:
        ConfigError: an argument is nonsense.

    Threads: thread-safe; signal handlers, ``__del__`` and the sink itself may log at any moment.
    Blocks: see ``docs/reference/queue.md``; never without a bound, never a running event loop.
    Fork: the child starts empty, with a worker and a spill file of its own.
    Metrics: ``pylog_queue_*``, ``pylog_events_dropped_total``, ``pylog_events_written_total``,
    ``pylog_sink_write_seconds``, ``pylog_delivery_seconds``, ``pylog_spool_*``.
    """

    type_name = "queue"

    def __init__(
        self,
        sink: Any,
        *,
        capacity: int = 4096,
        max_bytes: int | str = "64 MiB",
        policy: str = "discard",
        low_level: int | str = "INFO",
        block_timeout: float | str = 10.0,
        guarantee_level: int | str = "ERROR",
        guarantee_timeout: float | str = 0.5,
        reserve: int | None = None,
        high_water: float | None = None,
        batch_records: int = 1024,
        batch_bytes: int | str = "1 MiB",
        linger: float | str = 0.0,
        spill: bool | str | os.PathLike[str] = True,
        spill_max_bytes: int | str = "64 MiB",
        dead_letter: Any = None,
        retry_min: float | str = 0.05,
        retry_max: float | str = 5.0,
        gap_notice: bool = True,
        close_timeout: float | str = 5.0,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        owner = type(self).__name__
        self._inner = adopt(sink, f"{owner}.sink")
        self._dead_letter = (
            None if dead_letter is None else adopt(dead_letter, f"{owner}.dead_letter")
        )
        if dead_letter is sink:
            msg = f"{owner}.dead_letter: it is the sink itself, which refused the records; use another"
            raise ConfigError(msg)
        children = [self._inner] if self._dead_letter is None else [self._inner, self._dead_letter]
        super().__init__(name=name, children=children)
        self._options = QueueOptions.parse(
            owner,
            capacity=capacity,
            max_bytes=max_bytes,
            policy=policy,
            low_level=low_level,
            block_timeout=block_timeout,
            guarantee_level=guarantee_level,
            guarantee_timeout=guarantee_timeout,
            reserve=reserve,
            high_water=high_water,
            batch_records=batch_records,
            batch_bytes=batch_bytes,
            linger=linger,
            spill=spill,
            spill_max_bytes=spill_max_bytes,
            retry_min=retry_min,
            retry_max=retry_max,
            gap_notice=gap_notice,
            close_timeout=close_timeout,
        )
        self._clock = clock
        self._arm()

    def _arm(self) -> None:
        """Build everything that a fork must not share: locks, queue, file, thread."""
        options = self._options
        self.ledger.set("queue.capacity", options.capacity)
        self._spill = Spill(options.spill, options.spill_max_bytes, self.name, self._overflow_lost)
        self._buffer = RecordBuffer(options, self.ledger, self._clock.time)
        self._turnstile = Turnstile()
        delivery = self._delivery = Delivery(self._inner, self._dead_letter, self.ledger, self.name)
        self._worker = QueueWorker(
            self.name, options, self._buffer, self._spill, delivery, self._turnstile,
            self.children, self._clock, self._gap_record,
        )  # fmt: skip
        self._overflow = Overflow(
            self.name, options, self._buffer, self._spill, delivery, self._worker, self._turnstile
        )
        self._worker.update_details()

    # -- the contract -----------------------------------------------------------------------------

    def put(self, record: Record, /) -> None:
        """Take charge of one record: the fast path of a log call.

        Returns at once while there is room; otherwise the policy decides, and the loss of a record,
        if there is one, is counted (and never an error).

        Raises:
            SinkClosedError: after :meth:`close`; the record is still the caller's.
        """
        if not self._buffer.offer(record):
            self._overflow.handle(record)
            return
        self._worker.ring_if_wanted()

    def entrance(self) -> tuple[RecordBuffer, Any, Any, Any] | None:
        """Return what the steps of :meth:`put` need, for a hot path that has them in itself.

        Returns:
            The buffer, its ``append``, what handles a record that finds no room, and what wakes the
            worker; None in an interpreter without the GIL.  Good for this process only.
        """
        if not HAS_GIL:
            return None
        return self._buffer, self._buffer.append, self._overflow.handle, self._worker.ring

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of every record of *batch*; :meth:`put` for each.

        Raises:
            SinkClosedError: after :meth:`close`; what it has not taken is in ``unwritten``.
        """
        put = self.put
        for position, record in enumerate(batch):
            try:
                put(record)
            except SinkClosedError as error:
                error.unwritten = tuple(batch[position:])
                raise

    def must_wait(self, record: Record, /) -> bool:
        """Whether :meth:`put` might block its thread for *record* now: ``ainfo`` and the like ask."""
        buffer, options = self._buffer, self._options
        bounds = buffer.bounds_for(record.level)
        if buffer.size < bounds.records and buffer.bytes + len(record.line) <= bounds.bytes:
            return False
        if buffer.closed:
            return False
        if record.level >= options.guarantee_level or options.policy is Policy.BLOCK:
            return True
        return options.policy is Policy.DISCARD_LOW_LEVEL and record.level > options.low_level

    def hand_over(self) -> None:
        """Say before :meth:`close` that another tree takes over: callers that wait go there."""
        self._overflow.has_successor = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no write into the inner sink while the block runs; records queue up meanwhile.

        For a tree that takes over a sink from one that is still draining into it.
        """
        with self._delivery.lock:
            yield

    def statistics(self) -> SinkStatistics:
        """Return this sink's side of the ledger at one instant.  Thread-safe."""
        self._worker.update_details()
        return super().statistics()

    def poll(self, now: float, /) -> float | None:  # noqa: ARG002 - the worker polls what is wrapped
        """Nothing to do: the worker drives the timed work of what is wrapped."""
        return None

    def _flush(self, timeout: float | None) -> None:
        if not self._worker.started and not self._waiting() and not self.ledger.received:
            return
        if self._must_not_wait():
            if self._waiting():
                raise SinkTimeoutError(f"{self.name}: cannot wait for itself to be flushed")
            return
        if self._buffer.gap and self._buffer.relaxed:
            notice = self._gap_record()
            if notice is not None:
                self._buffer.inject(notice)
        deadline = Deadline(timeout)
        request = self._worker.flush(deadline)
        while True:
            left = deadline.remaining()
            if request.wait(_LOOK if left is None else min(left, _LOOK)):
                break
            if deadline.over:
                self._worker.cancel(request)
                raise SinkTimeoutError(f"{self.name}: {self._waiting()} record(s) still wait")
            self._worker.ring()  # notices a thread that died
        if request.error is not None:
            raise request.error

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(self._options.close_timeout if timeout is None else timeout)
        buffer, worker = self._buffer, self._worker
        buffer.stop_intake()
        self._turnstile.open()
        worker.stop(deadline)
        if self._must_not_wait():
            return  # a sink that closes its own queue: the worker does it when that call is over
        patience = Deadline((deadline.remaining() or 0.0) + 2 * CLOSE_GRACE)
        while not worker.stopped.wait(min(patience.remaining() or 0.0, _LOOK)):
            if patience.over:
                break
            worker.ring()
        finished = worker.stopped.is_set()
        if not finished:
            worker.abandon()
        held, queued = buffer.abandon()
        lost = self._save(held, queued, certain=finished)
        spooled = self._spill.close()
        if lost:
            self.ledger.gave_up(lost, DropReason.SHUTDOWN)
        self.ledger.set("shutdown.spooled", spooled)
        self.ledger.set("shutdown.abandoned", len(lost))
        worker.update_details()
        if spooled:
            paths = ", ".join(map(str, self._spill.paths))
            diagnostics.report(
                f"queue.spooled {self.name}",
                f"{self.name}: {spooled} record(s) stay in {paths}",
                always=True,
            )
        if lost or not finished:
            text = f"{self.name}: closed in time, but {len(lost)} record(s) were abandoned"
            diagnostics.report(f"queue.close {self.name}", text, always=True)
            raise SinkTimeoutError(text, lost) from worker.close_error
        if worker.close_error is not None:
            raise worker.close_error

    def _save(self, held: list[Record], queued: list[Record], *, certain: bool) -> list[Record]:
        """Move what is left into a spill file that a later process reads; return what is lost.

        What a stuck write still holds may yet be delivered: it is not saved, lest it come twice.
        """
        if not self._spill.kept:
            return held + queued
        lost = [] if certain else list(held)
        rest = held + queued if certain else queued
        for position, record in enumerate(rest):
            last = position == len(rest) - 1
            if not self._spill.append(record, sync=last, wait=CLOSE_GRACE):
                lost.append(record)
        return lost

    # -- inside -----------------------------------------------------------------------------------

    def _waiting(self) -> int:
        with self.ledger.lock:
            self.ledger.book()
            return self.ledger.waiting

    def _must_not_wait(self) -> bool:
        return self._worker.is_current or self._overflow.nested

    def _overflow_lost(self, record: Record) -> None:
        self._overflow.lose(record, DropReason.GUARANTEE_FAILED)

    def _gap_record(self) -> Record | None:
        fields = self._buffer.gap.take(self.name)
        try:
            return self.notice(WARNING, "log.gap", fields)
        except Exception as error:
            diagnostics.report(f"queue.gap {self.name}", f"log.gap not written: {fields}", error)
            return None

    def _after_fork_in_child(self) -> None:
        # The parent's worker, backlog and file stay the parent's; this process starts on first use.
        super()._after_fork_in_child()
        self._worker.disown()
        self._spill.forget()
        self.ledger.reset()
        self._arm()
        if self._closed:
            self._buffer.stop_intake()

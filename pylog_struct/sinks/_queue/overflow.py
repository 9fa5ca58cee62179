"""What a full queue does to the caller: wait, write, spill or report, each within its bound."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pylog_struct import diagnostics
from pylog_struct.errors import SinkClosedError
from pylog_struct.ledger import DropReason
from pylog_struct.sinks._queue.buffer import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.record import Record
    from pylog_struct.sinks._queue.buffer import RecordBuffer
    from pylog_struct.sinks._queue.delivery import Delivery
    from pylog_struct.sinks._queue.options import QueueOptions
    from pylog_struct.sinks._queue.spill import Spill
    from pylog_struct.sinks._queue.worker import QueueWorker

__all__ = ["Overflow", "Turnstile", "runs_event_loop"]

_LOCK_WAIT = 1.0  # most seconds to wait for another thread's append to the spill file


def runs_event_loop() -> bool:
    """Whether this thread is inside a running asyncio event loop, which must not be blocked."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class Turnstile:
    """Threads that wait for room.  Each parks on a raw lock, which a signal handler cannot break.

    Threads: thread-safe.
    """

    def __init__(self) -> None:
        self._gates: deque[threading.Lock] = deque()

    def __bool__(self) -> bool:
        return bool(self._gates)

    def enter(self) -> threading.Lock:
        """Return a gate to wait at: a lock that the next :meth:`open` releases."""
        gate = threading.Lock()
        gate.acquire()
        self._gates.append(gate)
        return gate

    def leave(self, gate: threading.Lock) -> None:
        """Stop waiting."""
        with suppress(ValueError):  # it was opened meanwhile
            self._gates.remove(gate)

    def open(self) -> None:
        """Let everybody try again."""
        while self._gates:
            try:
                self._gates.popleft().release()
            except (IndexError, RuntimeError):  # another thread was faster
                continue


class Overflow:
    """Handles a record that the fast path did not take.

    The order for ``guarantee_level`` and above: reserve, bounded wait, synchronous write, spill
    file, report; the file first for a record larger than the queue.  Below it: the policy; a caller
    that may not wait, or waited in vain, spills.

    Threads: thread-safe.  Blocks: see ``docs/reference/queue.md``.
    """

    def __init__(
        self,
        name: str,
        options: QueueOptions,
        buffer: RecordBuffer,
        spill: Spill,
        delivery: Delivery,
        worker: QueueWorker,
        turnstile: Turnstile,
    ) -> None:
        self._name = name
        self._options = options
        self._buffer = buffer
        self._spill = spill
        self._delivery = delivery
        self._worker = worker
        self._turnstile = turnstile
        self._inside: set[int] = set()  # threads in here; each adds and removes only itself
        # The progress count at which a guaranteed record waited in vain: the next ones need not.
        self._in_vain_at = -1
        self.has_successor = False
        """Whether another tree takes what comes after the close."""
        # Private, but what threading.Condition relies on; both kinds of RLock have it.
        self._lock_is_mine: Callable[[], bool] = cast("Any", buffer.lock)._is_owned

    @property
    def nested(self) -> bool:
        """Whether this call runs inside another one of the same thread: it must never wait."""
        return threading.get_ident() in self._inside or self._lock_is_mine()

    def handle(self, record: Record) -> None:
        """Find a place for *record*, or count and report its loss.

        Raises:
            SinkClosedError: the queue was closed before the call; the record is the caller's.
        """
        if self.nested:
            self._resolve(record, alone=False)
            return
        me = threading.get_ident()
        try:
            self._inside.add(me)
            self._resolve(record, alone=not self._worker.is_current)
        finally:
            self._inside.discard(me)

    def _resolve(self, record: Record, *, alone: bool) -> None:
        verdict = self._buffer.decide(record)
        if verdict is Verdict.ENTERED:
            self._worker.ring_if_wanted()
            return
        if verdict is Verdict.DROPPED:
            if not self._buffer.size:  # nothing else would wake the worker to tell of the loss
                self._worker.ring()
            return
        if verdict is Verdict.CLOSED:
            if self._worker.is_current:
                # A sink that logs while the queue drains into it: an error raised into its write
                # would be taken for its answer about the batch.
                self._buffer.refuse(record, DropReason.CLOSED)
                return
            raise SinkClosedError(f"{self._name} is closed", (record,))
        free = alone and not runs_event_loop() and not sys.is_finalizing()
        if record[0] >= self._options.guarantee_level:
            self._guarantee(record, verdict, free=free, wait=_LOCK_WAIT if alone else 0.0)
            return
        reason = DropReason.QUEUE_FULL
        if free:
            if self._wait(record, self._stalled_at):
                return
            reason = DropReason.BLOCK_TIMEOUT
        if self._buffer.closed:
            self._give_back(record)
            reason = DropReason.SHUTDOWN
        self._escape(record, reason, sync=False, wait=_LOCK_WAIT if alone else 0.0)

    def _guarantee(self, record: Record, verdict: Verdict, *, free: bool, wait: float) -> None:
        buffer = self._buffer
        if verdict is Verdict.FULL and free and self._in_vain_at != buffer.progress:
            ends = time.monotonic() + self._options.guarantee_timeout
            if self._wait(record, lambda: ends):
                return
            self._in_vain_at = buffer.progress
        if buffer.closed:
            self._give_back(record)
        # What is too large for the queue at any time meets sinks of which nothing is known, one that
        # hangs from its first write on among them.  The caller must not hang with it.
        file_first = verdict is Verdict.OVERSIZE and self._spill.enabled
        if free and not file_first and self._write_now(record):
            return
        reason = DropReason.GUARANTEE_FAILED
        if verdict is Verdict.OVERSIZE:
            reason = DropReason.OVERSIZE
        elif buffer.closed:
            reason = DropReason.SHUTDOWN
        self._escape(record, reason, sync=True, wait=wait, write=free and file_first)

    def lose(self, record: Record, reason: DropReason) -> None:
        """Count and report the loss of a record that was counted as waiting."""
        self._buffer.refuse(record, reason, counted=True)
        text = f"{self._name}: no room, record(s) dropped: {reason.value}"
        guaranteed = record[0] >= self._options.guarantee_level
        if guaranteed:
            text = f"{self._name}: LOST ({reason.value}): {record[1].decode('utf-8', 'replace')}"
        diagnostics.report(f"queue.{reason.value} {self._name}", text, always=guaranteed)

    def _give_back(self, record: Record) -> None:
        """Leave a record whose caller was waiting when the queue was closed to the queue's successor."""
        if self.has_successor:
            raise SinkClosedError(f"{self._name} is closed", (record,))

    def _stalled_at(self) -> float:
        """When the sink will have made no progress for ``block_timeout``."""
        busy = self._worker.busy_since
        # A worker that has not even begun owes no progress yet.
        began = time.monotonic() if busy is None else busy
        return max(self._buffer.progress_at, began) + self._options.block_timeout

    def _wait(self, record: Record, deadline: Callable[[], float]) -> bool:
        """Wait for room until *deadline* (monotonic, asked again after each try)."""
        buffer = self._buffer
        while True:
            with buffer.lock:
                if buffer.offer(record, buffer.bounds_for(record[0])):
                    break
                if buffer.closed:
                    return False
                gate = self._turnstile.enter()
            try:
                self._worker.ring()
                left = deadline() - time.monotonic()
                if left <= 0:
                    return False
                gate.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            finally:
                self._turnstile.leave(gate)
        self._worker.ring_if_wanted()
        return True

    def _write_now(self, record: Record, *, counted: bool = False) -> bool:
        """Write *record* in this thread if the sink is idle and was well the last time."""
        delivery = self._delivery
        if delivery.failing or not delivery.lock.acquire(blocking=False):
            return False
        try:
            attempt = delivery.attempt((record,))
        finally:
            delivery.lock.release()
        if counted:
            self._buffer.settle_elsewhere(attempt.taken, attempt.lost, attempt.reason)
        else:
            self._buffer.passed_by(record, attempt.taken, attempt.lost, attempt.reason)
        return not attempt.kept

    def _escape(
        self, record: Record, reason: DropReason, *, sync: bool, wait: float, write: bool = False
    ) -> None:
        """Put *record* into the spill file, or, with *write*, into the sink, or drop it for *reason*."""
        # Counted first: the worker may deliver it before this thread goes on.
        self._buffer.count_in(record)
        try:
            spilled = self._spill.append(record, sync=sync, wait=wait)
        except BaseException:  # an interrupt in the middle
            self.lose(record, reason)
            raise
        if not spilled:
            if not (write and self._write_now(record, counted=True)):
                self.lose(record, reason)
            return
        self._worker.update_details()
        self._worker.ring()

"""The thread of the queue: takes batches, writes them, tries again, and keeps timed work on time.

It is a daemon, started by the first record, and parks on a raw lock when there is nothing to do.
A producer does not wake it for each record: it looks at a size (``RecordBuffer.wake_size``) that
the worker sets before it parks.  Where no thread can be started (an interpreter that is shutting
down), the same steps run in the caller.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct._background import BackgroundThread
from pylog_struct.sinks._queue.buffer import NEVER
from pylog_struct.sinks._queue.delivery import Backoff
from pylog_struct.sinks._queue.flush_request import FlushRequests
from pylog_struct.sinks._queue.linger import Linger
from pylog_struct.sinks._queue.parking import Parking
from pylog_struct.sinks._queue.replay import Replay
from pylog_struct.sinks.base import Deadline, close_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.clock import Clock
    from pylog_struct.record import Record
    from pylog_struct.sinks._queue.buffer import RecordBuffer
    from pylog_struct.sinks._queue.delivery import Attempt, Delivery
    from pylog_struct.sinks._queue.flush_request import FlushRequest
    from pylog_struct.sinks._queue.options import QueueOptions
    from pylog_struct.sinks._queue.overflow import Turnstile
    from pylog_struct.sinks._queue.spill import Spill
    from pylog_struct.sinks.base import BaseSink

__all__ = ["CLOSE_GRACE", "QueueWorker"]

CLOSE_GRACE: Final = 0.25
"""Least seconds that the inner sink gets to close in, when draining used up the time."""

_NAP: Final = 5.0  # longest park: an interrupt in the middle of put() may swallow a wake-up
_GAP_INTERVAL: Final = 1.0  # least seconds between two log.gap notices, except at flush and close


class QueueWorker:
    """Drives one queue.  Everything but :meth:`ring`, :meth:`flush` and :meth:`stop` is its thread's.

    Threads: the public methods are thread-safe.
    """

    def __init__(
        self,
        name: str,
        options: QueueOptions,
        buffer: RecordBuffer,
        spill: Spill,
        delivery: Delivery,
        turnstile: Turnstile,
        children: tuple[BaseSink, ...],
        clock: Clock,
        gap_notice: Callable[[], Record | None],
    ) -> None:
        self._name = name
        self._options = options
        self._buffer = buffer
        self._spill = spill
        self._delivery = delivery
        self._turnstile = turnstile
        self._children = children
        self._clock = clock
        self._gap_notice = gap_notice
        self._backoff = Backoff(options.retry_min, options.retry_max)
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._parking = Parking(buffer)
        self._starting = False  # guarded by the buffer's lock
        self._requests = FlushRequests(name, buffer, spill, delivery)
        # Set by stop(), read by the thread.
        self._stop: Deadline | None = None
        self._abandoned = False
        self._disowned = False
        self.stopped = threading.Event()
        """Set when the inner sinks are closed and the thread is about to end."""
        self.close_error: Exception | None = None
        # The thread's own.
        self._adopted = False
        self._retry_at = 0.0
        self._poll_at = 0.0
        self._gap_at = 0.0
        self._linger = Linger(options, buffer)
        self._replay = Replay(name, options, buffer, spill)
        self._standing_in = threading.Lock()
        self.busy_since: float | None = None
        """Since when the worker has been at what it does now (monotonic); None if at nothing."""

    # -- what other threads call ------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the worker (or stands in for it)."""
        return self._ident == threading.get_ident()

    @property
    def started(self) -> bool:
        """Whether there ever was a thread."""
        return self._thread is not None

    def ring_if_wanted(self) -> None:
        """Wake the worker if the queue is as full as it waits for."""
        buffer = self._buffer
        if buffer.size >= buffer.wake_size or buffer.bytes >= buffer.wake_bytes:
            self.ring()

    def ring(self) -> None:
        """Wake the worker, or start one if there is none (any more)."""
        with self._buffer.lock:
            if self._parking.ring():
                return
            if self._starting or (self._thread is not None and self._thread.is_alive()):
                return
            self._starting = True  # a nested call must not start another
        try:
            thread = BackgroundThread(target=self._run, name=f"pylog-queue-{self._name}")
            thread.start()
            self._thread = thread
        except RuntimeError:  # the interpreter is shutting down, or has no thread to give
            self._stand_in()
        finally:
            self._starting = False

    def flush(self, deadline: Deadline) -> FlushRequest:
        """Ask for everything that is here now to be written and flushed."""
        request = self._requests.add(deadline)
        self.ring()
        return request

    def cancel(self, request: FlushRequest) -> None:
        """Forget *request*; its owner does not wait any more."""
        self._requests.cancel(request)

    def stop(self, deadline: Deadline) -> None:
        """Drain until *deadline*, then close the inner sinks; ``stopped`` tells when."""
        self._stop = deadline
        self.ring()

    def abandon(self) -> None:
        """Do not wait for the thread any more; when it comes back, it only closes the sinks."""
        self._abandoned = True
        self._requests.refuse()

    def disown(self) -> None:
        """Say that this is the parent's, in a child where it may be alive: gevent's threads are."""
        self._disowned = True

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            while not (self.stopped.is_set() or self._disowned):
                try:
                    self._loop()
                except BaseException as error:
                    self._restart(error)
        except BaseException as error:
            diagnostics.report(f"queue.worker {self._name}", f"{self._name}: worker died", error)
        finally:
            # Also when a second stray exception struck above: the next put() sees to a new thread.
            self._parking.vacate()

    def _restart(self, error: BaseException) -> None:
        buffer = self._buffer
        buffer.ledger.count("worker.restarts")
        with buffer.lock:
            buffer.recover()
        self._retry_at = time.monotonic() + self._backoff.next()
        diagnostics.report(
            f"queue.worker {self._name}", f"{self._name}: the worker was hit and goes on", error
        )

    def _loop(self) -> None:
        self._parking.awake()
        if not self._adopted:
            self._adopt()
        while True:
            if self._disowned:
                return
            self._ident = threading.get_ident()  # gevent's patches change it
            if self._stop is not None and (self._abandoned or self._drained(self._stop)):
                self._finish(self._stop)
                return
            if not self._step():
                self._park()

    def _step(self) -> bool:
        """Do one round of what is due; return whether anything was done."""
        now = time.monotonic()
        acted = False
        if now >= self._retry_at:
            self._announce_gap(now)
            urgent = self._stop is not None or bool(self._requests) or bool(self._turnstile)
            if self._linger.is_over(now, urgent=urgent):
                acted = self._deliver()
                if not self._delivery.failing or not (self._buffer.size or acted):
                    acted = self._replay_spill() or acted
        acted = self._serve_flushes() or acted
        if now >= self._poll_at and not self._abandoned:
            self._poll(now)
        return acted

    def _deliver(self) -> bool:
        buffer, options = self._buffer, self._options
        generation = buffer.generation
        if not buffer.held:
            self.busy_since = None
        batch = buffer.take(options.batch_records, options.batch_bytes)
        if not batch:
            return False
        attempt = self._write(batch)
        if attempt is None:
            return True
        taken, kept, lost, reason = attempt
        buffer.settle(generation, taken, kept, lost, reason)
        self._after(taken, failed=bool(kept), moved=bool(taken or lost))
        return True

    def _replay_spill(self) -> bool:
        replay = self._replay
        if not (replay.held or self._spill.records):
            return False
        batch = replay.fetch()
        if not batch:
            return True
        attempt = self._write(batch)
        if attempt is None:
            return True
        replay.settle(attempt)
        taken, kept, lost, _ = attempt
        self._after(taken, failed=bool(kept), moved=bool(taken or lost))
        return True

    def _write(self, batch: list[Record]) -> Attempt | None:
        """Write *batch* once; None if nobody waits for the answer any more."""
        if self.busy_since is None:
            self.busy_since = time.monotonic()
        with self._delivery.lock:
            attempt = None if self._abandoned else self._delivery.attempt(batch)
        return None if self._abandoned else attempt

    def _after(self, taken: list[Record], *, failed: bool, moved: bool) -> None:
        now = time.monotonic()
        self._linger.delivered(now)
        if moved:
            self._backoff.reset()
            self._turnstile.open()
        if taken and taken[0][2] > 0:
            with self._buffer.lock:
                age = self._clock.time() - taken[0][2]
                self._buffer.ledger.delivery_seconds.observe(age)
        if failed:
            self._retry_at = now + self._backoff.next()
        else:
            self.busy_since = None
        self._poll_at = min(self._poll_at, now)  # a write may have made timed work pending
        self.update_details()

    def update_details(self) -> None:
        """Bring the ledger's details up to date."""
        buffer, spill = self._buffer, self._spill
        details = buffer.ledger.details
        with buffer.lock:
            details["queue.bytes"] = buffer.bytes
            details["queue.high_watermark"] = max(buffer.high_watermark, buffer.size)
            details["spool.records"] = spill.records
            details["spool.bytes"] = spill.bytes

    def _announce_gap(self, now: float) -> None:
        buffer = self._buffer
        if not buffer.gap:
            return
        if self._stop is None:
            if now < self._gap_at or not buffer.relaxed:
                return
        elif buffer.size:
            return
        self._gap_at = now + _GAP_INTERVAL
        notice = self._gap_notice()
        if notice is None:
            return
        self._linger.skip()  # whoever flushes now shall see it
        if not buffer.inject(notice):
            diagnostics.report(
                f"queue.gap {self._name}",
                f"{self._name}: no room for {notice[1].decode('utf-8', 'replace')}",
            )

    def _serve_flushes(self) -> bool:
        ready = self._requests.ready()
        if not ready:
            return False
        if self.busy_since is None:
            self.busy_since = time.monotonic()
        error = self._requests.flush(ready)
        if not self._buffer.held and not self._replay.held:
            self.busy_since = None
        self._requests.finish(ready, error)
        return True

    def _poll(self, now: float) -> None:
        waits: list[float] = []
        for child in self._children:
            try:
                with self._delivery.lock:
                    wait = child.poll(self._clock.monotonic())
            except Exception as error:
                self._buffer.ledger.failed(error)
                diagnostics.report(
                    f"queue.poll {self._name}", f"{self._name}: timed work failed", error
                )
                wait = self._backoff.next()
            if wait is not None:
                waits.append(wait)
        self._poll_at = now + max(min(waits, default=math.inf), 0.001)

    def _park(self) -> None:
        buffer, now = self._buffer, time.monotonic()
        wake_size, wake_bytes = 1, NEVER
        until = min(now + _NAP, self._poll_at)
        if now < self._retry_at:
            wake_size = NEVER
            until = min(until, self._retry_at)
        elif self._linger.until:
            wake_size, wake_bytes = self._linger.size, self._options.batch_bytes
            until = min(until, self._linger.until)
        if buffer.gap and buffer.relaxed:
            until = min(until, max(self._gap_at, self._retry_at))
        if self._stop is not None and (left := self._stop.remaining()) is not None:
            until = min(until, now + left)
        self._parking.park(wake_size, wake_bytes, until - now)

    def _adopt(self) -> None:
        self._adopted = True
        try:
            found = self._spill.adopt()
        except Exception as error:
            diagnostics.report(f"spill {self._name}", f"{self._name}: leftovers not read", error)
            return
        for record in found:
            self._buffer.count_in(record)
        if found:
            self._buffer.ledger.count("spool.adopted", len(found))
            self.update_details()

    # -- the end ----------------------------------------------------------------------------------

    def _drained(self, deadline: Deadline) -> bool:
        if deadline.over:
            return True
        buffer = self._buffer
        return not (buffer.size or self._spill.records or buffer.gap or self._requests)

    def _finish(self, deadline: Deadline) -> None:
        left = deadline.remaining()
        timeout = left if left is None else max(left, 0.0 if self._abandoned else CLOSE_GRACE)
        self._requests.refuse()
        try:
            with self._delivery.lock:
                close_all(self._children, timeout)
        except Exception as error:
            self.close_error = error
        self.stopped.set()

    def _stand_in(self) -> None:
        """Do the worker's steps in this thread, once for what is here now."""
        if not self._standing_in.acquire(blocking=False):
            return
        me, self._ident = self._ident, threading.get_ident()
        try:
            if not self._delivery.lock.acquire(blocking=False):
                return  # a sink that logs: whoever called it goes on with what was queued
            self._delivery.lock.release()
            if not self._adopted:
                self._adopt()
            for _ in range(self._buffer.size + self._spill.records + 1):
                if not self._step():
                    break
            if self._stop is not None and not self.stopped.is_set():
                while not self._drained(self._stop):
                    self._retry_at = 0.0
                    if not self._step() or self._delivery.failing:
                        break
                self._finish(self._stop)
        except Exception as error:
            diagnostics.report(f"queue.worker {self._name}", f"{self._name}: failed", error)
        finally:
            self._ident = me
            self._parking.forget()
            self._standing_in.release()

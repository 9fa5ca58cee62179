"""One caller at a time for a sink that is not thread-safe, and no re-entry from the same thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from pylog_struct import diagnostics
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkTimeoutError,
)
from pylog_struct.ledger import HAS_GIL, DropReason
from pylog_struct.sinks._checks import check_flag
from pylog_struct.sinks._refusals import attempt, marks, reason_for, report_loss
from pylog_struct.sinks.base import BaseSink, Deadline, adopt, close_all, translate
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pylog_struct.ledger import ReentrantLock
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["LockedSink"]

_PENDING_MAX: Final = 1000  # records of nested calls that can wait for the call around them
_ROUNDS_MAX: Final = 8  # a sink that logs on every write would otherwise never come to an end
_AGAIN: Final = 1.0  # seconds until what was left after those rounds is tried again

# Threads that do nothing but log: see straight().
_CROWD: Final = 50e-6  # seconds between two calls that found the sink taken
_STEP_ASIDE: Final = 1e-3  # seconds
_STEPS_MAX: Final = 20


class LockedSink(BaseSink):
    """Makes any sink thread-safe, and safe against logging from inside itself.

    Accepted means: accepted by the inner sink.  Only a *nested* call is different: one that the
    same thread makes while it is inside the inner sink (a signal handler, ``__del__``, a sink or
    its client that logs).  It never re-enters the inner sink: its records wait here, and the call
    around it writes them before it returns, after at most eight rounds of such records causing
    further ones; what is left then goes with the next call or ``poll``.  Nobody can be told if the
    inner sink refuses those: they are dropped (``unavailable``, ``rejected``) and reported.  So are
    nested records beyond 1,000 at a time (``queue_full``).

    Args:
        sink: The inner sink; owned, and closed with this one.
        absorb: What ``configure`` sets on the outermost sink: a write raises nothing but
            ``SinkClosedError``.  What the inner sink refuses is dropped (``unavailable``,
            ``rejected``), and reported on the diagnostics channel: from ERROR up with the line.
        timeout: Longest time that a write waits for another thread's, in seconds or as text.
            After it the records are unwritten (``SinkTimeoutError``), or dropped with *absorb*.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: *sink* is no sink, or is thread-safe already; *timeout* is out of range.

    Threads: thread-safe, re-entrant.  Blocks: up to *timeout* for other threads, then as long as
    the inner sink.  ``statistics`` never waits for a write.
    Fork: a new lock; a write that another thread was in belongs to the parent.
    """

    type_name = "locked"

    def __init__(
        self,
        sink: Sink,
        *,
        absorb: bool = False,
        timeout: float | str = 10.0,
        name: str | None = None,
    ) -> None:
        inner = adopt(sink, "LockedSink.sink")
        if inner.type_name in {"locked", "queue"}:
            msg = f"LockedSink.sink: {inner!r} is thread-safe already; use it as it is"
            raise ConfigError(msg)
        super().__init__(name=name, children=(inner,))
        self.absorb: bool = check_flag(absorb, "LockedSink.absorb")
        # At most a day: threading has a limit of its own, and "for ever" is not offered.
        self._timeout = min(parse_duration(timeout, "LockedSink.timeout"), 86_400.0)
        self._inner = inner
        self._rearm()

    def _rearm(self) -> None:
        # Guards the inner sink and everything below.  Not the ledger, which has its own: a scrape
        # of the metrics must not wait for a write that hangs.
        self._lock = cast("ReentrantLock", threading.RLock())
        self._ledger_lock = self.ledger.lock
        self._busy = False  # this thread is inside the inner sink
        self._pending: deque[Record] = deque()  # of nested calls; in the ledger as waiting
        self._again = False  # a nested call left something to do
        self._release_due = False  # closed while somebody was inside the inner sink

    # -- writing ----------------------------------------------------------------------------------

    def put(self, record: Record, /) -> None:
        """Take charge of one record: ``write((record,))`` for the hot path.

        Raises:
            SinkClosedError: after ``close``.
            SinkError: the inner sink refused it; never with *absorb*.
        """
        if self._closed:  # for good; and the lock may be with a thread that is gone at exit
            self._require_open((record,))
        lock = self._lock
        if not lock.acquire(timeout=self._timeout):
            self._no_turn((record,))
            return
        try:
            if self._busy or self._closed:
                self._nested((record,))
                return
            self._busy = True
            try:
                self._inner.write((record,))
            except BaseException as error:
                self._failed((record,), error)
            else:
                ledger = self.ledger
                size = len(record[1])
                with self._ledger_lock:
                    ledger.received += 1
                    ledger.written += 1
                    ledger.bytes_written += size
                    if self.absorb:
                        try:
                            ledger.received_by_level[record[0]] += 1
                        except KeyError:
                            ledger.received_by_level[record[0]] = 1
            finally:
                # In this order: a signal handler that logs in between writes for itself, and one
                # that logged before has set _again.
                self._busy = False
                if self._again:
                    self._catch_up()
        finally:
            lock.release()

    def straight(self) -> Callable[[int, bytes, int], bool] | None:
        """Return a way for one line without a record, if the inner sink has one: for the hot path.

        It takes level, line and the time of the call in nanoseconds, and returns False if nothing
        was done and :meth:`put` has to do it.  Good for this process only, and for as long as
        ``absorb`` stays as it is.
        """
        write_line: Callable[[bytes, int], bool] | None
        write_line = getattr(self._inner, "write_line", None)
        if write_line is None or not self.absorb or not HAS_GIL:
            return None
        acquire, release = self._lock.acquire, self._lock.release
        ledger, levels = self.ledger, self.ledger.received_by_level
        monotonic, sleep = time.monotonic, time.sleep
        taken_at = 0.0

        def step_aside() -> bool:
            """Wait for the lock without standing in line for it, if many want it at once.

            A lock that is handed from thread to thread at every event takes the interpreter lock with it,
            and eight threads get a quarter of what one does.  One that finds nobody in line goes on
            for a millisecond instead.
            """
            nonlocal taken_at
            before, taken_at = taken_at, monotonic()
            if taken_at - before > _CROWD:
                return False
            for _ in range(_STEPS_MAX):
                sleep(_STEP_ASIDE)
                if acquire(False):  # noqa: FBT003 - as below
                    return True
            return False

        def write(level: int, line: bytes, moment: int) -> bool:
            if not acquire(False) and not step_aside():  # noqa: FBT003 - the quickest spelling
                return False
            try:
                if self._busy or self._closed:
                    return False
                self._busy = True
                try:
                    if not write_line(line, moment):
                        return False
                    size = len(line)
                    # No call from here on, and so no lock: see HAS_GIL.
                    ledger.received += 1
                    ledger.written += 1
                    ledger.bytes_written += size
                    try:
                        levels[level] += 1
                    except KeyError:
                        levels[level] = 1
                finally:
                    # In this order, as in put().
                    self._busy = False
                    if self._again:
                        self._catch_up()
            finally:
                release()
            return True

        return write

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        if self._closed:
            self._require_open(batch)
        lock = self._lock
        if not lock.acquire(timeout=self._timeout):
            self._no_turn(batch)
            return
        try:
            if self._busy or self._closed:
                self._nested(batch)
                return
            if not batch:
                return
            self._busy = True
            try:
                self._inner.write(batch)
            except BaseException as error:
                self._failed(batch, error)
            else:
                self._count_levels(batch)
                self.ledger.passed(batch)
            finally:
                self._busy = False
                if self._again:
                    self._catch_up()
        finally:
            lock.release()

    def _no_turn(self, batch: Sequence[Record]) -> None:
        """Another thread has been in the inner sink for all the time that we may wait."""
        self._require_open(batch)
        error = SinkTimeoutError(
            f"{self.name}: another thread has been writing for {self._timeout:g} s", batch
        )
        self.ledger.failed(error)
        if not self.absorb:
            raise error
        self._drop(batch, DropReason.UNAVAILABLE, error)

    def _nested(self, batch: Sequence[Record]) -> None:
        """Put *batch* off until the call around this one is through."""
        self._require_open(batch)
        room = max(_PENDING_MAX - len(self._pending), 0)
        taken, rest = batch[:room], batch[room:]
        if taken:
            self._count_levels(taken)
            self.ledger.accepted(taken)
            self._pending.extend(taken)
            self._again = True
        if rest:
            self._drop(rest, DropReason.QUEUE_FULL, None)

    def _failed(self, batch: Sequence[Record], error: BaseException) -> None:
        """Account for a write that ended with *error*, and raise it if it is the caller's business."""
        if not isinstance(error, Exception):  # KeyboardInterrupt and the like
            # How far the inner sink came is unknown; what we say must not be too good.
            self._drop(batch, DropReason.UNAVAILABLE, error)
            raise error
        told = error if isinstance(error, SinkError) else translate(error, batch, self._inner.name)
        self.ledger.failed(told)
        missing = marks(batch, told.unwritten)
        taken = [record for record, one in zip(batch, missing, strict=True) if not one]
        if taken:
            self._count_levels(taken)
            self.ledger.passed(taken)
        if not self.absorb:
            raise told
        left = [record for record, one in zip(batch, missing, strict=True) if one]
        self._drop(left, reason_for(told), told)

    def _catch_up(self) -> None:
        """Write what nested calls left, and close if one of them asked for it; the lock is held."""
        for _ in range(_ROUNDS_MAX):
            self._again = False
            empty: deque[Record] = deque()
            # No call between these two: a signal handler must find the one or the other.
            batch = self._pending
            self._pending = empty
            if batch:
                self._write_nested(tuple(batch))
            if not self._again:
                break
        if self._release_due:
            self._release_late()

    def _write_nested(self, batch: Sequence[Record]) -> None:
        self._busy = True
        try:
            error = attempt(self._inner, batch)
        except BaseException:  # KeyboardInterrupt and the like: better twice than not at all
            self._pending.extendleft(reversed(batch))
            self._again = True
            raise
        finally:
            self._busy = False
        self._settle(batch, error)

    def _settle(self, batch: Sequence[Record], error: SinkError | None) -> None:
        if error is None:
            self.ledger.delivered(batch)
            return
        self.ledger.failed(error)
        missing = marks(batch, error.unwritten)
        taken = [record for record, one in zip(batch, missing, strict=True) if not one]
        left = [record for record, one in zip(batch, missing, strict=True) if one]
        if taken:
            self.ledger.delivered(taken)
        reason = reason_for(error)
        self.ledger.gave_up(left, reason)
        report_loss(self, left, reason, error)

    # -- accounting -------------------------------------------------------------------------------

    def _count_levels(self, records: Sequence[Record]) -> None:
        if not self.absorb:  # only the root of a tree counts levels
            return
        levels = self.ledger.received_by_level
        with self._ledger_lock:
            for record in records:
                try:
                    levels[record[0]] += 1
                except KeyError:
                    levels[record[0]] = 1

    def _drop(
        self, records: Sequence[Record], reason: DropReason, error: BaseException | None
    ) -> None:
        self._count_levels(records)
        self.ledger.refused(records, reason)
        report_loss(self, records, reason, error)

    # -- the rest of the contract -----------------------------------------------------------------

    def poll(self, now: float, /) -> float | None:
        """Do timed work of the inner sink, unless another thread is inside it.

        With *absorb*, an error is reported instead of raised.
        """
        if self._closed or not self._lock.acquire(timeout=min(self._timeout, _AGAIN)):
            return _AGAIN
        try:
            if self._busy or self._closed:
                return _AGAIN
            wait = self._poll_inner(now)
            return _AGAIN if self._pending else wait
        finally:
            self._lock.release()

    def _poll_inner(self, now: float) -> float | None:
        self._busy = True
        try:
            return self._inner.poll(now)
        except Exception as error:
            self.ledger.failed(error)
            if not self.absorb:
                raise
            text = f"{self.name}: timed work failed; it will be tried again"
            diagnostics.report(f"locked {self.name} poll", text, error)
            return _AGAIN
        finally:
            self._busy = False
            self._catch_up()

    def _flush(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        if not self._take_turn(deadline):
            raise SinkTimeoutError(f"{self.name}: no flush while a write is under way")
        try:
            self._inner.flush(deadline.remaining())
        finally:
            self._end_turn()

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        if self._take_turn(deadline):
            try:
                close_all(self.children, deadline.remaining())
            finally:
                self._end_turn()
            return
        # Whoever is inside the inner sink closes it on the way out ...
        self._release_due = self._again = True
        if self._lock.acquire(blocking=False):  # ... unless that was a moment ago
            try:
                if not self._busy:
                    self._catch_up()
                    return
            finally:
                self._lock.release()
        raise SinkTimeoutError(f"{self.name}: a write is under way; it will be closed after that")

    def _release_late(self) -> None:
        self._release_due = False
        self._busy = True
        try:
            close_all(self.children, 0.0)
        except Exception as error:
            text = f"{self.name}: closing failed"
            diagnostics.report(f"locked {self.name} close", text, error, always=True)
        finally:
            self._busy = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no write into the inner sink while the block runs; records wait for it.

        Other threads wait up to their *timeout*; records of this one are written after the block.
        """
        if not self._take_turn(Deadline(self._timeout)):
            raise SinkTimeoutError(f"{self.name}: a write has been under way for too long")
        try:
            yield
        finally:
            self._end_turn()

    def _take_turn(self, deadline: Deadline) -> bool:
        """Enter the inner sink for something else than a write; False if that cannot be done in time."""
        remaining = deadline.remaining()
        lock = self._lock
        if not lock.acquire(timeout=-1.0 if remaining is None else min(remaining, 86_400.0)):
            return False
        if self._busy:
            lock.release()
            return False
        try:
            self._catch_up()
        except BaseException:
            lock.release()
            raise
        self._busy = True
        return True

    def _end_turn(self) -> None:
        self._busy = False
        try:
            self._catch_up()
        finally:
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._rearm()

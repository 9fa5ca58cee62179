"""One alternative of a failover: its sink, its lane, and what is known about its health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks._failover.lane import HungError, Lane
from pylog_struct.sinks.base import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.record import Record
    from pylog_struct.sinks.base import BaseSink

__all__ = ["Alternative", "Outcome"]


_RELEASE: Final = 1.0
"""Seconds that a close may take to release things after its time to drain ran out."""


class Outcome(NamedTuple):
    """What became of records that were offered; the rest of them was accepted."""

    unwritten: tuple[Record, ...] = ()
    """For somebody else to take."""
    rejected: tuple[Record, ...] = ()
    """Refused for good: nobody else is asked."""
    failure: SinkError | None = None
    """Why the alternative counts as failed; None if it does not (a rejection is an answer)."""
    refusal: SinkError | None = None
    """Why it refused ``rejected``."""


class Alternative:
    """A sink that failover can choose, and what failover knows about it.

    Args:
        sink: The sink; owned by the failover sink.
        timeout: Seconds after which a call counts as hung; None calls it directly, without a
            thread, and waits as long as it takes.
        ledger: The ledger of the failover sink, for records that arrive late.

    Attributes:
        probe_at: The monotonic time of its next chance, in seconds; of interest only while a less
            preferred alternative is active.
        successes: Probes in a row that it passed.
        dirty: Whether it took records since it was last flushed.

    Threads: one caller at a time.
    """

    __slots__ = ("_lane", "_ledger", "_stuck", "_timeout", "dirty", "probe_at", "sink", "successes")

    def __init__(self, sink: BaseSink, timeout: float | None, ledger: SinkLedger) -> None:
        self.sink = sink
        self.probe_at = 0.0
        self.successes = 0
        self.dirty = False
        self._timeout = timeout
        self._ledger = ledger
        self._lane = None if timeout is None else Lane(sink.name)
        self._stuck = False  # a call took longer than the timeout and may still be running

    def after_fork_in_child(self) -> None:
        """The lane's thread stayed with the parent; what the sink holds is the sink's to forget."""
        self.dirty = False
        self._stuck = False
        if self._timeout is not None:
            self._lane = Lane(self.sink.name)

    def offer(self, records: Sequence[Record]) -> Outcome:
        """Write *records*; never raises."""
        try:
            self._write(records)
        except SinkError as error:
            left = error.unwritten
            if len(left) < len(records):
                self.dirty = True
            if error.retryable or isinstance(error, SinkClosedError):
                return Outcome(unwritten=left, failure=error)
            return Outcome(rejected=left, refusal=error)
        except Exception as error:
            # A sink of ours translates; one that does not cannot say what it took, so all of it
            # is handed on: a duplicate can be found later, a lost record cannot.
            text = f"{self.sink.name}: {type(error).__name__}: {error}"
            return Outcome(tuple(records), failure=SinkUnavailableError(text, records))
        self.dirty = True
        return Outcome()

    def _write(self, records: Sequence[Record]) -> None:
        lane = self._lane
        if lane is None:
            self.sink.write(records)
            return
        records = tuple(records)  # the caller may reuse its list while a hung call still reads it
        held = records

        def late(error: BaseException | None) -> None:
            # Unless it failed with them, these arrived after they had been handed on: duplicates.
            if error is None:
                self._ledger.count("failover.late", len(held))
            elif isinstance(error, SinkError):
                self._ledger.count("failover.late", len(held) - len(error.unwritten))

        if not self._free(lane):
            raise SinkTimeoutError(f"{self.sink.name} still hangs in an earlier call", records)
        try:
            lane.call(lambda: self.sink.write(records), self._timeout, late)
        except HungError:
            self._stuck = True
            failure = SinkTimeoutError(f"{self.sink.name} hung for {self._timeout:g} s", records)
            self.sink.ledger.failed(failure)
            raise failure from None

    def _free(self, lane: Lane) -> bool:
        """Whether the lane can take a call; waits for a call that had less than the full timeout."""
        if not lane.hung:
            self._stuck = False
        elif not self._stuck:
            self._stuck = not lane.wait(self._timeout)
        return not self._stuck

    def flush(self, timeout: float | None) -> None:
        """Flush the sink if it took records since the last time.

        Raises:
            SinkError: as the sink says, or because it hangs.
        """
        if not self.dirty:
            return
        lane = self._lane
        if lane is None:
            self.sink.flush(timeout)
        elif not self._free(lane):
            raise SinkTimeoutError(f"{self.sink.name} still hangs in an earlier call")
        else:
            limit = _shorter(timeout, self._timeout)
            self._in_lane(lane, lambda: self.sink.flush(limit), limit, "flush")
        self.dirty = False

    def poll(self, now: float) -> float | None:
        """Forward to the sink, unless it hangs."""
        lane = self._lane
        if lane is None:
            return self.sink.poll(now)
        if lane.hung:
            return None
        return self._in_lane(lane, lambda: self.sink.poll(now), self._timeout, "poll")

    def close(self, timeout: float | None) -> None:
        """Close the sink; if it hangs, let its lane close it when the stuck call comes back.

        Raises:
            SinkError: as the sink says, or because it hangs.
        """
        lane = self._lane
        if lane is None:
            self.sink.close(timeout)
            return
        deadline = Deadline(_shorter(timeout, self._timeout) if lane.hung else timeout)
        # Never beside a stuck call: a sink has one caller at a time, and that one is inside.
        if not lane.wait(deadline.remaining()):
            lane.end(last=lambda: self.sink.close(0.0))
            raise SinkTimeoutError(f"{self.sink.name} hangs; it is closed when it comes back")
        left = deadline.remaining()
        try:
            limit = None if left is None else left + _RELEASE
            self._in_lane(lane, lambda: self.sink.close(left), limit, "close")
        finally:
            lane.end()

    def _in_lane(
        self,
        lane: Lane,
        function: Callable[[], float | None],
        limit: float | None,
        what: str,
    ) -> float | None:
        try:
            result: float | None = lane.call(function, limit)
        except HungError:
            self._stuck = limit is None or self._timeout is None or limit >= self._timeout
            raise SinkTimeoutError(f"{self.sink.name} did not return from {what}()") from None
        return result


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)

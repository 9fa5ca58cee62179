"""Every record to every sink; a branch that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError, SinkError
from pylog_struct.sinks._checks import check_count, check_distinct
from pylog_struct.sinks._refusals import Refusals, attempt, close_with, marks, restate
from pylog_struct.sinks._ring import Ring
from pylog_struct.sinks.base import BaseSink, Deadline, adopt
from pylog_struct.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["FanOutSink"]

_AGAIN: Final = 1.0  # seconds between two tries of `poll` at a branch with a backlog


class FanOutSink(BaseSink):
    """Writes every batch to all of its sinks, the branches.

    Accepted means: at least one branch took the record, and each other branch took it, has it in
    its backlog here, or gave it up.  A record that *no* branch took is raised as unwritten, and is
    in no backlog: whoever retries sends no branch anything twice.  It is retryable if any branch
    may take it later.

    A branch that failed gets what it missed first, in order, on the next ``write``, ``poll``,
    ``flush`` or ``close``.  When its backlog is full, the oldest record there is given up for that
    branch; so is one that it rejects.  That is counted in ``fanout.missed.<branch>`` and reported;
    the record is not *dropped*, because another branch has it.

    In the ledger a record is *waiting* as long as it is in any backlog, and *written* when every
    branch is done with it.

    The branches are written to one after the other: give one that may be slow a ``QueueSink`` of
    its own.

    Args:
        sinks: The branches, 1 or more, each once; owned, and closed with this one.
        backlog: Most records kept for a branch that fails, 0 or more.
        backlog_bytes: Most bytes kept for one, a number or text.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: no sinks, one of them twice or no sink, or a number is out of range.

    Threads: one caller at a time.  Blocks: as long as all branches together.
    Fork: backlogs stay the parent's.
    Details: ``fanout.missed.<branch>`` (records), ``fanout.backlog.<branch>`` (records, now).
    """

    type_name = "fan_out"

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        backlog: int = 1000,
        backlog_bytes: float | str = "16 MiB",
        name: str | None = None,
    ) -> None:
        if not isinstance(sinks, Sequence) or not sinks:
            msg = f"FanOutSink.sinks: {sinks!r} has no sink; list at least one"
            raise ConfigError(msg)
        children = tuple(
            adopt(sink, f"FanOutSink.sinks[{position}]") for position, sink in enumerate(sinks)
        )
        check_distinct([_unwrapped(sink) for sink in children], "FanOutSink.sinks")
        super().__init__(name=name, children=children)
        capacity = check_count(backlog, "FanOutSink.backlog", minimum=0)
        size = parse_size(backlog_bytes, "FanOutSink.backlog_bytes")
        self._branches = tuple(_Branch(sink, capacity, size) for sink in children)

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        if not batch:
            return
        started = time.perf_counter()
        answers = [self._offer(branch, batch) for branch in self._branches]
        seconds = time.perf_counter() - started
        if all(answer is None for answer in answers):
            self.ledger.passed(batch, seconds=seconds)
            for branch in self._branches:
                self._show(branch)
            return
        refusals = Refusals(self)
        done: list[Record] = []
        for position, record in enumerate(batch):
            errors = [
                answer[0] if answer is not None and answer[1][position] else None
                for answer in answers
            ]
            refused = [error for error in errors if error is not None]
            if len(refused) == len(errors):
                hopeful = (error for error in refused if error.retryable)
                refusals.add(next(hopeful, refused[0]), (record,))
            elif not self._share(record, errors):
                done.append(record)
        if done:
            self.ledger.passed(done)
        for branch in self._branches:
            self._show(branch)
        refusals.settle(batch)

    def poll(self, now: float, /) -> float | None:
        """Try again what branches missed; see :class:`pylog_struct.protocols.PolledSink`.

        The timed work of a branch that fails is reported; it is raised only if all branches fail.
        """
        waits: list[float] = []
        errors: list[Exception] = []
        for branch in self._branches:
            failure: Exception | None = None
            if branch.backlog and now >= branch.again:
                failure = self._catch_up(branch)
                branch.again = now + _AGAIN
            if branch.backlog:
                waits.append(max(branch.again - now, 0.0))
            try:
                wait = branch.sink.poll(now)
            except Exception as error:
                failure = error
            else:
                if wait is not None:
                    waits.append(wait)
            if failure is not None:
                self._report(branch, "failed; it will be tried again", failure)
                errors.append(failure)
        if len(errors) == len(self._branches):
            first = errors[0]
            raise restate(first, ()) if isinstance(first, SinkError) else first
        return min(waits, default=None)

    def _flush(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        errors = [
            error for branch in self._branches if (error := self._catch_up(branch)) is not None
        ]
        super()._flush(deadline.remaining())
        if errors:
            raise restate(errors[0], ()) from errors[0]

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        left: dict[int, Record] = {}
        failure: SinkError | None = None
        for branch in self._branches:
            error = self._catch_up(branch)
            if error is not None:
                failure = failure or error
                gone = branch.backlog.drain()
                left.update((id(entry), entry.record) for entry in gone)
                self._give_up(branch, gone, error)
                self._show(branch)
        close_with(self.children, deadline.remaining(), list(left.values()), failure)

    # -- one branch -------------------------------------------------------------------------------

    def _offer(
        self, branch: _Branch, batch: Sequence[Record]
    ) -> tuple[SinkError, list[bool]] | None:
        """Write the branch's backlog and *batch* to it; return the error and what it left of *batch*."""
        backlog = branch.backlog
        whole = [*(entry.record for entry in backlog), *batch] if backlog else batch
        error = attempt(branch.sink, whole)
        if error is None:
            self._done(backlog.drain())
            return None
        self.ledger.failed(error)
        missing = marks(whole, error.unwritten)
        old = len(backlog)
        self._thin(branch, missing[:old], error)
        return error, missing[old:]

    def _catch_up(self, branch: _Branch) -> SinkError | None:
        """Write the backlog of *branch*; return the error if some of it is left."""
        if not branch.backlog:
            return None
        answer = self._offer(branch, ())
        self._show(branch)
        return answer[0] if answer is not None and branch.backlog else None

    def _thin(self, branch: _Branch, missing: Sequence[bool], error: SinkError) -> None:
        entries = list(zip(branch.backlog, missing, strict=True))
        left = [entry for entry, one in entries if one]
        branch.backlog.replace(left if error.retryable else [])
        self._done([entry for entry, one in entries if not one])
        if not error.retryable:
            self._give_up(branch, left, error)

    def _share(self, record: Record, errors: Sequence[SinkError | None]) -> bool:
        """Keep *record* for the branches that may take it later; False if there is none."""
        entry = _Entry(record)
        waiting = [
            branch
            for branch, error in zip(self._branches, errors, strict=True)
            if error is not None and error.retryable
        ]
        entry.pending = len(waiting)
        if waiting:
            self.ledger.accepted((record,))
        for branch, error in zip(self._branches, errors, strict=True):
            if error is None:
                continue
            if error.retryable:
                self._give_up(branch, branch.backlog.append(entry), error)
            else:
                self._missed(branch, 1, error)
        return bool(waiting)

    # -- the ledger -------------------------------------------------------------------------------

    def _done(self, entries: Iterable[_Entry]) -> None:
        finished = []
        for entry in entries:
            entry.pending -= 1
            if entry.pending == 0:
                finished.append(entry.record)
        if finished:
            self.ledger.delivered(finished)

    def _give_up(self, branch: _Branch, entries: Sequence[_Entry], error: SinkError) -> None:
        """Count *entries*, which left the backlog of *branch* unwritten."""
        if entries:
            self._done(entries)
            self._missed(branch, len(entries), error)

    def _missed(self, branch: _Branch, number: int, error: SinkError) -> None:
        self.ledger.count(f"fanout.missed.{branch.sink.name}", number)
        self._report(branch, f"missed {number} record(s) that other branches have", error)

    def _show(self, branch: _Branch) -> None:
        if len(branch.backlog) != branch.shown:
            branch.shown = len(branch.backlog)
            self.ledger.set(f"fanout.backlog.{branch.sink.name}", branch.shown)

    def _report(self, branch: _Branch, text: str, error: Exception) -> None:
        name = branch.sink.name
        diagnostics.report(f"fan_out {self.name} {name}", f"{self.name}: {name} {text}", error)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        for branch in self._branches:
            branch.backlog.clear()
            branch.shown = 0
            branch.again = 0.0


class _Entry:
    """One record, in the backlogs of *pending* branches."""

    __slots__ = ("pending", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.pending = 0


class _Branch:
    __slots__ = ("again", "backlog", "shown", "sink")

    def __init__(self, sink: BaseSink, capacity: int, max_bytes: int) -> None:
        self.sink = sink
        self.backlog: Ring[_Entry] = Ring(capacity, max_bytes, _size)
        self.shown = 0  # the length of the backlog as the ledger has it
        self.again = 0.0  # monotonic; when poll tries again


def _size(entry: _Entry) -> int:
    return len(entry.record.line)


def _unwrapped(sink: BaseSink) -> Any:
    return getattr(sink, "wrapped", sink)

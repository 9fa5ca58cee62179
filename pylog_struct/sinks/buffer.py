"""A flight recorder: details are held in memory, and written only when something goes wrong."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

from pylog_struct.errors import ConfigError
from pylog_struct.ledger import DropReason
from pylog_struct.levels import parse_level
from pylog_struct.sinks._checks import check_count, check_flag, check_path
from pylog_struct.sinks._lookup import as_text, lookup
from pylog_struct.sinks._refusals import (
    Refusals,
    attempt,
    close_with,
    marks,
    reason_for,
    report_loss,
    restate,
)
from pylog_struct.sinks._ring import Ring
from pylog_struct.sinks.base import BaseSink, Deadline, adopt
from pylog_struct.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.errors import SinkError
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["BufferSink"]

_AGAIN: Final = (
    1.0  # seconds between two looks at what other threads asked for, and at a failed release
)


class BufferSink(BaseSink):
    """Holds records, and writes them when one at or above *flush_level* (the trigger) arrives.

    Accepted means: held in this process's memory; a held record is *waiting* in the ledger.  A
    trigger releases all that is held of its key, in order, followed by itself.  What is never
    released is dropped on purpose: the oldest of a full ring (``evicted``), the ring of a key that
    was forgotten or discarded, and all that is held at ``close`` (``not_triggered``).  A record
    larger than *max_bytes* cannot be held (``oversize``, reported).

    When the inner sink fails, what was released stays here, in order, and goes first the next time
    (the next trigger, ``poll``, ``flush``); the trigger and what follows it are raised as unwritten.
    ``flush`` does not release: a held record is where it belongs.

    Args:
        sink: The inner sink; owned, and closed with this one.
        capacity: Most records held of one key, 1 or more.
        flush_level: Least level of a trigger, a name or number.
        key: A field (dotted path; a literal dotted key wins over nesting): records are held, and
            released, by its value (as JSON text; of a text, number or bool).  Records without it
            share a ring of their own that is never forgotten.  None: one ring for all.
        max_keys: Most values of *key* remembered; the one not seen for longest is forgotten.
        max_bytes: Most bytes held of one key (a number or text); None leaves it to *capacity*.
        pass_level: Records at or above it, but below *flush_level*, are written at once and release
            nothing; they overtake what is held.  None: all below *flush_level* are held.
        flush_on_close: Whether ``close`` writes what is held instead of dropping it.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: a number or level is out of range, *pass_level* is not below *flush_level*,
            *key* is no path or *sink* no sink.

    Threads: one caller at a time; :meth:`release` and :meth:`discard` from any thread.
    Blocks: as long as the inner sink.  Fork: what is held stays the parent's.
    Memory: up to ``(max_keys + 1) * capacity`` records (of *max_bytes* for each key), and as much
    again that was released when the inner sink failed.
    Details: ``buffer.triggers`` counts releases, ``buffer.keys`` is the number of keys remembered.
    """

    type_name = "buffer"

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = 256,
        flush_level: int | str = "ERROR",
        key: str | None = None,
        max_keys: int = 64,
        max_bytes: float | str | None = None,
        pass_level: int | str | None = None,
        flush_on_close: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, children=(adopt(sink, "BufferSink.sink"),))
        self._capacity = check_count(capacity, "BufferSink.capacity")
        self._flush_level = parse_level(flush_level, "BufferSink.flush_level")
        self._key = None if key is None else check_path(key, "BufferSink.key")
        self._max_keys = check_count(max_keys, "BufferSink.max_keys", unit="keys")
        self._max_bytes = (
            None if max_bytes is None else parse_size(max_bytes, "BufferSink.max_bytes")
        )
        self._pass_level = (
            self._flush_level
            if pass_level is None
            else parse_level(pass_level, "BufferSink.pass_level")
        )
        if pass_level is not None and self._pass_level >= self._flush_level:
            msg = (
                f"BufferSink.pass_level: {pass_level!r} is not below flush_level {flush_level!r};"
                " use a lower level, or None"
            )
            raise ConfigError(msg)
        self._flush_on_close = check_flag(flush_on_close, "BufferSink.flush_on_close")
        self._forget()

    def _forget(self) -> None:
        self._keyless = self._new_ring()
        self._rings: OrderedDict[str, Ring[Record]] = OrderedDict()  # not seen for longest: first
        self._released: list[Record] = []  # on their way: the inner sink has not taken them yet
        # What other threads asked for; only keys that are known, so it is no longer than _rings.
        self._wishes: dict[str | None, Literal["release", "discard"]] = {}

    def _new_ring(self) -> Ring[Record]:
        return Ring(self._capacity, self._max_bytes, _size)

    # -- for request middleware -------------------------------------------------------------------

    def release(self, key: Any = None) -> None:
        """Have what is held of *key* written, as if a trigger had come.

        Done at the start of the next ``write``, ``poll`` or ``flush``, in the thread that makes
        that call: within a second in a running pipeline.

        Args:
            key: A value of the field; None for the records without it.

        Threads: any; signal-safe.  Blocks: never.
        """
        self._wish(key, "release")

    def discard(self, key: Any = None) -> None:
        """Have what is held of *key* dropped (``not_triggered``); otherwise as :meth:`release`."""
        self._wish(key, "discard")

    def _wish(self, key: Any, wish: Literal["release", "discard"]) -> None:
        text = as_text(key)
        if text is None or text in self._rings:
            self._wishes[text] = wish

    def _fulfil(self) -> None:
        for key in list(self._wishes):
            if len(self._released) >= self._capacity:  # the inner sink fails: hold on to the rest
                return
            wish = self._wishes.pop(key, None)
            ring = self._keyless if key is None else self._rings.pop(key, None)
            if ring is None:
                continue
            if wish == "release":
                self._released += ring.drain()
            else:
                self._drop(ring)
            self._count_keys()

    # -- the contract -----------------------------------------------------------------------------

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        self._fulfil()
        refusals = Refusals(self)
        start = position = 0
        while position < len(batch):
            if batch[position].level < self._pass_level:
                self._hold(batch[position])
                position += 1
                continue
            start = position
            while position < len(batch) and batch[position].level >= self._pass_level:
                position += 1
            error = self._pass(batch[start:position], refusals)
            if error is not None:  # later records must not be held before this one is through
                refusals.add(error, batch[position:])
                break
        refusals.settle(batch)

    def poll(self, now: float, /) -> float | None:
        """Do what other threads asked for; see :class:`pylog_struct.protocols.PolledSink`."""
        self._fulfil()
        error = self._pass((), Refusals(self))
        wait = self._poll_children(now)
        if error is not None:
            raise restate(error, ()) from error
        if self._released or self._rings or self._keyless:
            return _AGAIN if wait is None else min(wait, _AGAIN)
        return wait

    def _flush(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        self._fulfil()
        if (error := self._pass((), Refusals(self))) is not None:
            raise restate(error, ()) from error
        super()._flush(deadline.remaining())

    def _close(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        self._fulfil()
        for ring in (*self._rings.values(), self._keyless):
            if self._flush_on_close:
                self._released += ring.drain()
            else:
                self._drop(ring)
        self._rings.clear()
        self._count_keys()
        error = self._pass((), Refusals(self))
        left, self._released = self._released, []
        if left:
            self.ledger.gave_up(left, DropReason.SHUTDOWN)
        close_with(self.children, deadline.remaining(), left, error)

    # -- holding ----------------------------------------------------------------------------------

    def _text(self, record: Record) -> str | None:
        return None if self._key is None else as_text(lookup(record.fields, self._key))

    def _hold(self, record: Record) -> None:
        key = self._text(record)
        ring = self._keyless if key is None else self._ring_of(key)
        if not ring.could_hold(record):
            self.ledger.refused((record,), DropReason.OVERSIZE)
            report_loss(self, (record,), DropReason.OVERSIZE, None)
            return
        gone = ring.append(record)
        self.ledger.accepted((record,))
        if gone:
            self.ledger.gave_up(gone, DropReason.EVICTED)

    def _ring_of(self, key: str) -> Ring[Record]:
        known = self._rings.get(key)
        if known is not None:
            self._rings.move_to_end(key)
            return known
        if len(self._rings) >= self._max_keys:
            self._drop(self._rings.popitem(last=False)[1])
        ring = self._rings[key] = self._new_ring()
        self._count_keys()
        return ring

    def _drop(self, ring: Ring[Record]) -> None:
        if ring:
            self.ledger.gave_up(ring.drain(), DropReason.NOT_TRIGGERED)

    def _count_keys(self) -> None:
        self.ledger.set("buffer.keys", len(self._rings))

    # -- releasing --------------------------------------------------------------------------------

    def _pass(self, records: Sequence[Record], refusals: Refusals) -> SinkError | None:
        """Write what was released, then *records*, each trigger behind what is held of its key.

        Returns:
            The error if some of it has to be tried again.
        """
        if records and self._released:
            # An earlier release got stuck.  Nothing more is released before it is through, so that
            # it is bounded.
            error = self._pass((), refusals)
            if error is not None:
                refusals.add(error, records)
                return error
        batch: list[Record] = list(self._released)
        held = [True] * len(batch)  # which of the batch were accepted earlier
        for record in records:
            if record.level >= self._flush_level:
                key = self._text(record)
                ring = self._keyless if key is None else self._rings.pop(key, None)
                found = [] if ring is None else ring.drain()
                batch += found
                held += [True] * len(found)
                self.ledger.count("buffer.triggers")
            batch.append(record)
            held.append(False)
        self._count_keys()
        if not batch:
            return None
        # Kept as released while the inner sink works: an interrupt in there must not lose them.
        self._released = [record for record, old in zip(batch, held, strict=True) if old]
        started = time.perf_counter()
        error = attempt(self.children[0], batch)
        seconds = time.perf_counter() - started
        missing = [False] * len(batch)
        if error is not None:
            self.ledger.failed(error, seconds=seconds)
            missing = marks(batch, error.unwritten)
        self._released = []
        parts: dict[tuple[bool, bool], list[Record]] = {}
        for record, old, left in zip(batch, held, missing, strict=True):
            parts.setdefault((old, left), []).append(record)
        # One call, one observation: of the time it took, unless it failed (see above).
        observed = seconds if error is None else None
        new = parts.get((False, False), [])
        if old_taken := parts.get((True, False)):
            self.ledger.delivered(old_taken, seconds=None if new else observed)
        if new:
            self.ledger.passed(new, seconds=observed)
        if error is None:
            return None
        stuck = parts.get((True, True), [])
        refusals.add(error, parts.get((False, True), []))
        if error.retryable:
            self._released = stuck
            return error
        if stuck:
            reason = reason_for(error)
            self.ledger.gave_up(stuck, reason)
            report_loss(self, stuck, reason, error)
        return None

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._forget()


def _size(record: Record) -> int:
    return len(record.line)

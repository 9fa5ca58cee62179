"""One write to the inner sink, and what its error means for each record."""

from __future__ import annotations

import random
import threading
import time
from operator import is_
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pylog_struct import diagnostics
from pylog_struct.errors import SinkClosedError, SinkError
from pylog_struct.ledger import DropReason
from pylog_struct.processors.safe_repr import safe_str
from pylog_struct.record import Record
from pylog_struct.sinks.base import ABOUT_A_DOCUMENT, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks.base import BaseSink

__all__ = ["Attempt", "Backoff", "Delivery"]

_REASON = 1000  # characters of an error's text in a dead letter


class Attempt(NamedTuple):
    """What became of a batch; every record of it is in exactly one of the three lists."""

    taken: list[Record]
    """Accepted by the sink."""
    kept: list[Record]
    """Not accepted, but may be later; in order."""
    lost: list[Record]
    """Given up, for ``reason``."""
    reason: DropReason | None


class Backoff:
    """Growing pauses between failed attempts: exponential, with jitter, from *least* to *most* seconds.

    Source: "full jitter" of the AWS architecture blog's *Exponential Backoff And Jitter*, with a
    floor, so that a chance of zero does not turn it into a busy loop.
    """

    __slots__ = ("_failures", "_least", "_most")

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._failures = 0

    def reset(self) -> None:
        """Start from the shortest pause again."""
        self._failures = 0

    def next(self) -> float:
        """Return the next pause, in seconds."""
        ceiling = min(self._most, self._least * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return random.uniform(self._least, max(ceiling, self._least))  # noqa: S311 - jitter


class Delivery:
    """The way to the inner sink; whoever writes, flushes or polls it holds ``lock`` meanwhile.

    Args:
        inner: The sink that is written to.
        dead_letter: Gets what *inner* refused for good, or None.
        ledger: The queue's; failed calls and durations are counted here.
        name: The queue's name, for reports.
    """

    def __init__(
        self, inner: BaseSink, dead_letter: BaseSink | None, ledger: SinkLedger, name: str
    ) -> None:
        self.inner = inner
        self._dead_letter = dead_letter
        self._ledger = ledger
        self._name = name
        # Not re-entrant on purpose: a sink that logs must not come back into itself.
        self.lock = threading.Lock()
        self.failing = False
        """Whether the last write failed."""

    def attempt(self, batch: Sequence[Record]) -> Attempt:
        """Write *batch* once.  The caller holds ``lock``.  Raises nothing that is an Exception."""
        started = time.perf_counter()
        try:
            self.inner.write(batch)
        except SinkError as error:
            return self._failed(error, batch, time.perf_counter() - started)
        except Exception as error:
            seconds = time.perf_counter() - started
            if len(batch) == 1 or not isinstance(error, ABOUT_A_DOCUMENT):
                return self._failed(translate(error, batch, self._name), batch, seconds)
            # It may be about one document: do not let that one take the others along.
            self._ledger.failed(error, seconds=seconds)
            return self._one_by_one(batch)
        with self._ledger.lock:
            self._ledger.write_seconds.observe(time.perf_counter() - started)
        self.failing = False
        return Attempt(list(batch), [], [], None)

    def _one_by_one(self, batch: Sequence[Record]) -> Attempt:
        taken: list[Record] = []
        lost: list[Record] = []
        reason: DropReason | None = None
        for position, record in enumerate(batch):
            attempt = self.attempt((record,))
            taken += attempt.taken
            lost += attempt.lost
            reason = attempt.reason or reason
            if attempt.kept:
                return Attempt(taken, list(batch[position:]), lost, reason)
        return Attempt(taken, [], lost, reason)

    def _failed(self, error: SinkError, batch: Sequence[Record], seconds: float) -> Attempt:
        self._ledger.failed(error, seconds=seconds)
        taken, left = divide(batch, error.unwritten)
        if error.retryable:
            self.failing = bool(left)
            if left:
                diagnostics.report(
                    f"queue.retry {self._name}", f"{self._name}: will try again", error
                )
            return Attempt(taken, left, [], None)
        self.failing = False
        closed = isinstance(error, SinkClosedError)
        reason = DropReason.CLOSED if closed else DropReason.REJECTED
        if left:
            self._bury(left, error, reason)
        return Attempt(taken, [], left, reason if left else None)

    def _bury(self, lost: list[Record], error: SinkError, reason: DropReason) -> None:
        where = "dropped"
        if self._dead_letter is not None and reason is DropReason.REJECTED:
            try:
                self._dead_letter.write(_letters(lost, error, self.inner.name))
                self._ledger.count("dead_letter.records", len(lost))
                where = "in the dead letters"
            except Exception as failure:
                diagnostics.report(
                    f"queue.dead_letter {self._name}",
                    f"{self._name}: the dead-letter sink failed too",
                    failure,
                )
        diagnostics.report(
            f"queue.{reason.value} {self._name}",
            f"{self._name}: {len(lost)} record(s) {reason.value}, {where}",
            error,
        )


def _letters(lost: Sequence[Record], error: SinkError, sink: str) -> list[Record]:
    """Return *lost* with the reason added under ``dead_letter``, where the line is a JSON object."""
    reasons = error.reasons
    if len(reasons) != len(lost):
        reasons = (safe_str(error),) * len(lost)
    letters: list[Record] = []
    for record, reason in zip(lost, reasons, strict=True):
        text = _why(sink, reason)
        line = record.line
        if line.startswith(b"{") and line.endswith(b"}"):
            key = b'"dead_letter":'
            while key in line:  # a dead letter of a dead letter, or the user's own
                key = key[:-2] + b'_":'
            comma = b"," if len(line) > 2 else b""
            line = b"%b%b%b%b}" % (line[:-1], comma, key, text)
        letters.append(Record(record.level, line, record.created))
    return letters


def _why(sink: str, reason: str) -> bytes:
    why = {"sink": sink, "reason": reason[:_REASON]}
    try:
        return orjson.dumps(why)
    except Exception:  # half of a surrogate pair in a server's answer
        return orjson.dumps(
            {key: value.encode("ascii", "replace").decode() for key, value in why.items()}
        )


def divide(
    batch: Sequence[Record], unwritten: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Split *batch* into what a sink took and what it says it did not, both in order.

    A record counts as often as it occurs.  Objects are compared first, then values (a sink may have
    rebuilt its records); what was never in the batch is nobody's.
    """
    if len(unwritten) == len(batch) and all(map(is_, batch, unwritten)):
        return [], list(batch)
    left: dict[int, int] = {}
    for record in unwritten:
        left[id(record)] = left.get(id(record), 0) + 1
    mine = {id(record) for record in batch}
    rebuilt: dict[tuple[object, ...], int] = {}
    for record in unwritten:
        if id(record) not in mine:
            rebuilt[tuple(record)] = rebuilt.get(tuple(record), 0) + 1
    taken: list[Record] = []
    kept: list[Record] = []
    # From the end: of one object queued twice, the later one is what a sink did not get to.
    for record in reversed(batch):
        if left.get(id(record), 0):
            left[id(record)] -= 1
            kept.append(record)
        elif rebuilt and rebuilt.get(tuple(record), 0):
            rebuilt[tuple(record)] -= 1
            kept.append(record)
        else:
            taken.append(record)
    return taken[::-1], kept[::-1]

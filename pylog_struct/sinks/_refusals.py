"""What inner sinks did not take: told apart record by record, and raised as one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.ledger import DropReason
from pylog_struct.levels import ERROR
from pylog_struct.sinks.base import close_all, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record
    from pylog_struct.sinks.base import BaseSink

__all__ = ["Refusals", "attempt", "close_with", "marks", "reason_for", "report_loss", "restate"]

_KINDS: Final = (SinkClosedError, SinkTimeoutError, SinkRejectedError)


def attempt(sink: BaseSink, batch: Sequence[Record]) -> SinkError | None:
    """Write *batch* and return the error instead of raising it; one that is no ``SinkError`` is translated."""
    try:
        sink.write(batch)
    except SinkError as error:
        return error
    except Exception as error:
        return translate(error, batch, sink.name)
    return None


def marks(batch: Sequence[Record], unwritten: Sequence[Record]) -> list[bool]:
    """Say for each record of *batch* whether it is among *unwritten*, counting equal ones.

    By value and not by identity: a foreign sink may rebuild records, and must not seem to have
    taken those.
    """
    if len(unwritten) == len(batch):
        return [True] * len(batch)
    left: dict[Record, int] = {}
    for record in unwritten:
        left[record] = left.get(record, 0) + 1
    found: list[bool] = []
    for record in batch:
        number = left.get(record, 0)
        found.append(number > 0)
        if number:
            left[record] = number - 1
    return found


def reason_for(error: SinkError) -> DropReason:
    """Return why records are dropped that *error* left unwritten."""
    if isinstance(error, SinkClosedError):
        return DropReason.CLOSED
    return DropReason.UNAVAILABLE if error.retryable else DropReason.REJECTED


def restate(error: SinkError, unwritten: Sequence[Record]) -> SinkError:
    """Return an error of the same meaning about other records."""
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), SinkUnavailableError)
    stated: SinkError = kind(str(error), unwritten, retryable=error.retryable)
    stated.__cause__ = error
    return stated


def report_loss(
    sink: BaseSink, records: Sequence[Record], reason: DropReason, error: BaseException | None
) -> None:
    """Tell the diagnostics channel of records that are given up; from ERROR up with their lines."""
    if not records:
        return
    kind = f"{sink.type_name} {sink.name} {reason}"
    diagnostics.report(kind, f"{sink.name}: {len(records)} record(s) dropped ({reason})", error)
    for record in records:
        if record.level >= ERROR:
            line = record.line.decode("utf-8", "replace")
            diagnostics.report(kind, f"{sink.name}: lost: {line}", always=True)


class Refusals:
    """What is left of one batch after it was passed on in parts.

    Args:
        sink: The wrapper that collects.
    """

    __slots__ = ("_rejected", "_rejection", "_retryable", "_sink", "_trouble")

    def __init__(self, sink: BaseSink) -> None:
        self._sink = sink
        self._retryable: list[Record] = []
        self._rejected: list[Record] = []
        self._trouble: SinkError | None = None
        self._rejection: SinkError | None = None

    def add(self, error: SinkError, records: Sequence[Record]) -> None:
        """Note that *records* of the batch were refused with *error*."""
        if not records:
            return
        if error.retryable:
            self._retryable.extend(records)
            self._trouble = self._trouble or error
        else:
            self._rejected.extend(records)
            self._rejection = self._rejection or error

    def settle(self, batch: Sequence[Record]) -> None:
        """Raise one error for what was refused, in the order of *batch*; return if nothing was.

        An error has one ``retryable``.  With records of both kinds, the rejected ones are dropped
        here, counted and reported, and the others are raised.

        Raises:
            SinkError: of the first refusal of its kind.
        """
        if self._trouble is not None:
            if self._rejection is not None:
                reason = reason_for(self._rejection)
                self._sink.ledger.refused(self._rejected, reason)
                report_loss(self._sink, self._rejected, reason, self._rejection)
            raise restate(self._trouble, _in_order(batch, self._retryable)) from self._trouble
        if self._rejection is not None:
            raise restate(self._rejection, _in_order(batch, self._rejected)) from self._rejection


def _in_order(batch: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    return [record for record, among in zip(batch, marks(batch, records), strict=True) if among]


def close_with(
    children: Sequence[BaseSink],
    timeout: float | None,
    left: Sequence[Record],
    error: SinkError | None,
) -> None:
    """Close *children*, then raise what closing failed on, with *left* among the unwritten records.

    Args:
        children: The sinks to close, all of them, whatever happens.
        timeout: Seconds, or None.
        left: Records that were accepted by the wrapper and could not be passed on.
        error: Why; given if *left* is not empty.

    Raises:
        SinkError: *left* is not empty, or a sink failed to close.
    """
    try:
        close_all(children, timeout)
    except SinkError as closing:
        closing.unwritten = (*left, *closing.unwritten)
        raise
    if error is not None and left:
        raise restate(error, left) from error

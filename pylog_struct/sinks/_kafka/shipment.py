"""One batch on its way: sent, asked about again where an answer was not about one record, and settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct.errors import (
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks._kafka.verdict import (
    is_about_the_record,
    is_unanswered,
    is_unconfirmed,
    text_of,
)
from pylog_struct.sinks._refusals import Refusals, marks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pylog_struct.record import Record
    from pylog_struct.sinks._kafka.producer import KafkaProducer
    from pylog_struct.sinks.base import BaseSink

__all__ = ["Shipment"]


class Shipment:
    """What became of each record of a batch.

    Args:
        sink: Whose batch it is; its ledger counts, its name is in the errors.
        producer: Sends.
        batch: The records.
        ends: When to stop waiting, a reading of ``time.monotonic``.
    """

    def __init__(
        self, sink: BaseSink, producer: KafkaProducer, batch: Sequence[Record], ends: float
    ) -> None:
        self._sink = sink
        self._producer = producer
        self._batch = batch
        self._ends = ends
        self._refusals = Refusals(sink)
        self._refused: list[Record] = []
        self.silent = False
        """Whether nobody answered for any record."""

    def run(self) -> None:
        """Send the batch, and those records again, alone, that may suffer for another one's sake."""
        failures = self._producer.send(self._batch, self._ends)
        self.silent = len(failures) == len(self._batch) and all(
            map(is_unanswered, failures.values())
        )
        if failures:
            self._sort_out(self._batch, failures)

    def settle(self, seconds: float) -> None:
        """Enter the batch into the ledger.

        Args:
            seconds: How long it took.

        Raises:
            SinkError: some records were not acknowledged.
        """
        # Not left to BaseSink.write: for that one, a record that is dropped here was written.
        ledger = self._sink.ledger
        if not self._refused:
            ledger.passed(self._batch, seconds=seconds)
            return
        missing = marks(self._batch, self._refused)
        ledger.passed(
            [record for record, one in zip(self._batch, missing, strict=True) if not one],
            seconds=seconds,
        )
        self._refusals.settle(self._batch)

    def _sort_out(self, batch: Sequence[Record], failures: Mapping[int, Any]) -> None:
        """Note what failed; send again what may have failed because of another record.

        A broker answers for a request, not for a record: if one record in it is too large, all of
        them are.  Halving finds the culprits in few requests.
        """
        suspects: list[Record] = []
        errors: list[tuple[Record, Any]] = []
        for position in sorted(failures):
            record, error = batch[position], failures[position]
            if is_about_the_record(error):
                suspects.append(record)
            else:
                errors.append((record, error))
        if errors:
            self._note_trouble(errors)
        if len(batch) == 1 and suspects:
            text = f"{self._sink.name}: {text_of(failures[0])}"
            self._refuse(SinkRejectedError(text), suspects)
            return
        half = (len(suspects) + 1) // 2
        for part in (suspects[:half], suspects[half:]):
            if part:
                self._sort_out(part, self._producer.send(part, self._ends))

    def _note_trouble(self, errors: list[tuple[Record, Any]]) -> None:
        name = self._sink.name
        records = [record for record, _ in errors]
        unconfirmed = sum([is_unconfirmed(error) for _, error in errors])
        if unconfirmed:
            self._sink.ledger.count("kafka.unconfirmed", unconfirmed)
        # What happened says more than that time ran out.
        answer = next((error for _, error in errors if not is_unanswered(error)), None)
        said = self._producer.broken if answer is None else text_of(answer)
        if said:
            self._refuse(SinkUnavailableError(f"{name}: {said}"), records)
            return
        why = f" ({self._producer.trouble})" if self._producer.trouble else ""
        text = f"{name}: {len(records)} record(s) not acknowledged in time{why}"
        self._refuse(SinkTimeoutError(text), records)

    def _refuse(self, error: SinkError, records: list[Record]) -> None:
        self._refusals.add(error, records)
        self._refused += records

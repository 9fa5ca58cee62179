"""A batch through the bulk API: cut into requests, halved where it is too big, judged item by item."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from pylog_struct.sinks._elasticsearch import answers
from pylog_struct.sinks._elasticsearch.answers import Fate, NoAnswerError
from pylog_struct.sinks._elasticsearch.client import NDJSON, RequestError
from pylog_struct.sinks._elasticsearch.documents import as_document, stub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record
    from pylog_struct.sinks._elasticsearch.client import Answer, Client
    from pylog_struct.sinks._elasticsearch.target import Target

__all__ = ["BulkSize", "Entry", "Outcome", "Shipment"]

_LEAST: Final = 64 * 1024  # bytes; below that a refusal is not about the size of the bulk


class Entry(NamedTuple):
    """One record on its way."""

    position: int
    record: Record
    identity: str
    data: bytes
    """The action, the document, and a newline after each."""
    stubbed: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of a batch so far."""

    later: list[Entry] = field(default_factory=list)
    never: list[tuple[Entry, str]] = field(default_factory=list)
    problem: str = ""
    timed_out: bool = False
    retry_after: float | None = None
    requests: int = 0
    duplicates: int = 0
    splits: int = 0
    stubs: int = 0

    def trouble(self, text: str, *, timed_out: bool = False) -> None:
        """Note why something must be tried later; the first reason stays."""
        self.problem = self.problem or text
        self.timed_out = self.timed_out or timed_out


class BulkSize:
    """How big a request may be: what was configured, less after a refusal, growing back slowly.

    Args:
        records: Most documents of one request.
        size: Most bytes of one request; a single document may be bigger.
    """

    __slots__ = ("_ceiling", "records", "size")

    def __init__(self, records: int, size: int) -> None:
        self.records = records
        self.size = size
        self._ceiling = size

    def too_big(self, size: int) -> None:
        """A request of so many bytes was refused for its size, by a limit that will not change."""
        self._ceiling = max(min(self._ceiling, size // 2), _LEAST)
        self.size = min(self.size, self._ceiling)

    def too_much(self) -> None:
        """The cluster is overloaded."""
        self.size = max(self.size // 2, min(_LEAST, self._ceiling))

    def fine(self) -> None:
        """A request went through."""
        if self.size < self._ceiling:
            self.size = min(self.size * 2, self._ceiling)


class Shipment:
    """Sends one batch.

    Args:
        client: The conversation to use.
        target: Where the documents go.
        size: Limits of a request; learns from refusals.
        timeout: Seconds for one request; none is started when so many have passed.
        largest: Bytes of a document above which a stub is sent in its place.
        now: Unix time, for records without one.
    """

    def __init__(
        self,
        client: Client,
        target: Target,
        size: BulkSize,
        *,
        timeout: float,
        largest: int,
        now: float,
    ) -> None:
        self._client = client
        self._target = target
        self._size = size
        self._timeout = timeout
        self._largest = largest
        self._now = now
        self.outcome = Outcome()

    def entry(self, position: int, record: Record, identity: str) -> Entry:
        """Prepare one record."""
        if len(record[1]) > self._largest:
            return self._stubbed(
                Entry(position, record, identity, b""), f"longer than {self._largest} bytes"
            )
        target = self._target
        document = as_document(record, self._now, needs_timestamp=target.is_data_stream)
        action = target.action(record, identity, self._now)
        return Entry(position, record, identity, b"%b%b\n" % (action, document))

    def _stubbed(self, entry: Entry, reason: str) -> Entry:
        self.outcome.stubs += 1
        action = self._target.action(entry.record, entry.identity, self._now)
        document = stub(entry.record, self._now, reason)
        return entry._replace(data=b"%b%b\n" % (action, document), stubbed=True)

    def send(self, entries: Sequence[Entry]) -> Outcome:
        """Send everything; what is neither in ``later`` nor in ``never`` was written."""
        ends = time.monotonic() + self._timeout
        waiting = deque(self._cut(entries))
        while waiting:
            chunk = waiting.popleft()
            outcome = self.outcome
            if time.monotonic() >= ends:
                outcome.trouble(f"not finished within {self._timeout:g} s", timed_out=True)
                break
            smaller = self._send(chunk)
            if smaller is None:
                waiting.appendleft(chunk)
                break
            waiting.extendleft(reversed(smaller))
        for chunk in waiting:
            self.outcome.later += chunk
        return self.outcome

    def _cut(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        chunks: list[list[Entry]] = []
        chunk: list[Entry] = []
        room = 0
        for entry in entries:
            size = len(entry.data)
            if not chunk or size > room or len(chunk) >= self._size.records:
                chunk, room = [], self._size.size
                chunks.append(chunk)
            chunk.append(entry)
            room -= size
        return chunks

    def _send(self, chunk: list[Entry]) -> list[list[Entry]] | None:
        """Send one request; return what is to be sent next instead of it, or None to stop here."""
        outcome = self.outcome
        body = b"".join([entry.data for entry in chunk])
        outcome.requests += 1
        try:
            answer = self._client.request(
                "POST", self._target.path, body, timeout=self._timeout, content_type=NDJSON
            )
            if answer.status == 200:
                self._judge(chunk, answers.items(answer.body, len(chunk)))
                self._size.fine()
                return []
        except RequestError as error:
            outcome.trouble(str(error), timed_out=error.timed_out)
            return None
        except NoAnswerError as error:  # ids make it harmless to send everything again
            outcome.trouble(str(error))
            return None
        return self._refused(chunk, len(body), answer)

    def _judge(self, chunk: list[Entry], items: list[answers.Item]) -> None:
        outcome = self.outcome
        for entry, (fate, reason) in zip(chunk, items, strict=True):
            if fate is Fate.DONE:
                continue
            if fate is Fate.DUPLICATE:
                outcome.duplicates += 1
            elif fate is Fate.LATER:
                outcome.later.append(entry)
                outcome.trouble(reason)
            else:
                outcome.never.append((entry, reason))

    def _refused(self, chunk: list[Entry], size: int, answer: Answer) -> list[list[Entry]] | None:
        """Deal with the refusal of a whole request."""
        outcome, status = self.outcome, answer.status
        reason = f"{status} {answers.reason_of(answer.body)}"
        if status in {400, 413}:
            if status == 413:
                self._size.too_big(size)
            if len(chunk) > 1:
                outcome.splits += 1
                middle = len(chunk) // 2
                return [chunk[:middle], chunk[middle:]]
            entry = chunk[0]
            if status == 413 and not entry.stubbed:
                return [[self._stubbed(entry, reason)]]
            outcome.never.append((entry, reason))
            return []
        if status == 429:
            self._size.too_much()
        outcome.retry_after = answers.retry_after(answer.headers)
        advice = answers.hint(status)
        outcome.trouble(f"{reason}; {advice}" if advice else reason)
        return None

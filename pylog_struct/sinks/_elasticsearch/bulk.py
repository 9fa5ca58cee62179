"""A batch through the bulk API: cut into requests, halved where it is too big, judged item by item."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from pylog_struct.sinks._elasticsearch import answers
from pylog_struct.sinks._elasticsearch.answers import Fate, NoAnswerError
from pylog_struct.sinks._elasticsearch.client import IN_FLIGHT, NDJSON, RequestError
from pylog_struct.sinks._elasticsearch.documents import as_document, stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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

    def send(self, entries: Iterable[Entry], number: int) -> Outcome:
        """Send everything; what is neither in ``later`` nor in ``never`` was written.

        Args:
            entries: Taken one by one, while a server is at work on those before.
            number: How many there are, at most.
        """
        ends = time.monotonic() + self._timeout
        chunks = self._cut(entries, number)
        halves: deque[list[Entry]] = deque()
        flying: deque[tuple[list[Entry], int, Callable[[], Answer]]] = deque()
        going_on = True
        together = IN_FLIGHT if number > self._size.records else 1
        while True:
            while going_on and len(flying) < together:
                chunk = halves.popleft() if halves else next(chunks, None)
                if chunk is None:
                    break
                if time.monotonic() >= ends:
                    self.outcome.later += chunk
                    text = f"not finished within {self._timeout:g} s"
                    self.outcome.trouble(text, timed_out=True)
                    going_on = False
                    break
                body = b"".join([entry.data for entry in chunk])
                self.outcome.requests += 1
                flying.append((chunk, len(body), self._begin(body, alone=together == 1)))
            if not flying:
                break
            chunk, size, pending = flying.popleft()
            smaller = self._conclude(chunk, size, pending)
            if smaller is None:
                self.outcome.later += chunk
                going_on = False
            else:
                halves.extendleft(reversed(smaller))
        for chunk in (*halves, *chunks):
            self.outcome.later += chunk
        return self.outcome

    def _cut(self, entries: Iterable[Entry], number: int) -> Iterator[list[Entry]]:
        """Yield requests of about the same number of documents, none too big."""
        most = -(-number // max(-(-number // self._size.records), 1))
        chunk: list[Entry] = []
        room = self._size.size
        for entry in entries:
            size = len(entry.data)
            if chunk and (size > room or len(chunk) >= most):
                yield chunk
                chunk, room = [], self._size.size
            chunk.append(entry)
            room -= size
        if chunk:
            yield chunk

    def _begin(self, body: bytes, *, alone: bool) -> Callable[[], Answer]:
        """Return what waits for the answer to a request, which is under way unless it is alone."""
        path, timeout = self._target.path, self._timeout
        if alone:
            return partial(
                self._client.request, "POST", path, body, timeout=timeout, content_type=NDJSON
            )
        return self._client.begin(path, body, timeout=timeout).answer

    def _conclude(
        self, chunk: list[Entry], size: int, pending: Callable[[], Answer]
    ) -> list[list[Entry]] | None:
        """Wait for an answer; return what is to be sent instead of the request, or None to stop."""
        outcome = self.outcome
        try:
            answer = pending()
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
        return self._refused(chunk, size, answer)

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

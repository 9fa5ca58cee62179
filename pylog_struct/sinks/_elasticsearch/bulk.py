"""A batch through the bulk API: cut into requests, halved where it is too big, judged item by item."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pylog_struct.sinks._elasticsearch import answers
from pylog_struct.sinks._elasticsearch.answers import Fate, NoAnswerError
from pylog_struct.sinks._elasticsearch.client import IN_FLIGHT, NDJSON, RequestError
from pylog_struct.sinks._elasticsearch.documents import as_document, stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pylog_struct.record import Record
    from pylog_struct.sinks._elasticsearch.client import Answer, Client
    from pylog_struct.sinks._elasticsearch.target import Target

__all__ = ["BulkSize", "Chunk", "Entry", "Outcome", "Shipment"]

_LEAST: Final = 64 * 1024  # bytes; below that a refusal is not about the size of the bulk


Entry: TypeAlias = "tuple[int, Record, str]"
"""One record on its way: its position in the batch, the record, its ``_id``.  A bare tuple: a million of
them cost next to nothing."""


class Chunk(NamedTuple):
    """What goes into one request."""

    entries: list[Entry]
    body: bytes


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
        self._stubs: dict[str, str] = {}  # identity → why a stub is sent for it
        self.outcome = Outcome()

    def send(self, entries: Iterable[list[Entry]], number: int) -> Outcome:
        """Send everything; what is neither in ``later`` nor in ``never`` was written.

        Args:
            entries: Lists of them, each for a request or more; the next one is asked for while a
                server is at work on those before.
            number: How many there are, at most.
        """
        ends = time.monotonic() + self._timeout
        chunks = (chunk for some in entries for chunk in self._cut(some))
        halves: deque[list[Entry]] = deque()
        flying: deque[tuple[Chunk, Callable[[], Answer]]] = deque()
        going_on = True
        together = IN_FLIGHT if number > self._size.records else 1
        while True:
            while going_on and len(flying) < together:
                chunk = self._chunk(halves.popleft()) if halves else next(chunks, None)
                if chunk is None:
                    break
                if time.monotonic() >= ends:
                    self.outcome.later += chunk.entries
                    text = f"not finished within {self._timeout:g} s"
                    self.outcome.trouble(text, timed_out=True)
                    going_on = False
                    break
                self.outcome.requests += 1
                flying.append((chunk, self._begin(chunk.body, alone=together == 1)))
            if not flying:
                break
            chunk, pending = flying.popleft()
            smaller = self._conclude(chunk, pending)
            if smaller is None:
                self.outcome.later += chunk.entries
                going_on = False
            else:
                halves.extendleft(reversed(smaller))
        for half in halves:
            self.outcome.later += half
        for chunk in chunks:
            self.outcome.later += chunk.entries
        return self.outcome

    # -- requests ---------------------------------------------------------------------------------

    def _data(self, entries: list[Entry]) -> list[bytes]:
        """The action, the document, and a newline after each."""
        target, largest, stubs = self._target, self._largest, self._stubs
        if target.pattern or stubs:
            return [self._one(entry) for entry in entries]
        # Nearly every line is sent as it is: only the others cost a call.
        begins = b'{"@timestamp"' if target.is_data_stream else b"{"
        return [
            b'{"create":{"_id":"%b"}}\n%b\n' % (entry[2].encode(), line)
            if (line := entry[1][1]).startswith(begins)
            and line.endswith(b"}")
            and b"\n" not in line
            and len(line) <= largest
            else self._one(entry)
            for entry in entries
        ]

    def _one(self, entry: Entry) -> bytes:
        _, record, identity = entry
        if identity not in self._stubs and len(record[1]) > self._largest:
            self._replace(identity, f"longer than {self._largest} bytes")
        reason = self._stubs.get(identity)
        if reason is not None:
            document = stub(record, self._now, reason)
        else:
            document = as_document(record, self._now, needs_timestamp=self._target.is_data_stream)
        return b"%b%b\n" % (self._target.action(record, identity, self._now), document)

    def _replace(self, identity: str, reason: str) -> None:
        """Let a stub be sent for *identity*."""
        self._stubs[identity] = reason
        self.outcome.stubs += 1

    def _chunk(self, entries: list[Entry]) -> Chunk:
        return Chunk(entries, b"".join(self._data(entries)))

    def _cut(self, entries: list[Entry]) -> Iterator[Chunk]:
        """Yield *entries* as one request, or as several of which none is too long."""
        data = self._data(entries)
        sizes = list(map(len, data))
        if sum(sizes) <= self._size.size:
            if entries:
                yield Chunk(entries, b"".join(data))
            return
        begin = 0
        room = self._size.size
        for end, size in enumerate(sizes):
            if end > begin and size > room:
                yield Chunk(entries[begin:end], b"".join(data[begin:end]))
                begin, room = end, self._size.size
            room -= size
        yield Chunk(entries[begin:], b"".join(data[begin:]))

    def _begin(self, body: bytes, *, alone: bool) -> Callable[[], Answer]:
        """Return what waits for the answer to a request, which is under way unless it is alone."""
        path, timeout = self._target.path, self._timeout
        if alone:
            return partial(
                self._client.request, "POST", path, body, timeout=timeout, content_type=NDJSON
            )
        return self._client.begin(path, body, timeout=timeout).answer

    def _conclude(self, chunk: Chunk, pending: Callable[[], Answer]) -> list[list[Entry]] | None:
        """Wait for an answer; return what is to be sent instead of the request, or None to stop."""
        outcome, number = self.outcome, len(chunk.entries)
        try:
            answer = pending()
            if answer.status == 200:
                if not answers.all_created(answer.body, number):
                    self._judge(chunk.entries, answers.items(answer.body, number))
                self._size.fine()
                return []
        except RequestError as error:
            outcome.trouble(str(error), timed_out=error.timed_out)
            return None
        except NoAnswerError as error:  # ids make it harmless to send everything again
            outcome.trouble(str(error))
            return None
        return self._refused(chunk, answer)

    def _judge(self, entries: list[Entry], items: list[answers.Item]) -> None:
        outcome = self.outcome
        for entry, (fate, reason) in zip(entries, items, strict=True):
            if fate is Fate.DONE:
                continue
            if fate is Fate.DUPLICATE:
                outcome.duplicates += 1
            elif fate is Fate.LATER:
                outcome.later.append(entry)
                outcome.trouble(reason)
            else:
                outcome.never.append((entry, reason))

    def _refused(self, chunk: Chunk, answer: Answer) -> list[list[Entry]] | None:
        """Deal with the refusal of a whole request."""
        outcome, status, entries = self.outcome, answer.status, chunk.entries
        reason = f"{status} {answers.reason_of(answer.body)}"
        if status in {400, 413}:
            if status == 413:
                self._size.too_big(len(chunk.body))
            if len(entries) > 1:
                outcome.splits += 1
                middle = len(entries) // 2
                return [entries[:middle], entries[middle:]]
            identity = entries[0][2]
            if status == 413 and identity not in self._stubs:
                self._replace(identity, reason)
                return [entries]
            outcome.never.append((entries[0], reason))
            return []
        if status == 429:
            self._size.too_much()
        outcome.retry_after = answers.retry_after(answer.headers)
        advice = answers.hint(status)
        outcome.trouble(f"{reason}; {advice}" if advice else reason)
        return None

"""Records as documents, over the bulk API of Elasticsearch 7, 8, 9 and OpenSearch."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pylog_struct import diagnostics
from pylog_struct.clock import SYSTEM_CLOCK
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks._checks import check_count
from pylog_struct.sinks._elasticsearch.bulk import BulkSize, Shipment
from pylog_struct.sinks._elasticsearch.client import Client
from pylog_struct.sinks._elasticsearch.connection import connection
from pylog_struct.sinks._elasticsearch.identity import Identities
from pylog_struct.sinks._elasticsearch.target import Target
from pylog_struct.sinks._network.waiting import LONGEST
from pylog_struct.sinks.base import BaseSink
from pylog_struct.units import parse_duration, parse_size

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from pylog_struct.clock import Clock
    from pylog_struct.record import Record
    from pylog_struct.sinks._elasticsearch.bulk import Entry, Outcome

__all__ = ["ElasticsearchSink"]


class ElasticsearchSink(BaseSink):
    """Indexes each record's line, the bytes as they are, as one document.

    Accepted means: the cluster has answered that it has the document (or had it already).  Every
    document is *created* under an ``_id`` made from the record alone, so sending it again, after a
    timeout or a crash, is no duplicate; the formula is in ``docs/reference/elasticsearch.md``.

    Each item of an answer is looked at.  2xx and 409 (we have sent it before) are done; 429 and 5xx,
    and what is about the cluster or our rights, are *unwritten and retryable*, alone; any other 4xx
    is *rejected*, with the server's reason, for a queue's dead-letter sink.  A batch with both kinds is
    reported as retryable as a whole; the rejected ones are not sent a second time, and rejected
    when they are the only ones left.  A request that is too big for the server (413) is halved, down
    to one document, which is replaced by a stub.

    Args:
        hosts: ``http(s)://HOST[:PORT][/PREFIX]`` of one node or several; port 9200 for http and 443
            for https if none is given.
        data_stream: The data stream to write to; lines without ``@timestamp`` get one.
        index: Instead of it, an index or alias; ``%d{yyyy.MM.dd}`` in it is the event's day in UTC.
        api_key: The encoded key, ``"ID:KEY"`` or ``[ID, KEY]``.
        basic_auth: ``"USER:PASSWORD"`` or ``[USER, PASSWORD]``; may stand in a host, too.
        bearer_auth: A token.
        headers: More headers for every request.
        ca_certs: PEM file to verify the servers with, instead of certifi's.
        fingerprint: SHA-256 of the server's certificate (or its issuer's), instead of verifying it.
        client_cert: PEM file of our own certificate (and key, unless *client_key* has it).
        client_key: PEM file of its key.
        verify_certs: False lets anybody be the server.
        compress: Whether to send with gzip; worth it across a network.
        pipeline: An ingest pipeline.
        max_bulk_bytes: Longest request, in bytes or text; a single document may be longer.
        max_bulk_records: Most documents of one request.  A batch of more is cut evenly, and two requests
            are under way at once.
        max_document_bytes: Longest line; a longer one is replaced by a stub.
        request_timeout: Seconds (or text) for one request, and after which a write that needs several
            starts no more of them.
        origin: A text that goes into every ``_id``; by default this host's name.  Give it the same
            value wherever the same spool may be sent from.
        clock: Time, for tests.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: an argument is wrong, or elastic-transport is not installed.
        SinkUnavailableError: no node can be reached, the cluster refuses for now, or asked (by
            ``Retry-After``) to be left alone until a time that is not over: then at once.
        SinkTimeoutError: no answer in time.  Documents may have been written; ids make that harmless.
        SinkRejectedError: the server refuses these documents; ``reasons`` has one text for each.

    Threads: one caller at a time.  Blocks: up to twice *request_timeout*.
    Fork: the child opens connections of its own.
    Metrics: ``elasticsearch.requests``, ``.duplicates`` (409), ``.splits`` and ``.stubs`` in the
    details of ``statistics()``.
    """

    type_name = "elasticsearch"

    def __init__(
        self,
        hosts: str | Sequence[str],
        *,
        data_stream: str | None = None,
        index: str | None = None,
        api_key: str | Sequence[str] | None = None,
        basic_auth: str | Sequence[str] | None = None,
        bearer_auth: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_certs: str | os.PathLike[str] | None = None,
        fingerprint: str | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        verify_certs: bool = True,
        compress: bool = False,
        pipeline: str | None = None,
        max_bulk_bytes: float | str = "5 MB",
        max_bulk_records: int = 5000,
        max_document_bytes: float | str = "5 MB",
        request_timeout: float | str = 30.0,
        origin: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        owner = type(self).__name__
        self._connection = connection(
            owner,
            hosts,
            api_key=api_key,
            basic_auth=basic_auth,
            bearer_auth=bearer_auth,
            headers=headers,
            ca_certs=ca_certs,
            fingerprint=fingerprint,
            client_cert=client_cert,
            client_key=client_key,
            verify_certs=verify_certs,
        )
        self._target = Target(owner, data_stream, index, pipeline)
        if not isinstance(compress, bool):
            raise ConfigError(f"{owner}.compress: {compress!r} is no flag; use True or False")
        if origin is not None and not isinstance(origin, str):
            raise ConfigError(
                f"{owner}.origin: {origin!r} is no text; use a name such as the host's"
            )
        self._compress = compress
        self._limits = (
            check_count(max_bulk_records, f"{owner}.max_bulk_records", unit="documents"),
            parse_size(max_bulk_bytes, f"{owner}.max_bulk_bytes", minimum=1000),
        )
        self._largest = parse_size(max_document_bytes, f"{owner}.max_document_bytes", minimum=1000)
        timeout = parse_duration(request_timeout, f"{owner}.request_timeout", exclusive=True)
        self._timeout = min(timeout, LONGEST)
        self._origin = socket.gethostname() if origin is None else origin
        self._clock = clock
        self._client: Client | None = None
        self._forget()

    def _forget(self) -> None:
        self._size = BulkSize(*self._limits)
        self._identities = Identities(self._origin)
        self._refused: dict[str, str] = {}  # identity → reason, of the last mixed batch
        self._not_before = 0.0  # by the monotonic clock

    # -- the contract -----------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record]) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            error = SinkUnavailableError(f"{self.name}: told to wait {wait:.1f} s more", batch)
            error.retry_after = wait
            raise error
        shipment = Shipment(
            self._opened(batch),
            self._target,
            self._size,
            timeout=self._timeout,
            largest=self._largest,
            now=self._clock.time(),
        )
        identities: list[str] = []
        known, self._refused = self._refused, {}
        number = len(batch)
        most = -(-number // max(-(-number // self._size.records), 1))  # as even as it goes

        def entries() -> Iterator[list[Entry]]:
            for begin in range(0, number, most):
                records = batch[begin : begin + most]
                given = self._identities.give_all(records)
                identities.extend(given)
                some = list(zip(range(begin, number), records, given, strict=False))
                if known:  # the server has said no to these already
                    refused = [entry for entry in some if entry[2] in known]
                    shipment.outcome.never += [(entry, known[entry[2]]) for entry in refused]
                    some = [entry for entry in some if entry[2] not in known]
                yield some

        try:
            outcome = shipment.send(entries(), number)
        except BaseException:  # an interrupt: what is sent again must get the same ids
            for identity in identities:
                self._identities.take_back(identity)
            raise
        self._count(outcome)
        if outcome.later or outcome.never:
            raise self._error(outcome)

    def _opened(self, batch: Sequence[Record]) -> Client:
        if self._client is None:
            try:
                self._client = Client(self._connection, name=self.name, compress=self._compress)
            except Exception as error:  # the library is damaged, or out of file descriptors
                text = f"{self.name}: cannot connect: {type(error).__name__}: {error}"
                raise SinkUnavailableError(text, batch) from error
        return self._client

    def _count(self, outcome: Outcome) -> None:
        for detail in ("requests", "duplicates", "splits", "stubs"):
            number = getattr(outcome, detail)
            if number:
                self.ledger.count(f"elasticsearch.{detail}", number)
        if outcome.stubs:
            text = f"{self.name}: {outcome.stubs} document(s) too big, replaced by stubs"
            diagnostics.report(f"elasticsearch.stub {self.name}", text)

    def _error(self, outcome: Outcome) -> SinkError:
        """Give what was not written back to the caller; one error has to say it all."""
        never = sorted(outcome.never)
        left: list[Entry] = sorted([*outcome.later, *(entry for entry, _ in never)])
        for entry in left:
            self._identities.take_back(entry[2])
        records = [entry[1] for entry in left]
        error: SinkError
        if not outcome.later:
            more = f" (and {len(never) - 1} more)" if len(never) > 1 else ""
            error = SinkRejectedError(f"{self.name}: {never[0][1]}{more}", records)
            error.reasons = tuple(reason for _, reason in never)
            return error
        self._refused = {entry[2]: reason for entry, reason in never}
        text = f"{self.name}: {outcome.problem}"
        if outcome.timed_out:
            error = SinkTimeoutError(text, records)
        else:
            error = SinkUnavailableError(text, records)
        if outcome.retry_after is not None:
            self._not_before = self._clock.monotonic() + outcome.retry_after
            error.retry_after = outcome.retry_after
        return error

    def _close(self, timeout: float | None) -> None:
        del timeout  # nothing is kept back, and closing sockets takes no time
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        client, self._client = self._client, None
        if client is not None:
            client.leave_to_parent()
        self._forget()

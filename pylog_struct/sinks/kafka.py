"""Apache Kafka, by way of librdkafka: a record is accepted when the brokers have acknowledged it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

from pylog_struct.errors import SinkError, SinkUnavailableError
from pylog_struct.sinks._kafka.keys import key_reader
from pylog_struct.sinks._kafka.options import (
    check_acks,
    check_compression,
    check_config,
    check_headers,
    check_servers,
    check_topic,
    load_client,
    producer_config,
)
from pylog_struct.sinks._kafka.producer import KafkaProducer
from pylog_struct.sinks._kafka.shipment import Shipment
from pylog_struct.sinks.base import BaseSink
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pylog_struct.record import Record

__all__ = ["KafkaSink"]

_SERVE: Final = 1.0  # seconds between two polls of an idle producer
_PROBE: Final = 2.0  # seconds that a write waits when the last one got no answer at all
_FULL: Final = 4  # every so many writes without an answer wait for the whole timeout again
_RELEASE: Final = 2.0  # seconds to wait for librdkafka's threads, where nobody gave a timeout


class KafkaSink(BaseSink):
    """Writes each record as one message: the line is the value, the time of the log call the timestamp.

    Accepted means: acknowledged by the brokers, as *acks* says.  ``write`` produces the whole
    batch and waits for the delivery reports of all of it, so nothing waits here: there is nothing
    that a crash, a ``flush`` or a ``close`` could lose.  What is not acknowledged after *timeout* is
    taken back from librdkafka and is in ``unwritten``.

    Behind a ``QueueSink`` this is as quick as Kafka is: while its worker waits, the application
    fills the next batch.  Raise the queue's ``batch_records`` where the brokers are far away.

    Duplicates: with *idempotence* librdkafka's own retries make none.  What was under way when
    the time ran out may have arrived all the same; it is in ``unwritten``, and whoever writes it
    again makes a duplicate (``kafka.unconfirmed``: at most so many).

    Order: records of one partition, and so of one key, keep their order, with *idempotence* also
    when librdkafka repeats a request.  A record that is refused alone, or was in a request with
    one that is, may be overtaken.

    Args:
        bootstrap_servers: One or more brokers to ask for the others, ``"host:9092"``; a list, or
            text with commas.
        topic: Where to.  It is not created here; whether the brokers do is their setting.
        key_field: Field whose value becomes the message's key, e.g. ``"user_id"`` or
            ``"trace.id"``; see ``docs/reference/kafka.md``.  Without it, or for a record without the
            field, librdkafka picks the partition.
        headers: Headers of every message, e.g. ``{"content-type": "application/json"}``.
        acks: ``"all"``: all replicas in sync have it.  1: the leader has it.  There is no 0: what
            nobody confirms is nothing that could be accounted for.
        idempotence: Whether the brokers discard what librdkafka sends twice; needs ``acks="all"``.
        compression: ``"none"``, ``"gzip"``, ``"snappy"``, ``"lz4"`` or ``"zstd"``.
        timeout: Longest time that one ``write`` waits for acknowledgements, in seconds or as text,
            more than 0.  After a write that got no answer at all the next ones wait 2 seconds at
            most (every fourth the whole time): brokers that are down cost little.
        config: More properties of librdkafka, as they are: ``security.protocol``, ``sasl.…``,
            ``ssl.…``, ``linger.ms``, ``message.max.bytes``, …, and the functions ``stats_cb``,
            ``throttle_cb`` and ``oauth_cb``.  Those that belong to the sink are refused.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: confluent-kafka is not installed, or an argument is wrong.
        SinkTimeoutError: not acknowledged in time.
        SinkUnavailableError: no brokers, no such topic, no permission, …
        SinkRejectedError: records that Kafka never takes (too large, no key for a compacted topic).

    Threads: one caller at a time.  librdkafka's own threads start with the first write and end with
    ``close``; nothing of ours, and no callback, runs in them.
    Blocks: ``write`` up to *timeout* and a second; ``close`` up to its timeout.
    Fork: the child has a producer of its own from its first write on; the inherited one is left alone.
    Metrics: ``kafka.producers`` counts producers that were started, ``kafka.unconfirmed`` records
    that were taken back without an answer: the most that can be there twice.
    Source: librdkafka's ``INTRODUCTION.md`` on acknowledgement, idempotence and purging.
    """

    type_name = "kafka"

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        *,
        key_field: str | None = None,
        headers: Mapping[str, str | bytes | None] | None = None,
        acks: Literal["all", -1, 1] = "all",
        idempotence: bool = True,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4",
        timeout: float | str = 4.0,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self._client = load_client()
        self._topic = check_topic(topic, "KafkaSink.topic")
        self._key = None if key_field is None else key_reader(key_field, "KafkaSink.key_field")
        self._headers = check_headers(headers, "KafkaSink.headers")
        self._timeout = parse_duration(timeout, "KafkaSink.timeout", exclusive=True)
        self._config = producer_config(
            check_servers(bootstrap_servers, "KafkaSink.bootstrap_servers"),
            check_acks(acks, idempotence, "KafkaSink"),
            check_compression(compression, "KafkaSink.compression"),
            self._timeout,
            check_config(config, "KafkaSink.config", self._client),
            idempotence=idempotence,
        )
        self._forget()

    def _forget(self) -> None:
        self._producer: KafkaProducer | None = None
        self._silent = 0  # writes in a row that got no answer at all

    # -- the contract -----------------------------------------------------------------------------

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        if not batch:
            return
        started = time.perf_counter()
        try:
            self._deliver(batch).settle(time.perf_counter() - started)
        except SinkError as error:
            self.ledger.failed(error)
            raise

    def _flush(self, timeout: float | None) -> None:
        """Serve the client's log; nothing waits here."""
        del timeout
        if self._producer is not None:
            self._producer.serve()

    def _close(self, timeout: float | None) -> None:
        self._release(timeout)

    def poll(self, now: float, /) -> float | None:
        """Serve the client's log, errors and statistics while nothing is written."""
        del now
        if self._producer is None:
            return None
        self._producer.serve()
        return _SERVE

    # -- the way of a batch -----------------------------------------------------------------------

    def _deliver(self, batch: Sequence[Record]) -> Shipment:
        ends = time.monotonic() + self._patience()
        shipment = Shipment(self, self._open(batch), batch, ends)
        shipment.run()
        self._silent = self._silent + 1 if shipment.silent else 0
        return shipment

    def _patience(self) -> float:
        if self._silent % _FULL == 0:
            return self._timeout
        return min(self._timeout, _PROBE)

    # -- the producer -----------------------------------------------------------------------------

    def _open(self, batch: Sequence[Record]) -> KafkaProducer:
        if self._producer is not None and self._producer.dead:
            self._release(_RELEASE)
        if self._producer is None:
            try:
                self._producer = KafkaProducer(
                    self._client, self._config, self._topic, self._key, self._headers, self.name
                )
            except Exception as error:
                raise SinkUnavailableError(f"{self.name}: no producer: {error}", batch) from error
            self.ledger.count("kafka.producers")
        return self._producer

    def _release(self, timeout: float | None) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.release(_RELEASE if timeout is None else timeout)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        if self._producer is not None:
            self._producer.forget()
        self._forget()

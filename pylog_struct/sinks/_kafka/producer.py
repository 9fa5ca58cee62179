"""One librdkafka producer, driven by its caller: nothing is delivered or reported behind its back.

librdkafka's own threads only talk to the brokers.  Its log, its errors and its delivery reports
are queued inside and served by ``poll`` and ``flush``, so in the thread that writes.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct.levels import WARNING
from pylog_struct.sinks._kafka.verdict import says_that_the_producer_is_dead, text_of
from pylog_struct.sinks._network.waiting import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pylog_struct.record import Record
    from pylog_struct.sinks._kafka.options import Headers

__all__ = ["KafkaProducer"]

_KEPT: Final = 20_000  # slots; one batch may have been larger than all the next ones
_SETTLE: Final = 1.0  # seconds; how long librdkafka may take to report what was purged
_ROOM: Final = 0.05  # seconds between two tries when its queue is full
_YEAR_3000: Final = 32_503_680_000.0  # what is beyond is no Unix time in seconds


class KafkaProducer:
    """Sends records to a topic and tells which of them were not acknowledged.

    Args:
        client: The module ``confluent_kafka``.
        config: Of the producer; complete.
        topic: Where to.
        key: Reads the key of a record; None for no keys.
        headers: Of every message.
        name: The sink's name, for reports.

    Raises:
        KafkaException: the configuration contradicts itself.

    Threads: one caller at a time.
    Fork: :meth:`forget` in the child, and nothing else.
    """

    def __init__(
        self,
        client: Any,
        config: Mapping[str, Any],
        topic: str,
        key: Callable[[Record], bytes | None] | None,
        headers: Headers | None,
        name: str,
    ) -> None:
        self._client = client
        self._topic = topic
        self._key = key
        self._headers = headers
        self._name = name
        self._events = _Events(name)
        self.broken = ""
        """Why nothing goes any more, if librdkafka said so; then only another producer can go on."""
        self._failures: dict[int, Any] = {}
        self._slots: list[_Slot] = []
        settings = dict(config)
        for callback in {"stats_cb", "throttle_cb"} & settings.keys():
            settings[callback] = _Contained(settings[callback], callback, name)
        settings["error_cb"] = self._events.error
        self._producer: Any = client.Producer(settings, logger=self._events)

    @property
    def dead(self) -> bool:
        """Whether only another producer can go on."""
        return self._events.dead

    @property
    def trouble(self) -> str:
        """The last error that is not about a record, e.g. of a connection; empty if none."""
        return self._events.trouble

    def send(self, records: Sequence[Record], ends: float) -> dict[int, Any]:
        """Send *records* and wait until the last one is settled, or until *ends* (monotonic).

        What is not acknowledged by then is taken back; its error is ``_PURGE_QUEUE``, or
        ``_PURGE_INFLIGHT`` if the broker may have it.

        Returns:
            The errors, by position in *records*; what is not in there was acknowledged.
        """
        failures = self._failures
        failures.clear()
        self._events.trouble = ""
        slots = self._slots
        slots.extend([_Slot(failures, at) for at in range(len(slots), len(records))])
        try:
            self._produce_all(records, ends)
            # Unlike poll(), flush() does not wait for linger.ms: nothing more is coming.
            if self._producer.flush(min(max(ends - time.monotonic(), 0.0), LONGEST)):
                self._producer.purge()
                if self._producer.flush(_SETTLE):
                    return self._lost(len(records))
        except Exception as error:
            # The client raises a fatal error out of flush(), between two reports: which of them
            # were served is unknown.
            self.broken = f"the producer failed: {error.__cause__ or error}"
            return self._lost(len(records))
        except BaseException:  # an interrupt, in the middle of a report: what that said is gone
            self._events.dead = True
            raise
        del slots[_KEPT:]
        if failures and any(map(says_that_the_producer_is_dead, failures.values())):
            self._events.dead = True
        return dict(failures)

    def _produce_all(self, records: Sequence[Record], ends: float) -> None:
        produce, topic, key, headers = self._producer.produce, self._topic, self._key, self._headers
        for record, slot in zip(records, self._slots, strict=False):
            name = None if key is None else key(record)
            try:
                produce(topic, record[1], name, -1, slot, None, int(record[2] * 1000), headers)
            except Exception as error:
                self._insist(record, name, slot, error, ends)

    def _insist(
        self, record: Record, key: bytes | None, slot: _Slot, error: Exception, ends: float
    ) -> None:
        """Produce *record*, which librdkafka did not take with *error*, or note why not."""
        stamp = int(record[2] * 1000) if 0 <= record[2] < _YEAR_3000 else 0
        while not isinstance(error, self._client.KafkaException):
            if isinstance(error, BufferError) and time.monotonic() >= ends:
                self._failures[slot.position] = self._error("_QUEUE_FULL")
                return
            if not isinstance(error, BufferError | ValueError | OverflowError):
                raise error
            self._producer.poll(_ROOM)  # reports make room
            try:
                self._producer.produce(
                    self._topic, record[1], key, -1, slot, None, stamp, self._headers
                )
            except Exception as again:
                error = again
            else:
                return
        self._failures[slot.position] = error.args[0]

    def _lost(self, number: int) -> dict[int, Any]:
        """Settle what librdkafka does not settle: nobody knows, and the producer is no good."""
        self._events.dead = True
        return dict.fromkeys(range(number), self._error("_PURGE_INFLIGHT"))

    def _error(self, name: str) -> Any:
        return self._client.KafkaError(getattr(self._client.KafkaError, name))

    def serve(self) -> None:
        """Serve what is queued for callbacks: log, errors, statistics.  Does not block or raise."""
        try:
            self._producer.poll(0)
        except Exception as error:  # a fatal one
            self._events.dead = True
            diagnostics.report(f"kafka {self._name}", f"{self._name}: needs a new producer", error)

    def release(self, timeout: float | None) -> None:
        """Give back its threads and connections.

        librdkafka waits for its threads, and one of them may be asking a dead name server.  So
        somebody else waits, and this returns after *timeout* seconds in any case.
        """
        holder = [self._producer]
        self._producer = None
        holder[0].purge(blocking=False)
        try:
            thread = threading.Thread(target=holder.clear, name="pylog-kafka-release", daemon=True)
            thread.start()
        except RuntimeError:  # the interpreter is shutting down
            holder.clear()
        else:
            thread.join(timeout)

    def forget(self) -> None:
        """Drop it in the child of a fork without touching it: its threads are the parent's.

        Freeing it would wait for threads that do not exist, at the latest when the interpreter
        ends.  One reference too many keeps it from ever being freed.
        """
        import ctypes  # noqa: PLC0415 - only in the child of a fork

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
        self._producer = None


class _Slot:
    """Takes the delivery report of the record at one position; used again for every batch."""

    __slots__ = ("_failures", "position")

    def __init__(self, failures: dict[int, Any], position: int) -> None:
        self._failures = failures
        self.position = position

    def __call__(self, error: Any, _: object) -> None:
        if error is not None:
            self._failures[self.position] = error


class _Events:
    """Takes what is not about a record; holds no producer, so that no cycle keeps one alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.dead = False
        self.trouble = ""

    def error(self, error: Any) -> None:
        """``error_cb``: a connection failed, or the producer is dead."""
        self.dead = self.dead or says_that_the_producer_is_dead(error)
        self.trouble = text_of(error)
        diagnostics.report(f"kafka {self._name}", f"{self._name}: {self.trouble}")

    def log(self, level: int, pattern: str, *arguments: Any) -> None:
        """Stand in for a ``logging.Logger``; the client has turned syslog's levels into Python's."""
        if level >= WARNING:
            text = pattern % arguments
            diagnostics.report(f"kafka log {self._name}", f"{self._name}: {text}")


class _Contained:
    """A user's callback whose exceptions end here, not in the middle of a flush."""

    def __init__(self, function: Callable[[Any], object], callback: str, name: str) -> None:
        self._function = function
        self._what = f"kafka {callback} {name}"
        self._name = name

    def __call__(self, argument: Any) -> None:
        try:
            self._function(argument)
        except Exception as error:
            diagnostics.report(self._what, f"{self._name}: a callback failed", error)

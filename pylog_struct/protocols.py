"""The sink contract.  A class that has these three methods is a sink; nothing else is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record

__all__ = ["PolledSink", "Sink"]


@runtime_checkable
class Sink(Protocol):
    """Where records go.  A *leaf* does I/O, a *wrapper* holds other sinks and owns them.

    Threads: one caller at a time, unless the class says otherwise (``QueueSink`` and ``LockedSink``).
    The constructor does no I/O and starts nothing; the first :meth:`write` opens.
    ``pylog_struct.testing.check_sink`` tests any class against this page.
    """

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of every record of *batch*, in order.

        Raises:
            SinkError: some records were not accepted: ``unwritten`` holds them, in order;
                all others were.  ``retryable`` says whether trying again can help.
            SinkClosedError: after :meth:`close`; all of *batch* is unwritten.
        """
        ...

    def flush(self, timeout: float | None = None) -> None:
        """Push what was accepted to the next stage; return only when that is done.

        Args:
            timeout: Seconds; None means no limit.

        Raises:
            SinkError: it could not be done, or not in time.  Nothing accepted is given up.
        """
        ...

    def close(self, timeout: float | None = None) -> None:
        """Drain within *timeout*, close what is wrapped and release everything, even on failure.

        Idempotent.  Afterwards :meth:`write` raises ``SinkClosedError``.

        Args:
            timeout: Seconds to drain in; None means no limit.

        Raises:
            SinkError: draining failed (after everything was released); ``unwritten`` holds
                the records that were accepted and could not be passed on.
        """
        ...


@runtime_checkable
class PolledSink(Protocol):
    """The optional half of the contract: timed work without a thread of its own."""

    def poll(self, now: float, /) -> float | None:
        """Do what is due (a linger that ended, a timed roll-over, a probe).

        Args:
            now: The reading of ``Clock.monotonic``, in seconds.

        Returns:
            Seconds until the next call is wanted, or None if nothing is pending.

        Raises:
            SinkError: like ``write``, for records that were accepted earlier; they stay accepted
                (``unwritten`` is empty) and the sink tries again on a later call.
        """
        ...

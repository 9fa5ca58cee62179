"""Sinks that misbehave on purpose, for testing what stands above them.

All keep what they accepted in ``records``, pass it on to an inner sink if there is one, and count
in a ledger like any other sink: what they refuse, they refuse by the contract.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks.base import BaseSink, _taken, adopt

if TYPE_CHECKING:
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["CloggedSink", "FailingSink", "Fault", "Plan", "ShortSink", "SlowSink"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed ``write``.

    Attributes:
        error: The exception to raise.  A ``SinkError`` says what is unwritten; any other is raised
            as it is, as a leaf would that forgets to translate.
        accept: How many records of the batch are taken before it is raised.
        message: The text of the exception.
    """

    error: type[Exception] = SinkUnavailableError
    accept: int = 0
    message: str = "injected fault"


Plan = bool | Iterable[Fault | None] | Callable[[Sequence["Record"]], Fault | None]
"""When to fail: always or never, write by write, or as a function of the batch decides."""


class _FaultSink(BaseSink):
    """Keeps what it accepts, and passes it on."""

    def __init__(self, inner: Sink | None, *, name: str | None) -> None:
        children = () if inner is None else (adopt(inner, f"{type(self).__name__}.inner"),)
        super().__init__(name=name, children=children)
        self.records: list[Record] = []

    @property
    def lines(self) -> list[bytes]:
        """The lines of the records accepted so far."""
        return [record.line for record in list(self.records)]

    def _take(self, records: Sequence[Record], rest: Sequence[Record] = ()) -> None:
        """Accept *records*; an error of the inner sink also names *rest*, which nobody tried."""
        if not records:
            return
        if self.children:
            try:
                self.children[0].write(records)
            except SinkError as error:
                self.records += _taken(records, error.unwritten)
                error.unwritten = (*error.unwritten, *rest)
                raise
        self.records += records

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self.records = []


class FailingSink(_FaultSink):
    """Fails when it is told to.

    Args:
        inner: Gets what is accepted; None keeps it here only.
        fail: True (the default) fails every write with *fault* until the attribute ``fail`` is set
            to something else; False works.  An iterable is a plan, one entry for each write: a
            :class:`Fault`, or None for a write that works; after its end all work.  A function
            gets the batch and returns one or the other.
        fault: What True stands for.
        fail_flush: Whether ``flush`` raises ``SinkUnavailableError``; an attribute, too.
        fail_close: Whether ``close`` does, after it closed *inner*; an attribute, too.
        name: The sink's name in metrics and statistics.

    Attributes:
        calls: Number of writes so far.

    Threads: one caller at a time.  Blocks: never.
    """

    type_name = "failing"

    def __init__(
        self,
        inner: Sink | None = None,
        *,
        fail: Plan = True,
        fault: Fault | None = None,
        fail_flush: bool = False,
        fail_close: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(inner, name=name)
        self.fail = fail
        self.fault: Fault = Fault() if fault is None else fault
        self.fail_flush = fail_flush
        self.fail_close = fail_close
        self.calls: int = 0

    @property
    def fail(self) -> Plan:
        """The plan; set it to change how the next writes end."""
        return self._fail

    @fail.setter
    def fail(self, plan: Plan) -> None:
        self._fail = plan
        self._steps: Iterator[Fault | None] = iter(())
        if isinstance(plan, Iterable):
            self._steps = iter(plan)

    def _next(self, batch: Sequence[Record]) -> Fault | None:
        if isinstance(self._fail, bool):
            return self.fault if self._fail else None
        if isinstance(self._fail, Iterable):
            return next(self._steps, None)
        return self._fail(batch)

    def _write(self, batch: Sequence[Record]) -> None:
        self.calls += 1
        fault = self._next(batch)
        if fault is None:
            self._take(batch)
            return
        taken, rest = batch[: fault.accept], batch[fault.accept :]
        self._take(taken, rest)
        if issubclass(fault.error, SinkError):
            raise fault.error(fault.message, rest)
        raise fault.error(fault.message)

    def _flush(self, timeout: float | None) -> None:
        if self.fail_flush:
            raise SinkUnavailableError("injected fault in flush")
        super()._flush(timeout)

    def _close(self, timeout: float | None) -> None:
        super()._close(timeout)
        if self.fail_close:
            raise SinkUnavailableError("injected fault in close")


class ShortSink(_FaultSink):
    """Takes at most so many records of a batch, and leaves the rest to the caller.

    Args:
        inner: Gets what is accepted; None keeps it here only.
        accept: Most records taken of one batch, 0 or more.
        error: What is raised for the rest.
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: *accept* is negative.

    Threads: one caller at a time.  Blocks: never.
    """

    type_name = "short"

    def __init__(
        self,
        inner: Sink | None = None,
        *,
        accept: int = 1,
        error: type[SinkError] = SinkUnavailableError,
        name: str | None = None,
    ) -> None:
        super().__init__(inner, name=name)
        if not isinstance(accept, int) or accept < 0:
            msg = f"ShortSink.accept: {accept!r} is no number of records; use 0 or more"
            raise ConfigError(msg)
        self.accept = accept
        self._error = error

    def _write(self, batch: Sequence[Record]) -> None:
        taken, rest = batch[: self.accept], batch[self.accept :]
        self._take(taken, rest)
        if rest:
            raise self._error(f"took {len(taken)} of {len(batch)}", rest)


class SlowSink(_FaultSink):
    """Takes its time over every write.

    Args:
        inner: Gets what is accepted; None keeps it here only.
        delay: Seconds before a write is accepted; an attribute, too.
        sleep: Waits so many seconds; a test passes the ``advance`` of a ``FakeClock``.
        name: The sink's name in metrics and statistics.

    Threads: one caller at a time.  Blocks: *delay* for each write.
    """

    type_name = "slow"

    def __init__(
        self,
        inner: Sink | None = None,
        *,
        delay: float = 0.1,
        sleep: Callable[[float], object] = time.sleep,
        name: str | None = None,
    ) -> None:
        super().__init__(inner, name=name)
        self.delay = delay
        self._sleep = sleep

    def _write(self, batch: Sequence[Record]) -> None:
        self._sleep(self.delay)
        self._take(batch)


class CloggedSink(_FaultSink):
    """Blocks every write, like a full pipe that nobody reads, until it is released.

    Args:
        inner: Gets what is accepted; None keeps it here only.
        clogged: Whether it blocks from the start.
        error: What a write that was blocked raises after its release, with all of the batch
            unwritten; None (the default): it works, late.
        name: The sink's name in metrics and statistics.

    Attributes:
        entered: An event that is set while a write is blocked.

    Threads: one caller at a time; ``release`` and ``clog`` may be called from any thread.
    Blocks: ``write`` without a bound, until :meth:`release` or ``close`` (which releases, and makes
    the blocked write raise ``SinkClosedError``); ``flush`` up to its timeout.
    """

    type_name = "clogged"

    def __init__(
        self,
        inner: Sink | None = None,
        *,
        clogged: bool = True,
        error: type[SinkError] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner, name=name)
        self.entered: threading.Event = threading.Event()
        self._error = error
        self._free = threading.Event()
        if not clogged:
            self._free.set()

    def clog(self) -> None:
        """Block from now on."""
        self._free.clear()

    def release(self) -> None:
        """Let a blocked write go on, and block no more."""
        self._free.set()

    def _write(self, batch: Sequence[Record]) -> None:
        if not self._free.is_set():
            self.entered.set()
            self._free.wait()
            self.entered.clear()
            if self._closed:
                raise SinkClosedError(f"{self.name} was closed while it was clogged", batch)
            if self._error is not None:
                raise self._error("released after it was clogged", batch)
        self._take(batch)

    def _flush(self, timeout: float | None) -> None:
        if not self._free.wait(timeout):
            raise SinkTimeoutError(f"{self.name} is clogged")
        super()._flush(timeout)

    def _close(self, timeout: float | None) -> None:
        self._free.set()
        super()._close(timeout)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        free = self._free.is_set()
        self.entered = threading.Event()
        self._free = threading.Event()
        if free:
            self._free.set()

"""What the sinks here share: a name, a ledger, the life-cycle, and care for sinks of other people.

``BaseSink`` is a convenience, not a requirement: any object with ``write``, ``flush`` and ``close``
is a sink (:class:`pylog_struct.protocols.Sink`).  Wrappers pass what they are given through
:func:`adopt`, which puts a foreign object into a :class:`ForeignSink`, so that every sink of a tree
has a ledger and speaks in :class:`~pylog_struct.errors.SinkError` only.
"""

from __future__ import annotations

import io
import re
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pylog_struct import fork
from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.ledger import SinkLedger, SinkStatistics
from pylog_struct.notices import NoticeFactory, json_notice
from pylog_struct.protocols import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylog_struct.record import Record

__all__ = [
    "ABOUT_A_DOCUMENT",
    "BaseSink",
    "Deadline",
    "ForeignSink",
    "adopt",
    "close_all",
    "translate",
    "walk",
]

_NAME: Final = r"[A-Za-z0-9_.:-]{1,64}"

ABOUT_A_DOCUMENT: Final = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""What Python raises for a wrong value: from a sink, it says that this document is the trouble."""


class Deadline:
    """A timeout that is spent in several steps: ``Deadline(5.0).remaining()`` shrinks to 0.0.

    Args:
        timeout: Seconds; None never ends.
    """

    __slots__ = ("_ends",)

    def __init__(self, timeout: float | None) -> None:
        self._ends = None if timeout is None else time.monotonic() + max(timeout, 0.0)

    def remaining(self) -> float | None:
        """Seconds left, at least 0.0, or None for no limit."""
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.0)

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._ends is not None and time.monotonic() >= self._ends


class BaseSink:
    """Name, ledger and life-cycle of a sink; subclasses fill in ``_write``, ``_flush``, ``_close``.

    Args:
        name: The sink's name in metrics and statistics; by default its type, made unique in a tree.
        children: The sinks that this one wraps, already adopted.

    Threads: as the contract says, one caller at a time.
    Fork: the child starts with a ledger of zeros; see ``_after_fork_in_child``.
    """

    type_name: ClassVar[str] = "sink"
    """The ``type`` of this sink in a configuration, and its default name."""

    def __init__(self, *, name: str | None = None, children: Sequence[BaseSink] = ()) -> None:
        if name is not None and (not isinstance(name, str) or re.fullmatch(_NAME, name) is None):
            msg = (
                f"{type(self).__name__}.name: {name!r} is no name;"
                " use 1 to 64 letters, digits, '_', '-', '.' or ':'"
            )
            raise ConfigError(msg)
        self.name: str = name or self.type_name
        self.named_by_user: bool = name is not None
        self.children: tuple[BaseSink, ...] = tuple(children)
        self.ledger: SinkLedger = SinkLedger()
        self.notice: NoticeFactory = json_notice
        self.retained = False  # shared with the tree that takes over: close() only flushes
        self._closed = False
        fork.register(self)

    def __repr__(self) -> str:
        inner = ", ".join(child.name for child in self.children)
        return f"<{type(self).__name__} {self.name!r}{f' over {inner}' if inner else ''}>"

    # -- the contract -----------------------------------------------------------------------------

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        if not batch:
            return
        started = time.perf_counter()
        try:
            self._write(batch)
        except SinkError as error:
            seconds = time.perf_counter() - started
            self.ledger.failed(error, seconds=seconds)
            if len(error.unwritten) < len(batch):
                self.ledger.passed(_taken(batch, error.unwritten))
            raise
        self.ledger.passed(batch, seconds=time.perf_counter() - started)

    def flush(self, timeout: float | None = None) -> None:
        """Push what was accepted to the next stage; see :class:`pylog_struct.protocols.Sink`."""
        if not self._closed:
            self._flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Drain, release and close what is wrapped; see :class:`pylog_struct.protocols.Sink`."""
        if self._closed:
            return
        if self.retained:
            self._flush(timeout)
            return
        self._closed = True
        self._close(timeout)

    def poll(self, now: float, /) -> float | None:
        """Do timed work that is due; see :class:`pylog_struct.protocols.PolledSink`."""
        return self._poll_children(now)

    def statistics(self) -> SinkStatistics:
        """Return this sink's side of the ledger at one instant.  Thread-safe."""
        return self.ledger.snapshot(self.name)

    # -- for subclasses ---------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record]) -> None:
        raise NotImplementedError

    def _flush(self, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        errors: list[Exception] = []
        for child in self.children:  # one that fails must not keep the others from being flushed
            try:
                child.flush(deadline.remaining())
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _close(self, timeout: float | None) -> None:
        close_all(self.children, timeout)

    def _poll_children(self, now: float) -> float | None:
        waits: list[float] = []
        errors: list[Exception] = []
        for child in self.children:  # one that fails must not keep the others from their work
            try:
                wait = child.poll(now)
            except Exception as error:
                errors.append(error)
            else:
                if wait is not None:
                    waits.append(wait)
        if errors:
            raise errors[0]
        return min(waits, default=None)

    def _require_open(self, batch: Sequence[Record]) -> None:
        if self._closed:
            raise SinkClosedError(f"{self.name} is closed", batch)

    def _after_fork_in_child(self) -> None:
        """Forget the parent's past; override (and call this) to drop locks, files and threads too."""
        self.ledger.reset()


class ForeignSink(BaseSink):
    """A sink of somebody else's, with a ledger, and with its exceptions translated.

    Exceptions that Python raises for a wrong value (``TypeError``, ``ValueError``, ``LookupError``,
    ``ArithmeticError``, ``AttributeError``) point at a document: the batch is then written one by one,
    and what still fails is rejected.  Any other one (``OSError``, a client library's own) means "try
    later, or elsewhere", so that a failover switches.

    Args:
        sink: Any object with ``write``, ``flush`` and ``close``.
    """

    type_name = "custom"

    def __init__(self, sink: Sink, *, name: str | None = None) -> None:
        super().__init__(name=name or _foreign_name(sink))
        self.named_by_user: bool = name is not None
        self.wrapped = sink

    def _write(self, batch: Sequence[Record]) -> None:
        try:
            self.wrapped.write(batch)
        except SinkError:
            raise
        except Exception as error:
            if len(batch) == 1 or not isinstance(error, ABOUT_A_DOCUMENT):
                raise translate(error, batch, self.name) from error
            self._one_by_one(batch)

    def _one_by_one(self, batch: Sequence[Record]) -> None:
        rejected: list[Record] = []
        reason: Exception | None = None
        for position, record in enumerate(batch):
            try:
                self.wrapped.write((record,))
            except SinkError as error:
                if error.retryable:
                    raise SinkUnavailableError(
                        str(error), (*rejected, *batch[position:])
                    ) from error
                rejected.append(record)
                reason = error
            except ABOUT_A_DOCUMENT as error:
                rejected.append(record)
                reason = error
            except Exception as error:
                raise SinkUnavailableError(str(error), (*rejected, *batch[position:])) from error
        if rejected:
            raise SinkRejectedError(f"{self.name} failed on {reason!r}", rejected) from reason

    def _flush(self, timeout: float | None) -> None:
        try:
            self.wrapped.flush(timeout)
        except SinkError:
            raise
        except Exception as error:
            raise translate(error, (), self.name) from error

    def _close(self, timeout: float | None) -> None:
        try:
            self.wrapped.close(timeout)
        except SinkError:
            raise
        except Exception as error:
            raise translate(error, (), self.name) from error

    def poll(self, now: float, /) -> float | None:
        """Forward to the wrapped sink if it has timed work."""
        poll = getattr(self.wrapped, "poll", None)
        if not callable(poll):
            return None
        try:
            wait: Any = poll(now)
            return None if wait is None else float(wait)
        except SinkError:
            raise
        except Exception as error:
            raise translate(error, (), self.name) from error


def _foreign_name(sink: object) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(sink).__name__.strip("_")).lower()
    return re.sub(r"[^a-z0-9_]", "-", words.removesuffix("_sink"))[:64] or "custom"


def translate(error: Exception, unwritten: Sequence[Record], name: str) -> SinkError:
    """Turn a foreign exception into the sink error that says the same, once, in the leaf."""
    text = f"{name}: {type(error).__name__}: {error}"
    if isinstance(error, TimeoutError):
        return SinkTimeoutError(text, unwritten)
    if isinstance(error, ABOUT_A_DOCUMENT):
        return SinkRejectedError(text, unwritten)
    return SinkUnavailableError(text, unwritten)


def adopt(sink: Any, argument: str = "sink") -> BaseSink:
    """Return *sink* itself if it is one of ours, else the :class:`ForeignSink` around it.

    An object in use has one wrapper only: it is closed once, and a tree that takes over from
    another knows it again.

    Raises:
        ConfigError: it has not the three methods of a sink, or it is an open file.
    """
    if isinstance(sink, BaseSink):
        return sink
    if isinstance(sink, io.IOBase):
        msg = f"{argument}: {sink!r} is a file, not a sink; use StreamSink(file)"
        raise ConfigError(msg)
    if isinstance(sink, type) or not isinstance(sink, Sink):
        msg = f"{argument}: {sink!r} is no sink; it needs the methods write, flush and close"
        raise ConfigError(msg)
    found = _foreign.get(id(sink))  # it keeps the object, so the id is nobody else's
    if found is None or found._closed:
        found = _foreign[id(sink)] = ForeignSink(sink)
    return found


_foreign: Final[weakref.WeakValueDictionary[int, ForeignSink]] = weakref.WeakValueDictionary()


def walk(root: BaseSink) -> Iterator[BaseSink]:
    """Yield *root* and every sink under it, outermost first, each once."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        sink = stack.pop()
        if id(sink) not in seen:
            seen.add(id(sink))
            yield sink
            stack.extend(reversed(sink.children))


def close_all(sinks: Sequence[BaseSink], timeout: float | None) -> None:
    """Close every sink even if some fail, then raise what the first one raised.

    Raises:
        SinkError: of the first sink that failed, with the unwritten records of all.
    """
    deadline = Deadline(timeout)
    errors: list[Exception] = []
    for sink in sinks:
        try:
            sink.close(deadline.remaining())
        except Exception as error:
            errors.append(error)
    if not errors:
        return
    unwritten = [
        record for error in errors if isinstance(error, SinkError) for record in error.unwritten
    ]
    first = errors[0]
    if isinstance(first, SinkError):
        first.unwritten = tuple(unwritten)
        raise first
    raise SinkUnavailableError(f"close failed: {first!r}", unwritten) from first


def _taken(batch: Sequence[Record], unwritten: Sequence[Record]) -> list[Record]:
    """The records of *batch* that are not in *unwritten*, counting equal ones.

    By value: a foreign sink may rebuild the records that it refuses.
    """
    left: dict[Record, int] = {}
    for record in unwritten:
        left[record] = left.get(record, 0) + 1
    taken: list[Record] = []
    for record in batch:
        if left.get(record, 0):
            left[record] -= 1
        else:
            taken.append(record)
    return taken

"""Standard output, standard error, or any file object: one record a line, and no write that hangs."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError, SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.ledger import DropReason
from pylog_struct.sinks._descriptor import Transmission, flush_first
from pylog_struct.sinks.base import BaseSink
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record

__all__ = ["StreamSink"]

_AGAIN: Final = 1.0  # seconds between two tries of `poll` to complete a line
# After these the line that was begun may still be completed; after any other nobody will read it.
_TRANSIENT: Final = frozenset({errno.ETIMEDOUT, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT})


class _Torn:
    """A line of which the stream has only the first part."""

    __slots__ = ("record", "sent", "target")

    def __init__(self, record: Record, sent: int, target: tuple[int, int]) -> None:
        self.record = record
        self.sent = sent
        self.target = target  # device and inode: on any other the line starts anew

    def rest(self, target: tuple[int, int]) -> bytes:
        return (self.record.line + b"\n")[self.sent if target == self.target else 0 :]


class StreamSink(BaseSink):
    """Writes each record as one line (the bytes as they are, and a newline) to a stream.

    Accepted means: handed to the operating system, for a stream with a file descriptor; else to the
    object's ``write``.  A line that the stream took only a part of is accepted too: the rest is
    *waiting* here, and goes before anything else, so that no two lines are ever glued together.

    With a descriptor, a batch is written past Python's buffers, in as few system calls as the
    stream allows (a pipe, socket or terminal gets whole lines up to 4,096 bytes at a time, which
    other processes cannot tear).  What ``print`` left in the buffers is flushed before, as long as
    that cannot block.  A non-blocking descriptor is fine, and none is ever made so.

    Args:
        stream: ``"stdout"`` or ``"stderr"``: whatever ``sys.stdout`` or ``sys.stderr`` is at the
            time of the write; or a file object, text or binary.  It stays its owner's: never closed.
        timeout: Longest time that one ``write`` waits for the reader of a full pipe, socket or
            terminal, in seconds or as text.  After it has run out, later writes do not wait at all
            until the stream takes something again: a reader that is stuck costs one timeout.
        name: The sink's name in metrics and statistics; ``stdout`` and ``stderr`` by default.

    Raises:
        ConfigError: *stream* is none, or *timeout* is out of range (there is no waiting for ever).
        SinkTimeoutError: no room in time; ``unwritten`` holds the rest of the batch.
        SinkUnavailableError: the stream is closed or missing, its reader is gone, the disk is full.

    Threads: one caller at a time.  Blocks: up to *timeout* (files: as the disk does; an object
    without descriptor: as it does).
    Fork: parent and child share the stream; the rest of a torn line is the parent's.
    """

    type_name = "stream"

    def __init__(
        self,
        stream: Literal["stdout", "stderr"] | IO[str] | IO[bytes] = "stdout",
        *,
        timeout: float | str = 5.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        standard = isinstance(stream, str)
        known = stream in {"stdout", "stderr"} if standard else callable(_writer(stream))
        if not known:
            msg = f'StreamSink.stream: {stream!r} is no stream; use "stdout", "stderr" or a file object'
            raise ConfigError(msg)
        if name is None and standard:
            self.name: str = str(stream)
        self._stream = stream
        self._timeout = parse_duration(timeout, "StreamSink.timeout")
        self._forget()

    def _forget(self) -> None:
        self._torn: _Torn | None = None
        self._stalled = False  # the last wait was in vain: do not wait again before it moves

    def isatty(self) -> bool:
        """Return whether the stream is a terminal, now."""
        try:
            return bool(self._current().isatty())
        except Exception:
            return False

    # -- the contract -----------------------------------------------------------------------------

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        if not batch:
            return
        started = time.perf_counter()
        try:
            stream = self._current(batch)
            fd = _descriptor_of(stream)
            if fd is None:
                self._write_object(stream, batch)
            else:
                status = self._status(fd, batch)
                flush_first(stream, fd, status.st_mode)
                self._write_descriptor(fd, status, batch)
        except SinkError as error:
            self.ledger.failed(error, seconds=time.perf_counter() - started)
            raise

    def poll(self, now: float, /) -> float | None:
        """Complete a torn line as far as there is room; never waits, never raises."""
        del now
        if self._torn is None:
            return None
        self._complete(0.0)
        return None if self._torn is None else _AGAIN

    def _flush(self, timeout: float | None) -> None:
        error = self._complete(self._patience(timeout))
        if error is not None:
            raise error
        stream = self._current_or_none()
        if stream is None:
            return
        fd = _descriptor_of(stream)
        if fd is not None:
            flush_first(stream, fd, self._status(fd, ()).st_mode)
            return
        try:
            _flush_object(stream)
        except Exception as failure:
            raise SinkUnavailableError(f"{self.name}: {failure!r}") from failure

    def _close(self, timeout: float | None) -> None:
        error = self._complete(self._patience(timeout))
        torn, self._torn = self._torn, None
        if torn is not None:
            left = (torn.record,)
            self.ledger.gave_up(left, DropReason.SHUTDOWN)
            raise SinkUnavailableError(f"{self.name}: a line stayed incomplete", left) from error

    # -- the stream -------------------------------------------------------------------------------

    def _current(self, unwritten: Sequence[Record] = ()) -> Any:
        stream = self._current_or_none()
        if stream is None or getattr(stream, "closed", False):
            state = "missing" if stream is None else "closed"
            raise SinkUnavailableError(f"{self.name}: the stream is {state}", unwritten)
        return stream

    def _current_or_none(self) -> Any:
        stream = getattr(sys, self._stream, None) if isinstance(self._stream, str) else self._stream
        # What turns prints into events stands in front of the stream; its own events go behind it.
        return getattr(stream, "pylog_struct_behind", stream)

    def _patience(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else min(timeout, self._timeout)

    # -- with a descriptor ------------------------------------------------------------------------

    def _status(self, fd: int, unwritten: Sequence[Record]) -> os.stat_result:
        try:
            return os.fstat(fd)
        except OSError as error:
            raise self._translated(error, unwritten) from error

    def _write_descriptor(self, fd: int, status: os.stat_result, batch: Sequence[Record]) -> None:
        started = time.perf_counter()
        target = (status.st_dev, status.st_ino)
        rest = b"" if self._torn is None else self._torn.rest(target)
        data = rest + b"\n".join([record[1] for record in batch]) + b"\n"
        transmission = Transmission(data)
        error: OSError | None = None
        interrupted = True
        try:
            error = transmission.run(fd, status.st_mode, 0.0 if self._stalled else self._timeout)
            interrupted = False
        finally:
            # Also after a KeyboardInterrupt: what was begun must be known when the next write comes.
            done, begun = self._account(batch, len(rest), transmission.sent, target, error)
            if interrupted:
                self.ledger.passed(batch[:done])
        self._stalled = isinstance(error, TimeoutError)
        if error is None:
            self.ledger.passed(batch, seconds=time.perf_counter() - started)
            return
        if done:
            self.ledger.passed(batch[:done])
        left = batch[done + begun :]
        if left:
            raise self._translated(error, left)
        self.ledger.failed(self._translated(error, ()))

    def _account(
        self,
        batch: Sequence[Record],
        rest: int,
        sent: int,
        target: tuple[int, int],
        error: OSError | None,
    ) -> tuple[int, int]:
        """Find out what *sent* bytes make of the torn line and of *batch*.

        Returns:
            How many records of *batch* are written, and how many (0 or 1) only begun and accepted.
        """
        lasting = error is not None and error.errno not in _TRANSIENT
        if self._torn is not None:
            if sent < rest:
                self._move_torn(rest - sent, target, lasting=lasting)
                return 0, 0
            self.ledger.delivered((self._torn.record,))
            self._torn = None
        sent -= rest
        done = 0
        for record in batch:
            size = len(record[1]) + 1
            if sent < size:
                break
            sent -= size
            done += 1
        if sent == 0 or lasting:  # nobody will read the end of a line begun there: the caller's
            return done, 0
        self._torn = _Torn(batch[done], sent, target)
        self.ledger.accepted((batch[done],))
        return done, 1

    def _move_torn(self, left: int, target: tuple[int, int], *, lasting: bool) -> None:
        assert self._torn is not None  # noqa: S101 - the caller has just looked
        record = self._torn.record
        # Who reads next has not seen the beginning: then the line starts anew.
        sent = 0 if lasting else len(record.line) + 1 - left
        self._torn = _Torn(record, sent, target)

    def _complete(self, timeout: float) -> SinkError | None:
        """Write the rest of a torn line; return why it is not done."""
        if self._torn is None:
            return None
        try:
            stream = self._current()
            fd = _descriptor_of(stream)
            if fd is None:
                self._complete_object(stream, self._torn.record)
                return None
            status = self._status(fd, ())
        except SinkError as failure:
            return failure
        target = (status.st_dev, status.st_ino)
        rest = self._torn.rest(target)
        transmission = Transmission(rest)
        error: OSError | None = None
        try:
            error = transmission.run(fd, status.st_mode, timeout)
        finally:
            self._account((), len(rest), transmission.sent, target, error)
        if error is None:
            self._stalled = False
            return None
        return self._translated(error, ())

    def _translated(self, error: OSError, unwritten: Sequence[Record]) -> SinkError:
        kind = SinkTimeoutError if isinstance(error, TimeoutError) else SinkUnavailableError
        translated = kind(f"{self.name}: {diagnostics.describe(error)}", unwritten)
        translated.__cause__ = error
        return translated

    # -- without a descriptor ---------------------------------------------------------------------

    def _write_object(self, stream: Any, batch: Sequence[Record]) -> None:
        started = time.perf_counter()
        if self._torn is not None:  # it was begun on something else: the whole line comes here
            self._complete_object(stream, self._torn.record, batch)
        try:
            _write_lines(stream, [record[1] for record in batch])
        except Exception as error:
            raise SinkUnavailableError(
                f"{self.name}: {diagnostics.describe(error)}", batch
            ) from error
        self.ledger.passed(batch, seconds=time.perf_counter() - started)

    def _complete_object(self, stream: Any, record: Record, batch: Sequence[Record] = ()) -> None:
        try:
            _write_lines(stream, [record.line])
        except Exception as error:
            raise SinkUnavailableError(
                f"{self.name}: {diagnostics.describe(error)}", batch
            ) from error
        self._torn = None
        self.ledger.delivered((record,))

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._forget()


def _writer(stream: Any) -> Any:
    return getattr(stream, "write", None)


def _descriptor_of(stream: Any) -> int | None:
    """Return the descriptor to write to, or None if the object's own ``write`` has to be used.

    Only for a plain file of Python's own.  Other objects have a ``fileno`` too, and do more in their
    ``write`` than to pass the bytes on: ``gzip`` and TLS streams, a notebook's stdout, colour
    converters.
    """
    inner = stream
    if isinstance(stream, io.TextIOWrapper):
        if type(stream).write is not io.TextIOWrapper.write:
            return None
        inner = stream.buffer
    if isinstance(inner, io.BufferedWriter | io.BufferedRandom):
        inner = inner.raw
    if not isinstance(inner, io.FileIO) or (sys.platform == "win32" and inner.isatty()):
        return None  # a Windows console wants text
    return inner.fileno()


def _write_lines(stream: Any, lines: Sequence[bytes]) -> None:
    data = b"\n".join(lines) + b"\n"
    if isinstance(stream, io.BufferedIOBase | io.RawIOBase):
        _write_binary(stream, data)
    elif isinstance(stream, io.TextIOBase):
        stream.write(_text_for(stream, data))
    else:
        try:
            stream.write(_text_for(stream, data))
        except TypeError:  # it wants bytes
            stream.write(data)
    _flush_object(stream)


def _write_binary(stream: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = stream.write(view)
        if not isinstance(written, int) or written <= 0:
            raise BlockingIOError(errno.EAGAIN, "the stream takes nothing")
        view = view[written:]


def _text_for(stream: Any, data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    encoding = getattr(stream, "encoding", None)
    if not isinstance(encoding, str) or encoding.lower().replace("-", "") == "utf8":
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _flush_object(stream: Any) -> None:
    flush = getattr(stream, "flush", None)
    if callable(flush):
        flush()

"""A flight recorder for requests: details in memory, written only when a request fails or is slow."""

from __future__ import annotations

import threading
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics, fork
from pylog_struct._frozen import frozen
from pylog_struct.active import ACTIVE
from pylog_struct.bound_logger import hold_below
from pylog_struct.errors import ConfigError
from pylog_struct.fast_lane import LEVEL_NAMES
from pylog_struct.levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_label, parse_level
from pylog_struct.sinks._checks import check_count
from pylog_struct.thresholds import THRESHOLDS, named_logger
from pylog_struct.units import parse_size

if TYPE_CHECKING:
    from contextvars import Token

    from pylog_struct.bound_logger import BoundLogger
    from pylog_struct.record import Record

__all__ = ["FlightRecorder", "RecorderStatistics", "Recording"]

_RECORDING: Final[ContextVar[Recording | None]] = ContextVar("pylog_recording", default=None)
"""Of the request that this context belongs to."""

_NUMBERS: Final = dict(zip(LEVEL_NAMES, (DEBUG, INFO, WARNING, ERROR, CRITICAL), strict=True))
_LOGGER: Final = "pylog_struct.flight"


@frozen
class RecorderStatistics:
    """What became of the details; in events, but for *bytes*.

    ``recorded == written + dropped + held``, always.
    """

    recorded: int = 0
    """Rendered and held, since the recorder was made or the process forked."""
    written: int = 0
    """Handed to the pipeline, because their request failed or was slow."""
    dropped: int = 0
    """Dropped on purpose: their request went well, or they made room."""
    evicted: int = 0
    """Those of the dropped that made room, or found none."""
    held: int = 0
    """In memory now."""
    bytes: int = 0
    """Of the lines in memory now."""


class FlightRecorder:
    """Holds what a request logs below the configured level, in case it turns out to matter.

    Give it to a middleware (``recorder=``).  While a request runs, its events from *level* up to the
    level of ``configure`` are rendered at the call, with the values that they have then, and held.
    When the request fails (an exception, a status from 500 on) or is slow they are written, oldest
    first, behind what the request wrote already; otherwise they are dropped and counted.  What the
    configured level lets through is written at once, as ever, and by the same way.  Outside of
    requests nothing changes.

    The level of one logger that is *above* the configured one (silenced on purpose) stands for
    events that the configured level would let through; below it, it is recorded like all others.
    Records of the standard library's ``logging`` are not held.

    In the ledger an event is emitted when its fate is decided: written, or discarded.

    Args:
        level: The least level that is held, a name or number.
        capacity: Most events held of one request; the oldest makes room for a newer one.
        max_bytes: Most bytes of lines held of one request, a number or text.
        max_total_bytes: Most bytes held of all requests together.

    Raises:
        ConfigError: a number or level is out of range.

    Threads: thread-safe; a request's threads and tasks record into the same place.  Blocks: never
    while recording; writing blocks as a log call does.
    Fork: what is held stays the parent's.
    Memory: up to *max_total_bytes* of lines, and about 200 bytes for each event.
    Cost: an event that the level would have stopped with one comparison is rendered: see
    ``docs/how-to/request-context.md``.
    """

    def __init__(
        self,
        *,
        level: int | str = "DEBUG",
        capacity: int = 200,
        max_bytes: float | str = "256 KiB",
        max_total_bytes: float | str = "16 MiB",
    ) -> None:
        self.level: int = parse_level(level, "FlightRecorder.level")
        self._capacity = check_count(capacity, "FlightRecorder.capacity", unit="events")
        self._max_bytes = parse_size(max_bytes, "FlightRecorder.max_bytes")
        self._max_total = parse_size(max_total_bytes, "FlightRecorder.max_total_bytes")
        if self._max_total < self._max_bytes:
            raise ConfigError(
                f"FlightRecorder.max_total_bytes: {max_total_bytes!r} is less than max_bytes"
                f" {max_bytes!r}; use a size that one request fits in"
            )
        self._rearm()
        fork.register(self)

    def _rearm(self) -> None:
        self._lock = threading.RLock()  # guards the numbers, and what every recording holds
        self._busy = False  # this thread is changing them
        self._generation = object()
        self._recorded = self._written = self._dropped = self._evicted = 0
        self._held = self._bytes = 0

    def _after_fork_in_child(self) -> None:
        self._rearm()

    # -- for a middleware -------------------------------------------------------------------------

    def start(self) -> Recording:
        """Begin to record this context, and all that is copied from it, until :meth:`end`."""
        _HOOK.reach(self.level)
        recording = Recording(self.level, self._generation, self)
        recording._token = _RECORDING.set(recording)
        return recording

    def end(self, recording: Recording, *, needed: bool) -> None:
        """Write what was recorded if it is *needed*, else drop it; in the context of :meth:`start`."""
        token, recording._token = recording._token, None
        if token is not None:
            try:
                _RECORDING.reset(token)
            except ValueError as error:  # another context: there it ends by itself
                diagnostics.report("request context", "a request ended in another context", error)
        with self._lock:
            recording.is_open = False
            records, evicted = list(recording._items), recording.evicted
            recording._items.clear()
            size, recording._size = recording._size, 0
            if recording._generation is not self._generation:  # begun by a parent process
                return
            self._held -= len(records)
            self._bytes -= size
            if needed:
                self._written += len(records)
            else:
                self._dropped += len(records)
        if needed:
            _write(records, evicted)
        else:
            _discard(records)

    def statistics(self) -> RecorderStatistics:
        """Return what became of the details so far."""
        with self._lock:
            return RecorderStatistics(
                self._recorded, self._written, self._dropped, self._evicted, self._held, self._bytes
            )

    # -- holding ----------------------------------------------------------------------------------

    def _hold(self, recording: Recording, record: Record) -> None:
        gone: list[Record] = []
        size = len(record.line)
        with self._lock:
            if not recording.is_open or recording._generation is not self._generation:
                gone.append(record)  # the request ended while this thread was rendering
            else:
                self._recorded += 1
                if self._busy:  # a finaliser or a signal handler, in the middle of this
                    gone.append(record)
                    self._dropped += 1
                    self._evicted += 1
                    recording.evicted += 1
                else:
                    self._busy = True
                    try:
                        self._append(recording, record, size, gone)
                    finally:
                        self._busy = False
        if gone:
            _discard(gone)

    def _append(self, recording: Recording, record: Record, size: int, gone: list[Record]) -> None:
        items = recording._items
        while items and (
            len(items) >= self._capacity
            or recording._size + size > self._max_bytes
            or self._bytes + size > self._max_total
        ):
            oldest = items.popleft()
            gone.append(oldest)
            recording._size -= len(oldest.line)
            self._bytes -= len(oldest.line)
            self._held -= 1
        if size > self._max_bytes or self._bytes + size > self._max_total:
            gone.append(record)
        else:
            items.append(record)
            recording._size += size
            self._bytes += size
            self._held += 1
        recording.evicted += len(gone)
        self._evicted += len(gone)
        self._dropped += len(gone)


class Recording:
    """What one request has logged so far that its level would not have let through."""

    __slots__ = (
        "_generation", "_items", "_recorder", "_size", "_token", "evicted", "is_open", "level",
    )  # fmt: skip

    def __init__(self, level: int, generation: object, recorder: FlightRecorder) -> None:
        self.level: int = level
        self._generation = generation
        self._recorder = recorder
        self._items: deque[Record] = deque()
        self._size = 0
        self._token: Token[Recording | None] | None = None
        self.evicted: int = 0
        """How many made room for newer ones."""
        self.is_open: bool = True


def _hold(
    logger: BoundLogger,
    level: int,
    name: str,
    event: Any,
    args: tuple[Any, ...],
    fields: dict[str, Any],
) -> None:
    """Take an event that its logger's level does not let through."""
    recording = _RECORDING.get()
    if recording is None or level < recording.level or not recording.is_open:
        return
    pipeline = ACTIVE.pipeline
    if pipeline is None or not logger.is_ours:
        return
    if event is None and "event" in fields:
        event = fields.pop("event")
    try:
        record = pipeline.render(level, name, logger._logger, event, args, logger._context, fields)
    except Exception as error:  # the stack is used up, or strict=True
        if pipeline.strict:
            raise
        diagnostics.report("flight recorder", "an event could not be recorded", error)
        return
    if record is not None:
        recording._recorder._hold(recording, record)


def _write(records: list[Record], evicted: int) -> None:
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        if records:
            diagnostics.report("flight recorder", "no pipeline: the details of a request are lost")
        return
    if evicted:
        fields = {"evicted": evicted}
        logger = named_logger(_LOGGER)
        note = pipeline.render(DEBUG, "debug", logger, "details.evicted", (), {}, fields)
        if note is not None:
            pipeline.deliver(note)
    for record in records:
        pipeline.deliver(record)


def _discard(records: list[Record]) -> None:
    pipeline = ACTIVE.pipeline
    if pipeline is None:
        return
    counts: dict[str, int] = {}
    for record in records:
        label = level_label(record.level)
        counts[label] = counts.get(label, 0) + 1
    for label, number in counts.items():
        pipeline.counts.discard(label, number)


class _Hook:
    """Has the bound logger hand over what it would not emit: from the least level of all recorders on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two numbers
        self._least: int = CRITICAL + 1
        self._ordinary: int | None = None

    def reach(self, level: int) -> None:
        """Make sure that events from *level* up to the configured one arrive."""
        ordinary = THRESHOLDS.get("")
        if level >= self._least and ordinary == self._ordinary:
            return
        with self._lock:
            self._least = min(level, self._least)
            self._ordinary = ordinary
            names = [
                name for name, number in _NUMBERS.items() if self._least <= number < (ordinary or 0)
            ]
            hold_below(_hold, *names)

    def forget(self) -> None:
        """Leave the bound logger as it was: for tests."""
        with self._lock:
            self._least, self._ordinary = CRITICAL + 1, None
            hold_below(None)


_HOOK: Final = _Hook()

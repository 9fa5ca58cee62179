"""Standard error, line by line as events: what a server prints past its own loggers.

gunicorn prints why a worker did not boot, ``multiprocessing`` the traceback that ended a worker,
``wsgi.errors`` whatever an application has to say.  A traceback of the exception that is being
handled becomes one event with the exception in it; one that is printed of something else, one event
with its text; any other line, an event of its own.

Only where the events go to a terminal stream anyway.  If they go elsewhere alone, standard error
stays what it is: somebody reads it.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import traceback
from typing import Any, Final, TextIO

from pylog_struct import fork
from pylog_struct.active import ACTIVE
from pylog_struct.levels import ERROR, WARNING
from pylog_struct.manager import current_manager_or_none
from pylog_struct.sinks.base import walk
from pylog_struct.sinks.stream import StreamSink
from pylog_struct.thresholds import named_logger

__all__ = ["EventStream", "expect", "install", "uninstall"]

LOGGER: Final = "stderr"
"""The name under which the events come."""

_TRACEBACK: Final = "Traceback (most recent call last):"
_LINE_MAX: Final = 64 * 1024  # characters without a line's end
_TRACE_MAX: Final = 1000  # lines of a traceback


class _Thread(threading.local):
    """What one thread has written so far."""

    def __init__(self) -> None:
        self.inside = False  # an event is on its way: what is printed meanwhile is not one
        self.rest = ""  # a line without its end
        self.trace: list[str] = []  # a traceback without its last line
        self.told: list[str] = []  # lines to come that an event has said already, the next one last


class EventStream(io.TextIOBase):
    """A text stream that makes an event of each line; ``fileno`` and ``buffer`` are the real one's.

    Threads: thread-safe; lines of two threads never mix.  Blocks: as a log call does.
    """

    def __init__(self, behind: TextIO) -> None:
        super().__init__()
        self.pylog_struct_behind = behind
        self._thread = _Thread()
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._thread = _Thread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pylog_struct_behind, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The real stream's."""
        return self.pylog_struct_behind.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The real stream's."""
        return self.pylog_struct_behind.errors

    def fileno(self) -> int:
        """Return the real stream's descriptor: what is written there is written past the events."""
        return self.pylog_struct_behind.fileno()

    def isatty(self) -> bool:
        """Return what the real stream does."""
        return self.pylog_struct_behind.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def flush(self) -> None:
        """Flush the real stream; a line that is not at its end waits for it."""
        self.pylog_struct_behind.flush()

    def close(self) -> None:
        """Do nothing: the real stream is its owner's."""

    def write(self, text: str, /) -> int:
        """Make events of the lines that *text* ends."""
        mine = self._thread
        if not isinstance(text, str) or mine.inside or not _goes_to_a_stream():
            return self.pylog_struct_behind.write(text)
        mine.inside = True
        try:
            *lines, mine.rest = f"{mine.rest}{text}".split("\n")
            if len(mine.rest) > _LINE_MAX:
                lines.append(mine.rest)
                mine.rest = ""
            for line in lines:
                self._line(mine, line.rstrip("\r"))
        finally:
            mine.inside = False
        return len(text)

    def finish(self) -> None:
        """Make an event of what this thread left without an end."""
        mine = self._thread
        if mine.rest:
            self.write("\n")
        if mine.trace:
            self.write("\n")

    def _line(self, mine: _Thread, line: str) -> None:
        if mine.told:
            if mine.told[-1] == line:
                mine.told.pop()
                return
            mine.told.clear()
        if mine.trace:
            mine.trace.append(line)
            if not line.startswith((" ", "\t")) or len(mine.trace) > _TRACE_MAX:
                trace, mine.trace = mine.trace, []
                _emit(ERROR, line or trace[0], {"exc_text": "\n".join(trace)})
            return
        if not line.strip():
            return
        error = sys.exc_info()[1]
        begins = _TRACEBACK in line
        if error is not None and (begins or _names_process(line)):
            text = _lines(error)
            if not begins or line == text[0]:
                _emit(ERROR, line.rstrip(":") if not begins else str(text[-1]), {"exc_info": error})
                mine.told = text[: 0 if begins else None : -1]
                return
        if line == _TRACEBACK:
            mine.trace = [line]
            return
        _emit(WARNING, line, {})


def _lines(error: BaseException) -> list[str]:
    return "".join(traceback.format_exception(error)).rstrip("\n").split("\n")


def _names_process(line: str) -> bool:
    """Whether this is what ``multiprocessing`` prints above the traceback that ended a process."""
    return line.startswith("Process ") and line.endswith(":") and line.count(" ") == 1


def _goes_to_a_stream() -> bool:
    manager = current_manager_or_none()
    if manager is None or ACTIVE.pipeline is None or manager.root._closed:
        return False
    return any(isinstance(sink, StreamSink) for sink in walk(manager.root))


def _emit(level: int, event: str, fields: dict[str, Any]) -> None:
    pipeline = ACTIVE.pipeline
    if pipeline is not None:
        name = "error" if level == ERROR else "warning"
        pipeline.emit(level, name, named_logger(LOGGER), event, (), {}, fields)


def install() -> None:
    """Put an :class:`EventStream` before ``sys.stderr``, unless there is one, or no descriptor."""
    stream = sys.stderr
    if stream is None or isinstance(stream, EventStream):
        return
    try:
        os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):  # a test's capture, or closed
        return
    sys.stderr = made = EventStream(stream)
    atexit.register(made.finish)  # before the pipeline is drained, which was registered earlier


def uninstall() -> None:
    """Take it away again."""
    stream = sys.stderr
    if isinstance(stream, EventStream):
        stream.finish()
        atexit.unregister(stream.finish)
        sys.stderr = stream.pylog_struct_behind


def expect(text: str) -> None:
    """Swallow the lines of *text* if they are what this thread prints next: an event has said it."""
    if isinstance(sys.stderr, EventStream):
        sys.stderr._thread.told = text.split("\n")[::-1]

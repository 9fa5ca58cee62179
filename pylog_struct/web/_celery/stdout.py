"""Prints of a worker as events: what stands in for ``sys.stdout`` and ``sys.stderr`` there."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any, Final

from pylog_struct import diagnostics
from pylog_struct.active import ACTIVE
from pylog_struct.dispatch import level_name
from pylog_struct.thresholds import named_logger

__all__ = ["Prints", "end_lines", "redirect", "restore"]

LOGGER: Final = "celery.redirected"
"""The logger that Celery's own redirection uses."""

_LINE_MAX: Final = 64 * 1024  # characters without a newline that are held back


class _Line(threading.local):
    """The line that a thread has begun to print."""

    def __init__(self) -> None:
        self.begun = ""
        self.inside = False


class Prints(io.TextIOBase):
    """A text stream whose lines become events of the logger ``celery.redirected``.

    Each thread's prints are put together for themselves, so that two at once do not mix.  Never
    raises.  What an event's own way to a sink prints goes to the stream itself, as text.

    Args:
        behind: The stream it stands in for.
        name: ``stdout`` or ``stderr``: the event's field ``stream``.
        level: The events' level.
    """

    def __init__(self, behind: Any, name: str, level: int) -> None:
        super().__init__()
        self.pylog_struct_behind = behind  # StreamSink looks for it
        self._name = name
        self._level = level
        self._line = _Line()

    def write(self, text: str, /) -> int:
        """Emit the lines that end here."""
        line = self._line
        if line.inside:
            self.pylog_struct_behind.write(text)
            return len(text)
        *ended, line.begun = f"{line.begun}{text}".split("\n")
        if len(line.begun) > _LINE_MAX:
            ended.append(line.begun)
            line.begun = ""
        for one in ended:
            self._emit(one.rstrip("\r"))
        return len(text)

    def _emit(self, text: str) -> None:
        pipeline = ACTIVE.pipeline
        logger = named_logger(LOGGER)
        if pipeline is None or not text.strip() or self._level < logger.level:
            return
        self._line.inside = True
        try:
            fields = {"stream": self._name}
            pipeline.emit(self._level, level_name(self._level), logger, text, (), {}, fields)
        except Exception as error:  # a strict pipeline: print() is no log call
            diagnostics.report("celery.redirected", "a printed line is lost", error)
        finally:
            self._line.inside = False

    def end(self) -> None:
        """Emit what this thread has begun to print: it prints no more."""
        begun, self._line.begun = self._line.begun, ""
        self._emit(begun)

    def flush(self) -> None:
        """Flush the stream behind; a line that is not ended waits for its end."""
        if not getattr(self.pylog_struct_behind, "closed", False):
            self.pylog_struct_behind.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Never: colours do not belong into events."""
        return False

    def fileno(self) -> int:
        """Return the descriptor of the stream behind, for ``faulthandler`` and child processes."""
        return int(self.pylog_struct_behind.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind."""
        return getattr(self.pylog_struct_behind, "encoding", None) or "utf-8"


def redirect(level: int) -> None:
    """Stand in for both streams; again with another level if they are redirected already."""
    restore()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if stream is not None:
            setattr(sys, name, Prints(stream, name, level))


def restore() -> None:
    """Put the streams back, those of them that are ours."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if isinstance(stream, Prints):
            stream.end()
            setattr(sys, name, stream.pylog_struct_behind)


def end_lines() -> None:
    """Emit what this thread has begun to print."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Prints):
            stream.end()

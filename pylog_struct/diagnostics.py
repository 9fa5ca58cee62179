"""Where the pipeline's own trouble goes: stderr, never the pipeline.

One line per problem, rate-limited per kind, guarded against re-entry.  Reporting never raises and
never waits: a stderr that is a full pipe, closed or missing loses the report, not the thread.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
import traceback
from typing import Final

__all__ = ["INTERVAL", "describe", "report", "reset"]

INTERVAL: Final = 10.0
"""Seconds between two reports of one kind; those in between are counted and summed up."""

_KINDS_MAX: Final = 256
_LINE_MAX: Final = 4000  # below PIPE_BUF: one write is whole, and poll() promises that it fits

# Whatever would end the line or steer a terminal.
_CONTROL: Final = {
    code: ascii(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}

_lock = threading.Lock()  # guards _last and _held; only ever tried, never waited for
_inside = threading.local()  # .report: this thread is writing one, to a stderr that may log
_last: dict[str, float] = {}
_held: dict[str, int] = {}


def reset() -> None:
    """Forget what was reported, and the lock: for tests, and for the child of a fork."""
    _inside.report = False
    global _lock  # noqa: PLW0603 - the lock of another process is no lock
    _lock = threading.Lock()
    _last.clear()
    _held.clear()


def describe(error: BaseException) -> str:
    """Return ``Type: message`` in one line, whatever the exception's ``__str__`` does."""
    try:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:
        text = type(error).__name__
    return " ".join(text.split())[:1000]


def report(
    kind: str, message: str, error: BaseException | None = None, *, always: bool = False
) -> bool:
    """Write one line to stderr, at most once per ``INTERVAL`` for one *kind*.

    Args:
        kind: A short constant that names the problem (and the sink), e.g. ``"queue.full main"``.
        message: What happened and what became of the records.
        error: The exception behind it.
        always: Not rate-limited: the last word on an event of its own.

    Returns:
        Whether a line was written.

    Threads: thread-safe, re-entrant; blocks: never.
    """
    if getattr(_inside, "report", False):
        return False
    _inside.report = True
    try:
        return _report(kind, message, error, always=always)
    except Exception:  # there is nobody left to tell
        return False
    finally:
        _inside.report = False


def _report(kind: str, message: str, error: BaseException | None, *, always: bool) -> bool:
    held = 0
    if not _lock.acquire(blocking=False):
        if not always:
            return False
    else:
        try:
            now = time.monotonic()
            if len(_last) > _KINDS_MAX:
                _last.clear()
                _held.clear()
            if not always and now - _last.get(kind, -INTERVAL) < INTERVAL:
                _held[kind] = _held.get(kind, 0) + 1
                return False
            _last[kind] = now
            held = _held.pop(kind, 0)
        finally:
            _lock.release()
    text = f"pylog_struct: {message}"
    if error is not None:
        text += f" ({describe(error)})"
    if held:
        text += f" [{held} more of this kind since the last report]"
    written = False
    try:
        written = _write(text)
    finally:
        if not written and _lock.acquire(blocking=False):
            try:  # it counts as held back: the next one of its kind says so
                _held[kind] = _held.get(kind, 0) + held + 1
            finally:
                _lock.release()
    return written


def _write(text: str) -> bool:
    data = text.translate(_CONTROL).encode("utf-8", "backslashreplace")
    if len(data) > _LINE_MAX:  # cut between two characters
        data = data[:_LINE_MAX].decode("utf-8", "ignore").encode()
    data += b"\n"
    stream = sys.stderr
    try:
        fd = stream.fileno()
    except Exception:  # replaced by an object without a file (a test's capture), closed, or None
        if stream is None:
            return False
        stream.write(data.decode("utf-8", "replace"))
        return True
    poller = select.poll() if hasattr(select, "poll") else None
    if poller is not None:
        poller.register(fd, select.POLLOUT)
        ready = poller.poll(0)
        if not ready or not ready[0][1] & select.POLLOUT:
            return False
    os.write(fd, data)
    return True

"""A lane: calls a sink on a thread of its own, so that a call that hangs can be walked away from.

Python cannot interrupt a thread that is blocked inside a system call.  The only way to give up on
a hung sink is to have let somebody else wait: that is all that a lane is for.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct._background import BackgroundThread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HungError", "Lane"]

_IDLE: Final = 10.0  # seconds without a call after which the thread ends; the next call starts one


class HungError(Exception):
    """The call did not come back in time; the lane is busy with it until it does."""


class _Call:
    """One call: what to do, and how it ended."""

    __slots__ = ("abandoned", "done", "error", "function", "late", "result")

    def __init__(
        self, function: Callable[[], Any], late: Callable[[BaseException | None], None] | None
    ) -> None:
        self.function = function
        self.late = late
        self.done = threading.Event()
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None


class Lane:
    """Runs calls one after the other on one daemon thread, and lets the caller stop waiting.

    Args:
        name: Goes into the thread's name.
        idle: Seconds without a call after which the thread ends.

    Threads: one caller at a time; the thread starts with the first call, ends after *idle* seconds
    without one, or with :meth:`end`.
    Fork: the child must make a new lane; the thread does not exist there.
    """

    def __init__(self, name: str, *, idle: float = _IDLE) -> None:
        self._name = name
        self._idle = idle
        self._changed = threading.Condition()  # guards everything below
        self._calls: deque[_Call] = deque()
        self._current: _Call | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    @property
    def hung(self) -> bool:
        """Whether a call is still running: asked between calls, it is one that was given up on."""
        with self._changed:
            return self._current is not None

    def wait(self, timeout: float | None) -> bool:
        """Wait until no call is running; False if that took longer than *timeout* seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._current is None, timeout)

    def call(
        self,
        function: Callable[[], Any],
        timeout: float | None,
        late: Callable[[BaseException | None], None] | None = None,
    ) -> Any:
        """Return what *function* returns, or raise what it raises.

        Args:
            function: Runs on the lane's thread.
            timeout: Seconds to wait for it; None waits for ever.
            late: Called on the lane's thread if *function* ends after the caller gave up, with
                the exception that it raised, or None.

        Raises:
            HungError: *function* did not end in time, or an earlier one still runs.
        """
        call = _Call(function, late)
        with self._changed:
            if self._current is not None or self._ended:
                raise HungError
            self._current = call
            self._calls.append(call)
            self._wake()
        if not call.done.wait(timeout):
            with self._changed:
                if not call.done.is_set():  # it may have ended between the two lines
                    call.abandoned = True
                    raise HungError
        if call.error is not None:
            raise call.error
        return call.result

    def end(self, last: Callable[[], Any] | None = None) -> None:
        """End the thread once the running call, if any, is back; run *last* on it before that.

        Never waits.  What *last* raises is reported: there is nobody left to tell.
        """
        with self._changed:
            if self._ended:
                return
            self._ended = True
            if last is not None:
                self._calls.append(_Call(last, _report_late(self._name)))
                self._calls[-1].abandoned = True
            if self._thread is not None or self._calls:
                self._wake()

    def _wake(self) -> None:
        """Make sure that a thread runs; the caller holds the lock."""
        if self._thread is None:
            # Started anew after a pause, so an application that is idle has no idle threads.
            self._thread = BackgroundThread(target=self._loop, name=f"pylog-lane-{self._name}")
            self._thread.start()
        self._changed.notify_all()

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._calls and not self._ended:
                    self._changed.wait(self._idle)
                if not self._calls:
                    self._thread = None
                    return
                call = self._calls.popleft()
                self._current = call
            self._run(call)

    def _run(self, call: _Call) -> None:
        try:
            call.result = call.function()
        except BaseException as error:  # it is raised again, in the caller
            call.error = error
        with self._changed:
            call.done.set()
            if not call.abandoned:
                self._free()
                return
        # Before the lane is free again: whoever finds it free finds the late records counted.
        if call.late is not None:
            call.late(call.error)
        with self._changed:
            self._free()

    def _free(self) -> None:
        """Take the next call; the caller holds the lock."""
        self._current = None
        self._changed.notify_all()


def _report_late(name: str) -> Callable[[BaseException | None], None]:
    def report(error: BaseException | None) -> None:
        if error is not None:
            diagnostics.report(f"lane {name}", f"{name} failed while it was closed late", error)

    return report

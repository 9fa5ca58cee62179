"""Tells the listener of a rolling file what happened, when it is safe to."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pylog_struct import diagnostics

if TYPE_CHECKING:
    from pylog_struct.sinks._rolling.events import EventKind, FileEvent, FileListener
    from pylog_struct.sinks._rolling.plan import Plan

__all__ = ["Announcer"]


class Announcer:
    """Keeps the events of the writer until the sink is in order again: the listener may log.

    Args:
        plan: The sink's plan.
        listener: Called with each event, or None.

    Threads: :meth:`note` and :meth:`tell_all` belong to the writer, :meth:`tell` to anybody.
    """

    def __init__(self, plan: Plan, listener: FileListener | None) -> None:
        self._plan = plan
        self._listener = listener
        self._events: deque[FileEvent] = deque()
        self._telling = False

    def note(self, kind: EventKind, path: str, reason: str, size: int = 0) -> None:
        """Remember an event of now."""
        if self._listener is not None:
            self._events.append(self._plan.event(kind, path, reason, size))

    def tell_all(self) -> None:
        """Tell what was noted; a listener that makes this sink write again gets no recursion."""
        if self._telling or not self._events:
            return
        self._telling = True
        try:
            while self._events:
                self.tell(self._events.popleft())
        finally:
            self._telling = False

    def tell(self, event: FileEvent) -> None:
        """Call the listener; what it raises is reported and goes no further."""
        name = self._plan.name()
        if self._listener is None:
            if event.kind == "would_delete":
                diagnostics.report(
                    f"rolling.dry_run {name}",
                    f"{name}: dry run: {event.path!r} would be deleted ({event.reason})",
                    always=True,
                )
            return
        try:
            self._listener(event)
        except Exception as error:
            diagnostics.report(f"rolling.listener {name}", "on_event raised", error)

    def forget(self) -> None:
        """Drop what the parent of a fork had noted."""
        self._events.clear()
        self._telling = False

"""When the archives of a rolling file are looked after, and by whom: the janitor, or the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct._janitor import JANITOR
from pylog_struct.sinks._rolling.maintenance import Maintenance

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks._rolling.events import FileEvent
    from pylog_struct.sinks._rolling.plan import Plan

__all__ = ["Upkeep"]

_INLINE_FILES: Final = 256  # most archives for which the count is enforced by the writer itself


class Upkeep:
    """Has the maintenance run when a file was opened or rolled, and once in an interval.

    Args:
        owner: The sink: whose jobs they are.
        plan: Its plan.
        interval: Seconds between two runs without another reason.
        ledger: Where deletions are counted.
        emit: Takes an event; never raises.

    Threads: belongs to the writer; the work is done by the janitor, but for the count of archives.
    """

    def __init__(
        self,
        owner: Hashable,
        plan: Plan,
        interval: float,
        ledger: SinkLedger,
        emit: Callable[[FileEvent], None],
    ) -> None:
        self._owner = owner
        self._plan = plan
        self._interval = interval
        self._maintenance = Maintenance(plan, ledger, emit)
        self.forget()

    def forget(self) -> None:
        """Nothing is queued: at first, and in the child of a fork."""
        self._queued = False
        self._due = float("inf")  # monotonic

    def queue(self, now: float) -> None:
        """Have the janitor look at the archives soon."""
        self._due = now + self._interval
        if self._maintenance.wanted and not self._queued:
            self._queued = True
            JANITOR.submit(self._owner, self._run)

    def after_roll(self, now: float) -> None:
        """Do what a new archive makes necessary, or have it done."""
        if self._trim():
            self._due = now + self._interval
        else:
            self.queue(now)

    def is_due(self, now: float) -> bool:
        """Whether the interval is over."""
        return self._due <= now

    def poll(self, now: float) -> float | None:
        """Queue what is due; return seconds until the next call is wanted, or None."""
        if self._due <= now:
            self.queue(now)
        due = self._due
        return (
            None if due == float("inf") or not self._maintenance.wanted else max(due - now, 0.001)
        )

    def join(self, timeout: float | None) -> bool:
        """Wait until nothing is queued or running; False if that took longer than *timeout* s."""
        return JANITOR.join(self._owner, timeout)

    def _trim(self) -> bool:
        """Delete what is one too many, where that is cheap; whether nothing is left to look after."""
        limit = self._plan.retention.max_files
        if limit is None or limit > _INLINE_FILES:
            return False
        try:
            # A busy janitor must not let the disk fill up, and few files are cheap to count.
            return self._maintenance.trim_count() and self._maintenance.only_counts
        except OSError:
            return False  # the janitor tries it too, and reports it

    def _run(self) -> None:
        """Run on the janitor's thread."""
        self._queued = False
        wait = self._maintenance.run()
        if wait is not None:
            self._due = min(self._due, self._plan.clock.monotonic() + wait)

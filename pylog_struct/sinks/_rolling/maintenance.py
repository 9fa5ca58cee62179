"""The file work that is not urgent: retention, compression, and tidying up after crashes.

It keeps no state of its own: every run looks at what is there.  So a restart, another process or a
crash half-way need no special case, and any process may do the work for all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.sinks._rolling.archives import Archive, beyond_newest, list_archives
from pylog_struct.sinks._rolling.compression import Outcome, compress
from pylog_struct.sinks._rolling.files import remove_quietly
from pylog_struct.sinks._rolling.retention import REASONS, delete, select

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks._rolling.events import FileEvent
    from pylog_struct.sinks._rolling.plan import Plan

__all__ = ["Maintenance"]

_SKEW: Final = 60.0  # seconds between our clock and that of a file system


class Maintenance:
    """Keeps the archives of one sink in order.

    Args:
        plan: The sink's plan.
        ledger: Where deletions are counted.
        emit: Takes an event; never raises.

    Threads: one run at a time; the janitor's thread, or (count only) the writer's right after a
    roll-over.  Both may run at once: every step is safe against any other process doing the same.
    """

    def __init__(self, plan: Plan, ledger: SinkLedger, emit: Callable[[FileEvent], None]) -> None:
        self._plan = plan
        self._ledger = ledger
        self._emit = emit
        self._conflicts: set[str] = set()  # reported once; only a person can resolve them
        self._announced: set[str] = set()  # by a dry run

    @property
    def wanted(self) -> bool:
        """Whether there can be anything to do."""
        return self._plan.codec is not None or self._plan.retention.limits

    def run(self) -> float | None:
        """Do everything that can be done now; return seconds until something left can be tried.

        Never raises.  None: nothing is left.
        """
        try:
            return self._run()
        except OSError as error:
            diagnostics.report(
                f"rolling.maintenance {self._plan.name()}",
                f"{self._plan.name()}: cannot look after the archives in {self._plan.pattern.base!r}",
                error,
            )
            return 30.0

    @property
    def only_counts(self) -> bool:
        """Whether :meth:`trim_count` is all that there can be to do."""
        limits = self._plan.retention
        if self._plan.codec is not None:
            return False
        return limits.max_age is limits.max_total_bytes is None

    def trim_count(self) -> bool:
        """Delete what is beyond ``max_files``; False if something must be tried again.

        For the writer's thread: next to nothing is done for the archives that stay.

        Raises:
            OSError: the archives could not be listed.
        """
        most = self._plan.retention.max_files
        if most is None:
            return True
        surplus = beyond_newest(self._plan.pattern, self._active(), most)
        return self._remove((archive, "count") for archive in surplus)

    def trim(self, reasons: Collection[str] = REASONS) -> bool:
        """Delete what is beyond the limits named; False if something must be tried again."""
        plan = self._plan
        archives = list_archives(plan.pattern, self._active())
        return self._remove(select(plan, archives, plan.lock.peek(), reasons))

    def _remove(self, chosen: Iterable[tuple[Archive, str]]) -> bool:
        plan = self._plan
        complete = True
        for archive, reason in chosen:
            path, size = archive.paths[0], archive.size
            if plan.retention.dry_run:
                if path not in self._announced:
                    self._announced.add(path)
                    self._emit(plan.event("would_delete", path, reason, size))
                continue
            try:
                outcome = delete(archive, self._active)
            except OSError as error:
                diagnostics.report(
                    f"rolling.retention {plan.name()}", f"cannot delete {path!r}", error
                )
                continue
            if outcome is Outcome.BUSY:
                complete = False
            if outcome is not Outcome.DONE:
                continue
            self._ledger.count(f"archives_deleted.{reason}")
            self._emit(plan.event("deleted", path, reason, size))
            self._remove_empty_directories(path)
        return complete

    def _run(self) -> float | None:
        plan = self._plan
        limits = plan.retention.limits
        complete = True
        if limits and self.only_counts:
            complete = self.trim_count()
        elif limits:
            complete = self.trim(("count", "age"))
        wait = self._compress_all()
        if limits and plan.retention.max_total_bytes is not None:
            complete = self.trim() and complete
        self._remove_leftovers()
        if complete:
            return wait
        return 1.0 if wait is None else min(wait, 1.0)

    def _compress_all(self) -> float | None:
        plan = self._plan
        if plan.codec is None:
            return None
        wait: float | None = None
        for archive in list_archives(plan.pattern, self._active()):
            if archive.plain is None or archive.plain in self._conflicts:
                continue
            delay = self._delay(archive)
            if delay > 0:
                wait = delay if wait is None else min(wait, delay)
                continue
            try:
                outcome = compress(archive.plain, plan.codec, plan.ownership, self._active)
            except OSError as error:
                diagnostics.report(
                    f"rolling.compression {plan.name()}",
                    f"cannot compress {archive.plain!r}; it stays as it is for now",
                    error,
                )
                return 30.0
            packed = archive.plain + plan.codec.ending
            if outcome is Outcome.BUSY:
                wait = 1.0
            elif outcome is Outcome.CONFLICT:
                self._conflicts.add(archive.plain)
                diagnostics.report(
                    f"rolling.compression {plan.name()}",
                    f"{packed!r} exists and is not {archive.plain!r} compressed; both stay",
                )
            elif outcome is Outcome.DONE:
                self._emit(plan.event("compressed", packed, plan.codec.ending[1:], archive.size))
        return wait

    def _delay(self, archive: Archive) -> float:
        """Seconds that the archive is to stay plain; the last write counts."""
        age = self._plan.clock.time() - archive.modified
        # A modification time in the future (the clock was set back) says nothing; a little is skew.
        return self._plan.compress_delay - max(age, 0.0) if age > -_SKEW else 0.0

    def _active(self) -> str | None:
        plan = self._plan
        if plan.path is not None:
            return plan.path
        state = plan.lock.peek()
        return None if state.period is None else plan.pattern.format(state.period, state.index)

    def _remove_leftovers(self) -> None:
        """Remove unfinished compressed files whose plain archive is gone; others are still in work."""
        pattern = self._plan.pattern
        if not pattern.ending:
            return
        for directory in pattern.directories():
            for name in _names(directory):
                final = name[1:].removesuffix(".tmp")
                if (
                    not name.startswith(".")
                    or not name.endswith(pattern.ending + ".tmp")
                    or not pattern.could_have_made(final)
                ):
                    continue
                path = os.path.join(directory, name)
                source = os.path.join(directory, final.removesuffix(pattern.ending))
                if not os.path.lexists(source):
                    remove_quietly(path)

    def _remove_empty_directories(self, path: str) -> None:
        for _ in range(self._plan.pattern.depth):
            path = os.path.dirname(path)
            try:
                os.rmdir(path)
            except OSError:
                return


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []

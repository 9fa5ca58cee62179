"""Which archives go: by count, by the age in their names, by total size.

Nothing is deleted but regular files whose whole name the pattern could have made, one at a time,
under the exclusive lock that a late writer's shared one keeps away.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from pylog_struct.sinks._rolling.compression import Outcome
from pylog_struct.sinks._rolling.files import is_file, open_regular
from pylog_struct.sinks._rolling.locks import OpenFile
from pylog_struct.sinks._rolling.pattern import NO_DATE
from pylog_struct.sinks._rolling.periods import Every

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pylog_struct.sinks._rolling.archives import Archive
    from pylog_struct.sinks._rolling.plan import Plan
    from pylog_struct.sinks._rolling.state import RollState

__all__ = ["REASONS", "delete", "select"]

REASONS = ("count", "age", "total_bytes")


def select(
    plan: Plan, archives: Sequence[Archive], state: RollState, reasons: Collection[str] = REASONS
) -> Iterator[tuple[Archive, str]]:
    """Yield the archives to delete, oldest first, each with the first reason for it.

    Args:
        plan: The limits.
        archives: All of them, oldest first.
        state: The shared facts: when archives that took long to fill were ended.
        reasons: Which limits to look at.
    """
    limits = plan.retention
    surplus = 0
    if "count" in reasons and limits.max_files is not None:
        surplus = len(archives) - limits.max_files
    too_large = _beyond(archives, limits.max_total_bytes) if "total_bytes" in reasons else 0
    for position, archive in enumerate(archives):
        if position < surplus:
            yield archive, "count"
        elif (
            "age" in reasons
            and limits.max_age is not None
            and _age(plan, archive, state) > limits.max_age
        ):
            yield archive, "age"
        elif position < too_large:
            yield archive, "total_bytes"


def _beyond(archives: Sequence[Archive], most: int | None) -> int:
    """How many of the oldest must go so that the others hold at most *most* bytes."""
    if most is None:
        return 0
    left = most
    for kept, archive in enumerate(reversed(archives)):
        left -= archive.size
        if left < 0:
            return len(archives) - kept
    return 0


def _age(plan: Plan, archive: Archive, state: RollState) -> float:
    """Seconds since the archive's period ended, by its name; only a name without date has none."""
    now = plan.clock.time()
    if archive.date == NO_DATE:
        return now - archive.modified
    unit = plan.pattern.unit
    if plan.schedule is not None and unit is not None:
        # The end of the last period that starts within what the name says (a day, an hour …).
        last = Every(1, unit).end(archive.date) - timedelta(seconds=1)
        end = plan.schedule.end(plan.schedule.start(last))
    else:
        end = archive.date
        for date, index, ended in state.ends:
            if plan.pattern.key(date) == archive.date and index == archive.index:
                end = ended
    try:
        return now - plan.wall.instant(end)
    except (ValueError, OverflowError):
        return (plan.wall.wall(now) - end) // timedelta(seconds=1)


def delete(archive: Archive, active: Callable[[], str | None]) -> Outcome:
    """Delete the files of *archive*: ``DONE``, ``BUSY`` (try again) or ``GONE`` (others did it).

    Args:
        archive: What to delete.
        active: Gives the active file, asked under the lock: that is never deleted.

    Raises:
        OSError: it may not be deleted.
    """
    outcome = Outcome.GONE
    for path in archive.paths:
        try:
            file = OpenFile(open_regular(path), path)
        except FileNotFoundError:
            continue
        try:
            if not file.lock(exclusive=True) or is_file(active(), os.fstat(file.fd)):
                return Outcome.BUSY
            if file.names_its_path():
                os.unlink(path)
                outcome = Outcome.DONE
        except FileNotFoundError:
            continue
        finally:
            file.close()
    return outcome

"""The archives that exist, in order, and the name of the next one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pylog_struct.sinks._rolling.pattern import Pattern

__all__ = ["Archive", "is_taken", "list_archives", "next_index"]


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: plain, compressed, or for the moment both.

    Attributes:
        date: The date in its name (wall-clock time).
        index: Its index; newer ones of one date have greater ones.
        plain: Path of the plain file, or None.
        packed: Path of the compressed file, or None.
        size: Bytes on disk.
        modified: Last modification, Unix seconds.
    """

    date: datetime
    index: int
    plain: str | None
    packed: str | None
    size: int
    modified: float

    @property
    def paths(self) -> list[str]:
        """The files, the one to lock first."""
        return [path for path in (self.plain, self.packed) if path is not None]


def list_archives(pattern: Pattern, active: str | None) -> list[Archive]:
    """Return the archives on disk, oldest first; *active*, the file being written, is none.

    Raises:
        OSError: a directory could not be read.
    """
    try:
        busy = None if active is None else os.stat(active)
    except OSError:
        busy = None
    found: dict[tuple[datetime, int], Archive] = {}
    for entry, date, index, compressed in pattern.walk():
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if busy is not None and os.path.samestat(status, busy):
            continue
        twin = found.get((date, index))
        plain, packed = (twin.plain, twin.packed) if twin else (None, None)
        found[date, index] = Archive(
            date,
            index,
            plain if compressed else entry.path,
            entry.path if compressed else packed,
            status.st_size + (twin.size if twin else 0),
            max(status.st_mtime, twin.modified if twin else 0.0),
        )
    return [found[key] for key in sorted(found)]


def is_taken(pattern: Pattern, path: str) -> bool:
    """Whether *path* or its compressed twin exists, as whatever."""
    return os.path.lexists(path) or bool(pattern.ending and os.path.lexists(path + pattern.ending))


def next_index(pattern: Pattern, wall: datetime, last: tuple[datetime, int] | None) -> int:
    """Return an index for an archive of *wall* whose name was never given before, as far as known.

    Args:
        pattern: The names.
        wall: The start of the period of the archive.
        last: Date and index of the archive that was named last.
    """
    date = pattern.key(wall)
    least = 1 if pattern.has_index else 0
    if last is not None and last[0] == date:
        index = last[1] + 1
        if not is_taken(pattern, pattern.format(wall, index)):
            return index
    taken = [index for _, day, index, _ in pattern.walk() if day == date]
    index = max([least - 1, *taken]) + 1
    while is_taken(pattern, pattern.format(wall, index)):  # by a directory or a link
        index += 1
    return index

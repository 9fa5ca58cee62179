"""The archives that exist, in order, and the name of the next one.

A roll-over looks at all of them while somebody waits for it.  So nothing is asked of the system but
the names, until the size or the age of one archive matters, and a name is taken apart once only
(see :meth:`Pattern.walk`).
"""

from __future__ import annotations

import heapq
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pylog_struct.sinks._rolling.pattern import Pattern

    Key = tuple[datetime, int]
    Entries = tuple[os.DirEntry[str] | None, os.DirEntry[str] | None]

__all__ = ["Archive", "beyond_newest", "is_taken", "list_archives", "next_index"]


class Archive:
    """One archive: plain, compressed, or for the moment both.

    Attributes:
        date: The date in its name (wall-clock time).
        index: Its index; newer ones of one date have greater ones.
        plain: Path of the plain file, or None.
        packed: Path of the compressed file, or None.
    """

    __slots__ = ("_entries", "_status", "date", "index", "packed", "plain")

    def __init__(self, key: Key, entries: Entries) -> None:
        self.date, self.index = key
        plain, packed = self._entries = entries
        self.plain = None if plain is None else plain.path
        self.packed = None if packed is None else packed.path
        self._status: tuple[int, float] | None = None

    @property
    def paths(self) -> list[str]:
        """The files, the one to lock first."""
        return [path for path in (self.plain, self.packed) if path is not None]

    @property
    def size(self) -> int:
        """Bytes on disk when first asked for; 0 if it is gone."""
        return self._look()[0]

    @property
    def modified(self) -> float:
        """Last modification, Unix seconds, when first asked for; 0.0 if it is gone."""
        return self._look()[1]

    def _look(self) -> tuple[int, float]:
        if self._status is None:
            size, modified = 0, 0.0
            for entry in self._entries:
                try:
                    status = None if entry is None else entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status is not None:
                    size += status.st_size
                    modified = max(modified, status.st_mtime)
            self._status = size, modified
        return self._status


def list_archives(pattern: Pattern, active: str | None) -> list[Archive]:
    """Return the archives on disk, oldest first; *active*, the file being written, is none.

    Raises:
        OSError: a directory could not be read.
    """
    found = _find(pattern, active)
    return [Archive(key, found[key]) for key in sorted(found)]


def beyond_newest(pattern: Pattern, active: str | None, most: int) -> list[Archive]:
    """Return the archives besides the newest *most*, oldest first; usually none or one.

    Raises:
        OSError: a directory could not be read.
    """
    found = _find(pattern, active)
    if len(found) <= most:
        return []
    return [Archive(key, found[key]) for key in heapq.nsmallest(len(found) - most, found)]


def _find(pattern: Pattern, active: str | None) -> dict[Key, Entries]:
    try:
        busy = None if active is None else os.stat(active)
    except OSError:
        busy = None
    number = None if busy is None else busy.st_ino
    # The shared facts name the next file before it exists: made since we asked, it is no archive.
    coming = None if active is None or busy is not None else os.path.basename(active)
    found: dict[Key, Entries] = {}
    for entry, date, index, compressed in pattern.walk():
        if coming is not None and entry.name == coming:
            continue
        # The number alone may be that of a file on another device.
        if busy is not None and entry.inode() == number and _is(entry, busy):
            continue
        key = (date, index)
        plain, packed = found.get(key, (None, None))
        found[key] = (plain, entry) if compressed else (entry, packed)
    return found


def _is(entry: os.DirEntry[str], status: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(follow_symlinks=False), status)
    except OSError:
        return False


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
    index = max([least - 1, *(index for index, _ in pattern.of_date(wall))]) + 1
    while is_taken(pattern, pattern.format(wall, index)):  # by a directory or a link
        index += 1
    return index

"""The ``_id`` of a document: the same for the same record, whoever sends it, however often.

    key = hex(milliseconds, 12 digits) + hex(BLAKE2b-96(line, salt=created, key=origin), 24 digits)
    _id = key, or key + "." + n for the (n+1)-th record that is equal in every byte

*created* is the record's float as eight big-endian bytes, *origin* the sink's argument.  The leading
time keeps neighbours together, as Lucene likes its ids best.  Nothing in the formula belongs to a
process: what a spool sends again after a crash gets the id that it had.

Two log calls that render to the same bytes in the same quarter of a microsecond are told apart by
the number.  Equal records may stand in for each other, so a number is free again when its record was
given back to the caller as unwritten, and the next equal record takes the lowest free one: sent
again, it is the same document, and a new twin is never taken for one that was written.
"""

from __future__ import annotations

import struct
from bisect import insort
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pylog_struct.record import Record

__all__ = ["Identities"]

_GENERATION: Final = 10_000  # keys; twins come within a moment of each other
_pack: Final = struct.Struct(">d").pack
_LARGEST: Final = (1 << 48) - 1


class Identities:
    """Gives out ids; remembers the last 10,000 to 20,000 keys.

    Args:
        origin: Goes into every id, so that equal lines of different origins differ.

    Threads: one caller at a time.
    """

    def __init__(self, origin: str) -> None:
        self._origin = blake2b(origin.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._recent: dict[str, int] = {}  # key → how many numbers were given out
        self._older: dict[str, int] = {}
        self._free: dict[str, list[int]] = {}

    def key(self, record: Record) -> str:
        """What equal records have in common."""
        created = record[2]
        milliseconds = int(created * 1000) if 0.0 <= created < _LARGEST / 1000 else 0
        digest = blake2b(
            record[1], digest_size=12, salt=_pack(created), key=self._origin
        ).hexdigest()
        return f"{milliseconds:012x}{digest}"

    def give(self, record: Record) -> str:
        """Return the id for *record*: a free one of its key, else a new one."""
        key = self.key(record)
        if key not in self._recent and key not in self._older:
            if len(self._recent) >= _GENERATION:
                self._older, self._recent = self._recent, {}
            self._recent[key] = 1
            return key
        free = self._free.get(key)
        if free:
            number = free.pop(0)
            if not free:
                del self._free[key]
        else:
            number = max(self._recent.get(key, 0), self._older.get(key, 0))
            self._recent[key] = number + 1
        return f"{key}.{number}" if number else key

    def take_back(self, identity: str) -> None:
        """The record of *identity* is the caller's again."""
        key, _, number = identity.partition(".")
        if len(self._free) >= 2 * _GENERATION:  # the caller went elsewhere with them
            del self._free[next(iter(self._free))]
        insort(self._free.setdefault(key, []), int(number or 0))
        if key not in self._recent:
            self._recent[key] = self._older.get(key, int(number or 0) + 1)

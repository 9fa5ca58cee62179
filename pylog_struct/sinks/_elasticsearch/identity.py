"""The ``_id`` of a document: the same for the same record, whoever sends it, however often.

    key = base64url(microseconds, 7 bytes + BLAKE2b-88(line, salt=created, person=BLAKE2b-128(origin)))
    _id = key, or key + "." + n for the (n+1)-th record that is equal in every byte

*created* is the record's float as eight big-endian bytes, *origin* the sink's argument.  Nothing in the
formula belongs to a process: what a spool sends again after a crash gets the id that it had.

24 characters that are base64 without padding, because a server keeps such an id as its 18 bytes; and
the time first, because it compares those bytes: an id that is newer than all that a segment of its index
has cannot be there, and the look-up, which every ``create`` needs, ends before it begins.

Two log calls that render to the same bytes in the same quarter of a microsecond are told apart by
the number.  Equal records may stand in for each other, so a number is free again when its record was
given back to the caller as unwritten, and the next equal record takes the lowest free one: sent
again, it is the same document, and a new twin is never taken for one that was written.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from bisect import insort
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record

__all__ = ["Identities"]

_GENERATION: Final = 10_000  # keys; twins come within a moment of each other
_LENGTH: Final = 24
_TIME: Final = 7  # bytes
_HASH: Final = 11
_LATEST: Final = float(1 << 8 * _TIME) / 1e6  # seconds
_pack: Final = struct.Struct(">d").pack


class Identities:
    """Gives out ids; remembers the last 10,000 to 20,000 keys.

    Args:
        origin: Goes into every id, so that equal lines of different origins differ.

    Threads: one caller at a time.
    """

    def __init__(self, origin: str) -> None:
        self._origin = blake2b(origin.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._recent: dict[str, int] = {}  # key → how many numbers were given out
        self._older: dict[str, int] = {}
        self._free: dict[str, list[int]] = {}

    def key(self, record: Record) -> str:
        """What equal records have in common."""
        created = record[2]
        moment = int(created * 1e6) if 0.0 <= created < _LATEST else 0
        digest = blake2b(
            record[1], digest_size=_HASH, salt=_pack(created), person=self._origin
        ).digest()
        return urlsafe_b64encode(moment.to_bytes(_TIME, "big") + digest).decode()

    def give_all(self, records: Sequence[Record]) -> list[str]:
        """Return what :meth:`give` would for each, in half of the time."""
        origin = self._origin
        times = [record[2] for record in records]
        try:
            # 18 bytes need no padding, so that all of them can be encoded in one piece.
            raw = b"".join(
                [
                    int(created * 1e6).to_bytes(7, "big")
                    + blake2b(
                        record[1], digest_size=11, salt=_pack(created), person=origin
                    ).digest()
                    for record, created in zip(records, times, strict=True)
                ]
            )
        except (ValueError, OverflowError):  # no time: negative, NaN, infinite
            return [self.give(record) for record in records]
        text = urlsafe_b64encode(raw).decode()
        keys = [text[begin : begin + _LENGTH] for begin in range(0, len(text), _LENGTH)]
        fresh = dict.fromkeys(keys, 1)
        if (
            len(fresh) < len(keys)
            or len(keys) > _GENERATION
            or not self._recent.keys().isdisjoint(keys)
            or not self._older.keys().isdisjoint(keys)
        ):
            return [self._numbered(key) for key in keys]
        if len(self._recent) + len(keys) > _GENERATION:
            self._older, self._recent = self._recent, {}
        self._recent.update(fresh)
        return keys

    def give(self, record: Record) -> str:
        """Return the id for *record*: a free one of its key, else a new one."""
        return self._numbered(self.key(record))

    def _numbered(self, key: str) -> str:
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

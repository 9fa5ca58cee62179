"""A number for each event, so that a reader sees order within one microsecond, and gaps."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import orjson

from pylog_struct import fork

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SequenceNumber"]


class SequenceNumber:
    """A processor that adds ``sequence``: 1, 2, 3 … in each process.

    Unique together with the process id and its start; after a fork the child counts from 1.  An
    event dropped by a later processor leaves a gap.  A key of that name from the call stays.

    Args:
        key: The name of the key.

    Threads: thread-safe, lock-free.  Picklable; the copy counts from 1.
    """

    def __init__(self, key: str = "sequence") -> None:
        self._key = key
        self._next = itertools.count(1).__next__
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._next = itertools.count(1).__next__

    def __call__(
        self, _logger: Any, _method_name: str, event_dict: dict[str, Any], /
    ) -> dict[str, Any]:
        """Add the number."""
        event_dict.setdefault(self._key, self._next())
        return event_dict

    @property
    def keys(self) -> tuple[str, ...]:
        """What it adds."""
        return (self._key,)

    def adder(self, _frames: int) -> Callable[[], bytes]:
        """Return what gives the same as a member of an object, after a comma: for the fast lane."""
        key = orjson.dumps(self._key)
        return lambda: b",%b:%d" % (key, self._next())

    def __reduce__(self) -> tuple[type[SequenceNumber], tuple[str]]:
        return (type(self), (self._key,))

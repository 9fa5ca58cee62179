"""A queue that forgets its oldest items, bounded in records and in bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Ring"]

Item = TypeVar("Item")


class Ring(Generic[Item]):
    """Holds the newest items.

    Args:
        capacity: Most items, 0 or more.
        max_bytes: Most bytes, or None.
        size: Gives the bytes of one item.

    Threads: one caller at a time.
    """

    __slots__ = ("_capacity", "_items", "_max_bytes", "_size", "bytes")

    def __init__(self, capacity: int, max_bytes: int | None, size: Callable[[Item], int]) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._size = size
        self._items: deque[Item] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def could_hold(self, item: Item) -> bool:
        """Return whether *item* fits, if need be alone."""
        limit = self._max_bytes
        return self._capacity > 0 and (limit is None or self._size(item) <= limit)

    def append(self, item: Item) -> list[Item]:
        """Hold *item* and return what had to go for it, oldest first; *item* itself if it can never fit."""
        if not self.could_hold(item):
            return [item]
        size = self._size(item)
        limit = self._max_bytes
        gone: list[Item] = []
        while len(self._items) >= self._capacity or (
            limit is not None and self.bytes + size > limit
        ):
            gone.append(self._items.popleft())
            self.bytes -= self._size(gone[-1])
        self._items.append(item)
        self.bytes += size
        return gone

    def drain(self) -> list[Item]:
        """Return all items, oldest first, and hold none."""
        items = list(self._items)
        self.clear()
        return items

    def replace(self, items: list[Item]) -> None:
        """Hold *items*, a part of what was held before."""
        self._items = deque(items)
        self.bytes = sum(map(self._size, items))

    def clear(self) -> None:
        """Hold none."""
        self._items.clear()
        self.bytes = 0

"""Bounded copies of containers that other threads may be changing at this moment.

The copy is made by single calls into C.  Python may still switch threads inside of one (a
finaliser that runs when memory is allocated, a colliding key's ``__eq__``); the iterator notices
that the container changed its size and raises, and the copy is made again.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["members", "pairs"]

_ATTEMPTS: Final = 100


def pairs(mapping: dict[Any, Any], most: int) -> tuple[list[tuple[Any, Any]], int]:
    """Return the first *most* items of a ``dict`` or subclass, and how many more there are.

    Overridden methods of a subclass are not called.

    Raises:
        RuntimeError: it changed all the time.
    """
    view: Any = OrderedDict.items if isinstance(mapping, OrderedDict) else dict.items
    for _ in range(_ATTEMPTS):
        try:
            found = list(islice(view(mapping), most))
            return found, _left(found, most, dict.__len__(mapping))
        except RuntimeError:
            continue
    found = list(dict.copy(mapping).items())
    return found[:most], max(0, len(found) - most)


def members(container: Collection[Any], most: int) -> tuple[list[Any], int]:
    """Return the first *most* members of a builtin sequence or set, and how many more there are.

    For a subclass, what its builtin base holds: overridden methods are not called.

    Raises:
        RuntimeError: it changed all the time.
    """
    if isinstance(container, list):
        found = list.__getitem__(container, slice(0, most))
        return found, _left(found, most, list.__len__(container))
    if isinstance(container, tuple):
        found = list(tuple.__getitem__(container, slice(0, most)))
        return found, max(0, tuple.__len__(container) - most)
    base: Any = next(cls for cls in type(container).__mro__ if cls.__module__ in _HOMES)
    for _ in range(_ATTEMPTS):
        try:
            found = list(islice(base.__iter__(container), most))
            return found, _left(found, most, base.__len__(container))
        except RuntimeError:
            continue
    copied = list(base.copy(container))
    return copied[:most], max(0, len(copied) - most)


def _left(found: list[Any], most: int, size: int) -> int:
    # Fewer than asked for is all there was: the size may have changed since.
    return max(0, size - most) if len(found) == most else 0


_HOMES: Final = ("builtins", "collections")  # of set, frozenset and deque

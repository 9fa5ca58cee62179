"""The full sanitiser: any value whatever → a JSON-safe copy of exact builtin types.

Every node is contained on its own: what cannot be shown becomes a text in angle brackets in its
place, and the rest of the event stays where it was.  See ``docs/reference/rendered-events.md``
for what becomes what.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any, Final

from pylog_struct.processors import _records
from pylog_struct.processors import _snapshot as snapshot
from pylog_struct.processors._bounded_call import NotCalledError
from pylog_struct.processors._leaves import LEAVES, bring_in_late
from pylog_struct.processors._text import clean, cut, key_path, type_name
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.safe_repr import integer_text, safe_repr

__all__ = ["Sanitiser", "sanitise"]

_KEY_LEAST: Final = 256  # characters of a key that are kept whatever the limits are
_SHORTEST: Final = 64  # characters of a string that are kept even when the text budget is used up
_SEQUENCES: Final = frozenset(id(cls) for cls in (list, tuple, set, frozenset, deque))
_ORDERED: Final = (frozenset((str,)), frozenset((int, float, bool)))
_MRO: Final = type.__dict__["__mro__"].__get__


def sanitise(value: Any, *, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Return *value* as exact ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` and None.

    The result shares nothing mutable with *value*, *value* is never changed, and every JSON
    encoder takes the result.  The time is linear in what is kept (bounded by *limits*), not in
    what is there.

    Raises:
        BaseException: no ``Exception``; only what a signal handler raises meanwhile.

    Threads: thread-safe; *value* may be changed by other threads meanwhile.
    Blocks: up to ``limits.repr_seconds`` for the first object of a class, see :func:`safe_repr`.
    """
    return Sanitiser(limits).value(value, 1)


class Sanitiser:
    """One pass over one value.

    Attributes:
        trouble: Where and how the first thing was lost or replaced; None if nothing was.
            An object that has no JSON shape and is shown by its ``repr`` is no trouble.
    """

    __slots__ = ("_ancestors", "_limits", "_nodes", "_path", "_text", "trouble")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._nodes = limits.max_nodes
        self._text = limits.max_text
        self._path: list[str | int] = []
        self._ancestors: dict[int, int] = {}  # id of each open container → length of its path
        self.trouble: str | None = None

    def value(self, value: Any, depth: int) -> Any:
        """Return the JSON-safe form of *value*, which is level *depth* if it has members."""
        cls = type(value)
        if cls is str:
            return self._string(value)
        if value is None or value is True or value is False:
            return value
        try:
            return self._other(value, cls, depth)
        except Exception as error:
            return self._unrepresentable(cls, error)

    def _other(self, value: Any, cls: type, depth: int) -> Any:
        leaf = LEAVES.get(id(cls))
        if leaf is not None:
            return self._scalar(leaf(value, self._limits))
        place = self._ancestors.get(id(value))
        if place is not None:
            return self._replaced(f"<circular: {self._location(place)}>")
        self._ancestors[id(value)] = len(self._path)
        try:
            return self._composite(value, cls, depth)
        finally:
            del self._ancestors[id(value)]

    def _composite(self, value: Any, cls: type, depth: int) -> Any:
        if cls is dict:
            return self._object(*snapshot.pairs(value, self._limits.max_items), depth)
        if cls is list or cls is tuple:
            return self._array(*snapshot.members(value, self._limits.max_items), depth)
        if issubclass(cls, Enum):
            return self.value(value._value_, depth)
        if not issubclass(cls, BaseException):
            fields = _records.fields_of(value, cls, self._limits)
            if fields is not None:
                return self._object(fields, 0, depth)
        bring_in_late()
        for base in _MRO(cls):
            leaf = LEAVES.get(id(base))
            if leaf is not None:
                return self._scalar(leaf(value, self._limits))
            if base is dict:
                return self._object(*snapshot.pairs(value, self._limits.max_items), depth)
            if id(base) in _SEQUENCES:
                found, more = snapshot.members(value, self._limits.max_items)
                return self._array(
                    _sorted(found) if base in (set, frozenset) else found, more, depth
                )
        return self._foreign(value, cls, depth)

    def _foreign(self, value: Any, cls: type, depth: int) -> Any:
        unwrapped = _records.numpy_value(value, cls, self._limits)
        if unwrapped is not None:
            return self.value(unwrapped[0], depth)
        items = _records.foreign_items(value, cls, self._limits)
        if items is not None:
            return self._object(*items, depth)
        members = _records.foreign_members(value, cls, self._limits)
        if members is not None:
            return self._array(*members, depth)
        text = safe_repr(value, self._limits.max_repr, seconds=self._limits.repr_seconds)
        if text.startswith("<unrepresentable "):
            self._replaced(text)
        return self._string(text)

    # -- containers -----------------------------------------------------------------------------

    def _array(self, found: list[Any], more: int, depth: int) -> Any:
        if depth > self._limits.max_depth:
            return self._replaced("<depth>")
        found, more = self._admitted(found, more)
        shown: list[Any] = []
        for index, member in enumerate(found):
            self._path.append(index)
            shown.append(self.value(member, depth + 1))
            self._path.pop()
        if more:
            shown.append(self._replaced(f"<… {more} more>"))
        return shown

    def _object(self, found: list[tuple[Any, Any]], more: int, depth: int) -> Any:
        if depth > self._limits.max_depth:
            return self._replaced("<depth>")
        found, more = self._admitted(found, more)
        # What is a string already keeps its name, wherever it stands; others make way.
        taken = {key for key, _ in found if type(key) is str}
        shown: dict[str, Any] = {}
        last = len(found) - 1
        for index, (key, member) in enumerate(found):
            name = self._key(key, taken)
            self._path.append(name)
            if depth == 1 and index < last:
                # One key of the event must not use up what the others need.
                nodes, text = self._nodes // 2, self._text // 2
                self._nodes -= nodes
                self._text -= text
                shown[name] = self.value(member, depth + 1)
                self._nodes += nodes
                self._text = max(0, self._text) + text
            else:
                shown[name] = self.value(member, depth + 1)
            self._path.pop()
        if more:
            shown[_free("…", "more", taken)] = self._replaced(f"<… {more} more>")
        return shown

    def _admitted(self, found: list[Any], more: int) -> tuple[list[Any], int]:
        """Charge all members at once: what is inside of the first must not starve its siblings."""
        room = max(0, min(self._nodes, self._limits.max_items))
        if len(found) > room:
            more += len(found) - room
            found = found[:room]
        self._nodes -= len(found)
        return found, more

    def _key(self, key: Any, taken: set[str]) -> str:
        if type(key) is str:
            name = self._string(key, _KEY_LEAST)
            return name if name == key else _free(name, "str", taken)
        try:
            text = self._key_text(key)
        except Exception as error:
            text = self._unrepresentable(type(key), error)
        return _free(self._string(text, _KEY_LEAST), type_name(type(key)), taken)

    def _key_text(self, key: Any) -> str:
        cls = type(key)
        if key is None:
            return "null"
        if key is True or key is False:
            return "true" if key else "false"
        if issubclass(cls, Enum):
            return key._value_ if type(key._value_) is str else self._key_text(key._value_)
        if issubclass(cls, int):
            return integer_text(int.__int__(key))
        if issubclass(cls, float):
            return float.__repr__(key)
        bring_in_late()
        for base in _MRO(cls):
            leaf = LEAVES.get(id(base))
            if leaf is not None:
                return str(leaf(key, self._limits))
        return safe_repr(key, self._limits.max_repr, seconds=self._limits.repr_seconds)

    # -- what is left ---------------------------------------------------------------------------

    def _scalar(self, result: Any) -> Any:
        return self._string(result) if type(result) is str else result

    def _string(self, text: str, least: int = 0) -> str:
        limit = max(least, min(self._limits.max_string, max(self._text, _SHORTEST)))
        shown = clean(text if len(text) <= limit else cut(text, limit))
        self._text -= len(shown)
        if shown is not text and shown != text:
            self._replaced("<text that was cut or is no Unicode>")
        return shown

    def _unrepresentable(self, cls: type, error: BaseException) -> str:
        reason = error.args[0] if type(error) is NotCalledError else type_name(type(error))
        return self._replaced(f"<unrepresentable {type_name(cls)}: {reason}>")

    def _replaced(self, text: str) -> str:
        if self.trouble is None:
            self.trouble = f"{self._location(len(self._path))}: {text}"
        return text

    def _location(self, length: int) -> str:
        steps = [
            f"[{step}]" if isinstance(step, int) else key_path(step) for step in self._path[:length]
        ]
        return "$" + "".join(steps)


def _free(name: str, kind: str, taken: set[str]) -> str:
    """Return *name*, or ``name (kind)``, or ``name (kind 2)`` …: the first that is not taken; take it."""
    free = name
    number = 1
    while free in taken:
        free = f"{name} ({kind})" if number == 1 else f"{name} ({kind} {number})"
        number += 1
    taken.add(free)
    return free


def _sorted(found: list[Any]) -> list[Any]:
    """Sets have no order; where members compare, give them one, so that equal sets look equal."""
    kinds = {type(member) for member in found}
    return sorted(found) if any(kinds <= ordered for ordered in _ORDERED) else found

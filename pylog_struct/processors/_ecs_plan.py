"""Which fields of an event may go straight into a document, with which types of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._ecs_document import ALIASES
from pylog_struct.processors._ecs_fields import ecs_fields
from pylog_struct.processors._ecs_names import is_claimed, is_sound
from pylog_struct.processors._ecs_plain import SCALARS, in_range
from pylog_struct.processors._field_types import passing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.processors._ecs_shape import Shape
    from pylog_struct.processors.type_guard import TypeGuard

__all__ = ["NO_TYPES", "QuickPlan", "is_even"]

NO_TYPES: Final[frozenset[type]] = frozenset()
"""Of a field that has to go the thorough way."""

_NULL: Final = frozenset({type(None)})
_ELSEWHERE: Final = frozenset({*ALIASES, "stack"})
"""Keys that have a place of their own in some events, by what else is there or what they hold."""

_PLAN_MAX: Final = 4_096  # keys; more come only without a guard


class QuickPlan:
    """What the thorough way found out about keys, for the quick way.

    Args:
        guard: Of the same renderer.

    Threads: thread-safe.
    """

    __slots__ = ("_guard", "_types", "addresses", "takes_arrays", "types_of")

    def __init__(self, guard: TypeGuard | None) -> None:
        self._guard = guard
        self._types: dict[str, frozenset[type]] = {}
        self.types_of: Callable[..., Any] = self._types.get
        """``types_of(key)``: the types of values that may stand there as they are, or None."""
        self.addresses: set[str] = set()
        """Keys whose values are texts that have to be looked at: those of IP addresses."""
        self.takes_arrays: bool = guard is not None
        """Whether arrays of them may, too: a guard has one type for a field and for arrays in it."""

    def learn(self, rest: dict[str, Any], shape: Shape) -> None:
        """Note which keys may go the quick way from now on, with which types of values."""
        for key, value in shape.fields.items():
            if (
                key in self._types
                or key in _ELSEWHERE
                or not self._is_unchanged(value, rest.get(key))
                or len(self._types) >= _PLAN_MAX
            ):
                continue
            if self._guard is not None or key in ecs_fields():
                kind = ecs_fields()[key] if self._guard is None else self._guard.type_of(key)
                types = NO_TYPES if kind is None else passing(kind)
                if kind == "ip" and type(value) is str and len(self.addresses) < _PLAN_MAX:
                    self.addresses.add(key)
            else:
                # Without a guard only names within one document can clash.
                alone = "." not in key and is_sound(key) and not is_claimed(key)
                types = SCALARS if alone else NO_TYPES
            if types:
                self._types[key] = types

    def _is_unchanged(self, value: Any, given: Any) -> bool:
        """Whether a field stands in the document as the call gave it."""
        if type(value) is list and self.takes_arrays:
            return value == given and is_even(value, SCALARS)
        return type(value) in SCALARS and value is given


def is_even(array: list[Any], types: frozenset[type]) -> bool:
    """Whether an array has members, all of one of the *types*, none of them null."""
    kinds = set(map(type, array))
    return len(kinds) == 1 and kinds <= types and kinds.isdisjoint(_NULL) and _in_range(array)


def _in_range(array: list[Any]) -> bool:
    return all(map(in_range, array))

"""Which fields of an event may go straight into a document, with which types of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._ecs_fields import ecs_fields
from pylog_struct.processors._ecs_names import is_claimed, is_sound
from pylog_struct.processors._ecs_plain import SCALARS
from pylog_struct.processors._field_types import passing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.processors._ecs_shape import Shape
    from pylog_struct.processors.type_guard import TypeGuard

__all__ = ["NO_TYPES", "QuickPlan"]

NO_TYPES: Final[frozenset[type]] = frozenset()
"""Of a field that has to go the thorough way."""

_PLAN_MAX: Final = 4_096  # keys; more come only without a guard


class QuickPlan:
    """What the thorough way found out about keys, for the quick way.

    Args:
        guard: Of the same renderer.

    Threads: thread-safe.
    """

    __slots__ = ("_guard", "_types", "types_of")

    def __init__(self, guard: TypeGuard | None) -> None:
        self._guard = guard
        self._types: dict[str, frozenset[type]] = {}
        self.types_of: Callable[..., Any] = self._types.get
        """``types_of(key)``: the types of values that may stand there as they are, or None."""

    def learn(self, rest: dict[str, Any], shape: Shape) -> None:
        """Note which keys may go the quick way from now on, with which types of values."""
        for key, value in shape.fields.items():
            if (
                type(value) not in SCALARS
                or value is not rest.get(key)
                or key in self._types
                or len(self._types) >= _PLAN_MAX
            ):
                continue
            if self._guard is not None:
                kind = self._guard.type_of(key)
                types = NO_TYPES if kind is None else passing(kind)
            elif key in ecs_fields():
                types = passing(ecs_fields()[key])
            else:
                # Without a guard only names within one document can clash.
                alone = "." not in key and is_sound(key) and not is_claimed(key)
                types = SCALARS if alone else NO_TYPES
            if types:
                self._types[key] = types

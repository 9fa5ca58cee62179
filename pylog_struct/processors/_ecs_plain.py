"""An event as exact builtin types, by the shortest way, before it is shaped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._text import cut
from pylog_struct.processors.json_renderer import NotPlainError, PlainCopy
from pylog_struct.processors.sanitise import Sanitiser

if TYPE_CHECKING:
    from pylog_struct.processors.limits import Limits

__all__ = [
    "FLOAT_MAX",
    "LONG_MAX",
    "LONG_MIN",
    "SCALARS",
    "in_range",
    "plain_event",
    "process_name",
    "sanitised_event",
]

SCALARS: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})
LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
FLOAT_MAX: Final = 3.4028234663852886e38
"""An index maps a decimal to a 32-bit float."""


def process_name() -> str:
    """Return the name of this process as logging has it."""
    # As logging does it: whoever has not imported multiprocessing is the main process.
    multiprocessing = sys.modules.get("multiprocessing")
    name = None if multiprocessing is None else multiprocessing.current_process().name
    return cut(name, 200) if isinstance(name, str) else "MainProcess"


def in_range(value: Any) -> bool:
    """Whether a number is one that an index can hold; True for anything else."""
    kind = type(value)
    if kind is int:
        return bool(LONG_MIN <= value <= LONG_MAX)
    return kind is not float or bool(-FLOAT_MAX <= value <= FLOAT_MAX)


def plain_event(event_dict: Any, limits: Limits) -> tuple[dict[str, Any], str | None]:
    """Return the event in exact builtin types, and what had to be replaced.

    Strings are left alone: whether they are Unicode the encoder finds out quicker.
    """
    if type(event_dict) is dict and len(event_dict) <= limits.max_items:
        event = event_dict.copy()
        odd: dict[str, Any] = {}
        text = 0
        for key, value in event.items():
            if type(key) is not str:
                break
            kind = type(value)
            if kind is str:
                text += len(value)
            elif kind is float:
                if value - value != 0:
                    event[key] = None
            elif kind not in SCALARS or (kind is int and not LONG_MIN <= value <= LONG_MAX):
                odd[key] = value
        else:
            if text <= min(limits.max_string, limits.max_text // 2):
                if not odd:
                    return event, None
                try:
                    event.update(PlainCopy(limits).object(odd, limits.max_depth))
                except NotPlainError:
                    sanitiser = Sanitiser(limits)
                    event.update(sanitiser.value(odd, 1))
                    return event, sanitiser.trouble
                return event, None
    return sanitised_event(event_dict, limits)


def sanitised_event(event_dict: Any, limits: Limits) -> tuple[dict[str, Any], str | None]:
    """Return any event in exact builtin types, and what had to be replaced."""
    sanitiser = Sanitiser(limits)
    safe = sanitiser.value(event_dict, 1)
    return (safe if type(safe) is dict else {"event": safe}), sanitiser.trouble

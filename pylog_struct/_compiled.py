"""The compiled hot path, where there is one; ``PYLOG_STRUCT_PURE=1`` does without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.ledger import HAS_GIL

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["SPEED", "Gate"]


def _load() -> ModuleType | None:
    # It relies on the GIL, and an interpreter without one would get it back by importing this.
    if os.environ.get("PYLOG_STRUCT_PURE", "") in {"", "0"} and HAS_GIL:
        try:
            from pylog_struct import _speed  # noqa: PLC0415 - it may not be there
        except ImportError:  # no compiler where this was installed, or a sub-interpreter
            return None
        return _speed
    return None


SPEED: Final[Any] = _load()
"""The module, or None: everything works without it, at two to three times the price per event."""

if TYPE_CHECKING or SPEED is None:

    class Gate:
        """What the entrance of a queue looks at and moves, as plain integers."""

        __slots__ = ("byte_limit", "bytes", "limit", "size", "wake_bytes", "wake_size")

        size: int
        bytes: int
        limit: int
        byte_limit: int
        wake_size: int
        wake_bytes: int

else:
    Gate = SPEED.Gate

"""Fields by dotted path: ``trace.id`` is the key ``trace.id``, or ``id`` inside ``trace``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["as_text", "lookup"]


def lookup(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value at *path*, or None; a literal dotted key wins over nesting, a longer over a shorter one."""
    if path in fields:
        return fields[path]
    end = path.rfind(".")
    while end > 0:
        inner = fields.get(path[:end])
        if isinstance(inner, Mapping):
            found = lookup(inner, path[end + 1 :])
            if found is not None:
                return found
        end = path.rfind(".", 0, end)
    return None


def as_text(value: Any) -> str | None:
    """Return a scalar as JSON writes it (text without quotes): what keys and routes are compared by.

    ``404`` and ``"404"`` are the same key, ``True`` is ``"true"``.  None for null, and for objects
    and arrays, which are no keys.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # an integer past 64 bits
            return str(value)
    return None

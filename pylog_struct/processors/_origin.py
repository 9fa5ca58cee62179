"""Where a call stands, for renderers that have a place of their own for it."""

from __future__ import annotations

from typing import Any, Final

from pylog_struct.processors.callsite import Callsite

__all__ = ["ORIGIN", "note_origin"]

ORIGIN: Final = "_pylog_struct_origin"
"""The key under which it comes; the renderer takes it out again."""

_FIND: Final = Callsite("filename", "lineno", "func_name")


def note_origin(_logger: Any, _method_name: str, event_dict: Any, /) -> Any:
    """Note where the call stands; a processor, the last one."""
    found = _FIND(None, "", {"_record": event_dict.get("_record")})
    found.pop("_record", None)
    event_dict[ORIGIN] = found
    return event_dict

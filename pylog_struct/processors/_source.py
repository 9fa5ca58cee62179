"""Source lines for tracebacks, through :mod:`linecache`, without its ways to get stuck."""

from __future__ import annotations

import linecache
import os
import stat
from typing import Any, Final

__all__ = ["source_line"]

_FILE_MAX: Final = 5_000_000  # bytes; nobody wrote a longer file by hand
_LINE_MAX: Final = 400  # characters
_UNAVAILABLE_MAX: Final = 4_096

_unavailable: dict[str, None] = {}  # names that linecache would search sys.path for, every time


def source_line(filename: str, number: int | None, module_globals: dict[str, Any]) -> str:
    """Return one line without its indentation, or ``""`` if there is no source.

    Reads a file at most once and only a regular one of sensible size: ``/dev/zero`` as a code
    object's file name must not hang a log call.  A file that changed since is not read again.
    """
    if number is None:
        return ""
    entry = linecache.cache.get(filename)
    if (entry is None or len(entry) == 1) and not _load(filename, module_globals):
        return ""
    return linecache.getline(filename, number).strip()[:_LINE_MAX]


def _load(filename: str, module_globals: dict[str, Any]) -> bool:
    if filename in _unavailable:
        return False
    try:
        lazy = linecache.lazycache(filename, module_globals)
        found = _is_readable(filename) or (
            lazy and not os.path.exists(filename)  # noqa: PTH110 - pathlib takes long to import
        )
        if found and linecache.getlines(filename, module_globals):
            return True
    except Exception:  # a loader of the user's; the frame is shown without its line
        pass
    if len(_unavailable) >= _UNAVAILABLE_MAX:
        _unavailable.clear()
    _unavailable[filename] = None
    return False


def _is_readable(filename: str) -> bool:
    try:
        status = os.stat(filename)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= _FILE_MAX

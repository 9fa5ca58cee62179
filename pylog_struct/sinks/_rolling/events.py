"""What a rolling file tells its listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pylog_struct._frozen import frozen

__all__ = ["EventKind", "FileEvent", "FileListener"]

EventKind = Literal[
    "opened", "rolled", "compressed", "deleted", "would_delete", "reopened", "deferred"
]


@frozen
class FileEvent:
    """One thing that happened to a file of a :class:`RollingFileSink`.

    Attributes:
        kind: ``opened`` (a file was opened for writing), ``rolled`` (this process made an
            archive), ``compressed``, ``deleted`` and ``would_delete`` (retention, and its dry
            run), ``reopened`` (moved, deleted, truncated, rolled or closed by somebody else),
            ``deferred`` (a roll-over could not be done and will be tried again).
        sink: The name of the sink.
        path: The file: the active one for ``opened``, ``reopened`` and ``deferred``, the archive
            for the others.
        reason: Why: ``size``, ``time``, ``start``; ``count``, ``age``, ``total_bytes``; or a text.
        at: When, Unix seconds.
        size: Bytes of the file at that moment, if known.
    """

    kind: EventKind
    sink: str
    path: str
    reason: str
    at: float
    size: int = 0


FileListener = Callable[[FileEvent], object]
"""Gets a :class:`FileEvent`; what it returns is ignored, what it raises is contained."""

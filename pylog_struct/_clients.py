"""Keeps the client libraries under a sink from logging into the pipeline that they serve.

A sink's client that logs one line for each request would make each request the cause of the next
one, for ever.  While a thread is inside :func:`quiet`, what such a library logs there through
:mod:`logging` (or warns of) is kept out of the pipeline; from WARNING up it goes to the diagnostics
channel.  Records of others, and what the same library logs for the application, pass.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.levels import WARNING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

__all__ = ["diverts_record", "diverts_warning", "quiet"]

_LOGGERS: Final = frozenset({"urllib3", "elastic_transport", "elasticsearch", "opensearch"})
"""The first words of the names of their loggers and modules."""


class _Inside(threading.local):
    depth = 0


_inside = _Inside()


@contextmanager
def quiet() -> Iterator[None]:
    """Mark this thread as inside a client for the length of the block; may be nested."""
    _inside.depth += 1
    try:
        yield
    finally:
        _inside.depth -= 1


def diverts_record(record: logging.LogRecord) -> bool:
    """Whether *record*, of this thread, stays out of the pipeline; it is reported if it is worth it."""
    if not _inside.depth or not _is_client(record.name):
        return False
    if record.levelno >= WARNING:
        try:
            text = record.getMessage()
        except Exception:  # somebody else's format string
            text = str(record.msg)
        diagnostics.report(f"client {record.name}", f"{record.name}: {text}")
    return True


def diverts_warning(message: Warning | str, category: type[Warning]) -> bool:
    """The same for a warning."""
    if not _inside.depth or not _is_client(category.__module__):
        return False
    diagnostics.report(f"client {category.__name__}", f"{category.__name__}: {message}")
    return True


def _is_client(name: str) -> bool:
    return name.partition(".")[0] in _LOGGERS

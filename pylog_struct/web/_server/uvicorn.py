"""The records of ``uvicorn.access``, taken apart.  Does not need uvicorn.

uvicorn logs one sentence with the client, method, path with query, version and status.  The arguments
are taken as they are; the finished sentence is never read.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from pylog_struct.web._server.access import EVENT, access_fields, whole_number

__all__ = ["register", "shape"]

_SENTENCE: Final = '%s - "%s %s HTTP/%s" %d'


def shape(event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> str | None:
    """Add what uvicorn says of one request to *fields*; None for a record of any other form."""
    if (
        event != _SENTENCE
        or len(args) != 5
        or type(args[4]) is not int
        or not all(type(arg) is str for arg in args[:4])
    ):
        return None
    client, method, target, version, status = args
    host, _, port = client.rpartition(":")
    path, _, query = target.partition("?")
    known = access_fields(
        method=method,
        path=unquote(path, errors="replace"),
        query=query,
        status=status,
        client=host or client,
        port=whole_number(port),
        http_version=version,
    )
    for name, value in known.items():
        fields.setdefault(name, value)
    return EVENT


def register() -> None:
    """Have the bridge use it; safe to call again."""
    from pylog_struct.stdlib_bridge import SHAPES  # noqa: PLC0415 - which calls this

    SHAPES["uvicorn.access"] = shape

"""Django's own loggers: its default handlers taken off, the lines of ``runserver`` as typed events."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import unquote

from django.conf import settings  # type: ignore[import-untyped]

from pylog_struct import diagnostics
from pylog_struct.stdlib_bridge import BRIDGE
from pylog_struct.structlog_context import current_context
from pylog_struct.web._request.exchange import REQUEST_ID_KEY
from pylog_struct.web._server.access import EVENT, access_fields, request_ids, whole_number

__all__ = ["take_over_lines"]

_SERVER: Final = "django.server"
_REQUEST: Final = '"%s" %s %s'


class _ServerLines(logging.Filter):
    """Rewrites what ``runserver`` says of a request.  Never raises."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite *record* in place."""
        try:
            record.__dict__.pop("request", None)  # the socket
            record.__dict__.pop("server_time", None)
            if record.msg == _REQUEST and isinstance(record.args, tuple) and len(record.args) == 3:
                line, status, size = record.args
                record.msg = EVENT
                record.args = ()
                record.__dict__.pop("status_code", None)
                record.__dict__.update(_fields(str(line), status, size))
        except Exception as error:
            diagnostics.report("django lines", "a line of runserver is left as it is", error)
        return True


class _RequestLines(logging.Filter):
    """Gives the ids of a request to what Django says of it when its middleware has returned.

    "Not Found: /x" comes then.  Never raises.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids to *record*, where they are not bound."""
        try:
            meta = getattr(record.__dict__.get("request"), "META", None)
            if isinstance(meta, dict) and REQUEST_ID_KEY in meta:
                record.__dict__.update(_ids(meta))
        except Exception as error:
            diagnostics.report("django lines", "a line of django.request has no id", error)
        return True


def _ids(meta: dict[str, Any]) -> dict[str, Any]:
    bound = current_context()
    return {key: value for key, value in request_ids(meta).items() if key not in bound}


def _fields(line: str, status: Any, size: Any) -> dict[str, Any]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    path, _, query = target.partition("?")
    return access_fields(
        method=method,
        path=unquote(path),
        query=query,
        status=whole_number(status),
        http_version=version.removeprefix("HTTP/"),
        response_bytes=whole_number(size),
    )


_FILTERS: Final = {_SERVER: _ServerLines(), "django.request": _RequestLines()}


def take_over_lines() -> None:
    """Have Django's lines go to the root logger alone, and so into the pipeline; again changes nothing.

    Only the consoles of Django's default configuration are taken off: who has written a ``LOGGING``
    of their own wants what is in it.
    """
    for name, lines in _FILTERS.items():
        logging.getLogger(name).addFilter(lines)
    if not BRIDGE.installed or settings.LOGGING or settings.LOGGING_CONFIG is None:
        return
    for name in ("django", _SERVER):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)
        logger.propagate = True

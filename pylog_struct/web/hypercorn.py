"""hypercorn: one line in its configuration, and every line of every worker is an event.

``logger_class = HypercornLogger``, in a file of Python (a TOML file cannot name a class)
"""

from __future__ import annotations

import copyreg
import logging
from collections.abc import Mapping  # noqa: TC003 - of the public signatures
from typing import TYPE_CHECKING, Any, ClassVar

from pylog_struct.web._request.exchange import REQUEST_ID_KEY
from pylog_struct.web._server.access import (
    EVENT,
    access_fields,
    header_text,
    request_ids,
    whole_number,
)
from pylog_struct.web._server.setup import attach, set_up, warn_of_ignored
from pylog_struct.web._server.signals import drain_on_signals

try:
    from hypercorn.logging import Logger
except ImportError as _missing:
    raise ImportError(
        "pylog_struct.web.hypercorn needs hypercorn: pip install hypercorn"
    ) from _missing

if TYPE_CHECKING:
    from hypercorn.config import Config

__all__ = ["HypercornLogger"]


class _SetUpOnArrival(type):
    """The type of :class:`HypercornLogger`: unpickled in a worker, it sets logging up there.

    hypercorn's workers are new processes.  They get the configuration, then import the application,
    and make the logger when there is something to log; an application that cannot be imported would
    be a traceback on stderr.
    """


def _arrive(module: str, name: str) -> Any:
    import importlib  # noqa: PLC0415 - only in a worker

    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    set_up(found.options)
    drain_on_signals()
    return found


copyreg.pickle(_SetUpOnArrival, lambda cls: (_arrive, (cls.__module__, cls.__qualname__)))


class HypercornLogger(Logger, metaclass=_SetUpOnArrival):
    """hypercorn's ``logger_class``: its log and access log go through the pipeline.

    Uses the configuration that is there: of ``configure()`` in the application, or until then its
    own call with :attr:`options`.  Sets up each worker before it imports the application, so that
    an application that cannot be imported is one event too.

    Access events are on unless ``accesslog = ""``: hypercorn's default, None, means on here, but for
    requests that our middleware has an event of its own for; ``"-"`` means all of them.
    ``access_log_format`` is not used.  ``errorlog`` and ``accesslog`` as file names, ``logconfig``
    and ``logconfig_dict`` have no effect; a warning at the start says so.

    Threads: thread-safe.  Blocks: as the root sink's policy says.  Fork: workers are spawned.
    Source: hypercorn's ``logging.Logger``, the ASGI specification.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    """Keywords of ``configure`` if nobody else calls it; set them in a subclass of your own, in a
    module that the workers can import."""

    def __init__(self, config: Config) -> None:
        set_up(self.options)
        self.access_log_format: str = config.access_log_format
        level = logging.getLevelName(str(config.loglevel).upper())
        self._errors = attach("hypercorn.error", level if isinstance(level, int) else logging.INFO)
        self._access = attach("hypercorn.access", logging.INFO)
        self.error_logger: logging.Logger | None = self._errors
        self.access_logger: logging.Logger | None = self._access
        self._access_enabled = config.accesslog != ""
        self._unless_told = config.accesslog is None
        warn_of_ignored(
            self._errors,
            {
                "accesslog": config.accesslog not in {None, "", "-"},
                "errorlog": config.errorlog not in {None, "", "-"},
                "logconfig": config.logconfig,
                "logconfig_dict": config.logconfig_dict,
            },
        )

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """Emit one access event, unless the request middleware did.  Never raises."""
        if not self._access_enabled or not self._access.isEnabledFor(logging.INFO):
            return
        try:
            if self._unless_told and REQUEST_ID_KEY in request:
                return
            fields = _fields_of(request, response, request_time)
        except Exception:
            self._errors.warning("a request could not be described", exc_info=True)
            fields = {}
        self._access.info(EVENT, extra=fields)


def _fields_of(
    scope: Mapping[str, Any], response: Mapping[str, Any] | None, taken: float
) -> dict[str, Any]:
    client = tuple(scope.get("client") or ())
    headers = {bytes(name).lower(): value for name, value in scope.get("headers", ())}
    response = response or {}  # none: the client went away before there was one
    sent = {bytes(name).lower(): value for name, value in response.get("headers", ())}
    return request_ids(scope) | access_fields(
        method=scope.get("method", "GET"),  # a websocket's handshake is a GET
        path=scope.get("path"),
        query=header_text(scope.get("query_string")),
        status=whole_number(response.get("status")),
        client=str(client[0]) if client else None,
        port=whole_number(client[1]) if len(client) > 1 else None,
        http_version=scope.get("http_version"),
        user_agent=header_text(headers.get(b"user-agent")),
        duration=float(taken),
        response_bytes=whole_number(sent.get(b"content-length")),
    )

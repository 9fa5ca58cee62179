"""gunicorn: one line in its configuration, and every line of master and workers is an event.

``logger_class = "pylog_struct.web.gunicorn.GunicornLogger"``
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping  # noqa: TC003 - of the public signatures
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote_to_bytes

from pylog_struct.web._request.exchange import REQUEST_ID_KEY
from pylog_struct.web._server import stderr as server_stderr
from pylog_struct.web._server.access import (
    EVENT,
    access_fields,
    header_text,
    request_ids,
    whole_number,
)
from pylog_struct.web._server.setup import attach, set_up, warn_of_ignored

try:
    from gunicorn.glogging import Logger  # type: ignore[import-untyped]
except ImportError as _missing:
    raise ImportError(
        "pylog_struct.web.gunicorn needs gunicorn: pip install gunicorn"
    ) from _missing

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["GunicornLogger"]

# gunicorn prints the exception to stderr right after these two.
_WORKER_FAILED: Final = "Exception in worker process"
_NOT_LOADED: Final = "Exception while loading the application"


class GunicornLogger(Logger):  # type: ignore[misc]
    """gunicorn's ``logger_class``: its log, access log and ``wsgi.errors`` go through the pipeline.

    Uses the configuration that is there: of ``configure()`` in the configuration file (master and
    workers), in the application (each worker from then on; with ``--preload`` the master too), or
    if there is none its own call with :attr:`options`.  Works in every worker after the fork with
    no hook, and a worker's records are drained when it exits.

    Access events are on unless ``accesslog = ""``: gunicorn's default, None, means on here, but for
    requests that our middleware has an event of its own for; ``"-"`` means all of them.  Their
    fields come from the request, the response and the time it took; ``access_log_format`` is not
    used, so there is nothing that a header could break or forge.  ``errorlog``, ``accesslog`` as
    file names, ``syslog`` and ``logconfig`` have no effect; a warning at the start says so.

    Threads: thread-safe.  Blocks: as the root sink's policy says.  Fork: works on in each worker.
    Source: gunicorn's ``glogging.Logger``, PEP 3333.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    """Keywords of ``configure`` if nobody else calls it; set them in a subclass of your own."""

    cfg: Any
    lock: threading.Lock
    logfile: Any
    error_log: logging.Logger
    access_log: logging.Logger

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.lock = threading.Lock()
        self.logfile = None
        self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Follow *cfg*; gunicorn calls this at the start and on each reload."""
        self.cfg = cfg
        self._access_log_enabled = cfg.accesslog != ""
        level = self.LOG_LEVELS.get(str(cfg.loglevel).lower(), logging.INFO)
        set_up(self.options)
        self.error_log = attach("gunicorn.error", level)
        self.access_log = attach("gunicorn.access", logging.INFO)
        ignored = {name: getattr(cfg, name, None) for name in _IGNORED}
        for name in ("errorlog", "accesslog"):
            ignored[name] = getattr(cfg, name) not in {None, "", "-"}
        warn_of_ignored(self.error_log, ignored)
        _leave_by_exit(cfg)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log with the exception that is being handled."""
        super().exception(msg, *args, **kwargs)
        if msg == _WORKER_FAILED:
            server_stderr.expect(str(sys.exc_info()[1]))

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at DEBUG; that the application could not be loaded, as the error that it is."""
        if msg == _NOT_LOADED:
            super().error(msg, *args, **kwargs)
            server_stderr.expect(str(sys.exc_info()[1]))
        else:
            super().debug(msg, *args, **kwargs)

    def access(
        self,
        resp: Any,
        req: Any,  # noqa: ARG002 - all of it is in environ
        environ: Mapping[str, Any],
        request_time: timedelta,
    ) -> None:
        """Emit one access event, unless the request middleware did.  Never raises."""
        if not self._access_log_enabled or not self.access_log.isEnabledFor(logging.INFO):
            return
        try:
            if self.cfg.accesslog is None and REQUEST_ID_KEY in environ:
                return
            fields = _fields_of(resp, environ, request_time)
        except Exception:
            self.error_log.warning("a request could not be described", exc_info=True)
            fields = {}
        self.access_log.info(EVENT, extra=fields)

    def reopen_files(self) -> None:
        """Reopen the files of the user's own handlers; a ``RollingFileSink`` notices by itself."""
        for logger in list(logging.Logger.manager.loggerDict.values()):
            for handler in getattr(logger, "handlers", ()):
                if isinstance(handler, logging.FileHandler):
                    handler.acquire()
                    try:
                        handler.close()
                        handler.stream = handler._open()
                    finally:
                        handler.release()


_IGNORED: Final = ("syslog", "logconfig", "logconfig_dict", "logconfig_json")


def _leave_by_exit(cfg: Any) -> None:
    """Have workers that a signal would kill leave as gunicorn's own do, so that they drain.

    uvicorn's worker gives SIGTERM its default action, handles it, and raises it again at the end:
    past "Worker exiting", past ``atexit``.  Known only when the worker has set its signals up, just
    before the user's ``post_worker_init``.
    """
    own = cfg.post_worker_init
    if isinstance(own, _PostWorkerInit):
        return
    cfg.set("post_worker_init", _PostWorkerInit(own))


class _PostWorkerInit:
    """gunicorn's hook, with the user's inside."""

    def __init__(self, own: Callable[[Any], object]) -> None:
        self._own = own

    def __call__(self, worker: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit)
        self._own(worker)


def _exit(number: int, frame: object) -> None:
    del number, frame
    sys.exit(0)


def _fields_of(resp: Any, environ: Mapping[str, Any], taken: timedelta) -> dict[str, Any]:
    client = environ.get("REMOTE_ADDR")
    raw = environ.get("RAW_URI")
    target = raw if isinstance(raw, str) else str(environ.get("PATH_INFO", ""))
    path = unquote_to_bytes(target.partition("?")[0].encode("latin-1", "replace"))
    return request_ids(environ) | access_fields(
        method=environ.get("REQUEST_METHOD"),
        path=path.decode("utf-8", "replace"),
        query=environ.get("QUERY_STRING"),
        status=whole_number(resp.status),
        client=None if client == "-" else client,
        port=whole_number(environ.get("REMOTE_PORT")),
        http_version=str(environ.get("SERVER_PROTOCOL", "")).rpartition("/")[2],
        user_agent=header_text(environ.get("HTTP_USER_AGENT")),
        duration=_seconds(taken),
        response_bytes=whole_number(getattr(resp, "sent", None)),
    )


def _seconds(taken: timedelta) -> float:
    """Return a time in seconds; gunicorn's ASGI worker has only two attributes of a ``timedelta``."""
    days = getattr(taken, "days", 0)
    return float(days * 86400 + taken.seconds + taken.microseconds / 1e6)

"""What every server's logging needs: a pipeline, a handler that leads to it, stderr as events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pylog_struct._configure import configure
from pylog_struct.errors import ConfigError
from pylog_struct.manager import current_manager_or_none
from pylog_struct.stdlib_bridge import BRIDGE, BridgeHandler
from pylog_struct.web._server import stderr as server_stderr
from pylog_struct.web._server import uvicorn as server_uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ServerHandler", "attach", "set_up", "warn_of_ignored"]


class ServerHandler(BridgeHandler):
    """Leads a server's records to the pipeline, once.

    A record that gets to the bridge on the root logger as well is left to that one.
    """

    @property
    def stream(self) -> Any:
        """Where gunicorn's ``wsgi.errors`` writes to if it has a file for its errors."""
        import sys  # noqa: PLC0415

        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Deliver one record, unless the bridge does."""
        if not (BRIDGE.installed and _reaches_root(record.name)):
            super().emit(record)


def _reaches_root(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def set_up(how: Mapping[str, Any] | Callable[[], object] | None = None) -> None:
    """Call ``configure`` unless that was done, and make events of what is printed to stderr.

    Args:
        how: ``configure``'s keywords, or a function that calls it.

    Raises:
        ConfigError: *how* is neither, or wrong.
    """
    server_uvicorn.register()
    manager = current_manager_or_none()
    if manager is None or manager.root._closed:
        if callable(how):
            how()
            if current_manager_or_none() is None:
                msg = f"configure: {how!r} did not call pylog_struct.configure()"
                raise ConfigError(msg)
        else:
            # key by key: what a logging configuration refers to is looked up on access
            configure({key: how[key] for key in how} if how is not None else None)
    server_stderr.install()


def attach(name: str, level: int) -> logging.Logger:
    """Return the logger *name* with our handler in the place of the console's, and nothing above it."""
    logger = logging.getLogger(name)
    logger.handlers = [handler for handler in logger.handlers if not _is_servers(handler)]
    logger.handlers.insert(0, ServerHandler())
    logger.propagate = False
    logger.setLevel(level)
    return logger


def _is_servers(handler: logging.Handler) -> bool:
    """Whether a handler is one that the server set up (or we did), and not the user's."""
    return isinstance(handler, ServerHandler) or getattr(handler, "_gunicorn", False)


def warn_of_ignored(logger: logging.Logger, settings: Mapping[str, object]) -> None:
    """Say which of the server's own logging *settings* are given and have no effect."""
    ignored = sorted(name for name, value in settings.items() if value)
    if ignored:
        logger.warning(
            "logging settings without effect: the sinks of pylog_struct.configure() are used",
            extra={"settings": ignored},
        )

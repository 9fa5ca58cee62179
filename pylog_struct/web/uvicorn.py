"""uvicorn: every line an event, from the first one of the command on.

``uvicorn app:app`` logs before it imports the application, in processes that never import it (the
parent of ``--workers`` and ``--reload``).  So its logging is set up by its own means, a file named
with ``--log-config``, which has one entry: :func:`handler`.

Does not import uvicorn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.errors import ConfigError
from pylog_struct.web._server.setup import ServerHandler, set_up
from pylog_struct.web._server.signals import drain_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LOG_CONFIG", "handler", "take_over"]

LOG_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {}, "access": {}},  # where uvicorn puts its use_colors
    "handlers": {"events": {"()": "pylog_struct.web.uvicorn.handler"}},
}
"""For ``uvicorn.run("app:app", workers=4, log_config=LOG_CONFIG)``: the same as a file's content."""

_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def handler(
    *, configure: Mapping[str, Any] | Callable[[], object] | None = None
) -> logging.Handler:
    """Set everything up, and return a handler: the factory for ``--log-config``.

    Calls :func:`pylog_struct.configure` unless this process did, takes uvicorn's own handlers away,
    and makes events of what is printed to stderr (the traceback that ends a worker).  The handler
    that it returns need not be given to any logger; if it is, no line comes twice.

    Args:
        configure: Keywords of ``pylog_struct.configure``, or a function without arguments that
            calls it (in a file: ``"ext://shop.logs.setup"``).

    Raises:
        ConfigError: *configure* is neither, or one of the keywords is wrong.

    Threads: while a process starts.  Blocks: never.  Fork: spawned workers read the file again.
    Source: PEP 391 (user-defined objects), uvicorn's ``Config.configure_logging``.
    """
    if configure is not None and not callable(configure) and not hasattr(configure, "keys"):
        msg = (
            f"handler.configure: {configure!r} is neither a mapping of configure()'s keywords"
            " nor a function that calls it"
        )
        raise ConfigError(msg)
    set_up(configure)
    drain_on_signals()
    _release()
    return ServerHandler()


def take_over() -> None:
    """Do the same from the application's own module, where there is no file to name.

    For ``fastapi run`` and platforms that start uvicorn themselves.  What the parent of several
    workers prints, and what came before the import of the application, is not reached.

    ``configure`` is called with its defaults if it was not yet.

    Threads: while a process starts.  Blocks: never.  Fork: call it in each process.
    """
    set_up()
    drain_on_signals()
    _release()


def _release() -> None:
    """Let uvicorn's loggers hand their records up to the root, and to nobody else."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        theirs = [one for one in logger.handlers if type(one) is logging.StreamHandler]
        for one in theirs:
            logger.removeHandler(one)
        if theirs:  # without any, it is silent because of --no-access-log
            logger.propagate = True

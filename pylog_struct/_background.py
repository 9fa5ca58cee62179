"""The threads that are started here: daemons that end cleanly under gevent's patches too."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

__all__ = ["BackgroundThread"]


class BackgroundThread(threading.Thread):
    """A daemon thread that may outlive the names of things.

    gunicorn's gevent worker patches :mod:`threading` after a thread of ours was started (the fork
    before, and what was logged in it).  From then on that thread has another ident than the one it
    is registered under, and the stdlib's last act for it would be a ``KeyError`` on stderr.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(daemon=True, **options)

    def _delete(self) -> None:
        known: dict[Any, Any] = getattr(threading, "_active", {})
        own = self.ident
        with suppress(KeyError):
            super()._delete()  # type: ignore[misc]
        if known.get(own) is self:
            del known[own]

"""Draining when a server lets a signal kill its process, past ``atexit``.

uvicorn handles SIGTERM, and when all is done puts the handlers back that it found and raises the
signal again: with the default action, so that nobody's exit functions run.  Workers of hypercorn
may be ended by SIGTERM that nothing handles.  A queue would take its records along.
"""

from __future__ import annotations

import signal
import threading
from typing import Final

from pylog_struct.manager import current_manager_or_none
from pylog_struct.signals import SignalDrain

__all__ = ["drain_on_signals"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def drain_on_signals() -> None:
    """Drain the pipeline before SIGTERM or SIGINT ends the process, where their action is the default.

    Any other handler stays as it is: it leaves by ``sys.exit``, or knows better.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    deadly = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    SignalDrain(deadly, _drain).install()


def _drain(last: bool) -> None:
    manager = current_manager_or_none()
    if manager is None:
        return
    if last:
        manager.shutdown()
    else:
        manager.flush()

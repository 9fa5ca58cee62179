"""Signal handlers that come again and again, in the middle of whatever the main thread does."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def alarms(handler: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call *handler* by SIGALRM while the block runs, *seconds* after it began or last ended.

    The timer is wound up anew by each call, at its end.  One that repeats by itself runs handlers
    inside each other where a call takes longer than the interval, as on a busy machine, until the
    stack is full: a RecursionError of the test's own making.
    """

    def on_alarm(*_: object) -> None:
        try:
            handler()
        finally:
            if going_on:
                signal.setitimer(signal.ITIMER_REAL, seconds)

    going_on = True
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        going_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

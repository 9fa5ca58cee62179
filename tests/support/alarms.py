"""Signal handlers that come again and again, in the middle of whatever the main thread does."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_AT_LEAST = 0.02  # seconds


@contextlib.contextmanager
def alarms(handler: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call *handler* by SIGALRM while the block runs, *seconds* after it began or last ended.

    Each call winds the timer up anew, at its end.  One that only repeats by itself runs handlers
    inside each other where a call takes longer than the interval, as on a busy machine, until the
    stack is full: a RecursionError of the test's own making.

    It repeats by itself as well, seldom.  While a signal is pending that the main thread has not
    taken yet, Python 3.11 under a tracer (coverage) turns on the spot at the beginning of a function
    in any other thread; if that one holds the lock that the main thread waits for, only another
    signal gets them on.
    """
    busy = False

    def on_alarm(*_: object) -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            handler()
        finally:
            busy = False
            if going_on:
                signal.setitimer(signal.ITIMER_REAL, seconds, _AT_LEAST)

    going_on = True
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AT_LEAST)
    try:
        yield
    finally:
        going_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

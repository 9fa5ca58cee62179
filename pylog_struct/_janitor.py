"""The one background thread beside the queue's worker: slow file work and timed work without a queue.

Compressing an archive must not hold up a write, and a tree without a ``QueueSink`` has nobody to
call ``poll``.  Both run here, on one daemon thread per process that starts on first use, ends when
it has had nothing to do for a while, and does not survive a fork (the child starts its own).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

from pylog_struct import diagnostics, fork
from pylog_struct._background import BackgroundThread

__all__ = ["JANITOR", "Janitor"]

_IDLE: Final = 5.0  # seconds without work or schedule after which the thread ends
_PAUSE: Final = 1.0  # seconds until a poll that has nothing pending is asked again

Poll = Callable[[float], float | None]


class Janitor:
    """Runs jobs one after the other, and polls on time.

    Threads: thread-safe.  Blocks: only in :meth:`join`, up to its timeout.
    """

    def __init__(self) -> None:
        self._forget()
        fork.register(self)

    def _forget(self) -> None:
        self._changed = threading.Condition()  # guards everything below
        self._jobs: deque[tuple[Hashable, Callable[[], None]]] = deque()
        # Where no thread can be started jobs run in their callers', several at once or nested.
        self._running: list[tuple[Hashable, threading.Thread]] = []
        self._polls: dict[Hashable, tuple[float, Poll]] = {}
        self._thread: threading.Thread | None = None

    def _after_fork_in_child(self) -> None:
        polls = {owner: (0.0, poll) for owner, (_, poll) in self._polls.items()}
        self._forget()
        self._polls = polls

    def _go_on_in_child(self) -> None:
        with self._changed:
            if self._polls:
                self._wake()

    def submit(self, owner: Hashable, job: Callable[[], None]) -> None:
        """Run *job* soon, after those submitted before; in this thread if no other can be started."""
        with self._changed:
            self._jobs.append((owner, job))
            if self._wake():
                return
        self._run_jobs()

    def schedule(self, owner: Hashable, poll: Poll) -> None:
        """Call ``poll(monotonic)`` now, and again after as many seconds as it returns.

        None as the answer means: nothing pending, ask again in a second.
        """
        with self._changed:
            self._polls[owner] = (0.0, poll)
            self._wake()

    def cancel(self, owner: Hashable) -> None:
        """End the schedule of *owner*."""
        with self._changed:
            self._polls.pop(owner, None)

    def join(self, owner: Hashable, timeout: float | None = None) -> bool:
        """Wait until no job of *owner* is left; False if that took longer than *timeout* seconds."""

        def done() -> bool:
            return all(item[0] != owner for item in (*self._running, *self._jobs))

        current = threading.current_thread()
        with self._changed:
            inside = current is self._thread or any(item[1] is current for item in self._running)
            if inside or done():  # a job that waits for itself would wait for ever
                return done()
            if self._wake():
                return self._changed.wait_for(done, timeout)
        self._run_jobs()
        with self._changed:
            return self._changed.wait_for(done, timeout)

    def _wake(self) -> bool:
        """Make sure that a thread runs; the caller holds the lock.  False: none can be started."""
        if self._thread is not None and self._thread.is_alive():
            self._changed.notify_all()
            return True
        thread = BackgroundThread(target=self._loop, name="pylog-janitor")
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down
            return False
        self._thread = thread
        return True

    def _run_jobs(self) -> None:
        while True:
            with self._changed:
                if not self._jobs:
                    return
                owner, job = self._jobs.popleft()
                running = (owner, threading.current_thread())
                self._running.append(running)
            try:
                job()
            except Exception as error:
                diagnostics.report(f"janitor {owner!r}", "background file work failed", error)
            finally:
                with self._changed:
                    if running in self._running:  # forgotten by the child of a fork
                        self._running.remove(running)
                    self._changed.notify_all()

    def _run_polls(self) -> float:
        """Call what is due; return seconds until the next one."""
        now = time.monotonic()
        with self._changed:
            due = [(owner, entry) for owner, entry in self._polls.items() if entry[0] <= now]
        for owner, entry in due:
            pause = _PAUSE
            try:
                wait = entry[1](now)
                if wait is not None:
                    pause = min(max(0.001, wait), 60.0)
            except BaseException as error:  # SystemExit would end the thread
                diagnostics.report(f"poll {owner!r}", "timed work failed", error)
            with self._changed:
                if (
                    self._polls.get(owner) is entry
                ):  # neither cancelled nor scheduled anew meanwhile
                    self._polls[owner] = (time.monotonic() + pause, entry[1])
        with self._changed:
            now = time.monotonic()
            return min((max(at - now, 0.0) for at, _ in self._polls.values()), default=_IDLE)

    def _loop(self) -> None:
        current = threading.current_thread()  # now: gevent's patches give it another one
        while True:
            try:
                self._run_jobs()
            except BaseException as error:  # SystemExit of one job must not take the others along
                diagnostics.report("janitor", "background file work wanted to exit", error)
            wait = self._run_polls()
            with self._changed:
                if self._thread is not current:
                    return  # replaced after a fork
                if self._jobs:
                    continue
                if not self._changed.wait(wait) and not self._jobs and not self._polls:
                    self._thread = None
                    return


JANITOR: Final = Janitor()
"""The janitor of this process."""

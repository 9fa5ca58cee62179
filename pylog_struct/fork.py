"""One place that makes everything here survive ``os.fork``.

Before a fork nothing is stopped and no queue is drained; locks named with :func:`hold` are taken,
so that no other thread is inside them.  In the child every registered object gets a call of
``_after_fork_in_child``: new locks, no inherited backlog (the parent keeps it), threads and
connections start again on first use.  Who must start a thread at once does so in ``_go_on_in_child``,
which is called when all have forgotten the parent: it would find the parent's numbers, or a lock that
is exchanged in its hands.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol

from pylog_struct import diagnostics

__all__ = ["hold", "register", "under_way"]


class _ForkAware(Protocol):
    def _after_fork_in_child(self) -> None: ...


_objects: weakref.WeakSet[_ForkAware] = weakref.WeakSet()
_held: weakref.WeakSet[Any] = weakref.WeakSet()


class _Fork(threading.local):
    """The fork that a thread is doing; two threads may fork at once."""

    def __init__(self) -> None:
        self.taken: list[Any] = []


_fork = _Fork()


def register(thing: _ForkAware) -> None:
    """Call ``thing._after_fork_in_child()`` in every child; holds only a weak reference."""
    _objects.add(thing)


def hold(lock: Any) -> None:
    """Take *lock* (short critical sections only) around every fork; holds only a weak reference."""
    _held.add(lock)


def under_way() -> bool:
    """Whether this thread is in the middle of a fork, with locks of other objects in its hands."""
    return bool(_fork.taken)


def _snapshot(things: weakref.WeakSet[Any]) -> list[Any]:
    while True:
        try:
            return list(things)
        except RuntimeError:  # another thread added one meanwhile
            continue


def _before() -> None:
    # A bounded wait: a thread that was killed inside must not make fork() hang for ever.
    for lock in _snapshot(_held):
        if lock.acquire(timeout=1.0):
            _fork.taken.append(lock)


def _after_in_parent() -> None:
    while _fork.taken:
        _fork.taken.pop().release()


def _after_in_child() -> None:
    _after_in_parent()
    diagnostics.reset()
    things = _snapshot(_objects)
    for name in ("_after_fork_in_child", "_go_on_in_child"):
        for thing in things:
            call = getattr(thing, name, None)
            if call is None:
                continue
            try:
                call()
            except Exception as error:
                diagnostics.report(
                    "fork", f"could not re-arm {type(thing).__name__} after a fork", error
                )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )

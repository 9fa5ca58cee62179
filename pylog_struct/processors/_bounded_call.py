"""Calls into code that nobody has vouched for, with a bound on time, threads and recursion.

Python cannot interrupt a call.  So code of a class that was not seen to be quick before runs on
a short-lived helper thread while the caller waits for at most the budget; a class seen to be quick
is called in place from then on.  A helper that does not come back is abandoned: it is a daemon,
and there are never more than ``ABANDONED_MAX`` of them.

Plain ``_thread`` threads and locks: no lock of :mod:`threading` is taken, so this may run inside a
signal handler, ``__del__``, or between a fork and its hooks.

The bound holds for code that lets other threads run, which all Python code does.  A single call
into C that keeps the interpreter for itself (``repr`` of a list with a million members inside of
an object of the user's) cannot be bounded by anybody.
"""

from __future__ import annotations

import _thread
import contextvars
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import fork
from pylog_struct.processors._text import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ABANDONED_MAX", "NotCalledError", "call", "forget"]

ABANDONED_MAX: Final = 4
"""Helper threads that may be lost in foreign code at one time; beyond, none is started."""

_AVOID_SECONDS: Final = 60.0  # how long a class that was too slow is not called again
_SEEN_MAX: Final = 4096
_NESTING_MAX: Final = 3

_Key = tuple[int, int]


class NotCalledError(Exception):
    """The foreign code was not called, or not waited for; the text says why.

    Attributes:
        unusual: It was called, and raised what is no ``Exception``; the text is the name of its class.
    """

    unusual = False


class _Memory:
    """What is known of the classes met so far; every step is one atomic dict or list operation."""

    def __init__(self) -> None:
        # Keyed by identity: hashing a class would run its metaclass.  The weak reference tells a
        # class from another one that was born at the same address.
        self.quick: dict[_Key, weakref.ref[type]] = {}
        self.slow: dict[_Key, tuple[weakref.ref[type], float]] = {}
        self.abandoned: list[Any] = []
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self.abandoned = []  # those threads are the parent's

    def is_quick(self, key: _Key, owner: type) -> bool:
        reference = self.quick.get(key)
        return reference is not None and reference() is owner

    def is_slow(self, key: _Key, owner: type, now: float) -> bool:
        entry = self.slow.get(key)
        return entry is not None and entry[0]() is owner and now < entry[1]

    def note_quick(self, key: _Key, owner: type) -> None:
        if len(self.quick) >= _SEEN_MAX:
            self.quick.clear()
        self.quick[key] = weakref.ref(owner)

    def note_slow(self, key: _Key, owner: type, now: float) -> None:
        if len(self.slow) >= _SEEN_MAX:
            self.slow.clear()
        self.quick.pop(key, None)
        self.slow[key] = (weakref.ref(owner), now + _AVOID_SECONDS)

    def lost_threads(self) -> int:
        self.abandoned = [lock for lock in self.abandoned if lock.locked()]
        return len(self.abandoned)


_memory: Final = _Memory()
_nesting: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("pylog_nesting", default=0)


def forget() -> None:
    """Forget which classes are quick or slow (for tests)."""
    _memory.quick.clear()
    _memory.slow.clear()


def call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: float,
    what: str,
    *,
    owner: type | None = None,
) -> Any:
    """Return ``function(*arguments)``, run with the caller's context variables.

    Args:
        function: Must be long-lived (its identity is remembered), e.g. ``repr``.
        arguments: What it is called with.
        seconds: The budget of a measured call.
        what: The name of the call, for the reason.
        owner: The class whose code runs; that of the first argument unless given.

    Raises:
        NotCalledError: too slow, known to be slow, nested too deep, or no thread to measure it on;
            also when the foreign code raises something that is no ``Exception``.
        Exception: whatever the foreign code raises.

    Threads: thread-safe, re-entrant.  Blocks: up to *seconds* for a class not known to be quick;
    as long as the code takes for one that is (and if that is over the budget, it is measured again
    the next time).
    """
    if owner is None:
        owner = type(arguments[0])
    key = (id(owner), id(function))
    depth = _nesting.get()
    if depth >= _NESTING_MAX:  # a __repr__ that logs itself
        raise NotCalledError(f"{what} is nested in itself")
    if not _memory.is_quick(key, owner):
        return _measured(function, arguments, seconds, what, owner)
    started = time.monotonic()
    token = _nesting.set(depth + 1)
    try:
        return function(*arguments)
    except Exception:
        raise
    except BaseException:
        _memory.quick.pop(key, None)
        # A signal handler's goes on to the caller, the object's own does not.
        unusual = _raised_by_itself(function, arguments, seconds, what, owner)
        if unusual is None:
            raise
        raise unusual from None
    finally:
        _nesting.reset(token)
        if time.monotonic() - started > seconds:
            _memory.quick.pop(key, None)


def _raised_by_itself(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: float,
    what: str,
    owner: type,
) -> NotCalledError | None:
    """Return what stands for the foreign code's own ``BaseException``, None if it raises none.

    It was taken for quick: its class was until now, or an error's ``str`` is, but not the ``repr`` of
    what it holds.  Signal handlers run in the main thread only, so on a thread of its own the code
    shows what it does by itself.
    """
    try:
        _measured(function, arguments, seconds, what, owner)
    except NotCalledError as error:
        return error if error.unusual else None
    except Exception:
        return None
    return None


def _measured(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: float,
    what: str,
    owner: type,
) -> Any:
    key = (id(owner), id(function))
    started = time.monotonic()
    if _memory.is_slow(key, owner, started):
        raise NotCalledError(f"{what} is known to be slow")
    if sys.is_finalizing():
        raise NotCalledError(f"{what} is not called while the interpreter shuts down")
    if _memory.lost_threads() >= ABANDONED_MAX:
        raise NotCalledError(f"{what} is not called while {ABANDONED_MAX} others still run")
    context = contextvars.copy_context()
    context.run(_nesting.set, _nesting.get() + 1)
    done = _thread.allocate_lock()
    done.acquire()
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            outcome.append((True, context.run(function, *arguments)))
        except BaseException as error:  # handed over to the caller
            outcome.append((False, error))
        finally:
            done.release()

    try:
        _thread.start_new_thread(work, ())
    except (RuntimeError, MemoryError) as error:
        raise NotCalledError(f"{what} is not called: no thread can be started") from error
    if not done.acquire(timeout=seconds):
        _memory.abandoned.append(done)
        _memory.note_slow(key, owner, time.monotonic())
        raise NotCalledError(f"{what} took longer than {seconds:g} s")
    succeeded, result = outcome[0]
    if not succeeded and not issubclass(type(result), Exception):
        # On this thread it would pass for an interrupt.  Not noted as quick: always measured,
        # so that it never is raised here.
        unusual = NotCalledError(type_name(type(result)))
        unusual.unusual = True
        raise unusual
    _memory.note_quick(key, owner)
    if succeeded:
        return result
    try:
        raise result
    finally:
        outcome.clear()  # the error's traceback holds this frame: no cycle
        del result

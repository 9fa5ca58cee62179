"""What is done with a whole tree of sinks: name them, close them within a time, hand over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct._janitor import JANITOR
from pylog_struct._lazy import loaded
from pylog_struct.errors import ConfigError
from pylog_struct.sinks.base import Deadline, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from pylog_struct.sinks.base import BaseSink
    from pylog_struct.sinks.bounded_queue import QueueSink

__all__ = ["announce_successor", "bounded", "close_tree", "held", "is_queue", "name_sinks"]

_GRACE: Final = 0.8  # seconds a close may run over its timeout (a queue inside takes up to 0.5)


def is_queue(sink: BaseSink) -> TypeGuard[QueueSink]:
    """Whether *sink* is a queue; without importing what a tree without one does not need."""
    return isinstance(sink, loaded("pylog_struct.sinks.bounded_queue", "QueueSink"))


def name_sinks(root: BaseSink) -> None:
    """Make the names of a tree unique, so that statistics and metrics can tell its sinks apart.

    Raises:
        ConfigError: two sinks were given the same name by the user.
    """
    taken: set[str] = set()
    sinks = list(walk(root))
    for sink in sinks:
        if sink.named_by_user:
            if sink.name in taken:
                msg = (
                    f"name: two sinks of one tree are called {sink.name!r}; give each its own name"
                )
                raise ConfigError(msg)
            taken.add(sink.name)
    for sink in sinks:
        if not sink.named_by_user:
            base, number = sink.type_name if sink.type_name != "custom" else sink.name, 2
            name = base
            while name in taken:
                name, number = f"{base}-{number}", number + 1
            sink.name = name
            taken.add(name)


def held(root: BaseSink | None) -> Any:
    """Keep a new root from delivering while the old tree still drains into a sink they share."""
    hold = getattr(root, "held", None)
    return _Nothing() if hold is None else hold()


def announce_successor(root: BaseSink) -> None:
    """Let a queue send callers that wait for room to the tree that takes over."""
    if is_queue(root):
        root.hand_over()


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


def close_tree(root: BaseSink, timeout: float, keep: frozenset[int]) -> list[str]:
    """Close *root* and what it holds, once each; sinks in *keep* are only flushed.  Never raises."""
    shared = [sink for sink in walk(root) if id(sink) in keep]
    for sink in shared:
        sink.retained = True
    deadline = Deadline(timeout)
    errors: list[str] = []
    try:
        if not bounded(root, lambda: root.close(deadline.remaining()), timeout):
            errors.append(
                f"{root.name}: close did not finish within {timeout:g} s and was left behind"
            )
    except Exception as error:
        errors.append(f"{root.name}: {diagnostics.describe(error)}")
    finally:
        for sink in shared:
            sink.retained = False
    for text in errors:
        diagnostics.report("shutdown", f"shutdown: {text}", always=True)
    return errors


def bounded(root: BaseSink, call: Callable[[], object], timeout: float) -> bool:
    """Run *call*, and leave it behind when it takes longer than *timeout* seconds; False then."""
    if is_queue(root):  # keeps its own deadlines, and knows its own worker thread
        call()
        return True
    outcome: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            outcome.append(error)
        done.set()

    try:
        threading.Thread(target=run, name="pylog-close", daemon=True).start()
    except RuntimeError:  # no new thread while the interpreter shuts down: the janitor is there
        JANITOR.submit(done, run)
    if not done.wait(min(timeout + _GRACE, threading.TIMEOUT_MAX)):
        return False
    if outcome:
        raise outcome[0]
    return True

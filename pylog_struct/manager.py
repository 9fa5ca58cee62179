"""The manager: owns the sink tree of one configuration, from its start to its last flush."""

from __future__ import annotations

import atexit
import functools
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, TypeVar

from pylog_struct import diagnostics, fork
from pylog_struct._frozen import frozen
from pylog_struct._janitor import JANITOR
from pylog_struct._tree import announce_successor, bounded, close_tree, held, is_queue, name_sinks
from pylog_struct.active import ACTIVE
from pylog_struct.errors import ConfigError, PylogError
from pylog_struct.ledger import DropReason, SinkStatistics, Statistics
from pylog_struct.levels import parse_level
from pylog_struct.metrics import MULTIPROCESS_INTERVAL, Metrics, is_multiprocess
from pylog_struct.sinks.base import BaseSink, walk
from pylog_struct.sinks.locked import LockedSink
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.hooks import Hooks
    from pylog_struct.overrides import LevelControl
    from pylog_struct.pipeline import Pipeline
    from pylog_struct.sinks.bounded_queue import QueueSink

__all__ = [
    "LogManager",
    "ShutdownReport",
    "current_manager",
    "current_manager_or_none",
    "name_sinks",
    "on_start",
]

_FAILURES: Final = frozenset(
    [
        DropReason.UNAVAILABLE,
        DropReason.GUARANTEE_FAILED,
        DropReason.BLOCK_TIMEOUT,
        DropReason.CLOSED,
    ]
)

_P = ParamSpec("_P")
_R = TypeVar("_R")


@frozen
class ShutdownReport:
    """What became of the records."""

    written: int = 0
    """Records that the root sink wrote or passed on, since the pipeline was started."""
    spooled: int = 0
    """Records that stay on disk, to be replayed."""
    abandoned: int = 0
    """Records given up because the time ran out, by any sink of the tree; each was counted as a drop."""
    complete: bool = True
    """Nothing was abandoned, and every sink closed in time and without an error."""
    errors: tuple[str, ...] = ()
    """What went wrong while closing, one line each."""


class _OnCurrent(Generic[_P, _R]):
    """A method that acts on its manager, or, called on the class, on the current one."""

    def __init__(self, method: Callable[Concatenate[LogManager, _P], _R]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, manager: LogManager | None, owner: type | None = None) -> Callable[_P, _R]:
        if manager is not None:
            return functools.partial(self._method, manager)

        @functools.wraps(self._method)
        def on_current(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            # Asked for in the call: looking at the class must not fail before configure(), and
            # what was kept from then must not act on a manager that is gone.
            return self._method(current_manager(), *args, **kwargs)

        return on_current


class LogManager:
    """What ``configure`` returns: flush, shut down, count, change levels.

    Each method can be called on an instance, or on the class for the current configuration:
    ``LogManager.shutdown()``.

    Threads: thread-safe.  Fork: parent and child go on by themselves; no hook is needed.
    """

    def __init__(
        self,
        pipeline_for: Callable[[BaseSink], Pipeline],
        root: BaseSink,
        *,
        metrics: Metrics,
        hooks: Hooks,
        levels: LevelControl,
        shutdown_timeout: float,
    ) -> None:
        self._pipeline_for = pipeline_for
        self._root = root
        self._pipeline = pipeline_for(root)
        self._metrics = metrics
        self._hooks = hooks
        self._levels = levels
        self._timeout = shutdown_timeout
        self._lock = threading.RLock()  # guards the life-cycle: one change at a time
        self._report: ShutdownReport | None = None
        self._failures_told = self._failures()
        fork.register(self)

    def __repr__(self) -> str:
        return f"<LogManager {'closed' if self._report is not None else 'over'} {self._root!r}>"

    @property
    def root(self) -> BaseSink:
        """The outermost sink: thread-safe, as ``configure`` made or wrapped it."""
        return self._root

    # -- what users call --------------------------------------------------------------------------

    @_OnCurrent
    def flush(self, timeout: float | str = 5.0) -> bool:
        """Return True only if everything emitted before the call reached its sinks.

        False also says, once, that a sink failed for good on some of what came since the call
        before: those records are in the drop counter.  What a policy, a filter or a processor
        dropped, or a destination refused as a document, was decided, and does not count.

        Args:
            timeout: Seconds; also text such as ``"500 ms"``.

        Blocks: up to *timeout*.  Never raises for a sink's failure: False says it.
        """
        limit = parse_duration(timeout, "flush.timeout")
        if self._report is not None:
            return self._report.complete
        ACTIVE.catch_up()
        try:
            finished = bounded(self._root, lambda: self._root.flush(limit), limit)
        except Exception as error:
            diagnostics.report(f"flush {self._root.name}", "flush did not finish", error)
            finished = False
        self._metrics.publish()
        # Without a lock, which a shutdown may hold for long: two calls at once may both tell.
        before, self._failures_told = self._failures_told, self._failures()
        return finished and self._failures_told == before

    def _failures(self) -> int:
        """Count the records that sinks failed to take, and nobody else took."""
        return sum(
            number
            for sink in walk(self._root)
            for (reason, _), number in sink.statistics().drops.items()
            if reason in _FAILURES
        )

    @_OnCurrent
    def shutdown(self, timeout: float | str | None = None) -> ShutdownReport:
        """Drain, close every sink once, and give back the hooks; the first call does it.

        Args:
            timeout: Seconds, or text; by default ``shutdown_timeout`` of ``configure`` (5 s).

        Returns:
            The report; later calls return the same one.

        Blocks: up to *timeout* and a moment.  Runs at exit by itself.
        """
        limit = self._timeout if timeout is None else parse_duration(timeout, "shutdown.timeout")
        with self._lock:
            if self._report is None:
                ACTIVE.catch_up()
                self._hooks.uninstall()
                self._levels.close()
                self._report = self._retire(limit, keep=frozenset())
            return self._report

    @_OnCurrent
    def statistics(self) -> Statistics:
        """Return the ledger of every sink by name, and of the pipeline.  Cheap; thread-safe."""
        # The root first: what it has not received yet cannot be in a later snapshot of it.
        sinks: dict[str, SinkStatistics] = {
            sink.name: sink.statistics() for sink in walk(self._root)
        }
        discarded = sum(self._pipeline.counts.read()[0].values())
        root = sinks[self._root.name]
        return Statistics(
            sinks=MappingProxyType(sinks),
            root=self._root.name,
            emitted=root.received + discarded,
            discarded=discarded,
        )

    @_OnCurrent
    def set_level(
        self,
        level: int | str,
        logger: str | None = None,
        duration: float | str | None = None,
    ) -> None:
        """Change a level now, for loggers already bound and cached too, and for the stdlib's.

        Args:
            level: A name or a number.
            logger: A logger name; those below it (``app`` → ``app.db``) follow.  None: all
                loggers that have no level of their own.
            duration: Seconds or text (``"10 min"``) after which it reverts by itself.

        Raises:
            ConfigError: no such level, or a duration that is not positive.
        """
        number = parse_level(level, "set_level.level")
        seconds = None
        if duration is not None:
            seconds = parse_duration(duration, "set_level.duration", exclusive=True)
        if logger is not None and not isinstance(logger, str):
            msg = f"set_level.logger: {logger!r} is no logger name; use a str, or None for the root"
            raise ConfigError(msg)
        self._levels.set(number, logger or "", seconds)

    @_OnCurrent
    def configure_async_queue(
        self, queue_size: int = 4096, full_policy: str = "DiscardLowLevel"
    ) -> QueueSink:
        """Put a :class:`~pylog_struct.sinks.QueueSink` around the tree, or replace its queue.

        Args:
            queue_size: Most records held.
            full_policy: What a full queue does; see the policies of ``QueueSink``.

        Returns:
            The new root sink.

        Nothing is lost: what the old queue holds is written before the new one delivers.
        """
        with self._lock:
            if self._report is not None:
                msg = "configure_async_queue: the pipeline was shut down; call configure() first"
                raise ConfigError(msg)
            old = self._root
            inner = old.children[0] if is_queue(old) or isinstance(old, LockedSink) else old
            from pylog_struct.sinks.bounded_queue import QueueSink  # noqa: PLC0415 - see _lazy

            queue = QueueSink(inner, capacity=queue_size, policy=full_policy)
            self._swap(queue)
            return queue

    # -- life-cycle -------------------------------------------------------------------------------

    def start(self, previous: LogManager | None) -> None:
        """Take over from *previous*: events go to the new tree, then the old one is drained."""
        name_sinks(self._root)
        keep = frozenset(map(id, walk(self._root)))
        self._attach()
        takes_over = previous is not None and previous._root is not self._root
        with held(self._root if takes_over else None):
            ACTIVE.pipeline = self._pipeline
            _set_current(self)
            if previous is not None:
                previous.hand_over(keep)
        for observer in _observers:
            observer()
        # Hooks that both have stay in place all the time: nothing slips through in between.
        self._hooks.install(None if previous is None else previous._hooks)

    def hand_over(self, keep: frozenset[int]) -> None:
        """Close the tree, except the sinks in *keep* (by id), which live on in the next one."""
        with self._lock:
            if self._report is None:
                announce_successor(self._root)
                self._report = self._retire(self._timeout, keep)
            # Only now: what came after a shutdown was still counted, and scraped.
            self._metrics.detach(
                [sink for sink in walk(self._root) if id(sink) not in keep], self._root
            )

    def release_levels(self) -> None:
        """Give the stdlib's loggers their own levels back, before the next configuration sets its own."""
        self._levels.close()

    def _swap(self, root: BaseSink) -> None:
        old, old_pipeline = self._root, self._pipeline
        name_sinks(root)
        keep = frozenset(map(id, walk(root)))
        with held(root):
            self._root = root
            self._pipeline = self._pipeline_for(root)
            self._pipeline.counts = old_pipeline.counts
            self._attach()
            ACTIVE.pipeline = self._pipeline
            announce_successor(old)
            JANITOR.cancel(old)
            close_tree(old, self._timeout, keep)
        self._metrics.detach([sink for sink in walk(old) if id(sink) not in keep], old)

    def _attach(self) -> None:
        for sink in walk(self._root):
            sink.notice = self._pipeline.notice
        self._metrics.attach(walk(self._root), self._root, self._pipeline.counts)
        if isinstance(self._root, LockedSink):
            JANITOR.schedule(self._root, self._root.poll)
        if is_multiprocess():
            JANITOR.schedule(self._metrics, self._publish_now)

    def _publish_now(self, _now: float) -> float:
        self._metrics.publish()
        return MULTIPROCESS_INTERVAL

    def _retire(self, timeout: float, keep: frozenset[int]) -> ShutdownReport:
        JANITOR.cancel(self._root)
        errors = close_tree(self._root, timeout, keep)
        if not keep:
            JANITOR.cancel(self._metrics)
        self._metrics.publish()
        gone = [sink for sink in walk(self._root) if id(sink) not in keep]
        root = self._root.statistics()
        spooled = sum(int(sink.statistics().details.get("shutdown.spooled", 0)) for sink in gone)
        abandoned = sum(
            count
            for sink in gone
            for (reason, _), count in sink.statistics().drops.items()
            if reason == "shutdown"
        )
        if abandoned:
            text = f"shutdown: {abandoned} record(s) abandoned; {spooled} left on disk"
            diagnostics.report("shutdown", text, always=True)
        return ShutdownReport(
            written=root.written,
            spooled=spooled,
            abandoned=abandoned,
            complete=not errors and not abandoned,
            errors=tuple(errors),
        )

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._pipeline.counts.reset()
        ACTIVE.overdue.clear()  # the parent's
        if self._report is None and current_manager_or_none() is self:
            _drain_at_end_of_child()


# -- the current manager --------------------------------------------------------------------------

_current: LogManager | None = None


_observers: list[Callable[[], None]] = []


def on_start(observer: Callable[[], None]) -> None:
    """Call *observer* whenever a manager has taken over; it must not raise."""
    _observers.append(observer)


def _set_current(manager: LogManager) -> None:
    global _current  # noqa: PLW0603 - one pipeline a process, like structlog's configuration
    _current = manager


def current_manager_or_none() -> LogManager | None:
    """Return the manager of the last ``configure``, if there was one."""
    return _current


def current_manager() -> LogManager:
    """Return the manager of the last ``configure``.

    Raises:
        PylogError: there was none.
    """
    if _current is None:
        msg = "pylog_struct is not configured; call pylog_struct.configure() first"
        raise PylogError(msg)
    return _current


def _at_exit() -> None:
    if _current is not None:
        _current.shutdown()


# Registered at import, so that it runs after the exit functions of everything imported later,
# which may still log.
atexit.register(_at_exit)


def _drain_at_end_of_child() -> None:
    """Children of ``multiprocessing`` (and Celery's billiard) leave by ``os._exit``, past atexit."""
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None:
            util.register_after_fork(
                _current,
                lambda _manager, util=util: util.Finalize(None, _at_exit, exitpriority=10),
            )

"""The one call that sets everything up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry

from pylog_struct import fork
from pylog_struct._formats import make_renderer
from pylog_struct._install import install
from pylog_struct._lazy import loaded
from pylog_struct._tree import is_queue, name_sinks
from pylog_struct.errors import ConfigError
from pylog_struct.hooks import Hook, Hooks
from pylog_struct.levels import parse_level
from pylog_struct.manager import LogManager, current_manager, current_manager_or_none
from pylog_struct.metrics import Metrics
from pylog_struct.metrics import Pipeline as PipelineCounts
from pylog_struct.overrides import LevelControl
from pylog_struct.pipeline import Pipeline, Renderer
from pylog_struct.processors.json_renderer import JSONRenderer
from pylog_struct.signals import SignalDrain, parse_signals
from pylog_struct.sinks.base import BaseSink, adopt, walk
from pylog_struct.sinks.locked import LockedSink
from pylog_struct.sinks.stream import StreamSink
from pylog_struct.stdlib_bridge import BRIDGE, WARNINGS
from pylog_struct.thresholds import THRESHOLDS
from pylog_struct.uncaught import UncaughtHooks
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from structlog.typing import Processor

    from pylog_struct.ledger import Statistics
    from pylog_struct.manager import ShutdownReport
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.protocols import Sink

__all__ = ["configure", "flush", "set_level", "shutdown", "statistics"]

_DEFAULTS: Final[dict[str, Any]] = {
    "level": "INFO",
    "format": "auto",
    "sink": None,
    "processors": (),
    "service": None,
    "redact": None,
    "stdlib": True,
    "warnings": True,
    "uncaught": True,
    "signals": (),
    "queue_size": None,
    "full_policy": None,
    "registry": None,
    "shutdown_timeout": 5.0,
    "strict": False,
}
_UNSET: Final[Any] = object()


class _Turn:
    """Two threads that configure at once take turns."""

    def __init__(self) -> None:
        self._after_fork_in_child()
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self.lock = threading.RLock()  # re-entrant: a sink or a signal handler may reconfigure


_turn: Final = _Turn()


def configure(
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    level: int | str = _UNSET,
    format: str | Callable[..., Any] = _UNSET,  # noqa: A002 - the name that the design fixes
    sink: Sink | None = _UNSET,
    processors: Iterable[Processor] = _UNSET,
    service: str | Mapping[str, Any] | None = _UNSET,
    redact: None = _UNSET,
    stdlib: bool = _UNSET,
    warnings: bool = _UNSET,
    uncaught: bool = _UNSET,
    signals: Sequence[str | int] = _UNSET,
    queue_size: int | None = _UNSET,
    full_policy: str | None = _UNSET,
    registry: CollectorRegistry | None = _UNSET,
    shutdown_timeout: float | str = _UNSET,
    strict: bool = _UNSET,
) -> LogManager:
    """Set up logging for this process; with no argument, JSON to stdout (colours on a terminal).

    May be called again at any time: the new tree takes over, the old one is drained and closed
    within its ``shutdown_timeout``, and loggers created, bound or cached before keep working and
    use the new one.  Sinks that are part of both trees stay open.

    Args:
        config: A mapping of the keywords below, which override it.
        level: The least level emitted: a name or a number.
        format: ``"json"``, ``"console"``, or ``"auto"``: console if the only sink is a terminal;
            ``"ecs"``, ``"logstash"``, ``"gcp"``, ``"datadog"``; or a renderer, such as
            ``ECS(origin=True)`` of :mod:`pylog_struct.processors`, or one of your own that takes
            what structlog's last processor does and returns ``bytes`` or ``str``.
        sink: The outermost sink; ``StreamSink("stdout")`` if None.  Anything but a ``QueueSink``
            gets a ``LockedSink`` around it.
        processors: structlog processors of your own.  They see the event dict with
            ``timestamp``, ``level``, ``logger`` and ``event`` set, before exceptions are formatted.
        service: A name, or a mapping, that every event carries under ``service``.
        redact: Not available in this release; None is the only value.
        stdlib: Whether records of :mod:`logging` go through the same pipeline.
        warnings: Whether ``warnings.warn`` does.
        uncaught: Whether exceptions that nobody caught are logged (main thread, threads,
            unraisable; asyncio's through its logger).
        signals: Names such as ``"SIGTERM"``: drain when they come, then let the previous handler
            and the exit code stand.  Main thread only.
        queue_size: Put a ``QueueSink`` of this many records around *sink*.
        full_policy: The policy of that queue (default ``"discard_low_level"`` when *queue_size*
            is given); given alone, the queue has 4,096 records.
        registry: Where the metrics go; prometheus-client's default registry if None.
        shutdown_timeout: Seconds, or text, that shutting down may take.
        strict: Let errors of processors, renderer and sinks through to the log call: for tests.

    Returns:
        The manager; ``pylog_struct.shutdown()`` and the like act on the last one.

    Raises:
        ConfigError: something is wrong with an argument; nothing was changed, opened or started.

    Threads: thread-safe.  Blocks: while an old tree drains.  Fork: configure before or after.
    """
    given = {
        name: value for name, value in locals().items() if name in _DEFAULTS and value is not _UNSET
    }
    settings = {**_DEFAULTS, **_from_config(config), **given}
    with _turn.lock:
        return _configure(settings)


def _from_config(config: object) -> Mapping[str, Any]:
    if config is None:
        return {}
    if isinstance(config, str | os.PathLike):
        msg = (
            f"config: {os.fspath(config)!r}: configuration files are not supported in this release;"
            " pass keywords, or a mapping of them"
        )
        raise ConfigError(msg)
    if not isinstance(config, Mapping):
        msg = f"config: {config!r} is no mapping of configure()'s keywords"
        raise ConfigError(msg)
    unknown = sorted(str(key) for key in config if key not in _DEFAULTS)
    if unknown:
        import difflib  # noqa: PLC0415 - only on the way to an error

        hints = []
        for key in unknown:
            near = difflib.get_close_matches(key, _DEFAULTS, 1)
            hints.append(f"{key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        msg = f"config: unknown option {', '.join(hints)}; there are {', '.join(_DEFAULTS)}"
        raise ConfigError(msg)
    return config


def _configure(settings: dict[str, Any]) -> LogManager:
    level = parse_level(settings["level"])
    timeout = parse_duration(settings["shutdown_timeout"], "shutdown_timeout")
    for flag in ("stdlib", "warnings", "uncaught", "strict"):
        if not isinstance(settings[flag], bool):
            msg = f"{flag}: {settings[flag]!r} is neither True nor False"
            raise ConfigError(msg)
    if settings["redact"] is not None:
        msg = "redact: masking is not available in this release; leave it out"
        raise ConfigError(msg)
    signals = parse_signals(settings["signals"])
    if signals and threading.current_thread() is not threading.main_thread():
        msg = "signals: handlers can be installed in the main thread only; call configure() there"
        raise ConfigError(msg)
    static = _service(settings["service"])
    processors = _processors(settings["processors"])
    root = _root(settings)
    name_sinks(root)
    counts = PipelineCounts()
    render, needed = make_renderer(
        settings["format"],
        root,
        static.get("service"),
        lambda stage, _: counts.error(stage),
        strict=settings["strict"],
    )
    processors += needed
    previous = current_manager_or_none()
    registry = settings["registry"]
    if registry is not None and not isinstance(registry, CollectorRegistry):
        msg = f"registry: {registry!r} is no prometheus_client.CollectorRegistry"
        raise ConfigError(msg)
    metrics = Metrics.of(registry)
    levels = LevelControl(BRIDGE if settings["stdlib"] else None)

    def pipeline_for(new_root: BaseSink) -> Pipeline:
        return Pipeline(
            new_root,
            render=render,
            counts=counts,
            processors=processors,
            static=static,
            strict=settings["strict"],
            plain=_plain_renderer(render),
        )

    def drain(last: bool) -> None:
        if last:
            manager.shutdown()
        else:
            manager.flush(timeout)

    hooks: list[Hook] = []
    if settings["stdlib"]:
        hooks.append(BRIDGE)
    if settings["warnings"]:
        hooks.append(WARNINGS)
    if settings["uncaught"]:
        on_terminal = any(isinstance(sink, StreamSink) for sink in walk(root))
        hooks.append(UncaughtHooks(bridged=settings["stdlib"], traceback=not on_terminal))
    hooks.append(SignalDrain(signals, drain))
    manager = LogManager(
        pipeline_for,
        root,
        metrics=metrics,
        hooks=Hooks(*hooks),
        levels=levels,
        shutdown_timeout=timeout,
    )
    if previous is not None:
        previous.release_levels()
    THRESHOLDS.reset(level)
    manager.start(previous)
    # These may have been in place already: with the level of before, or cleared away by others.
    if settings["stdlib"]:
        BRIDGE.install()
    if settings["warnings"]:
        WARNINGS.install()
    install()
    return manager


def _service(service: object) -> dict[str, Any]:
    if service is None:
        return {}
    if isinstance(service, str) and service:
        return {"service": service}
    if isinstance(service, Mapping) and service and all(isinstance(key, str) for key in service):
        return {"service": dict(service)}
    msg = f"service: {service!r} is neither a name nor a mapping such as {{'name': 'checkout'}}"
    raise ConfigError(msg)


def _processors(processors: Any) -> tuple[Processor, ...]:
    try:
        found = tuple(processors)
    except TypeError:
        msg = f"processors: {processors!r} is no list of structlog processors"
        raise ConfigError(msg) from None
    for position, processor in enumerate(found):
        if not callable(processor):
            msg = (
                f"processors[{position}]: {processor!r} cannot be called;"
                " a processor is a callable (logger, method_name, event_dict) -> event_dict"
            )
            raise ConfigError(msg)
    return found


def _root(settings: Mapping[str, Any]) -> BaseSink:
    sink = settings["sink"]
    tree = StreamSink("stdout") if sink is None else adopt(sink)
    for part in walk(tree):
        if part._closed:
            msg = (
                f"sink: {part!r} was closed, by a shutdown or a configure() before; make a new one"
            )
            raise ConfigError(msg)
    size, policy = settings["queue_size"], settings["full_policy"]
    if size is None and policy is None:
        if isinstance(tree, LockedSink):
            tree.absorb = True
            return tree
        return tree if is_queue(tree) else LockedSink(tree, absorb=True)
    if is_queue(tree):
        msg = "queue_size, full_policy: sink is a QueueSink already; set its capacity and policy instead"
        raise ConfigError(msg)
    from pylog_struct.sinks.bounded_queue import QueueSink  # noqa: PLC0415 - see _lazy

    inner = tree.children[0] if isinstance(tree, LockedSink) else tree
    try:
        return QueueSink(
            inner,
            capacity=4096 if size is None else size,
            policy="discard_low_level" if policy is None else policy,
        )
    except ConfigError as error:  # say it in the words of this function's arguments
        text = str(error).replace("QueueSink.capacity", "queue_size")
        raise ConfigError(text.replace("QueueSink.policy", "full_policy")) from None


def _plain_renderer(render: Renderer) -> JSONRenderer | ECS | None:
    """The renderer whose plain events can take the fast lane."""
    renderer = getattr(render, "__self__", None)
    kinds = (JSONRenderer, loaded("pylog_struct.processors.ecs", "ECS"))
    return renderer if type(renderer) in kinds else None


def flush(timeout: float | str = 5.0) -> bool:
    """Return True only if everything emitted before the call reached its sinks.

    Args:
        timeout: Seconds, or text such as ``"500 ms"``.

    Raises:
        PylogError: ``configure`` was never called.
    """
    return current_manager().flush(timeout)


def shutdown(timeout: float | str | None = None) -> ShutdownReport:
    """Drain and close the pipeline; see :meth:`pylog_struct.LogManager.shutdown`.

    Args:
        timeout: Seconds, or text; by default ``shutdown_timeout`` of ``configure`` (5 s).

    Raises:
        PylogError: ``configure`` was never called.
    """
    return current_manager().shutdown(timeout)


def statistics() -> Statistics:
    """Return the ledger; see :meth:`pylog_struct.LogManager.statistics`.

    Raises:
        PylogError: ``configure`` was never called.
    """
    return current_manager().statistics()


def set_level(
    level: int | str, logger: str | None = None, duration: float | str | None = None
) -> None:
    """Change a level at run time; see :meth:`pylog_struct.LogManager.set_level`.

    Raises:
        ConfigError: no such level, or a duration that is not positive.
        PylogError: ``configure`` was never called.
    """
    current_manager().set_level(level, logger, duration)

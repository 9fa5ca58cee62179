"""The argument ``format`` of ``configure``: names, and renderers of the user's."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pylog_struct._lazy import loaded
from pylog_struct.errors import ConfigError, PylogError
from pylog_struct.pipeline import as_line
from pylog_struct.processors.json_renderer import JSONRenderer
from pylog_struct.sinks.base import walk
from pylog_struct.sinks.stream import StreamSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeGuard

    from structlog.typing import Processor

    from pylog_struct.pipeline import Renderer
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.processors.json_renderer import OnError
    from pylog_struct.processors.presets import Datadog, GoogleCloud, Logstash
    from pylog_struct.sinks.base import BaseSink

__all__ = ["FORMATS", "make_renderer"]

_PREPARED: Final = {
    "ecs": ("pylog_struct.processors.ecs", "ECS"),
    "logstash": ("pylog_struct.processors.presets", "Logstash"),
    "gcp": ("pylog_struct.processors.presets", "GoogleCloud"),
    "datadog": ("pylog_struct.processors.presets", "Datadog"),
}

FORMATS: Final = ("auto", "json", "console", *_PREPARED)
"""The names."""


def make_renderer(
    format_: Any, root: BaseSink, service: Any, on_error: OnError, *, strict: bool
) -> tuple[Renderer, tuple[Processor, ...]]:
    """Return the renderer, and the processors that it needs behind the user's.

    Args:
        format_: A name, or a renderer: any callable that takes the place of structlog's last
            processor and returns ``bytes`` or ``str``.  Of ours a copy is made for this pipeline.
        root: The sink that ``"auto"`` looks at.
        service: What every event carries under ``service``.
        on_error: Told about trouble.
        strict: Whether errors go through.

    Raises:
        ConfigError: neither a name that there is nor a callable.
    """
    if isinstance(format_, str) and format_ in ("auto", "console"):
        leaves = [sink for sink in walk(root) if not sink.children]
        terminal = all(isinstance(leaf, StreamSink) and leaf.isatty() for leaf in leaves)
        if terminal or format_ == "console":
            return _console(terminal=terminal), ()
        format_ = "json"
    if isinstance(format_, str) and format_ == "json":
        return JSONRenderer(on_error=on_error, strict=strict).render, ()
    if isinstance(format_, str) and format_ in _PREPARED:
        module, name = _PREPARED[format_]
        format_ = getattr(import_module(module), name)()
    if isinstance(format_, str | type) or not callable(format_):
        raise ConfigError(
            f"format: {format_!r} is unknown; use one of {', '.join(FORMATS)}, or a renderer"
            " such as ECS(dataset='checkout.log')"
        )
    if not _is_ours(format_):
        return _as_bytes(format_), ()
    renderer = format_.prepared(service=service, on_error=on_error, strict=strict)
    return renderer.render, renderer.processors


def _is_ours(renderer: object) -> TypeGuard[ECS | Logstash | GoogleCloud | Datadog]:
    return isinstance(renderer, tuple(loaded(*place) for place in _PREPARED.values()))


def _console(*, terminal: bool) -> Renderer:
    from pylog_struct.processors.console import ConsoleRenderer  # noqa: PLC0415 - few need it

    colors = (terminal and not os.environ.get("NO_COLOR")) or bool(os.environ.get("FORCE_COLOR"))
    console = ConsoleRenderer(colors=colors)
    return lambda event_dict: console(None, "", event_dict)


def _as_bytes(renderer: Callable[..., Any]) -> Renderer:
    def call(event_dict: Mapping[str, Any]) -> bytes:
        line = renderer(None, "", event_dict)
        if isinstance(line, bytes | bytearray | str):
            return as_line(line)
        msg = f"the renderer returned {type(line).__name__}, neither bytes nor str"
        raise PylogError(msg)

    return call

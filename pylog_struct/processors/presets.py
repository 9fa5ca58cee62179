"""Renderers with the field names of Logstash, Google Cloud and Datadog.

Each makes one line of JSON with the vendor's names at the top level; the fields of the call keep
theirs.  For Elasticsearch itself, :class:`~pylog_struct.processors.ECS` does more.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Final

from pylog_struct.errors import ConfigError
from pylog_struct.processors._preset import (
    Preset,
    described_exception,
    moved_aside,
    origin_of,
    service_of,
)
from pylog_struct.processors._shrink import Roles

__all__ = ["Datadog", "GoogleCloud", "Logstash"]


class Logstash(Preset):
    """The fields of Logstash's version 1 events; ``format="logstash"`` of ``configure``.

    ``@timestamp``, ``@version``, ``message``, ``level``, ``logger_name``, ``thread_name``,
    ``stack_trace``, ``caller_file_name``, ``caller_line_number``, ``caller_method_name``, as in
    "Standard Fields" and "Caller Info Fields" of logstash-logback-encoder
    (https://github.com/logfellow/logstash-logback-encoder), and ``exception`` with
    ``exception_class`` and ``exception_message`` as in Log4j's ``LogstashJsonEventLayoutV1``
    (https://logging.apache.org/log4j/2.x/manual/json-template-layout.html).
    """

    _roles: ClassVar[Roles] = Roles(
        prefix=("@timestamp", "@version", "message", "level"),
        message="message",
        messages=frozenset({"exception.exception_message"}),
        stacks=frozenset({"stack_trace", "stack"}),
    )

    def _document(self, event: dict[Any, Any]) -> dict[Any, Any]:
        take = event.pop
        level = take("level", "info")
        document: dict[Any, Any] = {
            "@timestamp": take("timestamp", None),
            "@version": "1",
            "message": take("event", ""),
            "level": level.upper() if type(level) is str else level,
            "logger_name": take("logger", ""),
            "thread_name": threading.current_thread().name,
        }
        described = described_exception(event)
        if described is not None:
            document["exception"] = {
                "exception_class": described[0],
                "exception_message": described[1],
            }
            document["stack_trace"] = described[2]
        origin = origin_of(event)
        if origin is not None:
            document["caller_file_name"] = origin.get("filename")
            document["caller_line_number"] = origin.get("lineno")
            document["caller_method_name"] = origin.get("func_name")
        moved_aside(event, document)
        return document


_SEVERITIES: Final = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
    "fatal": "CRITICAL",
}
_CLOUD: Final = "logging.googleapis.com/"


class GoogleCloud(Preset):
    """The special fields of Google Cloud Logging; ``format="gcp"`` of ``configure``.

    ``severity``, ``time``, ``message``, ``logging.googleapis.com/trace``, ``…/spanId``,
    ``…/sourceLocation``, as in https://cloud.google.com/logging/docs/structured-logging; and for
    Error Reporting ``stack_trace`` and ``serviceContext``, as in
    https://cloud.google.com/error-reporting/docs/formatting-error-messages.

    A level that is none of Python's five has the severity ``DEFAULT``, and stays under ``level``.
    ``trace_id`` and ``span_id`` of the event (or ``trace.id`` and ``span.id``) are the trace's.

    Args:
        project: The project's id, which a trace's name begins with:
            ``projects/my-project/traces/…``.  Without it the id stands alone.
        options: Those of every preset: ``origin``, ``limits``, ``value_limits``, ``on_error``,
            ``strict``.
    """

    _roles: ClassVar[Roles] = Roles(
        prefix=("severity", "time", "message"),
        message="message",
        messages=frozenset({"error.message"}),
        stacks=frozenset({"stack_trace", "stack"}),
    )

    def __init__(self, *, project: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        if project is not None and not (isinstance(project, str) and project):
            raise ConfigError(f"GoogleCloud.project: {project!r} is no project id")
        self._project = project

    def _document(self, event: dict[Any, Any]) -> dict[Any, Any]:
        take = event.pop
        level = take("level", None)
        severity = _SEVERITIES.get(level.lower()) if type(level) is str else None
        document: dict[Any, Any] = {
            "severity": severity or "DEFAULT",
            "time": take("timestamp", None),
            "message": take("event", ""),
        }
        if severity is None and level is not None:
            document["level"] = level
        if "logger" in event:
            document["logger"] = take("logger")
        trace = _taken(event, "trace_id", "trace.id")
        if trace is not None:
            named = self._project is not None and not trace.startswith("projects/")
            document[f"{_CLOUD}trace"] = (
                f"projects/{self._project}/traces/{trace}" if named else trace
            )
        span = _taken(event, "span_id", "span.id")
        if span is not None:
            document[f"{_CLOUD}spanId"] = span
        origin = origin_of(event)
        if origin is not None:
            document[f"{_CLOUD}sourceLocation"] = {
                "file": origin.get("filename"),
                "line": str(origin.get("lineno")),  # 64 bits: a string in the API's JSON
                "function": origin.get("func_name"),
            }
        service = service_of(event)
        if service is not None:
            context = {"service": service.pop("name")}
            if type(service.get("version")) is str:
                context["version"] = service.pop("version")
            document["serviceContext"] = context
            if service:
                event["service"] = service
        described = described_exception(event)
        if described is not None:
            document["stack_trace"] = described[2]
            document["error"] = {"type": described[0], "message": described[1]}
        moved_aside(event, document)
        return document


class Datadog(Preset):
    """The reserved and standard attributes of Datadog; ``format="datadog"`` of ``configure``.

    ``timestamp``, ``status``, ``message``, ``logger.name``, ``logger.thread_name``,
    ``error.kind``, ``error.message``, ``error.stack``, ``service`` and ``host``, as in
    https://docs.datadoghq.com/logs/log_configuration/attributes_naming_convention/; ``dd.trace_id``,
    ``dd.span_id``, ``dd.service``, ``dd.env`` and ``dd.version``, as in
    https://docs.datadoghq.com/tracing/other_telemetry/connect_logs_and_traces/python/.

    ``trace_id`` and ``span_id`` of the event are taken for ``dd.*`` if those are not there: ddtrace
    puts them there by itself.  A ``service`` that is a mapping gives ``dd.service``, ``dd.version``
    and ``dd.env`` (its ``environment`` or ``env``).
    """

    _roles: ClassVar[Roles] = Roles(
        prefix=("timestamp", "status", "message"),
        message="message",
        messages=frozenset({"error.message"}),
        stacks=frozenset({"error.stack", "stack"}),
    )

    def _document(self, event: dict[Any, Any]) -> dict[Any, Any]:
        take = event.pop
        logger: dict[str, Any] = {}
        document: dict[Any, Any] = {
            "timestamp": take("timestamp", None),
            "status": take("level", "info"),
            "message": take("event", ""),
            "logger": logger,
        }
        if "logger" in event:
            logger["name"] = take("logger")
        logger["thread_name"] = threading.current_thread().name
        origin = origin_of(event)
        if origin is not None:
            logger["file_name"] = origin.get("filename")
            logger["line"] = origin.get("lineno")
            logger["method_name"] = origin.get("func_name")
        service = service_of(event)
        if service is not None:
            document["service"] = document["dd.service"] = service.pop("name")
            environment = "environment" if "environment" in service else "env"
            for key, target in (("version", "dd.version"), (environment, "dd.env")):
                if type(service.get(key)) is str:
                    document[target] = service.pop(key)
            if service:
                event["service"] = service
        for target, *names in (
            ("dd.trace_id", "trace_id", "trace.id"),
            ("dd.span_id", "span_id", "span.id"),
        ):
            if target not in event:
                found = _taken(event, *names)
                if found is not None:
                    document[target] = found
        for key in [key for key in document if key in event and _is_injected(key)]:
            document[key] = take(key)  # ddtrace knows better
        described = described_exception(event)
        if described is not None:
            kind, message, stack = described
            document["error"] = {"kind": kind, "message": message, "stack": stack}
        moved_aside(event, document)
        return document


def _is_injected(key: str) -> bool:
    return key.startswith("dd.")


def _taken(event: dict[Any, Any], *names: str) -> str | None:
    """Take the first of *names* that is a text out of the event."""
    for name in names:
        if type(event.get(name)) is str:
            found: str = event.pop(name)
            return found
    return None

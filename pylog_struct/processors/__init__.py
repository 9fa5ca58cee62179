"""Processors and renderers: pure functions over the event dict, one family a module.

Each is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pylog_struct.processors.callsite import Callsite
    from pylog_struct.processors.document_limits import CONTAINER, DocumentLimits
    from pylog_struct.processors.ecs import ECS
    from pylog_struct.processors.presets import Datadog, GoogleCloud, Logstash
    from pylog_struct.processors.sequence import SequenceNumber
    from pylog_struct.processors.type_guard import TypeGuard
else:
    from pylog_struct._lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "callsite": ("Callsite",),
            "document_limits": ("CONTAINER", "DocumentLimits"),
            "ecs": ("ECS",),
            "presets": ("Datadog", "GoogleCloud", "Logstash"),
            "sequence": ("SequenceNumber",),
            "type_guard": ("TypeGuard",),
        },
    )

__all__ = [
    "CONTAINER",
    "ECS",
    "Callsite",
    "Datadog",
    "DocumentLimits",
    "GoogleCloud",
    "Logstash",
    "SequenceNumber",
    "TypeGuard",
]

"""Processors and renderers: pure functions over the event dict, one family a module."""

from __future__ import annotations

from pylog_struct.processors.callsite import Callsite
from pylog_struct.processors.document_limits import CONTAINER, DocumentLimits
from pylog_struct.processors.ecs import ECS
from pylog_struct.processors.presets import Datadog, GoogleCloud, Logstash
from pylog_struct.processors.sequence import SequenceNumber
from pylog_struct.processors.type_guard import TypeGuard

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

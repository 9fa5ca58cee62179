"""Processors and renderers: pure functions over the event dict, one family a module."""

from __future__ import annotations

from pylog_struct.processors.callsite import Callsite
from pylog_struct.processors.sequence import SequenceNumber

__all__ = ["Callsite", "SequenceNumber"]

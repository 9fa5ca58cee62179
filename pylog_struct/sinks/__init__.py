"""Sinks: one a module; leaves do I/O, wrappers hold other sinks."""

from __future__ import annotations

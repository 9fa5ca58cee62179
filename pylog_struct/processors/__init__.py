"""Processors and renderers: pure functions over the event dict, one family a module."""

from __future__ import annotations

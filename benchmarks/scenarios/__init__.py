"""What is asked of the contestants: a module a question, imported by both sides of a measurement.

``cases(effort)`` says what to measure, ``measure(case_contestant, options, directory)`` does one of
them, in a process of its own, and returns numbers.  ``rounds(effort)`` is optional.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = (
    "throughput",
    "latency",
    "paced",
    "threads",
    "filtered",
    "features",
    "sizes",
    "imports",
    "processes",
    "rollover",
    "memory",
    "outage",
    "parts",
    "stages",
)


def scenario(name: str) -> Any:
    """The module of a scenario."""
    return import_module(f"scenarios.{name}")

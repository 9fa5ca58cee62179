"""The trace that a request is part of: W3C Trace Context level 1, and OpenTelemetry where it runs.

Sources: https://www.w3.org/TR/trace-context-1/ (sections 3.2 and 3.3), the OpenTelemetry API.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Trace", "parse_traceparent", "parse_tracestate", "telemetry_ids"]

_PARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.DOTALL
)
_PARENT_MAX: Final = 512  # of a later version, whose length is not known yet
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_WHITE: Final = " \t"

_MEMBERS_MAX: Final = 32
_STATE_MAX: Final = 8192  # what is looked at; a longer one is not propagated by anybody
_KEY: Final = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})\Z"
)
_VALUE: Final = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]\Z")


@frozen
class Trace:
    """Where a request stands in a distributed trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits: the caller's span, or OpenTelemetry's own current one."""
    sampled: bool = False
    """Whether the caller may have recorded it."""
    state: tuple[tuple[str, str], ...] = ()
    """The members of ``tracestate``, in order."""


def parse_traceparent(value: str) -> Trace | None:
    """Return what a ``traceparent`` header says; None if it has to be ignored.

    As the recommendation has it: lower case only, all-zero ids and version ``ff`` are invalid,
    version ``00`` ends with the flags, a later one is read as far as it is known, and may go on
    behind a dash.
    """
    if len(value) > _PARENT_MAX:
        return None
    found = _PARENT.match(value.strip(_WHITE))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Trace(trace_id, span_id, sampled=bool(int(flags, 16) & 1))


def parse_tracestate(values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the members of the ``tracestate`` headers of a request, in order.

    One that breaks a rule (a key twice, more than 32 members, a character that is not allowed) is
    dropped as a whole, as the recommendation asks for.
    """
    text = ",".join(values)
    if len(text) > _STATE_MAX:
        return ()
    members: dict[str, str] = {}
    for part in text.split(","):
        member = part.strip(_WHITE)
        if not member:  # empty members are allowed
            continue
        key, equals, state = member.partition("=")
        if not equals or key in members or not _KEY.match(key) or not _VALUE.match(state):
            return ()
        members[key] = state
    return tuple(members.items()) if len(members) <= _MEMBERS_MAX else ()


def telemetry_ids() -> Trace | None:
    """Return OpenTelemetry's current span; None if that is not in use, or there is none.

    Nothing is imported: who has a span has imported ``opentelemetry.trace``.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        flags = int(context.trace_flags)
        return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", sampled=bool(flags & 1))
    except Exception as error:  # half imported, or another version than any that there is
        diagnostics.report("opentelemetry", "OpenTelemetry's current span cannot be read", error)
        return None

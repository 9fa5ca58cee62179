"""The status page's numbers as JSON, for programs."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from pylog_struct.web._status.errors import ERRORS, group
from pylog_struct.web._status.history import totals
from pylog_struct.web._status.levels import document
from pylog_struct.web._status.look import Look, received, written
from pylog_struct.web._status.page import service_name

__all__ = ["as_json"]


def as_json() -> dict[str, Any]:
    """Return everything that the page shows, without its history."""
    look = Look.take()
    sinks: list[dict[str, Any]] = []
    for reading, state, reasons in look.verdict.sinks:
        found = totals(reading)
        statistics = reading.statistics
        shown: dict[str, Any] = {
            "name": reading.name,
            "type": reading.kind,
            "parent": reading.parent,
            "status": state.value,
            "reasons": [reason.value for reason in reasons],
        }
        if statistics is not None and found is not None:
            drops = [
                {"reason": reason, "level": level, "records": number}
                for (reason, level), number in sorted(statistics.drops.items())
            ]
            shown |= {
                "received": statistics.received,
                "written": statistics.written,
                "dropped": statistics.dropped,
                "waiting": statistics.waiting,
                "bytes_written": statistics.bytes_written,
                "lost": found.lost,
                "drops": drops,
                "errors": dict(statistics.errors),
                "details": dict(statistics.details),
                "in_per_second": _rounded(look.rate(reading, received)),
                "out_per_second": _rounded(look.rate(reading, written)),
                "write_seconds": look.write_time(reading),
            }
        if reading.last_error is not None:
            at, text = reading.last_error
            shown["last_error"] = {"at": at, "text": text}
        sinks.append(shown)
    errors = [
        {"event": one.event, "logger": one.logger, "level": one.level, "number": one.number, "at": one.at}
        for one in group(ERRORS.newest(), 20)
    ]  # fmt: skip
    return {
        "status": look.verdict.state.value,
        "reasons": [reason.value for reason in look.verdict.reasons],
        "process": {"pid": os.getpid(), "host": socket.gethostname(), "service": service_name()},
        "at": time.time(),
        "sinks": sinks,
        "levels": document(),
        "errors": errors,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)

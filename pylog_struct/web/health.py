"""Is the log pipeline well?  For the probes of an orchestrator, as JSON.

Source: own design; the windowed counts are Fluent Bit's health check, the two questions (ready, live)
those of Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError
from pylog_struct.manager import current_manager_or_none
from pylog_struct.sinks._checks import check_count
from pylog_struct.units import parse_duration
from pylog_struct.web._http import Request, Response, asgi_app, plain, wsgi_app
from pylog_struct.web._status.verdict import Limits, State, Watch

if TYPE_CHECKING:
    from pylog_struct.web._http import ASGIApp, WSGIApp

__all__ = ["health_asgi_app", "health_wsgi_app"]


def health_asgi_app(
    *,
    window: float | str = 60.0,
    stuck_after: float | str = 30.0,
    queue_high: float = 0.8,
    max_drops: int = 0,
    max_errors: int = 0,
    degraded_status: int = 200,
    failing_status: int = 503,
    clock: Clock = SYSTEM_CLOCK,
) -> ASGIApp:
    """Return health checks as an ASGI application: ``/`` or ``/ready``, and ``/live``.

    ``/ready`` says ``ok``, ``degraded`` (events get through, but not as they should, or some were
    lost) or ``failing`` (they do not), and for each sink why, in codes of a closed set
    (``docs/how-to/health-checks.md`` has them).  ``/live`` is ``ok`` as long as the process answers:
    restarting it would not mend a sink.  Names of sinks and these codes are all that it tells.

    Args:
        window: How long drops and failed calls count, in seconds or as text, more than 0.
        stuck_after: Time without progress after which a queue with waiting records is stuck, in
            seconds or as text, more than 0; its ``linger`` is added.
        queue_high: Fraction of its capacity from which a queue counts as nearly full, above 0, up to 1.
        max_drops: Unwanted drops of one sink within the window that are still fine.
        max_errors: Failed calls of one sink within the window that are still fine.
        degraded_status: HTTP status for ``degraded``.
        failing_status: HTTP status for ``failing``.
        clock: For the windows.

    Raises:
        ConfigError: an argument is nonsense.

    Threads: thread-safe.  Blocks: at most 0.1 s for a sink whose lock cannot be had; never behind a
    write.  Fork: each process answers for itself.
    """
    page = _HealthPage("health_asgi_app", locals())
    return asgi_app(page)


def health_wsgi_app(
    *,
    window: float | str = 60.0,
    stuck_after: float | str = 30.0,
    queue_high: float = 0.8,
    max_drops: int = 0,
    max_errors: int = 0,
    degraded_status: int = 200,
    failing_status: int = 503,
    clock: Clock = SYSTEM_CLOCK,
) -> WSGIApp:
    """Return health checks as a WSGI application; everything else as :func:`health_asgi_app`.

    Raises:
        ConfigError: an argument is nonsense.
    """
    page = _HealthPage("health_wsgi_app", locals())
    return wsgi_app(page)


class _HealthPage:
    """Answers the probes of one mounted application."""

    def __init__(self, owner: str, given: dict[str, Any]) -> None:
        high = given["queue_high"]
        if isinstance(high, bool) or not isinstance(high, int | float) or not 0 < high <= 1:
            msg = f"{owner}.queue_high: {high!r} is no fraction; use more than 0, up to 1"
            raise ConfigError(msg)
        self._status = {State.OK: 200}
        for state in (State.DEGRADED, State.FAILING):
            name = f"{state.value}_status"
            code = given[name]
            if isinstance(code, bool) or not isinstance(code, int) or not 200 <= code <= 599:
                msg = f"{owner}.{name}: {code!r} is no HTTP status; use 200 to 599"
                raise ConfigError(msg)
            self._status[state] = code
        limits = Limits(
            window=parse_duration(given["window"], f"{owner}.window", exclusive=True),
            stuck_after=parse_duration(
                given["stuck_after"], f"{owner}.stuck_after", exclusive=True
            ),
            queue_high=high,
            max_drops=check_count(given["max_drops"], f"{owner}.max_drops", minimum=0),
            max_errors=check_count(
                given["max_errors"], f"{owner}.max_errors", minimum=0, unit="errors"
            ),
        )
        self._watch = Watch(limits, given["clock"])

    def __call__(self, request: Request) -> Response:
        """Answer one probe."""
        place = request.path.rstrip("/").rpartition("/")[2]
        if place not in {"", "ready", "live"}:
            return plain(404, "there are /ready and /live")
        if request.method not in {"GET", "HEAD"}:
            return plain(405, "use GET or HEAD", ("Allow", "GET, HEAD"))
        if place == "live":
            return _json(200, {"status": State.OK.value})
        verdict = self._watch.look(current_manager_or_none())
        found = {
            "status": verdict.state.value,
            "reasons": [reason.value for reason in verdict.reasons],
            "sinks": {
                reading.name: {
                    "status": state.value,
                    "reasons": [reason.value for reason in reasons],
                }
                for reading, state, reasons in verdict.sinks
            },
        }
        return _json(self._status[verdict.state], found)


def _json(status: int, found: object) -> Response:
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Response(status, headers, orjson.dumps(found))

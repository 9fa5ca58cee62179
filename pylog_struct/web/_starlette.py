"""Two habits of Starlette (and so of FastAPI) that an application of ours cannot do anything about by itself.

A ``Mount`` redirects ``/metrics`` to ``/metrics/`` before it asks what is mounted there, and not every
scraper follows.  And a 500 is made by the outermost middleware of all, outside of what
``add_middleware`` adds.  Both are mended where they come from, and only for what is ours.

Starlette is never imported here.  Source: ``starlette.routing.Mount``, ``starlette.middleware.errors``.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from structlog.contextvars import bound_contextvars

from pylog_struct import diagnostics
from pylog_struct._exception_context import context_of
from pylog_struct._lazy import loaded
from pylog_struct.web._request.asgi_messages import with_header
from pylog_struct.web._request.exchange import REQUEST_ID_KEY
from pylog_struct.web._request.names import current_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["mark_server_errors", "mount_without_redirect"]

_OURS: Final = "_pylog_struct"
_ANSWERS: Final = ("handler", "debug_response", "error_response")
_DEPTH_MAX: Final = 16


def mount_without_redirect(kind: type) -> None:
    """Have ``app.mount("/metrics", …)`` answer ``/metrics`` too, if an instance of *kind* is mounted.

    Other mounts are left as they are.  Safe to call again; without Starlette it does nothing.
    """
    mount: Any = loaded("starlette.routing", "Mount")
    if not mount or hasattr(mount.matches, _OURS):
        return
    original = mount.matches

    @functools.wraps(original)
    def matches(self: Any, scope: Any) -> Any:
        found = original(self, scope)
        if (
            not found[1]  # no match
            and isinstance(getattr(self, "_base_app", self.app), kind)
            and scope["type"] == "http"
        ):
            # Only the mount's own path matches with a slash and does not without.
            found = original(self, {**scope, "path": f"{scope['path']}/"})
        return found

    setattr(matches, _OURS, True)
    mount.matches = matches


def mark_server_errors(app: object, header: str) -> None:
    """Have the 500 that Starlette's *app* answers an exception with carry the request's id.

    Its handler, if the application has one, runs with what was bound where the exception came from.
    Called when an exception passes, so that nobody else pays for it.  Never raises.

    Args:
        app: What the scope calls the application.
        header: The name of the header.
    """
    try:
        errors: Any = loaded("starlette.middleware.errors", "ServerErrorMiddleware")
        outer: Any = getattr(app, "middleware_stack", None)
        for _ in range(_DEPTH_MAX):  # instrumentation may be around it
            if isinstance(outer, errors):
                break
            outer = getattr(outer, "app", None)
        else:
            return
        for name in _ANSWERS:
            make = getattr(outer, name, None)
            if make is not None and not hasattr(make, _OURS):
                setattr(outer, name, _marked(make, header))
    except Exception as error:
        diagnostics.report("asgi server error", "the 500 of Starlette has no id", error)


def _marked(make: Callable[[Any, Exception], Any], header: str) -> Callable[..., Any]:
    """Return a function like *make*, asynchronous if it is: Starlette runs the others in a thread."""
    if inspect.iscoroutinefunction(make) or inspect.iscoroutinefunction(
        getattr(make, "__call__", None)  # noqa: B004 - of an object with an asynchronous one
    ):

        async def awaited(request: Any, error: Exception) -> Any:
            known = context_of(error)
            with bound_contextvars(**known):
                return _Answer(await make(request, error), known, header)

        setattr(awaited, _OURS, True)
        return awaited

    def called(request: Any, error: Exception) -> Any:
        known = context_of(error)
        with bound_contextvars(**known):
            return _Answer(make(request, error), known, header)

    setattr(called, _OURS, True)
    return called


class _Answer:
    """A response with the id in its header, and on what the server logs while it is sent."""

    def __init__(self, response: Any, known: Mapping[str, Any], header: str) -> None:
        self._response = response
        self._known = known
        self._name = header.lower().encode("ascii")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # A middleware between ours and Starlette's may have made a scope of its own.
        found = scope.get(REQUEST_ID_KEY) or self._known.get(current_names().request_id)

        async def send_with_id(message: Any) -> None:
            if found and message["type"] == "http.response.start":
                message = with_header(message, self._name, str(found).encode("latin-1", "replace"))
            await send(message)

        with bound_contextvars(**self._known):
            await self._response(scope, receive, send_with_id)

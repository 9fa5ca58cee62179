"""Request middleware for Django, under WSGI and ASGI: ids, context variables, one access event a request."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.errors import ConfigError
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, RequestCore

try:
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction
    from django.conf import settings  # type: ignore[import-untyped]
    from django.core.signals import got_request_exception  # type: ignore[import-untyped]

    from pylog_struct.web._django.lines import take_over_lines
    from pylog_struct.web._django.request import (
        EXCHANGE,
        begin,
        describe_response,
        note_exception,
        note_user,
    )
    from pylog_struct.web._django.stream import listen, unbind
except ImportError as _missing:
    raise ImportError("pylog_struct.web.django needs Django: pip install django") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._request.exchange import Exchange

__all__ = ["RequestMiddleware"]

_SETTING: Final = "settings.PYLOG_STRUCT"


class RequestMiddleware:
    """Does inside of Django what the middleware for ASGI and WSGI do around an application.

    ::

        MIDDLEWARE = ["pylog_struct.web.django.RequestMiddleware", ...]  # the first of them
        LOGGING_CONFIG = None
        PYLOG_STRUCT = {"exclude": ["/health"], "slow": "2 s"}

    One class for both: in an asynchronous chain it is asynchronous, in a synchronous one it is not,
    and Django adapts nothing for it.  It gives each request an id, binds it to structlog's context
    variables, in the view and in what the view calls by ``sync_to_async``, puts it into the
    response's header, and logs one event of the same fields when the response has ended.  The route
    is that of ``resolver_match``.

    A response that streams has ended with its last chunk, and its iterator runs with the id, too; one
    that the client does not wait for is ``disconnected``.  A ``FileResponse`` is left to the server's
    quick way of sending files; its size is what its ``Content-Length`` says.

    An exception in a view becomes Django's 500, and a line of ``django.request`` with the stack, which
    has the id; the access event names its type.

    Args:
        get_response: Django's.

    Settings: ``PYLOG_STRUCT``, a mapping of the keywords of
    :class:`~pylog_struct.web.RequestMiddleware`, and ``"user_id"``: whether the access event has the
    id of the user (False by default), if the view has asked who that is: the session is not touched.

    Raises:
        ConfigError: the setting is no mapping, has an unknown option, or a nonsensical value.

    Threads: one instance serves any number of requests at once.  Blocks: as a log call.
    Source: Django's documentation, "Middleware" and "Asynchronous support".
    """

    sync_capable: Final = True
    async_capable: Final = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        options = getattr(settings, "PYLOG_STRUCT", {})
        if not isinstance(options, Mapping):
            raise ConfigError(
                f"{_SETTING}: {options!r} is no mapping; use one such as {{'exclude': ['/health']}}"
            )
        given: Any = dict(options)
        self._user_id = given.pop("user_id", False)
        if not isinstance(self._user_id, bool):
            raise ConfigError(f"{_SETTING}.user_id: {self._user_id!r} is neither True nor False")
        self._core = RequestCore(_SETTING, given)
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        got_request_exception.connect(note_exception, dispatch_uid="pylog_struct")
        take_over_lines()
        self._has_served = False

    def __call__(self, request: Any) -> Any:
        """Serve one request; in an asynchronous chain, return what does."""
        if REQUEST_ID_KEY in request.META or REQUEST_ID_KEY in getattr(request, "scope", ()):
            return self._get_response(request)  # a middleware around Django is at work already
        if not self._has_served:
            self._has_served = True
            take_over_lines()  # Django may have set up its own logging since
        if self._is_async:
            return self._serve_async(request)
        # In a context of its own, so that nothing that a view binds reaches the thread's next request.
        context = copy_context()
        return context.run(self._serve, request, context.run)

    def _serve(self, request: Any, run: Callable[..., Any]) -> Any:
        exchange = begin(self._core, request)
        streams = False
        try:
            response = self._get_response(request)
            streams = self._responded(exchange, request, response, run)
        except BaseException as error:
            self._core.broke(exchange, error)
            raise
        else:
            return response
        finally:
            self._return(exchange, request, streams=streams)

    async def _serve_async(self, request: Any) -> Any:
        exchange = begin(self._core, request)
        streams = False
        try:
            response = await self._get_response(request)
            streams = self._responded(exchange, request, response, copy_context().run)
        except BaseException as error:
            self._core.broke(exchange, error)
            # Django cancels a request if its client has gone.
            exchange.left = not isinstance(error, Exception)
            raise
        else:
            return response
        finally:
            self._return(exchange, request, streams=streams)

    def _responded(
        self, exchange: Exchange, request: Any, response: Any, run: Callable[..., Any]
    ) -> bool:
        """Note what the response says; return whether its last byte is still to come."""
        response[self._core.header] = exchange.request_id
        streams = describe_response(exchange, request, response)
        if streams:
            leave = functools.partial(self._leave, exchange, request)
            listen(response, self._core, exchange, run, leave)
        return streams

    def _return(self, exchange: Exchange, request: Any, *, streams: bool) -> None:
        """End the request, or leave it to its stream."""
        if streams:
            unbind(exchange)
        else:
            self._leave(exchange, request)

    def _leave(self, exchange: Exchange, request: Any) -> None:
        if self._user_id:
            with note_user(request):
                self._core.finish(exchange)
        request.__dict__.pop(EXCHANGE, None)
        self._core.leave(exchange)

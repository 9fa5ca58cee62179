"""A page that shows what the log pipeline does now, to mount in a web application.

Sources: RFC 6750 (bearer tokens), RFC 6265 (cookies), Content Security Policy Level 3, Fetch Metadata
Request Headers; ``GET`` and ``PUT`` of a level as in zap's ``AtomicLevel``.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

import orjson

from pylog_struct.errors import ConfigError
from pylog_struct.units import parse_duration
from pylog_struct.web._http import Request, Response, asgi_app, plain, wsgi_app
from pylog_struct.web._status.access import Access, cookie, csrf, session
from pylog_struct.web._status.errors import ERRORS
from pylog_struct.web._status.history import HISTORY
from pylog_struct.web._status.json import as_json
from pylog_struct.web._status.levels import Levels, document
from pylog_struct.web._status.page import (
    SECURITY,
    fragment,
    html_response,
    login_page,
    status_page,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._http import ASGIApp, WSGIApp

__all__ = ["status_asgi_app", "status_wsgi_app"]

_DAY: Final = 86_400.0
_FORM: Final = "application/x-www-form-urlencoded"
_REFUSED: Final = "this page needs its access token: log in, or send it as Authorization: Bearer"


def status_asgi_app(
    *,
    token: str | None = None,
    guard: Callable[[Request], object] | None = None,
    title: str = "",
    changes: bool = True,
    max_duration: float | str = _DAY,
) -> ASGIApp:
    """Return the status page as an ASGI application, to mount under a path of its own.

    It shows the sinks as a tree with what each does now and did in the last five minutes, the levels,
    and the last errors that were logged; levels can be changed for a while, which leaves an event
    ``level.changed`` in the log.  Below the path where it is mounted there are ``/`` (the page),
    ``/data`` (the same as JSON) and ``/level`` (GET, PUT and DELETE with JSON).  It shows and changes
    the process that answers; see ``docs/how-to/status-page.md``.

    Nothing of it exists until this is called, and it is not built without a guard: what is in a log
    is not for everybody.

    Args:
        token: A secret of 16 or more characters.  Accepted as ``Authorization: Bearer``, or from the
            page's login form in exchange for a cookie (HttpOnly, SameSite=Strict, 12 hours).
        guard: A function of the request (``method``, ``path``, ``query``, ``headers`` by name in lower
            case, ``client``) that returns True, or the user's name for the audit event; anything else
            refuses, and so does an exception.
        title: What stands above the page; by default the service of ``configure``.
        changes: Whether levels can be changed.
        max_duration: Longest time for which one can, in seconds or as text; a day.

    Raises:
        ConfigError: neither or both of *token* and *guard*, or an argument that is nonsense.

    Threads: thread-safe.  Blocks: each request for some milliseconds, in the loop's default executor;
    at most 0.1 s for a sink whose lock cannot be had.
    Fork: each process shows itself; sessions hold in all that have the same token.
    Cost: one sample every two seconds; events from ERROR up are logged step by step.  All others pay
    nothing.
    """
    page = _StatusPage("status_asgi_app", token, guard, title, changes, max_duration)
    return asgi_app(page)


def status_wsgi_app(
    *,
    token: str | None = None,
    guard: Callable[[Request], object] | None = None,
    title: str = "",
    changes: bool = True,
    max_duration: float | str = _DAY,
) -> WSGIApp:
    """Return the status page as a WSGI application; everything else as :func:`status_asgi_app`.

    Raises:
        ConfigError: neither or both of *token* and *guard*, or an argument that is nonsense.
    """
    page = _StatusPage("status_wsgi_app", token, guard, title, changes, max_duration)
    return wsgi_app(page)


class _StatusPage:
    """Answers the requests of one mounted page."""

    def __init__(
        self,
        owner: str,
        token: str | None,
        guard: Callable[[Request], object] | None,
        title: str,
        changes: bool,
        max_duration: float | str,
    ) -> None:
        self._access = Access(owner, token, guard)
        if not isinstance(title, str):
            msg = f"{owner}.title: {title!r} is no text; use a str, or leave it out"
            raise ConfigError(msg)
        if not isinstance(changes, bool):
            msg = f"{owner}.changes: {changes!r} is neither True nor False"
            raise ConfigError(msg)
        most = parse_duration(max_duration, f"{owner}.max_duration", exclusive=True)
        self._title = title
        self._levels = Levels(most) if changes else None
        for shared in (HISTORY, ERRORS):
            shared.use()
            # Not at exit: what is shared ends with the process anyway.
            weakref.finalize(self, shared.leave).atexit = False

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if not request.path:  # the page's links are relative: they need the slash at the end
            here = quote(request.root.rpartition("/")[2], safe="")
            return plain(308, "the page is below", ("Location", f"{here}/" if here else "./"))
        place = request.path.rpartition("/")[2]  # behind a proxy, more may stand in front
        if place == "login" and self._access.by_token:
            return self._login(request)
        identity = self._access.identity(request)
        if identity is None:
            return self._refuse(request, place)
        HISTORY.start()
        match place:
            case "" | "live" | "data":
                if request.method not in {"GET", "HEAD"}:
                    return _not_allowed("GET, HEAD")
                return self._show(request, place)
            case "level":
                return self._level(request, identity)
            case "logout" if self._access.by_token:
                return self._logout(request)
            case _:
                return _answer(404, b"there is no such page here\n", "text/plain; charset=utf-8")

    # -- access -----------------------------------------------------------------------------------

    def _refuse(self, request: Request, place: str) -> Response:
        if not self._access.by_token:
            return _answer(403, b"not allowed\n", "text/plain; charset=utf-8")
        if self._access.wait(request):
            return self._too_many(request)
        challenge = ("WWW-Authenticate", 'Bearer realm="pylog_struct status"')
        wants_page = "text/html" in request.headers.get("accept", "")
        if place == "" and wants_page and request.method in {"GET", "HEAD"}:
            return html_response(*login_page(), 401, challenge)
        return _answer(401, f"{_REFUSED}\n".encode(), "text/plain; charset=utf-8", challenge)

    def _too_many(self, request: Request) -> Response:
        seconds = str(int(self._access.wait(request)) + 1)
        text = f"too many wrong tokens; the next try is possible in {seconds} s\n"
        later = ("Retry-After", seconds)
        return _answer(429, text.encode(), "text/plain; charset=utf-8", later)

    def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _answer(303, b"", "text/plain; charset=utf-8", ("Location", "./"))
        if self._access.is_forged(request, None):
            return _forged()
        if self._access.wait(request):
            return self._too_many(request)
        if not self._access.token_is_right(request, _form(request).get("token", "")):
            return html_response(*login_page("That is not the token."), 401)
        return _answer(
            303, b"", "text/plain; charset=utf-8",
            ("Location", "./"), cookie(self._access.new_session(), request),
        )  # fmt: skip

    def _logout(self, request: Request) -> Response:
        if request.method != "POST":
            return _not_allowed("POST")
        if self._access.is_forged(request, _form(request).get("csrf", "")):
            return _forged()
        gone = cookie("", request, age=0)
        return _answer(303, b"", "text/plain; charset=utf-8", ("Location", "./"), gone)

    # -- what it shows ----------------------------------------------------------------------------

    def _show(self, request: Request, place: str) -> Response:
        if place == "data":
            return _answer(200, orjson.dumps(as_json()), "application/json")
        own, more = self._session(request)
        if place == "live":
            live = fragment(self._levels, csrf(own))
            return _answer(200, live.encode("utf-8", "replace"), "text/html; charset=utf-8", *more)
        return html_response(*self._page(request, own), 200, *more)

    def _page(self, request: Request, own: str, problem: str = "") -> tuple[Any, str]:
        can_leave = self._access.by_token and "authorization" not in request.headers
        return status_page(
            self._title, self._levels, csrf(own), problem=problem, can_leave=can_leave
        )

    def _session(self, request: Request) -> tuple[str, list[tuple[str, str]]]:
        """The cookie that this browser has, or a new one: forms are bound to it, guard or token."""
        own = session(request)
        if own:
            return own, []
        own = self._access.new_session() if self._access.by_token else os.urandom(16).hex()
        return own, [cookie(own, request)]

    # -- levels -----------------------------------------------------------------------------------

    def _level(self, request: Request, identity: str) -> Response:
        allowed = "GET, HEAD" if self._levels is None else "GET, HEAD, PUT, DELETE, POST"
        if request.method in {"GET", "HEAD"}:
            return _json(200, document())
        if request.method not in {"PUT", "DELETE", "POST"} or self._levels is None:
            return _not_allowed(allowed)
        if request.method == "POST":
            return self._level_form(self._levels, request, identity)
        if self._access.is_forged(request, None):
            return _forged()
        try:
            given = _given(request)
            if request.method == "PUT":
                self._levels.change(
                    request,
                    identity,
                    given.get("level"),
                    given.get("logger"),
                    given.get("duration"),
                )
            else:
                self._levels.revert(request, identity, given.get("logger"))
        except ConfigError as error:
            return _json(400, {"error": str(error)})
        return _json(200, document())

    def _level_form(self, levels: Levels, request: Request, identity: str) -> Response:
        form = _form(request)
        if self._access.is_forged(request, form.get("csrf", "")):
            return _forged()
        logger = form.get("logger", "")
        try:
            if form.get("action") == "revert":
                levels.revert(request, identity, logger)
            else:
                levels.change(request, identity, form.get("level"), logger, form.get("duration"))
        except ConfigError as error:
            return html_response(*self._page(request, session(request), str(error)), 400)
        return _answer(303, b"", "text/plain; charset=utf-8", ("Location", "./#levels"))


def _given(request: Request) -> dict[str, Any]:
    """What a program sent: a JSON object, or nothing but the query of a DELETE.

    Raises:
        ConfigError: it is something else.
    """
    if request.method == "DELETE" and not request.body:
        return dict(parse_qsl(request.query, max_num_fields=20))
    # No form of another site can send this type without asking first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        msg = "content-type: use application/json"
        raise ConfigError(msg)
    try:
        found = orjson.loads(request.body)
    except ValueError as error:
        msg = f"body: no JSON: {error}"
        raise ConfigError(msg) from None
    if not isinstance(found, dict):
        msg = 'body: no object; use {"level": "debug", "logger": "app", "duration": "10 min"}'
        raise ConfigError(msg)
    unknown = sorted(found.keys() - {"level", "logger", "duration"})
    if unknown:
        msg = f"body: unknown member {unknown[0]!r}; there are level, logger and duration"
        raise ConfigError(msg)
    return found


def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    try:
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), max_num_fields=20))
    except ValueError:  # more fields than any form of ours has
        return {}


def _answer(status: int, body: bytes, kind: str, *more: tuple[str, str]) -> Response:
    return Response(status, (("Content-Type", kind), *SECURITY, *more), body)


def _json(status: int, found: object) -> Response:
    return _answer(status, orjson.dumps(found), "application/json")


def _not_allowed(methods: str) -> Response:
    text = f"use {methods}\n".encode()
    return _answer(405, text, "text/plain; charset=utf-8", ("Allow", methods))


def _forged() -> Response:
    text = b"the request did not come from this page; load it again\n"
    return _answer(403, text, "text/plain; charset=utf-8")

"""A request and its answer, for small pages that any server can mount: the seam to ASGI and WSGI.

A page is a function from :class:`Request` to :class:`Response`; :func:`asgi_app` and :func:`wsgi_app`
make an application of it.  Neither trusts what comes: what is not UTF-8 is replaced, and a body is
read up to a limit.

Sources: the ASGI specification (HTTP and lifespan), PEP 3333.
"""

from __future__ import annotations

import asyncio
import contextvars
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.web._starlette import mount_without_redirect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

__all__ = [
    "ASGIApp",
    "Page",
    "Request",
    "Response",
    "WSGIApp",
    "answer",
    "asgi_app",
    "asgi_request",
    "head",
    "plain",
    "wsgi_app",
]

MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body that are read; a longer one is answered with 413."""


_DIGITS: Final = 18  # of a length; with more of them it is too long anyway


@frozen
class Request:
    """What a page gets to see of a request."""

    method: str
    path: str
    """Below the point where the application is mounted; begins with a slash, or is empty."""
    query: str
    """As it came, without the question mark."""
    headers: Mapping[str, str]
    """By name in lower case; of several of one name, the values joined by a comma."""
    body: bytes = b""
    client: str = ""
    """The peer's address, or nothing if the server does not say."""
    root: str = ""
    """The path at which the application is mounted, without a slash at its end."""


@frozen
class Response:
    """What a page answers.  ``Content-Length`` is added; HEAD gets no body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


Page: TypeAlias = "Callable[[Request], Response]"
ASGIApp: TypeAlias = "Callable[[Any, Any, Any], Awaitable[None]]"
WSGIApp: TypeAlias = "Callable[[Any, Any], Iterable[bytes]]"


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of one line of text."""
    fixed = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))
    return Response(status, (*fixed, *headers), f"{text}\n".encode())


def answer(page: Page, request: Request) -> Response:
    """Call the page; what it raises is its own trouble, not the server's."""
    try:
        return page(request)
    except Exception as error:
        diagnostics.report(f"page {request.root}", "a page could not be made", error)
        return plain(500, "this page could not be made; the reason is on the server's stderr")


def head(response: Response) -> list[tuple[str, str]]:
    return [*response.headers, ("Content-Length", str(len(response.body)))]


# -- ASGI -----------------------------------------------------------------------------------------


def asgi_app(page: Page, name: str = "page") -> ASGIApp:
    """Make an ASGI 3 application of *page*; *name* is what a framework calls its route.

    Under asyncio the page runs in the loop's default executor, in the caller's context: no scrape
    keeps the event loop waiting.  A lifespan is answered, a websocket refused.  Mounted in Starlette
    or FastAPI it is asked without a slash at the end of the path too.
    """
    mount_without_redirect(_PageApp)
    return _PageApp(page, name)


class _PageApp:
    """A page as an object: Starlette takes a function for one of a request."""

    def __init__(self, page: Page, name: str) -> None:
        self._page = page
        self.__name__ = name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await _lifespan(receive, send)
            return
        if kind != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        body = await _asgi_body(receive)
        if body is None:
            response = plain(413, f"the body is longer than {MAX_BODY} bytes")
        else:
            response = await _elsewhere(self._page, asgi_request(scope, body))
        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in head(response)]
        shown = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.start", "status": response.status, "headers": lines})
        await send({"type": "http.response.body", "body": shown})


async def _elsewhere(page: Page, request: Request) -> Response:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # trio, for one
        return answer(page, request)
    context = contextvars.copy_context()
    return await loop.run_in_executor(None, lambda: context.run(answer, page, request))


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _asgi_body(receive: Any) -> bytes | None:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


def asgi_request(scope: Any, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers") or ():
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    root = (scope.get("root_path") or "").rstrip("/")
    path = scope.get("path") or ""
    if root and (path == root or path.startswith(f"{root}/")):  # as the specification has it
        path = path[len(root) :]
    asked = unquote((scope.get("raw_path") or b"").partition(b"?")[0])
    if path.endswith("/") and asked and not asked.endswith("/"):
        path = path[:-1]  # Litestar's: nobody sent it
    if not root and asked.endswith(path):  # Litestar again, which does not say where it mounts
        root = asked[: len(asked) - len(path)].rstrip("/")
    client = scope.get("client")
    return Request(
        scope["method"],
        path,
        (scope.get("query_string") or b"").decode("latin-1"),
        headers,
        body,
        str(client[0]) if client else "",
        root,
    )


# -- WSGI -----------------------------------------------------------------------------------------


def wsgi_app(page: Page) -> WSGIApp:
    """Make a WSGI application of *page*."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        # Not every server checks it, and int() raises for thousands of digits.
        size = int(length[:_DIGITS]) if length.isdecimal() else 0
        if size > MAX_BODY:
            response = plain(413, f"the body is longer than {MAX_BODY} bytes")
        else:
            body = environ["wsgi.input"].read(size) if size else b""
            response = answer(page, _wsgi_request(environ, body))
        phrase = HTTPStatus(response.status).phrase
        start_response(f"{response.status} {phrase}", head(response))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    return app


def _wsgi_request(environ: Any, body: bytes) -> Request:
    headers = {
        name[5:].replace("_", "-").lower(): _text(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = _text(environ[name])
    return Request(
        environ["REQUEST_METHOD"],
        _text(environ.get("PATH_INFO", "")),
        environ.get("QUERY_STRING", ""),
        headers,
        body,
        environ.get("REMOTE_ADDR", ""),
        _text(environ.get("SCRIPT_NAME", "")).rstrip("/"),
    )


def _text(value: str) -> str:
    """Undo what PEP 3333 does to bytes: it has them as Latin-1."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")

"""The metrics endpoint in one line, whatever the application is made with.

No framework is imported that the application has not imported itself.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pylog_struct._lazy import loaded
from pylog_struct.errors import ConfigError
from pylog_struct.web import _http
from pylog_struct.web._metrics.negotiation import metrics_page
from pylog_struct.web._metrics.scrape import Scraper

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from pylog_struct.web._http import Page
    from pylog_struct.web._metrics.scrape import Collector

__all__ = ["mount_metrics"]

_App = TypeVar("_App")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_METHODS: Final = ("GET", "HEAD", "OPTIONS")


def mount_metrics(
    app: _App,
    path: str = "/metrics",
    registry: Collector | Sequence[Collector] | None = None,
    *,
    collectors: Iterable[Collector] = (),
    multiprocess_dir: str | os.PathLike[str] | None = None,
    fold: bool = True,
    compress: bool = True,
    interface: Literal["asgi", "wsgi"] | None = None,
) -> _App:
    """Answer scrapes at *path*, with and without a slash at its end, and return the application.

    Both are answered with 200, GET and HEAD, and never with a redirect, also if the application is
    mounted in another one or served below a root path.  The middleware of the application applies.

    Args:
        app: One of these, changed in place and returned:

            - a ``FastAPI`` or ``Starlette`` application, an ``APIRouter`` (its prefix counts) or ``Router``;
              the route comes first, so no catch-all hides it
            - a ``Litestar`` application or router
            - a ``Flask`` application or blueprint
            - Django's ``urlpatterns``: ``mount_metrics(urlpatterns)`` at the end of ``urls.py``

            Or any other ASGI or WSGI application: it is wrapped, use what is returned.
        path: Letters, digits and ``._~-`` between slashes.
        registry: See :func:`pylog_struct.web.metrics_asgi_app`, as for the following.
        collectors: More collectors.
        multiprocess_dir: Where the files of the multiprocess mode are.
        fold: Whether dead workers' files are folded.
        compress: Whether gzip is offered.
        interface: Which of the two a plain application is, where its signature does not say it.

    Raises:
        ConfigError: an argument makes no sense, or nobody can tell what *app* is.

    Threads: call it while the application is being built.  Blocks: never.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        msg = f"path: {path!r} is not a path to mount at; give one like '/metrics'"
        raise ConfigError(msg)
    if interface not in {None, "asgi", "wsgi"}:
        msg = f"interface: {interface!r} is neither 'asgi' nor 'wsgi'"
        raise ConfigError(msg)
    path = path.rstrip("/")
    scraper = Scraper(registry, collectors, multiprocess_dir, fold=fold)
    page = metrics_page(scraper, compress=compress)
    if interface is None:
        for module, name, mount in _FRAMEWORKS:
            if isinstance(app, loaded(module, name)):
                mount(app, path, page)
                return app
        if isinstance(app, list):
            _mount_in_django(app, path, page)
            return app
    wrapped: Any = _wrapped(app, path, page, interface or _interface_of(app))
    return wrapped  # type: ignore[no-any-return]


def _mount_in_starlette(app: Any, path: str, page: Page) -> None:
    from starlette.routing import Route  # noqa: PLC0415 - it is imported: there is an application

    router = getattr(app, "router", app)
    # FastAPI puts the prefix of an APIRouter before the routes of its own kind only.
    path = getattr(router, "prefix", "") + path
    endpoint = _http.asgi_app(page, "metrics")
    router.routes[:0] = [
        Route(each, endpoint, name="metrics", include_in_schema=False)
        for each in (path, f"{path}/")
    ]


def _mount_in_litestar(app: Any, path: str, page: Page) -> None:
    from litestar import asgi  # noqa: PLC0415 - it is imported: there is an application

    serve = _http.asgi_app(page)

    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        await serve(scope, receive, send)

    # Older versions do not have it, newer ones warn if nobody says it.
    more: Any = {"copy_scope": True} if "copy_scope" in inspect.signature(asgi).parameters else {}
    app.register(asgi(path, **more)(metrics))


def _mount_in_flask(app: Any, path: str, page: Page) -> None:
    from flask import Response, request  # noqa: PLC0415 - it is imported: there is an application

    serve = _http.wsgi_app(page)

    def metrics() -> Any:
        return Response.from_app(serve, request.environ)

    app.add_url_rule(
        path,
        f"metrics{path.replace('/', '_').replace('.', '_')}",
        metrics,
        methods=_METHODS,
        provide_automatic_options=False,
        strict_slashes=False,
    )


def _mount_in_django(patterns: list[Any], path: str, page: Page) -> None:
    try:  # not before it is asked for; and Django has no types
        http, urls = import_module("django.http"), import_module("django.urls")
    except ImportError as error:
        msg = f"app: {patterns!r} is a list, as Django's urlpatterns are, but there is no Django"
        raise ConfigError(msg) from error

    def metrics(request: Any) -> Any:
        answer = _http.answer(
            page,
            _http.Request(
                request.method,
                request.path_info,
                request.META.get("QUERY_STRING", ""),
                {name.lower(): value for name, value in request.headers.items()},
            ),
        )
        body = b"" if request.method == "HEAD" else answer.body
        return http.HttpResponse(body, status=answer.status, headers=dict(_http.head(answer)))

    # What is no GET is answered with 405, not with a page about cookies.
    metrics.csrf_exempt = True  # type: ignore[attr-defined]
    patterns.insert(0, urls.re_path(rf"^{re.escape(path[1:])}/?$", metrics, name="metrics"))


_FRAMEWORKS: Final[tuple[tuple[str, str, Callable[[Any, str, Page], None]], ...]] = (
    ("starlette.applications", "Starlette", _mount_in_starlette),  # FastAPI is one
    ("starlette.routing", "Router", _mount_in_starlette),  # APIRouter is one
    ("litestar.router", "Router", _mount_in_litestar),  # Litestar is one
    ("flask.sansio.scaffold", "Scaffold", _mount_in_flask),  # Flask and Blueprint are both
)


# -- plain applications ---------------------------------------------------------------------------


def _interface_of(app: Any) -> Literal["asgi", "wsgi"]:
    """Tell by what it takes: ``(scope, receive, send)`` or ``(environ, start_response)``."""
    if callable(app) and not isinstance(app, type):
        try:
            parameters = inspect.signature(app).parameters.values()
        except (TypeError, ValueError):
            parameters = ()  # type: ignore[assignment]
        needed = [
            each
            for each in parameters
            if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}
            and each.default is each.empty
        ]
        if len(needed) == 3:
            return "asgi"
        if len(needed) == 2:
            return "wsgi"
    msg = (
        f"app: {app!r} is no application of FastAPI, Starlette, Litestar, Flask or Django (urlpatterns); "
        "for a plain one say interface='asgi' or interface='wsgi'"
    )
    raise ConfigError(msg)


def _wrapped(app: Any, path: str, page: Page, interface: Literal["asgi", "wsgi"]) -> Any:
    if not callable(app):
        msg = f"app: {app!r} cannot be called"
        raise ConfigError(msg)
    paths = (path, f"{path}/")
    if interface == "asgi":
        serve_asgi = _http.asgi_app(page)

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            ours = scope["type"] == "http" and (
                scope["path"] in paths or _http.asgi_request(scope, b"").path in paths
            )
            chosen: Any = serve_asgi if ours else app
            await chosen(scope, receive, send)

        return asgi
    serve_wsgi = _http.wsgi_app(page)

    def wsgi(environ: Any, start_response: Any) -> Any:
        ours = environ.get("PATH_INFO") in paths
        return (serve_wsgi if ours else app)(environ, start_response)

    return wsgi

"""Applications of every framework with the metrics mounted in one line: for the tests of the mount."""

from __future__ import annotations

import warnings

from prometheus_client import CollectorRegistry, Gauge

from pylog_struct.web import mount_metrics

REGISTRY = CollectorRegistry()
Gauge("mounted", "Whether it is.", registry=REGISTRY).set(1)
EXPECTED = {("mounted", ()): 1.0}


def fastapi():
    """The mount comes last here, after a route that catches all."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/{path:path}")
    def everything(path: str) -> str:
        return f"caught {path}"

    return mount_metrics(app, registry=REGISTRY)


def fastapi_router():
    """A router of its own, with a prefix, and another one where it is included: /sub/api/metrics."""
    from fastapi import APIRouter, FastAPI

    router = APIRouter(prefix="/api")
    mount_metrics(router, registry=REGISTRY)
    app = FastAPI()
    app.include_router(router, prefix="/sub")
    return app


def fastapi_sub():
    """An application in an application, which gets a root path by that: /sub/metrics."""
    from fastapi import FastAPI

    inner = FastAPI()
    mount_metrics(inner, registry=REGISTRY)
    app = FastAPI()
    app.mount("/sub", inner)
    return app


def fastapi_root_path():
    """An application that says its root path itself."""
    from fastapi import FastAPI

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions want the server to say it
        app = FastAPI(root_path="/api")
    return mount_metrics(app, registry=REGISTRY)


def starlette():
    """Starlette itself."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("home"))])
    return mount_metrics(app, registry=REGISTRY)


def starlette_router():
    """A router of Starlette, mounted: /sub/metrics."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Router

    return Starlette(routes=[Mount("/sub", mount_metrics(Router(), registry=REGISTRY))])


def litestar():
    """Litestar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own business
        from litestar import Litestar, get

    @get("/", sync_to_thread=False)
    def home() -> str:
        return "home"

    return mount_metrics(
        Litestar([home], openapi_config=None, logging_config=None), registry=REGISTRY
    )


def flask():
    """Flask."""
    from flask import Flask

    app = Flask("mounted")

    @app.route("/")
    def home() -> str:
        return "home"

    return mount_metrics(app, registry=REGISTRY)


def flask_blueprint():
    """A blueprint with a prefix: /sub/metrics."""
    from flask import Blueprint, Flask

    app = Flask("mounted_blueprint")
    blueprint = mount_metrics(Blueprint("internal", "mounted"), registry=REGISTRY)
    app.register_blueprint(blueprint, url_prefix="/sub")
    return app


urlpatterns: list = []


def _django():
    """What these applications need to be set, while they are made and while they answer."""
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import override_settings
    from django.urls import path

    needed = {
        "ROOT_URLCONF": __name__,
        "ALLOWED_HOSTS": ["*"],
        "MIDDLEWARE": [
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
        ],
    }
    if not settings.configured:  # once a process: other tests may have settings of their own
        settings.configure(SECRET_KEY="not a secret", LOGGING_CONFIG=None, **needed)
        django.setup()
    if not urlpatterns:
        urlpatterns.append(path("", lambda request: HttpResponse("home")))
        mount_metrics(urlpatterns, registry=REGISTRY)
    return override_settings(**needed)


def django_wsgi():
    """Django's urlpatterns, under WSGI."""
    from django.core.handlers.wsgi import WSGIHandler

    with _django():
        application = WSGIHandler()

    def app(environ, start_response):
        with _django():
            return application(environ, start_response)

    return app


def django_asgi():
    """Django's urlpatterns, under ASGI."""
    from django.core.handlers.asgi import ASGIHandler

    with _django():
        application = ASGIHandler()

    async def app(scope, receive, send):
        with _django():
            await application(scope, receive, send)

    return app


def plain_asgi():
    """An ASGI application without a framework."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"home"})

    return mount_metrics(app, registry=REGISTRY)


def plain_wsgi():
    """A WSGI application without a framework."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])
        return [b"home"]

    return mount_metrics(app, registry=REGISTRY)


ASGI = {
    "fastapi": (fastapi, "/metrics"),
    "fastapi_router": (fastapi_router, "/sub/api/metrics"),
    "fastapi_sub": (fastapi_sub, "/sub/metrics"),
    "starlette": (starlette, "/metrics"),
    "starlette_router": (starlette_router, "/sub/metrics"),
    "litestar": (litestar, "/metrics"),
    "django_asgi": (django_asgi, "/metrics"),
    "plain_asgi": (plain_asgi, "/metrics"),
}
WSGI = {
    "flask": (flask, "/metrics"),
    "flask_blueprint": (flask_blueprint, "/sub/metrics"),
    "django_wsgi": (django_wsgi, "/metrics"),
    "plain_wsgi": (plain_wsgi, "/metrics"),
}


class _AllASGI:
    """Each of them below a root path of its own, made when it is first asked for."""

    def __init__(self):
        self.made = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        name = scope["path"].split("/")[1]
        if name not in self.made:
            self.made[name] = ASGI[name][0]()
        await self.made[name]({**scope, "root_path": f"/{name}"}, receive, send)


class _AllWSGI:
    """The same for WSGI."""

    def __init__(self):
        self.made = {}

    def __call__(self, environ, start_response):
        _, name, rest = environ["PATH_INFO"].split("/", 2)
        if name not in self.made:
            self.made[name] = WSGI[name][0]()
        environ = {**environ, "SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{rest}"}
        return self.made[name](environ, start_response)


all_asgi = _AllASGI()
all_wsgi = _AllWSGI()

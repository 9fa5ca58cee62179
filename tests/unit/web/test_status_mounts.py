"""Status and health, mounted as the documentation says, in every framework: where the links of the page lead."""

from __future__ import annotations

import asyncio
import warnings
from urllib.parse import urljoin

import httpx
import pytest
from support.events import memory_pipeline
from support.status_page import TOKEN

from pylog_struct.web import (
    health_asgi_app,
    health_wsgi_app,
    status_asgi_app,
    status_wsgi_app,
)


def starlette():
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.routing import Mount

    routes = [Mount("/status", status_asgi_app(token=TOKEN)), Mount("/health", health_asgi_app())]
    return Starlette(routes=routes), ""


def fastapi_below_another():
    pytest.importorskip("fastapi")
    from fastapi import FastAPI

    inner, outer = FastAPI(), FastAPI()
    inner.mount("/status", status_asgi_app(token=TOKEN))
    inner.mount("/health", health_asgi_app())
    outer.mount("/api", inner)
    return outer, "/api"


def litestar():
    pytest.importorskip("litestar")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own business
        from litestar import Litestar, asgi

        handlers = [
            asgi("/status", is_mount=True, copy_scope=True)(status_asgi_app(token=TOKEN)),
            asgi("/health", is_mount=True, copy_scope=True)(health_asgi_app()),
        ]
        return Litestar(handlers, openapi_config=None, logging_config=None), ""


def flask():
    pytest.importorskip("flask")
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = Flask("mounted")
    app.wsgi_app = DispatcherMiddleware(
        app.wsgi_app,
        {"/status": status_wsgi_app(token=TOKEN), "/health": health_wsgi_app()},
    )
    return app, ""


def ask(app, *urls):
    """Ask without following redirects; returns the answers."""
    options = {"base_url": "http://app.example", "headers": {"Authorization": f"Bearer {TOKEN}"}}
    if hasattr(app, "wsgi_app"):
        with httpx.Client(transport=httpx.WSGITransport(app), **options) as client:
            return [client.get(url) for url in urls]

    async def ask_all():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), **options) as client:
            return [await client.get(url) for url in urls]

    return asyncio.run(ask_all())


@pytest.mark.parametrize("make", [starlette, fastapi_below_another, litestar, flask])
def test_the_page_has_a_slash_at_its_end_and_its_links_lead_to_it(make):
    memory_pipeline(stdlib=False)
    app, prefix = make()
    moved, page, data, live, ready, alive = ask(
        app,
        *(f"{prefix}/status{rest}" for rest in ("", "/", "/data", "/live")),
        *(f"{prefix}/health/{rest}" for rest in ("ready", "live")),
    )
    assert moved.status_code in {307, 308}
    where = urljoin(f"http://app.example{prefix}/status", moved.headers["location"])
    assert where == f"http://app.example{prefix}/status/"
    assert page.text.startswith("<!doctype html>")
    assert data.json()["status"] == "ok"
    assert live.text.startswith('<p class="banner ok"')
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert alive.json() == {"status": "ok"}

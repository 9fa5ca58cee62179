"""A Flask application behind the WSGI middleware, for gunicorn to import."""

from __future__ import annotations

import logging

import structlog
from flask import Flask, Response, request

import pylog_struct
from pylog_struct.web.wsgi import WSGIRequestMiddleware

log = structlog.get_logger("handler")


def make_app():
    app = Flask("shop")

    @app.get("/items/<int:item>")
    def items(item):
        log.info("working", item=item)
        return {"item": item}

    @app.get("/boom")
    def boom():
        log.info("before the end")
        raise ValueError("boom")

    @app.get("/stream")
    def stream():
        def parts():
            number = 0
            while number < 5 or "forever" in request_arguments:
                number += 1
                log.info("part")
                yield "x" * 100_000

        request_arguments = dict(request.args)
        return Response(parts())

    return app


def raw(environ, start_response):
    """Fails before there is a response, past any framework."""
    if environ["PATH_INFO"] == "/raw":
        log.info("before the end")
        raise ValueError("raw")
    return make_app()(environ, start_response)


def for_gunicorn():
    """Configure the worker; its own loggers go the same way."""
    pylog_struct.configure(format="json")
    for name in ("gunicorn.error", "gunicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    return WSGIRequestMiddleware(raw)

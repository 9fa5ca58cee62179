"""An application with the status page, for the browser: run by uvicorn or gunicorn in a process of its own.

``POST /log/<level>?event=…`` logs, ``POST /fail/<yes|no>`` breaks the first sink; ``GET /lines`` is what
the sinks have got.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from support.status_page import TOKEN

import pylog_struct
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink
from pylog_struct.testing import FailingSink
from pylog_struct.web import health_asgi_app, health_wsgi_app, status_asgi_app, status_wsgi_app

first = FailingSink(fail=False)
second = MemorySink(name="second")
log = pylog_struct.get_logger("server.test")


def configure():
    """Set up the pipeline of this process."""
    pylog_struct.configure(
        level="INFO",
        format="json",
        service="browser-test",
        sink=QueueSink(FailoverSink([first, second], retry_interval=0.1), capacity=500),
    )


def control(method, path, query):
    """Do what a test asks for; returns text."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    match [method, *path.strip("/").split("/")]:
        case ["POST", "log", level]:
            getattr(log, level)(asked.get("event", "an event"))
        case ["POST", "fail", how]:
            first.fail = how == "yes"
        case ["POST", "flush"]:
            pylog_struct.flush()
        case ["GET", "lines"]:
            return "\n".join(line.decode() for line in (*first.lines, *second.lines))
    return "done"


status = status_asgi_app(token=TOKEN)
health = health_asgi_app()


async def asgi(scope, receive, send):
    """The ASGI application."""
    if scope["type"] != "http":
        configure()
        await status(scope, receive, send)
        return
    for mounted, app in (("/status", status), ("/health", health)):
        if scope["path"].startswith(mounted):
            await app({**scope, "root_path": mounted}, receive, send)
            return
    text = control(scope["method"], scope["path"], scope["query_string"].decode())
    head = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text.encode()})


wsgi_status = status_wsgi_app(token=TOKEN)
wsgi_health = health_wsgi_app()


def wsgi(environ, start_response):
    """The WSGI application; configured before a fork."""
    path = environ["PATH_INFO"]
    for mounted, app in (("/status", wsgi_status), ("/health", wsgi_health)):
        if path.startswith(mounted):
            below = {"SCRIPT_NAME": mounted, "PATH_INFO": path.removeprefix(mounted)}
            return app({**environ, **below}, start_response)
    text = control(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]

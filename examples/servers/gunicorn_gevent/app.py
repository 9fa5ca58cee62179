"""A WSGI application under gunicorn with gevent's worker; every line of stdout and stderr is one JSON object.

In this folder (gunicorn reads ``gunicorn.conf.py`` by itself):

    gunicorn app:app --bind 127.0.0.1:8000

The application only logs.
"""

from __future__ import annotations

import structlog

logger = structlog.get_logger("shop")


def app(environ, start_response):
    """Answer ``/``, fail at ``/broken``, and know no other path."""
    path = environ["PATH_INFO"]
    if path == "/broken":
        # One event with the stack: gunicorn logs what an application raises.
        message = "the shelf is gone"
        raise RuntimeError(message)
    if path == "/":
        logger.info("order placed", item="book", count=2)
    body = b"thank you\n" if path == "/" else b"no such page\n"
    start_response(
        "200 OK" if path == "/" else "404 Not Found",
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
    )
    return [body]

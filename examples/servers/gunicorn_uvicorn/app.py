"""An ASGI application under gunicorn with uvicorn's worker; every line is one JSON object.

In this folder (gunicorn reads ``gunicorn.conf.py`` by itself):

    gunicorn app:app --bind 127.0.0.1:8000

The lines of gunicorn's master, of its workers, of uvicorn inside them and of the application have
one shape, and none comes twice.
"""

from __future__ import annotations

import structlog

logger = structlog.get_logger("shop")


async def app(scope, receive, send):
    """Answer ``/``, fail at ``/broken``, and know no other path."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] != "http":
        return
    if scope["path"] == "/broken":
        # One event with the stack: uvicorn logs what an application raises.
        message = "the shelf is gone"
        raise RuntimeError(message)
    found = scope["path"] == "/"
    if found:
        await logger.ainfo("order placed", item="book", count=2)
    body = b"thank you\n" if found else b"no such page\n"
    await send(
        {
            "type": "http.response.start",
            "status": 200 if found else 404,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})

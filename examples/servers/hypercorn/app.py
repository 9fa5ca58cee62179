"""An ASGI application under hypercorn, in which every line of stdout and stderr is one JSON object.

In this folder:

    hypercorn app:app --config file:hypercorn_conf.py --bind 127.0.0.1:8000

hypercorn's workers are new processes that import this module, so it is the place for ``configure``.
What a worker has to say before that, that this module cannot be imported for example, is an event
too.
"""

from __future__ import annotations

import structlog

import pylog_struct

pylog_struct.configure(service="shop", format="json")

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
        # One event with the stack: hypercorn logs what an application raises.
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

"""An ASGI application under uvicorn, in which every line of stdout and stderr is one JSON object.

In this folder:

    uvicorn app:app --log-config log-config.json
    uvicorn app:app --log-config log-config.json --workers 4
    uvicorn app:app --log-config log-config.json --reload

That file is all there is to set up: its one entry calls ``pylog_struct.configure``, in each process,
before uvicorn's first line.  The application only logs.
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

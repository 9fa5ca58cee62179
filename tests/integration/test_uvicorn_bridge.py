"""A real uvicorn with log_config=None: its lines arrive as events, once, in the same shape."""

from __future__ import annotations

import urllib.request

import pytest
from support.process import finish, start

pytest.importorskip("uvicorn")

APP = """
import logging, sys
import pylog_struct, structlog, uvicorn

pylog_struct.configure(format="json", service="web")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/broken":
        raise ValueError("boom")
    await structlog.get_logger("shop").ainfo("handled", path=scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
server = uvicorn.Server(config)

class Announcing(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stderr.write(f"{port}\\n")
        sys.stderr.flush()

Announcing(config).run()
"""


def test_access_and_error_lines_are_events_with_their_fields():
    process = start(APP)
    port = int(process.stderr.readline())
    base = f"http://127.0.0.1:{port}"
    try:
        assert urllib.request.urlopen(f"{base}/fine", timeout=20).read() == b"ok"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/broken", timeout=20)
        caught.value.close()
    finally:
        process.terminate()
    done = finish(process)

    access = [event for event in done.events if event["logger"] == "uvicorn.access"]
    assert [(event["path"], event["status"]) for event in access] == [
        ("/fine", 200),
        ("/broken", 500),
    ]
    for event in access:
        assert set(event) == {
            "timestamp", "level", "logger", "event", "service", "method", "path", "status",
            "client_address", "client_port", "http_version",
        }  # fmt: skip
        assert event["event"] == "request"
    failed = [event for event in done.events if event["level"] == "error"]
    assert len(failed) == 1
    assert failed[0]["exception"]["message"] == "boom"
    assert len(done.named("handled")) == 1
    assert any(event["logger"] == "uvicorn.error" for event in done.events)
    assert not any("color_message" in event for event in done.events)
    assert done.stderr == ""

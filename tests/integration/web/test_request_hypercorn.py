"""The request middleware under a real hypercorn: it cancels, and reports, in ways of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import urllib.error
import urllib.request

import pytest
from support.events import memory_pipeline
from support.servers import free_port

pytest.importorskip("fastapi")
pytest.importorskip("hypercorn")
import hypercorn.asyncio
from hypercorn.config import Config
from support.request_app import PATIENCE, make_app, until

from pylog_struct.web.asgi import RequestMiddleware


@pytest.fixture
def site():
    """The port, and what is logged."""
    sink = memory_pipeline(level="INFO")
    port = free_port()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = logging.getLogger("hypercorn.test")
    config.graceful_timeout = 5
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def serve():
        app = RequestMiddleware(make_app())
        loop.run_until_complete(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=serve, name="hypercorn")
    thread.start()
    until(lambda: any(str(event["event"]).startswith("Running on") for event in sink.events))
    yield port, sink
    loop.call_soon_threadsafe(stop.set)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def requests(sink):
    return [event for event in sink.events if event["event"] == "request"]


def test_ids_exceptions_and_clients_that_leave(site):
    port, sink = site
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/async/3", timeout=PATIENCE) as answer:
        known = answer.headers["X-Request-ID"]
    (event,) = until(lambda: requests(sink))
    assert (event["request_id"], event["route"], event["status"]) == (known, "/async/{item}", 200)

    sink.clear()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/boom", timeout=PATIENCE)
    known = caught.value.headers["X-Request-ID"]
    caught.value.close()
    (failure,) = until(lambda: [one for one in sink.events if "exception" in one])
    assert (failure["logger"], failure["request_id"]) == ("hypercorn.test", known)
    assert [(one["status"], one["request_id"]) for one in requests(sink)] == [(500, known)]

    for path, status in (("/stream?forever=1", 200), ("/wait", 499)):
        sink.clear()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            if status == 200:
                assert client.recv(100)
        (event,) = until(lambda: requests(sink))
        assert (event["status"], event["outcome"]) == (status, "disconnected")

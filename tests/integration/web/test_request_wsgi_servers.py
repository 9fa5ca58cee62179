"""The WSGI middleware under real servers: wsgiref in a thread, and gunicorn's sync worker."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from support.events import memory_pipeline
from support.process import PATIENCE, environment
from support.servers import free_port

pytest.importorskip("flask")
pytest.importorskip("fastapi")
from support.request_app import until
from support.request_flask import make_app, raw

from pylog_struct.web.wsgi import WSGIRequestMiddleware

FORGING = '","status":200,"x":"%(h)s{0}'


class Quiet(WSGIRequestHandler):
    """wsgiref's own access log goes nowhere."""

    def log_message(self, *_):
        pass


def get(port, path, **headers):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    client.request("GET", path, headers=headers)
    answer = client.getresponse()
    body = answer.read()
    client.close()
    return answer, body


def leave_early(port, path):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert client.recv(1000)


# -- wsgiref ---------------------------------------------------------------------------------------


@pytest.fixture
def site():
    sink = memory_pipeline(level="INFO")
    server = make_server("127.0.0.1", 0, WSGIRequestMiddleware(raw), handler_class=Quiet)
    server.sink = sink
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()


def access(sink):
    def found():
        return [one for one in sink.events if one["logger"] == "pylog_struct.access"]

    (event,) = until(found)
    return event


def test_wsgiref_a_request_and_its_content_length(site):
    answer, body = get(site.server_port, "/items/7", **{"User-Agent": FORGING})
    assert (answer.status, json.loads(body)) == (200, {"item": 7})
    event = access(site.sink)
    assert answer.headers["X-Request-ID"] == event["request_id"]
    assert answer.headers["Content-Length"] == str(event["response_bytes"])
    assert (event["route"], event["user_agent"]) == ("/items/<int:item>", FORGING)
    assert site.sink.events[0]["request_id"] == event["request_id"]


def test_wsgiref_an_exception_that_flask_logs(site):
    answer, _ = get(site.server_port, "/boom")
    assert answer.status == 500
    event = access(site.sink)
    assert (event["status"], event["route"]) == (500, "/boom")
    assert {one["request_id"] for one in site.sink.events} == {answer.headers["X-Request-ID"]}
    assert sum("exception" in one for one in site.sink.events) == 1


def test_wsgiref_an_exception_that_nobody_caught(site, capfd):
    answer, body = get(site.server_port, "/raw")
    assert (answer.status, body) == (500, b"Internal Server Error")
    event = access(site.sink)
    assert answer.headers["X-Request-ID"] == event["request_id"]
    assert event["error_type"] == "ValueError"
    said = ""

    def reported():
        nonlocal said
        said += capfd.readouterr().err
        return "ValueError: raw" in said  # wsgiref's own way, behind the response

    until(reported)


def test_wsgiref_a_stream_and_a_client_that_leaves_it(site, capfd):
    _, body = get(site.server_port, "/stream")
    assert len(body) == 500_000
    assert access(site.sink)["response_bytes"] == 500_000
    site.sink.clear()
    leave_early(site.server_port, "/stream?forever=1")
    event = access(site.sink)
    assert (event["status"], event["outcome"]) == (200, "disconnected")
    capfd.readouterr()


def test_wsgiref_flask_as_it_is_documented():
    sink = memory_pipeline(level="INFO")
    app = make_app()
    app.wsgi_app = WSGIRequestMiddleware(app.wsgi_app)
    with app.test_client() as client, client.get("/items/3") as answer:
        assert answer.headers["X-Request-ID"]
    assert access(sink)["path"] == "/items/3"


# -- gunicorn --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs a fork")
def test_gunicorn_ids_exceptions_and_disconnects(tmp_path):
    pytest.importorskip("gunicorn")
    port = free_port()
    out = tmp_path / "out.jsonl"
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
        "--worker-tmp-dir", str(tmp_path), "support.request_flask:for_gunicorn()",
    ]  # fmt: skip
    with out.open("wb") as output, (tmp_path / "err").open("wb") as errors:
        server = subprocess.Popen(command, stdout=output, stderr=errors, env=environment())

    def events():
        return [json.loads(line) for line in out.read_text().splitlines()]

    def of(path, name="request"):
        return [one for one in events() if one["event"] == name and one.get("path") == path]

    try:
        until(lambda: _answers(port) or server.poll() is not None)
        answer, _ = get(port, "/items/7", **{"User-Agent": FORGING, "X-Request-ID": FORGING})
        (event,) = until(lambda: of("/items/7"))
        assert (answer.status, event["status"]) == (200, 200)
        assert answer.headers["X-Request-ID"] == event["request_id"]
        assert (event["route"], event["user_agent"]) == ("/items/<int:item>", FORGING)

        answer, body = get(port, "/raw")
        assert (answer.status, body) == (500, b"Internal Server Error")
        known = answer.headers["X-Request-ID"]
        until(lambda: [one for one in events() if one["logger"] == "gunicorn.error"])
        failures = [one for one in events() if "exception" in one]
        assert [one["exception"]["message"] for one in failures] == ["raw"]
        assert failures[0]["request_id"] == known
        assert [one["request_id"] for one in of("/raw")] == [known]

        leave_early(port, "/stream?forever=1")
        (event,) = until(lambda: of("/stream"))
        assert (event["status"], event["outcome"]) == (200, "disconnected")
        parts = [one for one in events() if one["event"] == "part"]
        assert {one["request_id"] for one in parts} == {event["request_id"]}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True

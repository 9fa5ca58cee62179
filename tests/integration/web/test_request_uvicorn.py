"""The request middleware under a real uvicorn: P15, P65, P66, and the sharp edges of contexts."""

from __future__ import annotations

import http.client
import json
import threading

import pytest
from support.events import memory_pipeline

pytest.importorskip("fastapi")
pytest.importorskip("httptools")
from support.request_app import make_app, serving, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pylog_struct.web.asgi import RequestMiddleware

FORGING = '","status":200,"x":"%(h)s{0}'


@pytest.fixture(params=["h11", "httptools"])
def http_impl(request):
    return request.param


@pytest.fixture
def site(http_impl):
    """A server, and what it logs; the request events of a path by name."""
    sink = memory_pipeline(level="INFO")
    options = {"http": http_impl, "access_log": False, "proxy_headers": False}
    with serving(RequestMiddleware(make_app()), **options) as server:
        server.sink = sink
        yield server


def access(server, number=1):
    """The access events, as soon as there are so many; there are never more."""

    def found():
        events = [one for one in server.sink.events if one["logger"] == "pylog_struct.access"]
        return events if len(events) >= number else None

    events = until(found)
    assert len(events) == number
    return events if number > 1 else events[0]


def named(server, name):
    found = [event for event in server.sink.events if event["event"] == name]
    assert len(found) == 1, name
    return found[0]


def failures(server):
    """What uvicorn itself reports."""
    return [
        event
        for event in server.sink.events
        if event["logger"] == "uvicorn.error" and event["level"] == "error"
    ]


def test_the_id_reaches_routes_dependencies_threads_tasks_and_the_header(site):
    for path, lines in (
        ("/async/7", ["async route"]),
        ("/sync", ["sync dependency", "sync route"]),
        ("/threads", ["to_thread", "executor", "task"]),
        ("/background", ["in the background"]),
    ):
        site.sink.clear()
        status, headers, _ = site.get(path)
        assert status == "HTTP/1.1 200 OK"
        event = access(site)
        until(lambda: lines[-1] in [one["event"] for one in site.sink.events])  # noqa: B023
        assert {named(site, line)["request_id"] for line in lines} == {headers["x-request-id"]}
        assert event["request_id"] == headers["x-request-id"]
        assert (event["path"], event["status"]) == (path, 200)
        assert event["route"] == ("/async/{item}" if path == "/async/7" else path)
        assert type(event["status"]) is int
        assert type(event["duration"]) is float


def test_after_an_exception_the_id_is_on_every_line_and_in_the_header(site):
    status, headers, _ = site.get("/boom")
    assert status.startswith("HTTP/1.1 500")
    event = access(site)
    until(lambda: failures(site))
    (failure,) = failures(site)
    known = headers["x-request-id"]
    assert named(site, "before the end")["request_id"] == known
    assert failure["request_id"] == known
    assert failure["exception"]["message"] == "boom"
    assert (event["request_id"], event["status"], event["level"]) == (known, 500, "error")
    assert event["error_type"] == "ValueError"
    assert sum("exception" in one for one in site.sink.events) == 1


def test_an_application_without_a_framework_has_the_header_on_its_500_too(http_impl):
    sink = memory_pipeline(level="INFO")

    async def app(scope, receive, send):
        if scope["type"] == "http":
            raise ValueError("boom")

    with serving(
        RequestMiddleware(app), http=http_impl, lifespan="off", access_log=False
    ) as server:
        server.sink = sink
        status, headers, body = server.get("/")
        assert (status, body) == ("HTTP/1.1 500 Internal Server Error", b"Internal Server Error")
        until(lambda: failures(server))
        assert failures(server)[0]["request_id"] == headers["x-request-id"]
        assert access(server)["status"] == 500


def test_an_exception_in_a_stream(site):
    _, headers, _ = site.get("/boom/stream")
    event = access(site)
    until(lambda: failures(site))
    assert failures(site)[0]["request_id"] == event["request_id"] == headers["x-request-id"]
    assert (event["status"], event["outcome"], event["level"]) == (200, "failed", "error")


def test_a_stream_lasts_to_its_last_byte(site):
    site.get("/stream")
    event = access(site)
    assert (event["response_bytes"], event["outcome"]) == (500, "completed")
    assert event["duration"] > 0.04


def test_bytes_of_a_body(site):
    site.get("/echo", method="POST", body=b"x" * 100_000)
    assert access(site)["request_bytes"] == 100_000


@pytest.mark.parametrize("path", ["/stream?forever=1", "/wait"])
def test_a_client_that_leaves_is_no_500(site, path):
    with site.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        if path != "/wait":
            assert connection.recv(100)
    event = access(site)
    assert event["outcome"] == "disconnected"
    assert event["status"] == (499 if path == "/wait" else 200)
    assert failures(site) == []
    if path == "/wait":
        assert named(site, "the client left")["request_id"] == event["request_id"]


def test_what_is_bound_does_not_reach_the_next_request_of_the_connection(site):
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    ids = []
    for path in ("/mix/1", "/async/2", "/mix/3", "/async/4"):
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        ids.append(answer.headers["X-Request-ID"])
    client.close()
    events = access(site, 4)
    assert [event["request_id"] for event in events] == ids
    assert [event.get("user") for event in events] == [1, None, 3, None]
    assert len(set(ids)) == 4
    plain = [event for event in site.sink.events if event["event"] == "async route"]
    assert all("user" not in event for event in plain)


def test_fifty_requests_at_once_never_mix(site):
    def work(number):
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        client.request("GET", f"/mix/{number}")
        answer = client.getresponse()
        answer.read()
        client.close()
        ids[number] = answer.headers["X-Request-ID"]

    ids = {}
    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    access(site, 50)
    steps = [event for event in site.sink.events if event["event"] == "step"]
    assert len(steps) == 200
    assert all(event["user"] == event["number"] for event in steps)
    assert all(event["request_id"] == ids[event["number"]] for event in steps)
    assert len(set(ids.values())) == 50


def test_headers_forge_nothing(site):
    evil = f"User-Agent: {FORGING}\r\nX-Request-ID: {FORGING}\r\nX-Forwarded-For: {FORGING}"
    status, headers, _ = site.get("/async/7", *evil.split("\r\n"))
    assert status == "HTTP/1.1 200 OK"
    event = access(site)
    assert (event["status"], event["user_agent"]) == (200, FORGING)
    assert "x" not in event
    assert event["client_address"] == "127.0.0.1"
    assert headers["x-request-id"] == event["request_id"] != FORGING
    for line in site.sink.lines:
        assert b"\n" not in line
        assert json.loads(line)["logger"] != "uvicorn.access"


def test_hostile_requests_have_a_defined_answer(site):
    status, headers, _ = site.get("/%ff%fe/%00%0d%0a", f"X-Request-ID: {'x' * 30_000}")
    assert status.startswith("HTTP/1.1 404")
    event = access(site)
    assert event["path"].isprintable()
    assert "route" not in event
    assert len(headers["x-request-id"]) == 32
    site.sink.clear()
    flood = [f"X-{number}: {number}" for number in range(60)]
    status, _, _ = site.get("/async/1", *flood)
    assert status == "HTTP/1.1 200 OK"
    assert access(site)["status"] == 200


def test_head_and_not_allowed(site):
    status, headers, body = site.get("/async/1", method="HEAD")
    assert body == b""
    event = access(site)
    assert (event["method"], event["response_bytes"]) == ("HEAD", 0)
    assert headers["x-request-id"] == event["request_id"]
    assert event["status"] == int(status.split()[1])


def test_a_websocket_has_the_id_in_its_handshake_on_its_lines_and_in_its_event(site):
    with connect(f"ws://127.0.0.1:{site.port}/ws/hall") as client:
        client.send("hello")
        assert client.recv(60) == "HELLO"
        client.send("bye")
        with pytest.raises(ConnectionClosed):
            client.recv(60)
    event = access(site)
    assert client.response.headers["X-Request-ID"] == event["request_id"]
    assert named(site, "accepted")["request_id"] == event["request_id"]
    assert (event["event"], event["close_code"], event["route"]) == (
        "websocket",
        4000,
        "/ws/{room}",
    )
    assert (event["status"], event["request_bytes"], event["response_bytes"]) == (101, 8, 5)


def test_a_websocket_whose_client_closes(site):
    with connect(f"ws://127.0.0.1:{site.port}/ws/hall") as client:
        client.send("hello")
        client.recv(60)
    event = access(site)
    assert (event["close_code"], event["outcome"], event["level"]) == (1000, "completed", "info")


def test_an_exception_in_a_websocket_has_the_id_on_the_servers_line(site):
    with connect(f"ws://127.0.0.1:{site.port}/ws/hall") as client:
        client.send("boom")
        with pytest.raises(ConnectionClosed):
            client.recv(60)
    event = access(site)
    until(lambda: failures(site))
    assert {failure["request_id"] for failure in failures(site)} == {event["request_id"]}
    assert (event["close_code"], event["outcome"], event["level"]) == (1011, "failed", "error")

"""The WSGI middleware, without a server: lists, generators, write(), files, and what goes wrong."""

from __future__ import annotations

import contextvars
import io
import sys
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
import structlog
from support.events import memory_pipeline
from support.web_requests import WSGIPeer, environ_of

from pylog_struct import diagnostics
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY
from pylog_struct.web.wsgi import WSGIRequestMiddleware

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"

log = structlog.get_logger("handler")


def access(sink):
    found = [event for event in sink.events if event["logger"] == "pylog_struct.access"]
    assert len(found) == 1
    return found[0]


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hel", b"lo"]


def test_a_request_has_an_id_on_its_lines_in_its_header_and_in_its_one_event():
    sink = memory_pipeline()

    def app(environ, start_response):
        log.info("working")
        return hello(environ, start_response)

    environ = environ_of("/a/b", HTTP_USER_AGENT="test/1", HTTP_X_REQUEST_ID="theirs")
    peer = WSGIPeer().call(WSGIRequestMiddleware(app), environ)

    event = access(sink)
    known = event.pop("request_id")
    assert peer.headers == {"content-type": "text/plain", "x-request-id": known}
    assert sink.events[0]["request_id"] == known
    assert environ[REQUEST_ID_KEY] == known
    assert peer.body == b"hello"
    assert event.pop("timestamp")
    assert 0 < event.pop("duration") < 60
    assert event == {
        "level": "info",
        "logger": "pylog_struct.access",
        "event": "request",
        "method": "GET",
        "path": "/a/b",
        "status": 200,
        "outcome": "completed",
        "request_bytes": 0,
        "response_bytes": 5,
        "client_address": "192.0.2.7",
        "client_port": 4321,
        "user_agent": "test/1",
        "http_version": "1.1",
        "scheme": "http",
    }
    assert structlog.contextvars.get_contextvars() == {}


def test_it_is_as_wsgi_asks_for():
    """``wsgiref.validate`` looks at both sides."""
    sink = memory_pipeline()
    middleware = validator(WSGIRequestMiddleware(validator(hello)))
    environ = environ_of("/")
    del environ["REMOTE_PORT"]
    WSGIPeer().call(middleware, environ)
    assert access(sink)["status"] == 200


def test_a_list_stays_as_long_as_it_is():
    """Of the only part of a response servers make its ``Content-Length``."""
    memory_pipeline()
    result = WSGIRequestMiddleware(hello)(environ_of(), WSGIPeer().start_response)
    assert len(result) == 2
    result.close()


def test_trusted_ids_traces_and_proxies():
    sink = memory_pipeline()
    middleware = WSGIRequestMiddleware(
        hello, trust_request_id=True, trusted_proxies=["192.0.2.7"], client_header="Forwarded"
    )
    environ = environ_of(
        HTTP_X_REQUEST_ID="abc",
        HTTP_TRACEPARENT=PARENT,
        HTTP_TRACESTATE="a=1",
        HTTP_FORWARDED="for=198.51.100.9",
    )
    WSGIPeer().call(middleware, environ)
    event = access(sink)
    assert (event["request_id"], event["trace_id"], event["span_id"]) == ("abc", "a" * 32, "b" * 16)
    assert event["client_address"] == "198.51.100.9"
    assert environ[TRACE_KEY].state == (("a", "1"),)


@pytest.mark.parametrize(
    "path", ["/\xc3\xa4", "/\xff\xfe", "/" + "a" * 1_000_000, "/a\r\nb", "/\x00"]
)
def test_a_path_of_any_kind_is_bounded_and_prints(path):
    sink = memory_pipeline()
    WSGIPeer().call(WSGIRequestMiddleware(hello), environ_of(path, SCRIPT_NAME="/app"))
    found = access(sink)["path"]
    assert found.startswith("/app/")
    assert found.isprintable()
    assert len(found) < 3_000
    if path == "/\xc3\xa4":
        assert found == "/app/ä"


def test_a_generator_runs_in_the_context_to_its_end():
    sink = memory_pipeline()

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            for number in range(3):
                log.info("part", number=number)
                yield b"x" * 10
        finally:
            log.info("closed")

    WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    names = [event["event"] for event in sink.events]
    assert names == ["part", "part", "part", "closed", "request"]
    assert len({event["request_id"] for event in sink.events}) == 1
    assert access(sink)["response_bytes"] == 30
    assert structlog.contextvars.get_contextvars() == {}


def test_a_client_that_leaves_in_the_middle():
    sink = memory_pipeline()

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 10
        finally:
            log.info("closed")

    WSGIPeer().call(WSGIRequestMiddleware(app), environ_of(), parts=3)
    event = access(sink)
    assert (event["status"], event["outcome"], event["level"]) == (200, "disconnected", "info")
    assert sink.events[0]["request_id"] == event["request_id"]


@pytest.mark.parametrize(
    ("status", "headers", "more"),
    [
        ("200 OK", [("Content-Length", "10")], {}),
        ("204 No Content", [], {}),
        ("304 Not Modified", [], {}),
        ("200 OK", [], {"REQUEST_METHOD": "HEAD"}),
    ],
)
def test_a_server_that_stops_where_the_response_ends_has_lost_nobody(status, headers, more):
    sink = memory_pipeline()

    def app(environ, start_response):
        start_response(status, headers)
        yield b"x" * 10
        yield b""

    WSGIPeer().call(WSGIRequestMiddleware(app), environ_of(**more), parts=1)
    event = access(sink)
    assert event["outcome"] == "completed"
    assert event["response_bytes"] == (0 if more else 10)


def test_write_is_counted():
    sink = memory_pipeline()

    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"abc")
        write(b"defg")
        return [b"h"]

    peer = WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    assert peer.body == b"abcdefgh"
    assert access(sink)["response_bytes"] == 8


def test_a_file_goes_the_servers_quick_way():
    sink = memory_pipeline()
    files = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "1000")])
        files.append(io.BytesIO(b"x" * 1000))
        return environ["wsgi.file_wrapper"](files[0])

    environ = environ_of(**{"wsgi.file_wrapper": FileWrapper})
    peer = WSGIPeer()
    result = WSGIRequestMiddleware(app)(environ, peer.start_response)
    assert type(result) is FileWrapper
    assert not sink.events
    result.close()
    assert files[0].closed
    event = access(sink)
    assert (event["response_bytes"], event["outcome"]) == (1000, "completed")


def test_a_file_wrapper_that_cannot_be_heard_is_iterated():
    sink = memory_pipeline()

    class Wrapper:
        __slots__ = ("file",)

        def __init__(self, file):
            self.file = file

        def __iter__(self):
            return iter(lambda: self.file.read(100), b"")

    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 1000))

    environ = environ_of(**{"wsgi.file_wrapper": Wrapper})
    assert WSGIPeer().call(WSGIRequestMiddleware(app), environ).body == b"x" * 1000
    assert access(sink)["response_bytes"] == 1000


def test_a_second_start_response_with_the_error_replaces_the_first():
    sink = memory_pipeline()

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError("boom")
        except ValueError:
            start_response("503 Sorry", [("X-Request-ID", "own")], sys.exc_info())
        return [b"sorry"]

    peer = WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    event = access(sink)
    assert peer.status == "503 Sorry"
    assert peer.headers["x-request-id"] == event["request_id"]
    assert (event["status"], event["level"]) == (503, "error")


def test_a_second_start_response_that_comes_too_late_raises():
    sink = memory_pipeline()

    def app(environ, start_response):
        start_response("200 OK", [])(b"abc")
        try:
            raise ValueError("boom")
        except ValueError:
            start_response("503 Sorry", [], sys.exc_info())
        return []

    with pytest.raises(ValueError, match="boom"):
        WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    event = access(sink)
    assert (event["status"], event["outcome"], event["level"]) == (200, "failed", "error")


def test_an_exception_before_the_response_is_answered_with_the_id_and_raised_again():
    sink = memory_pipeline()

    def app(environ, start_response):
        raise ValueError("boom")

    peer = WSGIPeer()
    with pytest.raises(ValueError, match="boom"):
        peer.call(WSGIRequestMiddleware(app), environ_of())
    event = access(sink)
    assert (peer.status, peer.body) == ("500 Internal Server Error", b"Internal Server Error")
    assert peer.headers["x-request-id"] == event["request_id"]
    assert (event["level"], event["status"], event["error_type"]) == ("error", 500, "ValueError")
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("where", ["iter", "first", "middle", "close"])
def test_an_exception_later_on(where):
    sink = memory_pipeline()

    class Parts:
        def __iter__(self):
            if where == "iter":
                raise ValueError("boom")
            return self.parts()

        def parts(self):
            if where == "first":
                raise ValueError("boom")
            yield b"x"
            if where == "middle":
                raise ValueError("boom")

        def close(self):
            log.info("closing")
            if where == "close":
                raise ValueError("boom")

    def app(environ, start_response):
        start_response("200 OK", [])
        return Parts()

    with pytest.raises(ValueError, match="boom"):
        WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    event = access(sink)
    assert (event["status"], event["outcome"], event["level"]) == (200, "failed", "error")
    assert all(one["request_id"] == event["request_id"] for one in sink.events)


def test_an_interrupt_is_no_failure_of_the_application():
    sink = memory_pipeline()

    def app(environ, start_response):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    assert access(sink)["outcome"] == "cancelled"


def test_an_application_that_never_starts_its_response():
    sink = memory_pipeline()

    def app(environ, start_response):
        return []

    WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    event = access(sink)
    assert (event["status"], event["outcome"]) == (500, "failed")


def test_a_body_of_unknown_length_is_counted_as_it_is_read():
    sink = memory_pipeline()

    def app(environ, start_response):
        stream = environ["wsgi.input"]
        assert stream.read(2) == b"ab"
        assert stream.readline() == b"c\n"
        assert stream.readlines() == [b"d\n", b"e\n"]
        stream.seek(0)
        assert list(stream) == [b"abc\n", b"d\n", b"e\n"]
        return hello(environ, start_response)

    environ = environ_of(HTTP_TRANSFER_ENCODING="chunked")
    environ["wsgi.input"] = io.BytesIO(b"abc\nd\ne\n")
    WSGIPeer().call(WSGIRequestMiddleware(app), environ)
    assert access(sink)["request_bytes"] == 16


@pytest.mark.parametrize(
    ("length", "size"), [("12", 12), ("", 0), ("-1", 0), ("9" * 30, 0), ("x", 0)]
)
def test_the_declared_length(length, size):
    sink = memory_pipeline()
    WSGIPeer().call(WSGIRequestMiddleware(hello), environ_of(CONTENT_LENGTH=length))
    assert access(sink)["request_bytes"] == size


def test_an_inner_middleware_leaves_the_request_to_the_outer_one():
    sink = memory_pipeline()
    WSGIPeer().call(WSGIRequestMiddleware(WSGIRequestMiddleware(hello)), environ_of())
    assert access(sink)["status"] == 200


def test_the_template_of_a_flask_route():
    sink = memory_pipeline()
    flask = pytest.importorskip("flask")
    app = flask.Flask("app")

    @app.get("/items/<int:item>")
    def item(item):
        return str(item)

    app.wsgi_app = WSGIRequestMiddleware(app.wsgi_app)
    answer = app.test_client().get("/items/7")
    assert answer.data == b"7"
    answer.close()
    event = access(sink)
    assert event["route"] == "/items/<int:item>"
    assert answer.headers["X-Request-ID"] == event["request_id"]


def test_nothing_reaches_the_next_request_of_the_thread_even_if_nobody_closes():
    sink = memory_pipeline()

    def app(environ, start_response):
        assert structlog.contextvars.get_contextvars().keys() == {"request_id"}
        structlog.contextvars.bind_contextvars(user=environ["PATH_INFO"])
        start_response("200 OK", [])
        yield b"x"

    middleware = WSGIRequestMiddleware(app)
    for number in range(3):
        next(iter(middleware(environ_of(f"/{number}"), WSGIPeer().start_response)))
        assert structlog.contextvars.get_contextvars() == {}
    assert not sink.events


def test_the_servers_own_context_is_seen():
    memory_pipeline()
    seen = []
    variable = contextvars.ContextVar("variable")
    variable.set("servers")

    def app(environ, start_response):
        seen.append(variable.get())
        return hello(environ, start_response)

    WSGIPeer().call(WSGIRequestMiddleware(app), environ_of())
    assert seen == ["servers"]


@pytest.mark.parametrize("odd", [{"REMOTE_ADDR": 7}, {"CONTENT_LENGTH": 7}, {"PATH_INFO": 7}])
def test_a_strange_environ_is_served_all_the_same(odd, capsys):
    sink = memory_pipeline()
    peer = WSGIPeer().call(WSGIRequestMiddleware(hello), environ_of(**odd))
    assert peer.body == b"hello"
    assert access(sink)["status"] == 200
    diagnostics.reset()
    capsys.readouterr()

"""Django's middleware: one access event a request, the id on every line, nothing of one in another."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections import defaultdict

import pytest

pytest.importorskip("django")

from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from structlog.contextvars import get_contextvars
from support.django_app import OVERRIDES, file
from support.events import memory_pipeline, only_the_bridge, without

from pylog_struct import ConfigError
from pylog_struct.web import WSGIRequestMiddleware
from pylog_struct.web.django import RequestMiddleware

SAID = "a-request-1"
PATIENCE = 60.0
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def _django():
    with override_settings(**OVERRIDES):
        yield


@pytest.fixture
def sink():
    sink = memory_pipeline()
    only_the_bridge()
    return sink


def access(sink):
    return [one for one in events(sink) if one["logger"] == "pylog_struct.access"]


def events(sink):
    return [record.fields for record in sink.records]


def client(**options):
    return Client(raise_request_exception=False, **options)


# -- synchronous ----------------------------------------------------------------------------------


def test_one_event_with_the_route_and_the_id_on_every_line(sink):
    response = client().get("/api/items/7/?q=1", headers={"user-agent": "café/1"})

    [event] = access(sink)
    assert event["event"] == "request"
    assert event["level"] == "info"
    assert (event["method"], event["path"], event["status"]) == ("GET", "/api/items/7/", 200)
    assert event["route"] == "/api/items/<int:number>/"
    assert event["outcome"] == "completed"
    assert (event["request_bytes"], event["response_bytes"]) == (0, 10)
    assert event["client_address"] == "127.0.0.1"
    assert "query" not in event
    assert type(event["duration"]) is float
    [shown] = [one for one in events(sink) if one["event"] == "shown"]
    assert shown["request_id"] == event["request_id"] == response.headers["X-Request-ID"]


def test_nothing_is_bound_afterwards(sink):
    client().get("/api/items/7/")
    client().get("/stdlib/")

    assert get_contextvars() == {}
    [line] = [one for one in events(sink) if one["event"] == "by logging"]
    assert "stray" not in line
    assert line["request_id"] == access(sink)[1]["request_id"]


def test_the_fields_are_those_of_the_wsgi_middleware(sink):
    client().get("/stdlib/")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "0")])
        return []

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/stdlib/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    }
    WSGIRequestMiddleware(app)(environ, lambda *_: None).close()

    of_django, of_wsgi = access(sink)
    assert of_django.keys() - {"route"} == of_wsgi.keys()
    assert {key: type(of_django[key]) for key in of_wsgi} == {
        key: type(value) for key, value in of_wsgi.items()
    }


@pytest.mark.parametrize("path", ["/broken/", "/broken-async/"])
def test_an_exception_is_a_500_with_its_stack_once(path, sink):
    response = client().get(path)

    [event] = access(sink)
    assert response.status_code == event["status"] == 500
    assert (event["level"], event["outcome"]) == ("error", "failed")
    assert event["error_type"] == "ValueError"
    assert event["route"] == path
    [stack] = [one for one in events(sink) if "exception" in one]
    assert (stack["logger"], stack["level"]) == ("django.request", "error")
    assert stack["request_id"] == event["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/missing/", "/nowhere/"])
def test_not_found(path, sink):
    client().get(path)

    [event] = access(sink)
    assert (event["status"], event["level"], event["outcome"]) == (404, "warning", "completed")
    assert "error_type" not in event
    assert event.get("route") == (path if path == "/missing/" else None)
    # Django says so when the middleware has returned already.
    [line] = [one for one in events(sink) if one["logger"] == "django.request"]
    assert (line["event"], line["level"]) == (f"Not Found: {path}", "warning")
    assert line["request_id"] == event["request_id"]


def test_an_exception_that_django_lets_through_is_noted_on_its_way(sink):
    propagate = override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True)
    with propagate, pytest.raises(ValueError, match="boom") as caught:
        Client().get("/broken/")

    [event] = access(sink)
    assert (event["status"], event["error_type"]) == (500, "ValueError")
    logging.getLogger("server").error("it broke", exc_info=caught.value)
    assert events(sink)[-1]["request_id"] == event["request_id"]


def test_a_stream_ends_with_its_last_chunk(sink):
    response = client().get("/stream/")

    chunks = iter(response.streaming_content)
    assert next(chunks) == b"chunk 0;"
    assert access(sink) == []
    assert get_contextvars() == {}
    assert list(chunks) == [b"chunk 1;", b"chunk 2;"]
    [event] = access(sink)
    response.close()
    assert len(access(sink)) == 1
    assert (event["response_bytes"], event["outcome"]) == (24, "completed")
    inside = [one for one in events(sink) if one["event"] == "chunk"]
    assert {one["request_id"] for one in inside} == {event["request_id"]}
    assert len(inside) == 3


def test_a_stream_that_nobody_reads_to_its_end(sink):
    response = client().get("/stream/")
    next(iter(response.streaming_content))
    response.close()

    [event] = access(sink)
    assert (event["outcome"], event["status"]) == ("disconnected", 200)
    assert event["response_bytes"] == 8


def test_a_stream_that_breaks(sink):
    response = client().get("/broken-stream/")
    with pytest.raises(ValueError, match="torn"):
        list(response.streaming_content)
    response.close()

    [event] = access(sink)
    assert (event["outcome"], event["level"], event["error_type"]) == (
        "failed",
        "error",
        "ValueError",
    )
    assert get_contextvars() == {}


def test_a_file_is_left_to_the_server(sink):
    # Not by the test client: that puts an iterator of its own around the file.
    response = RequestMiddleware(file)(RequestFactory().get("/file/"))

    assert response.file_to_stream is not None
    assert access(sink) == []
    response.close()
    [event] = access(sink)
    assert (event["response_bytes"], event["outcome"]) == (1000, "completed")


def test_head_of_a_stream_has_not_lost_its_client(sink):
    client().head("/stream/").close()

    [event] = access(sink)
    assert (event["method"], event["outcome"]) == ("HEAD", "completed")


def test_ids_of_a_trusted_peer(sink):
    headers = {"X-Request-ID": SAID, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    with override_settings(PYLOG_STRUCT={"trust_request_id": True}):
        response = client(headers=headers).get("/stdlib/")
        client(headers={"X-Request-ID": "a\r\nb"}).get("/stdlib/")
        client(headers=headers).get("/missing/")

    first, second, _ = access(sink)
    [line] = [one for one in events(sink) if one["logger"] == "django.request"]
    assert (line["request_id"], line["trace_id"], line["span_id"]) == (SAID, TRACE, SPAN)
    assert first["request_id"] == response.headers["X-Request-ID"] == SAID
    assert (first["trace_id"], first["span_id"]) == (TRACE, SPAN)
    assert second["request_id_rejected"] == "a\\r\\nb"


def test_an_id_is_not_trusted_by_itself(sink):
    client(headers={"X-Request-ID": SAID}).get("/stdlib/")

    assert access(sink)[0]["request_id"] != SAID


def test_the_user_who_was_asked_for(sink):
    client().get("/profile/")
    with override_settings(PYLOG_STRUCT={"user_id": True}):
        client().get("/profile/")
        client().get("/profile/?anonymous")

    assert [one.get("user_id") for one in access(sink)] == [None, "17", None]


def test_inside_of_another_middleware_of_ours_it_does_nothing(sink):
    client().get("/stdlib/", **{"pylog_struct.request_id": "known"})

    assert access(sink) == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ([], r"PYLOG_STRUCT: \[\] is no mapping"),
        ({"user_id": 1}, "PYLOG_STRUCT.user_id: 1 is neither True nor False"),
        ({"exlude": []}, "did you mean 'exclude'"),
        ({"sample": 2}, "PYLOG_STRUCT.sample: 2"),
    ],
)
def test_settings_that_are_wrong(setting, words):
    with override_settings(PYLOG_STRUCT=setting), pytest.raises(ConfigError, match=words):
        RequestMiddleware(lambda request: None)


def test_without_django_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "django.conf", None)
    monkeypatch.delitem(sys.modules, "pylog_struct.web.django")
    with pytest.raises(ImportError, match="pip install django"):
        importlib.import_module("pylog_struct.web.django")


def test_runserver_lines_have_fields(sink):
    extra = {"request": object(), "status_code": 404, "server_time": "now"}
    RequestMiddleware(lambda request: None)
    server = logging.getLogger("django.server")
    server.warning('"%s" %s %s', "GET /a%20b?c=1 HTTP/1.1", "404", "17", extra=extra)
    server.info("- Broken pipe from %s", ("127.0.0.1", 1), extra={"request": object()})

    line, pipe = events(sink)
    assert without(line) == {
        "level": "warning",
        "logger": "django.server",
        "event": "request",
        "method": "GET",
        "path": "/a b",
        "query": "c=1",
        "status": 404,
        "http_version": "1.1",
        "response_bytes": 17,
    }
    assert "request" not in pipe


class Hostile:
    def __str__(self):
        raise RuntimeError("no text")


def test_lines_that_cannot_be_read_pass_as_they_are(sink, capsys):
    RequestMiddleware(lambda request: None)
    logging.getLogger("django.server").info('"%s" %s %s', Hostile(), "200", "1")
    request = RequestFactory().get("/")
    request.META["pylog_struct.request_id"] = "r-1"
    request.META["pylog_struct.trace"] = "not a trace"
    logging.getLogger("django.request").warning("odd", extra={"request": request})
    logging.getLogger("django.request").warning("without a request")

    assert len(events(sink)) == 3
    assert "request_id" not in events(sink)[1]
    text = capsys.readouterr().err
    assert "a line of runserver is left as it is" in text


def test_a_request_that_cannot_be_read_in_full_is_served(sink, capsys):
    request = RequestFactory().get("/", headers={"user-agent": "\udcff\xe9"})
    request.META["CONTENT_LENGTH"] = 17
    RequestMiddleware(lambda request: HttpResponse(b"ok"))(request)
    request = RequestFactory().get("/")
    request.META["CONTENT_LENGTH"] = "17"
    RequestMiddleware(lambda request: HttpResponse(b"ok"))(request)

    first, second = access(sink)
    assert (first["request_bytes"], first["response_bytes"]) == (0, 2)
    assert second["request_bytes"] == 17
    assert "a request could not be read in full" in capsys.readouterr().err


def test_only_the_consoles_of_djangos_default_are_taken_off(sink, monkeypatch):
    # Django 6 sets logging up anew whenever the setting changes; here that is only a word.
    monkeypatch.setattr("django.utils.log.configure_logging", lambda *_: None)
    monkeypatch.setattr("django.test.signals.configure_logging", lambda *_: None, raising=False)
    logger = logging.getLogger("django")
    console, other = logging.StreamHandler(), logging.NullHandler()
    logger.addHandler(console)
    logger.addHandler(other)
    try:
        with override_settings(LOGGING_CONFIG="logging.config.dictConfig", LOGGING={"version": 1}):
            RequestMiddleware(lambda request: None)
        assert console in logger.handlers
        with override_settings(LOGGING_CONFIG="logging.config.dictConfig"):
            middleware = RequestMiddleware(lambda request: HttpResponse(b""))
            assert console not in logger.handlers
            assert other in logger.handlers
            logger.addHandler(console)  # as django.setup() does, when it comes again
            middleware(RequestFactory().get("/"))
        assert console not in logger.handlers
    finally:
        logger.handlers.clear()


# -- asynchronous ---------------------------------------------------------------------------------


async def get(path, **options):
    return await AsyncClient(raise_request_exception=False, **options).get(path)


def test_fifty_at_once_do_not_mix(sink):
    async def together():
        return await asyncio.gather(
            *(asyncio.create_task(get(f"/patient/{number}/")) for number in range(50))
        )

    responses = asyncio.run(together())

    lines = defaultdict(list)
    for one in events(sink):
        if one["logger"] == "shop":
            lines[one["number"]].append((one["event"], one["request_id"]))
    ids = [response.headers["X-Request-ID"] for response in responses]
    assert len(set(ids)) == 50
    for number, (response, request_id) in enumerate(zip(responses, ids, strict=True)):
        assert response.content.decode() == request_id
        assert lines[number] == [
            (event, request_id) for event in ("begun", "in thread", "in task", "ended")
        ]
    assert sorted(one["request_id"] for one in access(sink)) == sorted(ids)
    assert {one["route"] for one in access(sink)} == {"/patient/<int:number>/"}


@pytest.mark.parametrize("path", ["/broken/", "/broken-async/"])
def test_an_exception_in_an_asynchronous_chain(path, sink):
    response = asyncio.run(get(path))

    [event] = access(sink)
    assert (event["status"], event["error_type"]) == (500, "ValueError")
    [stack] = [one for one in events(sink) if "exception" in one]
    assert stack["request_id"] == event["request_id"] == response.headers["X-Request-ID"]


def test_an_asynchronous_stream(sink):
    async def read():
        response = await get("/stream-async/")
        bound = get_contextvars()
        chunks = [chunk async for chunk in response.streaming_content]
        return bound, chunks, get_contextvars()

    before, chunks, after = asyncio.run(read())

    assert before == after == {}
    assert chunks == [b"chunk 0;", b"chunk 1;", b"chunk 2;"]
    [event] = access(sink)
    assert (event["response_bytes"], event["outcome"]) == (24, "completed")
    inside = [one for one in events(sink) if one["event"] == "chunk"]
    assert [one["request_id"] for one in inside] == [event["request_id"]] * 3


def test_an_asynchronous_stream_whose_client_goes(sink):
    async def leave():
        response = await get("/stream-async/?forever")

        begun = asyncio.Event()

        async def read():
            async for _ in response.streaming_content:
                begun.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        response.close()

    asyncio.run(leave())

    [event] = access(sink)
    assert (event["outcome"], event["response_bytes"]) == ("disconnected", 8)


def test_a_request_whose_client_goes_before_there_is_a_response(sink):
    async def leave():
        task = asyncio.create_task(get("/forever/"))
        async with asyncio.timeout(PATIENCE):
            while not any(  # noqa: ASYNC110 - the view knows nothing of the test
                one["event"] == "waiting" for one in events(sink)
            ):
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())

    [event] = access(sink)
    assert (event["outcome"], event["status"]) == ("disconnected", 499)


def test_a_synchronous_stream_in_an_asynchronous_chain(sink):
    async def read():
        response = await get("/stream/")
        with pytest.warns(Warning, match="must consume synchronous iterators"):
            return [chunk async for chunk in response]

    assert len(asyncio.run(read())) == 3
    [event] = access(sink)
    assert (event["response_bytes"], event["outcome"]) == (24, "completed")
    inside = [one for one in events(sink) if one["event"] == "chunk"]
    assert {one["request_id"] for one in inside} == {event["request_id"]}

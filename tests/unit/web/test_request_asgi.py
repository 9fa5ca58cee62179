"""The ASGI middleware, without a server: one access event a request, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
import structlog
from support.events import memory_pipeline
from support.web_requests import DISCONNECT, Peer, answer, hello, scope_of, socket_of

import pylog_struct
from pylog_struct import diagnostics
from pylog_struct._exception_context import context_of
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY
from pylog_struct.web.asgi import RequestMiddleware

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

log = structlog.get_logger("handler")


def access(sink):
    found = [event for event in sink.events if event["logger"] == "pylog_struct.access"]
    assert len(found) == 1
    return found[0]


# -- one request -----------------------------------------------------------------------------------


def test_a_request_has_an_id_on_its_lines_in_its_header_and_in_its_one_event():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await receive()
        log.info("working")
        await answer(send, b"hello", headers=[(b"content-type", b"text/plain")])

    scope = scope_of("/a/b", headers=[("User-Agent", "test/1"), ("X-Request-ID", "theirs")])
    peer = Peer().call(RequestMiddleware(app), scope)

    event = access(sink)
    known = event.pop("request_id")
    assert peer.headers == {b"content-type": b"text/plain", b"x-request-id": known.encode()}
    assert [one["request_id"] for one in sink.events if one["event"] == "working"] == [known]
    assert known != "theirs"
    assert scope[REQUEST_ID_KEY] == known
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


def test_an_id_is_taken_from_whom_one_trusts_if_it_is_harmless():
    sink = memory_pipeline()
    app = RequestMiddleware(hello, trust_request_id=True, header="X-Correlation-ID")
    peer = Peer().call(app, scope_of(headers=[("X-Correlation-ID", "abc-123")]))
    assert peer.headers[b"x-correlation-id"] == b"abc-123"
    assert access(sink)["request_id"] == "abc-123"


@pytest.mark.parametrize(
    "hostile", ["x" * 1_000_000, 'a\r\nb: "c"', '{"level":"error"}', "a\x00", "", "\xff\xfe"]
)
def test_a_hostile_id_is_replaced_and_noted_even_of_whom_one_trusts(hostile):
    sink = memory_pipeline()
    app = RequestMiddleware(hello, trust_request_id=True)
    peer = Peer().call(app, scope_of(headers=[("X-Request-ID", hostile)]))
    event = access(sink)
    assert peer.headers[b"x-request-id"] == event["request_id"].encode()
    assert len(event["request_id"]) == 32
    assert event["request_id_rejected"].isprintable()
    assert len(event["request_id_rejected"]) <= 64
    assert event["level"] == "info"


def test_the_application_own_header_of_that_name_is_replaced_and_its_list_left_alone():
    memory_pipeline()
    headers = [(b"x-request-id", b"mine"), (b"a", b"1")]
    start = {"type": "http.response.start", "status": 200, "headers": headers}

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body"})

    middleware = RequestMiddleware(app)
    for _ in range(2):
        peer = Peer().call(middleware, scope_of())
        names = [name for name, _ in peer.sent[0]["headers"]]
        assert names == [b"a", b"x-request-id"]
    assert headers == [(b"x-request-id", b"mine"), (b"a", b"1")]
    assert start["headers"] is headers


def test_a_trace_is_bound_and_handed_on():
    sink = memory_pipeline()
    scope = scope_of(
        headers=[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
    )
    Peer().call(RequestMiddleware(hello), scope)
    event = access(sink)
    assert (event["trace_id"], event["span_id"]) == (TRACE, SPAN)
    assert scope[TRACE_KEY].state == (("a", "1"), ("b", "2"))
    assert scope[TRACE_KEY].sampled


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ([("traceparent", PARENT), ("traceparent", PARENT)], {}),
        ([("traceparent", "garbage")], {}),
        ([("tracestate", "a=1")], {}),
        ([("traceparent", PARENT)], {"trust_traceparent": False}),
    ],
)
def test_a_trace_that_is_none_is_not_bound(headers, options):
    sink = memory_pipeline()
    scope = scope_of(headers=headers)
    Peer().call(RequestMiddleware(hello, **options), scope)
    assert "trace_id" not in access(sink)
    assert TRACE_KEY not in scope


def test_opentelemetry_own_span_goes_before_the_header():
    trace = pytest.importorskip("opentelemetry.trace")
    sink = memory_pipeline()
    span = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=False))
    with trace.use_span(span):
        Peer().call(RequestMiddleware(hello), scope_of(headers=[("traceparent", PARENT)]))
    event = access(sink)
    assert (event["trace_id"], event["span_id"]) == (f"{7:032x}", f"{8:016x}")


def test_values_that_a_handler_binds_are_on_the_access_event_too():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        structlog.contextvars.bind_contextvars(user="u-7")
        await answer(send)

    Peer().call(RequestMiddleware(app), scope_of())
    assert access(sink)["user"] == "u-7"


def test_an_application_that_clears_the_context_takes_the_id_from_its_own_lines_only():
    sink = memory_pipeline()
    error = ValueError("boom")

    async def app(scope, receive, send):
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(user="u-7")
        log.info("without")
        raise error

    with pytest.raises(ValueError, match="boom"):
        Peer().call(RequestMiddleware(app), scope_of(headers=[("traceparent", PARENT)]))
    event = access(sink)
    assert "request_id" not in sink.events[0]
    assert (len(event["request_id"]), event["trace_id"], event["span_id"]) == (32, TRACE, SPAN)
    assert context_of(error) == {
        "request_id": event["request_id"],
        "trace_id": TRACE,
        "span_id": SPAN,
        "user": "u-7",
    }


def test_what_was_bound_before_is_there_again_afterwards():
    memory_pipeline()
    structlog.contextvars.bind_contextvars(request_id="outer")
    seen = []

    async def run():
        await RequestMiddleware(hello)(scope_of(), Peer().receive, Peer().send)
        seen.append(structlog.contextvars.get_contextvars())

    asyncio.run(run())
    assert seen == [{"request_id": "outer"}]


def test_an_inner_middleware_leaves_the_request_to_the_outer_one():
    sink = memory_pipeline()
    peer = Peer().call(RequestMiddleware(RequestMiddleware(hello)), scope_of())
    assert access(sink)["request_id"].encode() == peer.headers[b"x-request-id"]


def test_a_lifespan_passes_through():
    sink = memory_pipeline()
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, await receive()))

    Peer({"type": "lifespan.startup"}).call(RequestMiddleware(app), {"type": "lifespan"})
    assert seen == [({"type": "lifespan"}, {"type": "lifespan.startup"})]
    assert sink.events == []


# -- sizes, streams, methods -----------------------------------------------------------------------


def test_bytes_of_a_streamed_request_and_response_are_counted_to_the_last():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
            assert not sink.events
        await send({"type": "http.response.body", "more_body": False})
        assert len(sink.events) == 1

    Peer(
        {"type": "http.request", "body": b"a" * 10, "more_body": True},
        {"type": "http.request", "body": b"b" * 7},
    ).call(RequestMiddleware(app), scope_of(method="POST"))
    event = access(sink)
    assert (event["request_bytes"], event["response_bytes"]) == (17, 300)


def test_of_a_body_that_nobody_read_the_declared_length_counts():
    sink = memory_pipeline()
    Peer().call(RequestMiddleware(hello), scope_of(headers=[("Content-Length", "1234")]))
    assert access(sink)["request_bytes"] == 1234


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 30, "abc", "１２"])
def test_a_declared_length_that_is_none_is_not_believed(length):
    sink = memory_pipeline()
    scope = scope_of()
    scope["headers"] = [(b"content-length", length.encode())]
    Peer().call(RequestMiddleware(hello), scope)
    assert access(sink)["request_bytes"] == 0


def test_the_body_of_an_answer_to_head_is_not_sent_and_not_counted():
    sink = memory_pipeline()
    Peer().call(RequestMiddleware(hello), scope_of(method="HEAD"))
    event = access(sink)
    assert (event["method"], event["response_bytes"], event["outcome"]) == ("HEAD", 0, "completed")


@pytest.mark.parametrize(
    ("messages", "size"),
    [
        (
            [
                {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
                {"type": "http.response.body", "body": b"abc"},
                {"type": "http.response.trailers", "headers": [], "more_trailers": True},
                {"type": "http.response.trailers", "headers": []},
            ],
            3,
        ),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": []},
                {"type": "http.response.zerocopysend", "file": 3, "count": 9, "more_body": True},
                {"type": "http.response.zerocopysend", "file": 3, "count": 1},
            ],
            10,
        ),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": []},
                {"type": "http.response.pathsend", "path": "/x"},
            ],
            0,
        ),
        (
            [
                {"type": "http.response.early_hint", "links": []},
                {"type": "http.response.start", "status": 204, "headers": []},
                {"type": "http.response.body"},
            ],
            0,
        ),
    ],
)
def test_messages_of_extensions(messages, size):
    sink = memory_pipeline()
    seen = []

    async def app(scope, receive, send):
        for message in messages:
            seen.append(len(sink.events))
            await send(message)
        seen.append(len(sink.events))

    Peer().call(RequestMiddleware(app), scope_of())
    assert seen == [0] * len(messages) + [1]
    event = access(sink)
    assert (event["outcome"], event["response_bytes"]) == ("completed", size)


# -- what goes wrong -------------------------------------------------------------------------------


def test_an_exception_before_the_response_is_answered_with_the_id_and_raised_again():
    sink = memory_pipeline()
    error = ValueError("boom")

    async def app(scope, receive, send):
        raise error

    peer = Peer()
    with pytest.raises(ValueError, match="boom") as caught:
        peer.call(RequestMiddleware(app), scope_of())
    assert caught.value is error
    event = access(sink)
    assert (peer.status, peer.body) == (500, b"Internal Server Error")
    assert peer.headers[b"x-request-id"].decode() == event["request_id"]
    assert (event["level"], event["status"], event["outcome"]) == ("error", 500, "failed")
    assert event["error_type"] == "ValueError"
    assert "exception" not in event  # the server's line has it


def test_the_exception_itself_is_on_the_event_if_that_is_asked_for():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        Peer().call(RequestMiddleware(app, exceptions=True), scope_of())
    assert access(sink)["exception"]["message"] == "boom"


def test_within_starlette_the_answer_is_left_to_starlette():
    memory_pipeline()

    async def app(scope, receive, send):
        raise ValueError("boom")

    peer = Peer()
    with pytest.raises(ValueError, match="boom"):
        peer.call(RequestMiddleware(app), scope_of(app=object()))
    assert peer.sent == []


def test_an_exception_behind_a_500_is_on_the_same_event():
    """Starlette answers, then raises again; the event waits for that."""
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await answer(send, b"sorry", 500)
        raise KeyError("x")

    with pytest.raises(KeyError):
        Peer().call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["status"], event["error_type"], event["response_bytes"]) == (500, "KeyError", 5)


def test_an_exception_in_the_middle_of_a_stream_is_an_error_with_the_status_that_went_out():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        Peer().call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["level"], event["status"], event["outcome"]) == ("error", 200, "failed")


def test_a_client_that_leaves_before_the_response_is_no_error_of_the_application():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.disconnect"

    peer = Peer(DISCONNECT)
    peer.call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["status"], event["outcome"], event["level"]) == (499, "disconnected", "warning")
    assert peer.sent == []


def test_a_client_that_leaves_in_the_middle_keeps_the_status_that_it_got():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})

    Peer(DISCONNECT).call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["status"], event["outcome"], event["level"]) == (200, "disconnected", "info")


def test_a_server_that_says_so_by_an_error_of_send_is_understood():
    sink = memory_pipeline()
    peer = Peer()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        peer.gone = True
        try:
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        except OSError:
            raise RuntimeError("ClientDisconnect") from None

    with pytest.raises(RuntimeError):
        peer.call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["outcome"], event["level"]) == ("disconnected", "info")
    assert "error_type" not in event


def test_a_disconnect_behind_the_end_is_none():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await receive()
        await answer(send)
        assert (await receive())["type"] == "http.disconnect"

    Peer().call(RequestMiddleware(app), scope_of())
    assert access(sink)["outcome"] == "completed"


def test_a_cancelled_request_is_no_500_and_the_cancellation_goes_on():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async def run():
        task = asyncio.create_task(RequestMiddleware(app)(scope_of(), Peer().receive, Peer().send))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    event = access(sink)
    assert (event["status"], event["outcome"]) == (499, "cancelled")


@pytest.mark.parametrize("start", [True, False])
def test_an_application_that_does_not_finish_is_reported(start):
    sink = memory_pipeline()

    async def app(scope, receive, send):
        if start:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    Peer().call(RequestMiddleware(app), scope_of())
    event = access(sink)
    assert (event["status"], event["outcome"]) == (200 if start else 500, "failed")
    assert event["level"] == "error"


def test_a_second_start_is_the_servers_to_refuse():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await answer(send)
        await send({"type": "http.response.start", "status": 500, "headers": []})

    Peer().call(RequestMiddleware(app), scope_of())
    assert access(sink)["status"] == 200


def test_a_background_task_runs_in_the_context_and_after_the_event():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await answer(send)
        log.info("in the background")

    Peer().call(RequestMiddleware(app), scope_of())
    assert [event["event"] for event in sink.events] == ["request", "in the background"]
    assert len({event["request_id"] for event in sink.events}) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"headers": [(b"a",)]},
        {"headers": 7},
        {"client": ("192.0.2.7",)},
        {"path": None, "method": None, "client": None, "scheme": None},
        {"query_string": "text"},
    ],
)
def test_a_strange_scope_is_served_all_the_same(odd, capsys):
    sink = memory_pipeline()
    peer = Peer().call(RequestMiddleware(hello, query=True), {**scope_of(), **odd})
    assert peer.status == 200
    assert access(sink)["status"] == 200
    diagnostics.reset()
    capsys.readouterr()


def test_requests_that_alternate_in_one_thread_never_share():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        for _ in range(5):
            log.info("step", path_=scope["path"])
            await asyncio.sleep(0)
        await answer(send)

    async def run():
        middleware = RequestMiddleware(app)
        await asyncio.gather(
            *(
                middleware(scope_of(f"/{number}"), Peer().receive, Peer().send)
                for number in range(50)
            )
        )
        return contextvars.copy_context()

    asyncio.run(run())
    ids = {}
    for event in sink.events:
        ids.setdefault(event.get("path_") or event["path"], set()).add(event["request_id"])
    assert len(ids) == 50
    assert all(len(each) == 1 for each in ids.values())
    assert len(set.union(*ids.values())) == 50


def test_without_a_pipeline_requests_are_served(capsys):
    assert Peer().call(RequestMiddleware(hello), scope_of()).status == 200
    assert "before configure()" in capsys.readouterr().err


# -- websockets ------------------------------------------------------------------------------------


def socket(sink, app, *messages, **more):
    peer = Peer(*messages)
    peer.call(RequestMiddleware(app), socket_of(**more))
    return peer, access(sink)


def test_a_websocket_has_one_event_at_its_close():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"a", b"1")]})
        await receive()
        await send({"type": "websocket.send", "text": "héllo"})
        await send({"type": "websocket.send", "bytes": b"1234"})
        await send({"type": "websocket.send", "text": "abc"})
        assert (await receive())["code"] == 1001
        log.info("cleaning up")

    peer, event = socket(
        sink,
        app,
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "ping"},
        {"type": "websocket.disconnect", "code": 1001},
    )
    assert dict(peer.sent[0]["headers"])[b"x-request-id"] == event["request_id"].encode()
    assert {key: event[key] for key in ("event", "status", "close_code", "outcome", "level")} == {
        "event": "websocket",
        "status": 101,
        "close_code": 1001,
        "outcome": "completed",
        "level": "info",
    }
    assert (event["request_bytes"], event["response_bytes"]) == (4, 13)
    assert event["duration"] > 0
    assert "method" not in event
    assert sink.events[-1]["request_id"] == event["request_id"]


def test_the_application_closes():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001})

    assert socket(sink, app)[1]["close_code"] == 4001


def test_a_handshake_that_is_refused():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.close"})

    event = socket(sink, app)[1]
    assert (event["status"], event["level"]) == (403, "warning")
    assert "close_code" not in event


def test_a_handshake_that_is_answered_with_a_response():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who?", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"!"})

    peer, event = socket(sink, app)
    assert (event["status"], event["response_bytes"]) == (401, 5)
    assert b"x-request-id" in peer.headers


def test_a_connection_that_breaks():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        await receive()

    event = socket(sink, app, {"type": "websocket.disconnect", "code": 1006})[1]
    assert (event["close_code"], event["outcome"]) == (1006, "disconnected")


def test_a_client_that_leaves_during_the_handshake():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await receive()

    event = socket(sink, app, {"type": "websocket.disconnect"})[1]
    assert (event["status"], event["outcome"]) == (499, "disconnected")


@pytest.mark.parametrize("accepted", [True, False])
def test_an_exception_in_a_websocket(accepted):
    sink = memory_pipeline()

    async def app(scope, receive, send):
        if accepted:
            await send({"type": "websocket.accept"})
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        socket(sink, app)
    event = access(sink)
    assert (event["level"], event["outcome"]) == ("error", "failed")
    assert event["error_type"] == "ValueError"
    assert event.get("close_code") == (1011 if accepted else None)
    assert event["status"] == (101 if accepted else 500)


def test_a_websocket_whose_application_just_returns():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})

    event = socket(sink, app)[1]
    assert (event["close_code"], event["outcome"]) == (1000, "completed")


def test_a_websocket_that_cannot_be_written_to():
    sink = memory_pipeline()
    peer = Peer()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        peer.gone = True
        await send({"type": "websocket.send", "text": "x"})

    with pytest.raises(OSError, match="gone"):
        peer.call(RequestMiddleware(app), socket_of())
    assert access(sink)["outcome"] == "disconnected"


def test_the_server_cancels_a_websocket():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        socket(sink, app)
    event = access(sink)
    assert event["outcome"] == "cancelled"
    assert "close_code" not in event


@pytest.mark.parametrize("finishes", [True, False])
def test_strict_lets_an_error_of_logging_through_and_still_cleans_up(finishes):
    async def app(scope, receive, send):
        if finishes:
            await answer(send)

    def bad(_logger, _name, _event):
        raise RuntimeError("processor")

    memory_pipeline(strict=True, processors=[bad])
    left = []

    async def run():
        with pytest.raises(RuntimeError, match="processor"):
            await RequestMiddleware(app)(scope_of(), Peer().receive, Peer().send)
        left.append(structlog.contextvars.get_contextvars())

    asyncio.run(run())
    assert left == [{}]
    assert pylog_struct.statistics().emitted == 0


# -- routes ----------------------------------------------------------------------------------------


def routed(app, *paths, root=""):
    sink = memory_pipeline()
    for path in paths:
        Peer().call(RequestMiddleware(app), scope_of(root + path, root_path=root))
    return [event.get("route") for event in sink.events if event["event"] == "request"]


def test_the_template_of_a_starlette_route_mounts_included():
    applications = pytest.importorskip("starlette.applications")
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    def page(_request):
        return PlainTextResponse("x")

    deep = [Route("/x/{y:int}", page), Mount("/files", app=PlainTextResponse("file"))]
    app = applications.Starlette(
        routes=[
            Route("/items/{item}", page),
            Mount("/t/{tenant}", routes=deep),
            Mount("/any/{rest:path}/end", routes=deep),
            Mount("/plain", app=PlainTextResponse("p")),
        ]
    )
    found = routed(
        app,
        "/items/7",
        "/t/acme/x/5",
        "/t/acme/files/secret.txt",
        "/any/a/b/c/end/x/5",
        "/plain/what/ever",
        "/nowhere",
    )
    assert found == [
        "/items/{item}",
        "/t/{tenant}/x/{y}",
        "/t/{tenant}/files",
        "/x/{y}",  # the mount's own part cannot be told from the path
        "/plain",
        None,
    ]


def test_the_template_of_a_fastapi_route_with_routers_and_root_path():
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/v1")
    inner = fastapi.APIRouter(prefix="/users/{user}")

    @inner.get("/orders/{order}")
    async def order(user: str, order: int):
        return user, order

    router.include_router(inner)
    app.include_router(router, prefix="/api")
    sub = fastapi.FastAPI()

    @sub.get("/deep/{name}")
    async def deep(name: str):
        return name

    app.mount("/sub", sub)
    paths = ("/api/v1/users/u/orders/7", "/sub/deep/x", "/api/v1/users/u/orders/seven")
    found = routed(app, *paths, root="/proxy")
    assert found == [
        "/api/v1/users/{user}/orders/{order}",
        "/sub/deep/{name}",
        "/api/v1/users/{user}/orders/{order}",
    ]


def test_the_template_of_a_litestar_route():
    litestar = pytest.importorskip("litestar")

    @litestar.get("/items/{item:int}", sync_to_thread=False)
    def item() -> int:
        return 1

    app = litestar.Litestar([item], logging_config=None)
    assert routed(app, "/items/7", "/nowhere") == ["/items/{item}", None]


# -- where it stands -------------------------------------------------------------------------------


def fastapi_app():
    fastapi = pytest.importorskip("fastapi")
    from starlette.responses import JSONResponse

    app = fastapi.FastAPI()

    @app.get("/boom")
    async def boom():
        raise ValueError("boom")

    @app.exception_handler(Exception)
    async def handle(_request, error):
        log.info("handling", error=str(error))
        return JSONResponse({"sorry": True}, 500)

    return app


def test_around_fastapi_an_exception_handler_has_the_id_and_its_answer_the_header():
    sink = memory_pipeline()
    peer = Peer()
    with pytest.raises(ValueError, match="boom"):
        peer.call(RequestMiddleware(fastapi_app()), scope_of("/boom"))
    assert peer.body == b'{"sorry":true}'
    event = access(sink)
    assert peer.headers[b"x-request-id"].decode() == event["request_id"]
    handling = next(one for one in sink.events if one["event"] == "handling")
    assert handling["request_id"] == event["request_id"]
    assert (event["error_type"], event["response_bytes"]) == ("ValueError", 14)


@pytest.mark.parametrize("place", ["first", "inside of others"])
def test_by_add_middleware_the_500_of_a_handler_has_the_header_and_its_lines_the_id(place):
    sink = memory_pipeline()
    app = fastapi_app()
    app.add_middleware(RequestMiddleware, logger="mine", trust_request_id=True)
    if place != "first":
        app.add_middleware(Around)
    for given in ("abc", "def"):
        peer = Peer()
        with pytest.raises(ValueError, match="boom"):
            peer.call(app, scope_of("/boom", headers=[("X-Request-ID", given)]))
        assert (peer.status, peer.body) == (500, b'{"sorry":true}')
        assert peer.headers[b"x-request-id"] == given.encode()
    found = [one for one in sink.events if one["event"] in ("handling", "request")]
    assert [(one["event"], one["request_id"]) for one in found] == [
        (event, given) for given in ("abc", "def") for event in ("request", "handling")
    ]
    assert structlog.contextvars.get_contextvars() == {}


class Around:
    """A middleware that gives what is inside of it a scope of its own."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(dict(scope), receive, send)


@pytest.mark.parametrize(
    "kind", ["default", "debug", "sync handler", "any response", "instrumented"]
)
def test_by_add_middleware_starlettes_own_500_has_the_header(kind):
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    memory_pipeline()

    async def boom(_request):
        raise ValueError("boom")

    async def bare(scope, receive, send):
        await answer(send, b"bare", status=500)

    ids = []

    class Client(Peer):
        async def send(self, message):
            ids.append(structlog.contextvars.get_contextvars().get("request_id"))
            await super().send(message)

    handlers = {
        "sync handler": lambda _request, _error: PlainTextResponse("sorry", 500),
        "any response": lambda _request, _error: bare,
    }
    app = Starlette(
        debug=kind == "debug",
        routes=[Route("/boom", boom)],
        exception_handlers={Exception: handlers[kind]} if kind in handlers else None,
    )
    app.add_middleware(RequestMiddleware)
    if kind == "instrumented":
        build = app.build_middleware_stack
        app.build_middleware_stack = lambda: Around(build())
    peer = Client()
    with pytest.raises(ValueError, match="boom"):
        peer.call(app, scope_of("/boom"))
    assert peer.status == 500
    given = peer.headers[b"x-request-id"].decode()
    assert ids == [given, given]  # what uvicorn's access line has, too


@pytest.mark.parametrize("framework", [object(), "app", 5])
def test_inside_of_something_unknown_the_500_is_left_to_it(framework):
    memory_pipeline()

    async def app(scope, receive, send):
        raise ValueError("boom")

    peer = Peer()
    with pytest.raises(ValueError, match="boom"):
        peer.call(RequestMiddleware(app), {**scope_of("/"), "app": framework})
    assert peer.sent == []

"""The access event: its names, its level, what is left out, and that nothing in it can be forged."""

from __future__ import annotations

import json

import pytest
import structlog
from support.events import memory_pipeline
from support.web_requests import Peer, answer, hello, scope_of, socket_of

import pylog_struct
from pylog_struct import diagnostics
from pylog_struct.processors import ECS
from pylog_struct.sinks import MemorySink
from pylog_struct.web._request.names import current_names
from pylog_struct.web._request.text import PATH_MAX
from pylog_struct.web.asgi import RequestMiddleware

FORGING = '","status":200,"x":"\r\n%(h)s{0}\x1b[2J'


def access(sink):
    return [event for event in sink.events if event.get("logger") == "pylog_struct.access"]


def with_status(status):
    async def app(scope, receive, send):
        await answer(send, status=status)

    return app


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["ecs", ECS(guard=False), ECS(process=False)])
def test_under_ecs_every_field_has_its_name_in_the_schema(format_):
    sink = memory_pipeline(format=format_)
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = [("User-Agent", "test/1"), ("traceparent", parent), ("Content-Length", "3")]

    async def app(scope, receive, send):
        scope["route"] = type("Route", (), {"path": "/items/{item}"})()
        structlog.get_logger("handler").info("working")
        await answer(send, b"hello")

    middleware = RequestMiddleware(app, query=True, slow=1e-9)
    for _ in range(2):  # the second goes the quick way
        Peer().call(middleware, scope_of("/items/1", headers=headers, query_string=b"a=1"))
    working, first, _, event = sink.events
    assert event.keys() == first.keys()
    assert working["http.request.id"] == first["http.request.id"]
    wanted = {
        "message": "request",
        "log.level": "info",
        "trace.id": "a" * 32,
        "span.id": "b" * 16,
        "url.path": "/items/1",
        "url.query": "a=1",
        "url.scheme": "http",
        "http.request.method": "GET",
        "http.request.body.bytes": 3,
        "http.response.body.bytes": 5,
        "http.response.status_code": 200,
        "http.version": "1.1",
        "client.address": "192.0.2.7",
        "client.ip": "192.0.2.7",
        "client.port": 4321,
        "user_agent.original": "test/1",
        "event.outcome": "success",
        "event.category": ["web"],
        "event.type": ["access"],
        "route": "/items/{item}",
        "slow": True,
    }
    assert {key: event.get(key) for key in wanted} == wanted
    assert type(event["event.duration"]) is int
    assert "labels" not in event


def test_under_ecs_an_address_that_is_none_is_no_ip():
    sink = memory_pipeline(format="ecs")
    for address in ("testclient", "1" * 100_000):
        Peer().call(RequestMiddleware(hello), scope_of(client=(address, 50000)))
        event = sink.events[-1]
        assert event["client.address"] == (address if address == "testclient" else "1" * 63 + "…")
        assert "client.ip" not in event


def test_under_ecs_other_outcomes():
    sink = memory_pipeline(format="ecs")
    Peer().call(RequestMiddleware(with_status(503)), scope_of())

    async def leaving(scope, receive, send):
        await receive()

    Peer({"type": "http.disconnect"}).call(RequestMiddleware(leaving), scope_of())
    failed, left = sink.events
    assert failed["event.outcome"] == "failure"
    assert (left["event.outcome"], left["event.reason"]) == ("unknown", "disconnected")


def test_the_names_follow_the_configuration():
    middleware = RequestMiddleware(hello)
    for format_, name in (("json", "path"), ("ecs", "url.path"), ("gcp", "path"), ("json", "path")):
        sink = memory_pipeline(format=format_)
        Peer().call(middleware, scope_of())
        assert sink.events[0][name] == "/"
    assert current_names() is current_names()


def test_in_the_console_a_request_is_one_line():
    sink = MemorySink()
    pylog_struct.configure(format="console", sink=sink)
    scope = scope_of("/a\r\nb", headers=[("User-Agent", FORGING)])
    Peer().call(RequestMiddleware(hello), scope)
    (line,) = sink.lines
    assert b"\n" not in line
    assert b"\r" not in line
    assert b"\x1b" not in line


# -- nothing can be forged --------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["json", "ecs", "logstash", "gcp", "datadog"])
def test_no_header_forges_a_key_or_breaks_the_line(format_):
    sink = memory_pipeline(format=format_)
    scope = scope_of(
        f"/x{FORGING}",
        headers=[("User-Agent", FORGING), ("X-Request-ID", FORGING), ("X-Forwarded-For", FORGING)],
        query_string=FORGING.encode(),
        method="GET\r\n",
    )
    Peer().call(RequestMiddleware(with_status(404), query=True, trust_request_id=True), scope)
    (line,) = sink.lines
    assert line.count(b"\n") == line.count(b"\r") == line.count(b"\x1b") == 0
    pairs = json.loads(line, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names)
    assert "x" not in names
    event = dict(pairs)
    assert event["http.response.status_code" if format_ == "ecs" else "status"] in (404, "warning")
    agent = event["user_agent.original" if format_ == "ecs" else "user_agent"]
    assert agent == '","status":200,"x":"\\r\\n%(h)s{0}\\x1b[2J'


@pytest.mark.parametrize(
    "path", ["/" + "a" * 1_000_000, "/\ud800\udfff", "/\x00\x01", "/ü" * 10_000, "/%ff%fe", ""]
)
def test_a_path_of_any_kind_is_bounded_and_prints(path):
    sink = memory_pipeline()
    Peer().call(RequestMiddleware(hello), scope_of(path))
    (event,) = access(sink)
    assert len(event["path"]) <= PATH_MAX
    assert event["path"].isprintable()


def test_a_flood_of_headers_costs_one_event_of_ordinary_size():
    sink = memory_pipeline()
    flood = [(f"x-{number}", "y" * 50) for number in range(20_000)]
    agent = [("User-Agent", "z" * 1_000_000)]
    Peer().call(RequestMiddleware(hello), scope_of(headers=flood + agent))
    (line,) = sink.lines
    assert len(line) < 2_000


# -- levels, slow ones, exclusion, sampling ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (200, "info"),
        (302, "info"),
        (404, "warning"),
        (499, "warning"),
        (500, "error"),
        (999, "error"),
    ],
)
def test_the_level_follows_the_status(status, level):
    sink = memory_pipeline()
    Peer().call(RequestMiddleware(with_status(status)), scope_of())
    assert access(sink)[0]["level"] == level


def test_the_level_can_be_ones_own_and_is_asked_for_once_a_status():
    asked = []

    def level_for(status):
        asked.append(status)
        return "debug" if status < 400 else 27

    sink = memory_pipeline()
    for status in (200, 404, 200, 404):
        Peer().call(RequestMiddleware(with_status(status), level_for=level_for), scope_of())
    assert [event["level"] for event in access(sink)] == ["debug", "level 27"] * 2
    middleware = RequestMiddleware(hello, level_for=level_for)
    asked.clear()
    for _ in range(3):
        Peer().call(middleware, scope_of())
    assert asked == [200]


@pytest.mark.parametrize("answer_", [None, "loud", RuntimeError("x")])
def test_a_level_function_that_fails_leaves_the_usual_level(answer_, capsys):
    def level_for(_status):
        if isinstance(answer_, Exception):
            raise answer_
        return answer_

    sink = memory_pipeline()
    Peer().call(RequestMiddleware(with_status(404), level_for=level_for), scope_of())
    assert access(sink)[0]["level"] == "warning"
    assert "level_for(404) failed" in capsys.readouterr().err
    diagnostics.reset()


def test_a_slow_request_is_marked_and_a_websocket_may_stay_open():
    sink = memory_pipeline()
    middleware = RequestMiddleware(hello, slow="1 us")
    Peer().call(middleware, scope_of())
    Peer().call(RequestMiddleware(hello, slow=60), scope_of())

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})

    Peer().call(RequestMiddleware(app, slow="1 us"), socket_of())
    assert [event.get("slow") for event in access(sink)] == [True, None, None]


def test_an_excluded_path_has_no_event_and_still_has_its_context():
    sink = memory_pipeline()

    async def app(scope, receive, send):
        structlog.get_logger("handler").info("working")
        await answer(send, status=500)

    middleware = RequestMiddleware(app, exclude=["/health", "/static/*"])
    for path in ("/health", "/static/a.js", "/other"):
        peer = Peer().call(middleware, scope_of(path))
        assert b"x-request-id" in peer.headers
    assert [event["path"] for event in access(sink)] == ["/other"]
    working = [event["request_id"] for event in sink.events if event["event"] == "working"]
    assert len(set(working)) == 3
    assert pylog_struct.statistics().discarded == 0


def test_sampling_leaves_out_a_share_of_what_went_well_and_counts_it():
    sink = memory_pipeline(level="INFO")
    middleware = RequestMiddleware(hello, sample=0.25)
    for _ in range(400):
        Peer().call(middleware, scope_of())
    written = len(access(sink))
    assert 50 < written < 150
    statistics = pylog_struct.statistics()
    assert statistics.discarded == 400 - written
    assert statistics.emitted == 400


def test_what_would_not_have_been_emitted_is_not_counted():
    memory_pipeline(level="WARNING")
    Peer().call(RequestMiddleware(hello, sample=0), scope_of())
    assert pylog_struct.statistics().emitted == 0


def test_errors_and_slow_requests_are_never_left_out():
    sink = memory_pipeline()
    for status in (404, 500):
        Peer().call(RequestMiddleware(with_status(status), sample=0), scope_of())
    Peer().call(RequestMiddleware(hello, sample=0, slow="1 us"), scope_of())
    Peer().call(RequestMiddleware(hello, sample=0), scope_of())

    async def leaving(scope, receive, send):
        await receive()

    Peer({"type": "http.disconnect"}).call(RequestMiddleware(leaving, sample=0), scope_of())
    assert [event["status"] for event in access(sink)] == [404, 500, 200, 499]


def test_all_that_belongs_to_one_trace_is_sampled_alike():
    kept = []
    for number in range(40):
        parent = [("traceparent", f"00-{number + 1:032x}-{'b' * 16}-01")]
        decisions = set()
        for _ in range(3):
            sink = memory_pipeline()
            Peer().call(RequestMiddleware(hello, sample=0.5), scope_of(headers=parent))
            decisions.add(len(access(sink)))
        assert len(decisions) == 1
        kept += decisions
    assert 5 < sum(kept) < 35


def test_the_client_behind_a_trusted_proxy():
    sink = memory_pipeline()
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.9:99, 192.0.2.7")]
    Peer().call(RequestMiddleware(hello), scope_of(headers=headers))
    app = RequestMiddleware(hello, trusted_proxies=["192.0.2.0/24"])
    Peer().call(app, scope_of(headers=headers))
    Peer().call(app, scope_of(headers=headers, client=None))
    found = [(event.get("client_address"), event.get("client_port")) for event in access(sink)]
    assert found == [("192.0.2.7", 4321), ("198.51.100.9", 99), (None, None)]

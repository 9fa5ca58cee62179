"""Access events of servers: typed, cleaned, bounded, under the names of the format."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest
from support.events import memory_pipeline, only_the_bridge, without

from pylog_struct import stdlib_bridge
from pylog_struct.web._server import uvicorn as server_uvicorn
from pylog_struct.web._server.access import access_fields, header_text, whole_number

UVICORN = '%s - "%s %s HTTP/%s" %d'
EVERYTHING = {
    "method": "GET",
    "path": "/a",
    "query": "q=1",
    "status": 200,
    "client": "192.0.2.1",
    "port": 80,
    "http_version": "1.1",
    "user_agent": "a client",
    "duration": 0.25,
    "response_bytes": 17,
}


def test_plain_names_are_those_of_the_request_middleware():
    memory_pipeline()

    assert access_fields(**EVERYTHING) == {
        "method": "GET",
        "path": "/a",
        "query": "q=1",
        "status": 200,
        "client_address": "192.0.2.1",
        "client_port": 80,
        "http_version": "1.1",
        "user_agent": "a client",
        "duration": 0.25,
        "response_bytes": 17,
    }


def test_ecs_names_and_units():
    memory_pipeline(format="ecs")

    assert access_fields(**EVERYTHING) == {
        "http.request.method": "GET",
        "url.path": "/a",
        "url.query": "q=1",
        "http.response.status_code": 200,
        "client.address": "192.0.2.1",
        "client.ip": "192.0.2.1",
        "client.port": 80,
        "http.version": "1.1",
        "user_agent.original": "a client",
        "event.duration": 250_000_000,
        "event.category": ["web"],
        "event.type": ["access"],
        "http.response.body.bytes": 17,
    }


def test_what_is_no_address_is_not_called_one():
    memory_pipeline(format="ecs")

    fields = access_fields(client="/run/socket")

    assert fields["client.address"] == "/run/socket"
    assert "client.ip" not in fields


def test_what_a_server_does_not_know_is_left_out():
    memory_pipeline()

    assert access_fields(method="GET", path="", query="", status=None, client=None) == {
        "method": "GET"
    }


def test_long_and_ugly_values_are_cut_and_escaped():
    memory_pipeline()

    fields = access_fields(path="/" + "a" * 10_000, user_agent="x\r\n\x1b[31m\ud800\u2028y")

    assert len(fields["path"]) <= 2048
    assert fields["user_agent"] == r"x\r\n\x1b[31m\ud800\u2028y"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (200, 200),
        ("200 OK", 200),
        ("404", 404),
        (b"17", 17),
        (" 5 ", 5),
        ("", None),
        ("OK", None),
        ("-1", None),
        ("²", None),
        ("9" * 30, None),
        (None, None),
        (1.5, None),
    ],
)
def test_whole_numbers(value, number):
    assert whole_number(value) == number


def test_header_values_are_utf8_where_they_are():
    assert header_text("caf\xc3\xa9") == "café"  # WSGI: bytes in the form of Latin-1
    assert header_text(b"caf\xc3\xa9") == "café"
    assert header_text(b"\xff") == "\ufffd"
    assert header_text("") is None
    assert header_text(None) is None


# -- uvicorn's records -----------------------------------------------------------------------------


def access(*args):
    logging.getLogger("uvicorn.access").info(UVICORN, *args)


def test_uvicorns_arguments_become_fields():
    sink = memory_pipeline()

    access("127.0.0.1:5000", "GET", "/caf%C3%A9?a=b?c", "1.1", 200)

    assert without(sink.events[0]) == {
        "level": "info",
        "logger": "uvicorn.access",
        "event": "request",
        "method": "GET",
        "path": "/café",
        "query": "a=b?c",
        "status": 200,
        "client_address": "127.0.0.1",
        "client_port": 5000,
        "http_version": "1.1",
    }


def test_uvicorn_may_be_imported_after_configure(monkeypatch):
    monkeypatch.setitem(stdlib_bridge.SHAPES, "uvicorn.access", stdlib_bridge._first_access)
    monkeypatch.delitem(sys.modules, "uvicorn", raising=False)
    sink = memory_pipeline()
    assert stdlib_bridge.SHAPES["uvicorn.access"] is stdlib_bridge._first_access

    access("127.0.0.1:5000", "GET", "/", "1.1", 200)
    access("127.0.0.1:5000", "GET", "/", "1.1", 201)

    assert [event["status"] for event in sink.events] == [200, 201]


def test_uvicorn_that_is_there_is_learnt_by_configure(monkeypatch):
    monkeypatch.setitem(stdlib_bridge.SHAPES, "uvicorn.access", stdlib_bridge._first_access)
    monkeypatch.setitem(sys.modules, "uvicorn", ModuleType("uvicorn"))

    memory_pipeline()

    assert stdlib_bridge.SHAPES["uvicorn.access"] is server_uvicorn.shape


def test_uvicorns_under_ecs():
    sink = memory_pipeline(format="ecs")

    access("::1:5000", "GET", "/", "2", 503)

    event = sink.events[0]
    assert event["client.ip"] == "::1"
    assert event["client.port"] == 5000
    assert event["http.response.status_code"] == 503
    assert event["message"] == "request"


def test_without_a_client_there_is_none():
    sink = memory_pipeline()

    access("", "GET", "/", "1.1", 200)

    assert not {"client_address", "client_port"} & set(sink.events[0])


def test_extra_fields_of_the_call_stand():
    sink = memory_pipeline()

    logging.getLogger("uvicorn.access").info(
        UVICORN, "a:1", "GET", "/", "1.1", 200, extra={"status": 201, "color_message": "x"}
    )

    assert sink.events[0]["status"] == 201
    assert "color_message" not in sink.events[0]


@pytest.mark.parametrize(
    "call",
    [
        ("something else",),
        ("%s", "a"),
        (UVICORN.replace("HTTP", "http"), "a:1", "GET", "/", "1.1", 200),
        (UVICORN, "a:1", "GET", b"/", "1.1", 200),
        (UVICORN, "a:1", "GET", "/", "1.1", True),
    ],
)
def test_records_of_any_other_form_stay_sentences(call):
    sink = memory_pipeline()
    only_the_bridge()

    logging.getLogger("uvicorn.access").info(*call)

    assert sink.events[0]["event"] == call[0] % call[1:]
    assert "status" not in sink.events[0]


def test_a_forged_path_stays_a_value():
    sink = memory_pipeline()

    access("a:1", "GET", "/%22,%22status%22:200,%22x%22:%22%0d%0a%25(h)s", "1.1", 404)

    assert sink.events[0]["path"] == '/","status":200,"x":"\\r\\n%(h)s'
    assert sink.events[0]["status"] == 404
    assert "x" not in sink.events[0]

"""Health checks: what a probe gets, and what it does not."""

from __future__ import annotations

import pytest
from support.queue_sinks import FailingSink, GatedSink
from support.status_page import Client, call_asgi, call_wsgi

import pylog_struct
from pylog_struct import ConfigError
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink
from pylog_struct.testing import FakeClock
from pylog_struct.web import health_asgi_app, health_wsgi_app

log = pylog_struct.get_logger("health.test")


@pytest.fixture(name="client", params=["asgi", "wsgi"])
def _client(request):
    if request.param == "asgi":
        return Client(health_asgi_app(), call_asgi)
    return Client(health_wsgi_app(), call_wsgi)


@pytest.mark.parametrize("path", ["", "/", "/ready"])
def test_ready_is_503_until_configured_200_while_it_works_and_503_after_shutdown(client, path):
    answer = client.get(path)
    assert answer.status == 503
    assert answer.json == {"status": "failing", "reasons": ["not_configured"], "sinks": {}}
    assert answer["content-type"] == "application/json"
    assert answer["cache-control"] == "no-store"

    pylog_struct.configure(sink=QueueSink(MemorySink()))
    answer = client.get(path)
    assert answer.status == 200
    fine = {"status": "ok", "reasons": []}
    assert answer.json == {**fine, "sinks": {"queue": fine, "memory": fine}}

    pylog_struct.shutdown()
    answer = client.get(path)
    assert (answer.status, answer.json["reasons"]) == (503, ["shut_down"])


def test_live_never_depends_on_a_sink(client):
    assert client.get("/live").json == {"status": "ok"}
    pylog_struct.configure(sink=FailingSink())
    log.info("lost")
    assert client.get("/ready").status == 503
    assert client.get("/live").status == 200
    pylog_struct.shutdown()
    assert client.get("/live").status == 200


def test_degraded_is_200_unless_said_otherwise():
    pylog_struct.configure(sink=FailoverSink([FailingSink(), MemorySink(name="spare")]))
    log.info("to the spare")
    answer = Client(health_wsgi_app()).get("/ready")
    assert answer.status == 200
    assert answer.json["status"] == "degraded"
    assert answer.json["sinks"]["failover"]["reasons"] == ["on_alternative"]
    assert answer.json["sinks"]["spare"] == {"status": "ok", "reasons": []}
    assert Client(health_wsgi_app(degraded_status=429)).get("/ready").status == 429
    pylog_struct.shutdown()
    assert Client(health_wsgi_app(failing_status=500)).get("/ready").status == 500


def test_a_stuck_worker_fails_by_the_injected_clock_and_the_probe_does_not_wait_for_it():
    clock = FakeClock()
    client = Client(health_wsgi_app(clock=clock, stuck_after="5 s"))
    gated = GatedSink()
    pylog_struct.configure(sink=QueueSink(gated), shutdown_timeout=1)
    log.info("waits")
    assert gated.entered.wait(20)
    assert client.get("/ready").status == 200
    clock.advance(5)
    answer = client.get("/ready")
    assert answer.status == 503
    assert answer.json["sinks"]["queue"] == {"status": "failing", "reasons": ["stuck"]}
    gated.gate.set()
    assert pylog_struct.flush()
    assert client.get("/ready").status == 200


def test_windows_and_limits_are_the_users_to_say():
    clock = FakeClock()
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    client = Client(health_wsgi_app(clock=clock, window="10 s", max_errors=1))
    for status in ("ok", "degraded"):
        sink.ledger.failed(OSError("no"))
        assert client.get("/ready").json["status"] == status
    clock.advance(10.1)
    assert client.get("/ready").json["status"] == "ok"


def test_nothing_but_names_and_codes_is_told(client):
    sink = MemorySink(name="main")
    sink.ledger.failed(OSError("password=hunter2 at db.internal"))
    pylog_struct.configure(sink=sink, service="shop")
    log.error("a secret")
    answer = client.get("/ready")
    assert "hunter2" not in answer.text
    assert "secret" not in answer.text
    assert answer.json["sinks"]["main"]["reasons"] == ["sink_errors"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/ready", 503),
        ("POST", "/ready", 405),
        ("GET", "/else", 404),
        ("HEAD", "/live", 200),
    ],
)
def test_methods_and_paths(client, method, path, status):
    answer = client.ask(method, path)
    assert answer.status == status
    if method == "HEAD":
        assert answer.body == b""


@pytest.mark.parametrize("make", [health_asgi_app, health_wsgi_app])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("window", 0), ("window", "often"), ("stuck_after", -1), ("queue_high", 0),
        ("queue_high", 1.5), ("queue_high", True), ("queue_high", "80%"), ("max_drops", -1),
        ("max_errors", 0.5), ("degraded_status", 42), ("failing_status", "503"),
        ("degraded_status", True),
    ],
)  # fmt: skip
def test_nonsense_is_refused_when_it_is_built(make, argument, value):
    with pytest.raises(ConfigError, match=f"^{make.__name__}.{argument}: "):
        make(**{argument: value})


def test_a_length_of_thousands_of_digits_is_too_long_and_raises_nothing():
    """Not every WSGI server looks at it, and ``int()`` does not take it."""
    started = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/live", "CONTENT_LENGTH": "9" * 5000}
    body = health_wsgi_app()(environ, lambda status, head: started.append(status))
    assert started[0].startswith("413 ")  # what is behind it depends on Python's version
    assert list(body) == [b"the body is longer than 65536 bytes\n"]

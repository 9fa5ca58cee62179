"""HttpSink against a server that answers as it is told."""

from __future__ import annotations

import email.utils
import logging
import os
import sys
import time

import orjson
import pytest
from support.http_server import HttpPeer, Reply
from support.peers import a_port_where_nobody_listens, tcp_peer
from support.tls import certificate, server_context, write_ca, write_pair
from support.wrappers import record, records

import pylog_struct
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks import FanOutSink, HttpSink, MemorySink, QueueSink
from pylog_struct.testing import FakeClock, check_sink


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_sink(clock):
    made = []

    def make(url, **options):
        url = url if isinstance(url, str) else url.url()
        sink = HttpSink(url, **{"clock": clock, "random": lambda: 1.0, **options})
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close(1)


def lines(batch):
    return [record.line for record in batch]


def refusal(sink, batch):
    with pytest.raises(SinkError) as caught:
        sink.write(batch)
    return caught.value


def balanced(sink):
    now = sink.statistics()
    assert now.balanced
    return now


# -- the contract ---------------------------------------------------------------------------------


def test_it_keeps_the_contract(tmp_path):
    copy = tmp_path / "arrived"
    copy.touch()
    with (
        HttpPeer(copy=copy) as peer,
        HttpPeer(lambda _: Reply(ending="stall")) as stuck,
        a_port_where_nobody_listens() as dead,
    ):
        check_sink(
            lambda: HttpSink(peer.url()),
            read=lambda: copy.read_bytes().split(b"\n")[:-1],
            make_failing=lambda: HttpSink(f"http://127.0.0.1:{dead}/"),
            make_clogged=lambda: HttpSink(stuck.url(), timeout=0.2),
        )


# -- what is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gzip", [True, False])
def test_ndjson(gzip, open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer.url("/in?source=app"), gzip=gzip)
        batch = [*records(100), record("x")._replace(line=b'{\n"a":1}')]
        sink.write(batch)

        (request,) = peer.requests
        assert request.path == "/in?source=app"
        assert request.headers["Content-Type"] == "application/x-ndjson"
        assert request.headers.get("Content-Encoding") == ("gzip" if gzip else None)
        assert request.lines == [*lines(records(100)), b'{ "a":1}']
        assert (len(request.raw) < len(request.body)) is gzip


def test_a_very_long_timeout_is_one(open_sink):
    with HttpPeer() as peer:
        open_sink(peer, timeout=1e12, connect_timeout="30 days").write(records(1))
        assert len(peer.requests) == 1


def test_an_array_and_what_is_no_json_in_it(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer, format="array")
        sink.write([*records(2), record("x")._replace(line=b"plain \xff text")])

        (request,) = peer.requests
        assert request.headers["Content-Type"] == "application/json"
        assert orjson.loads(request.body) == [
            *(orjson.loads(line) for line in lines(records(2))),
            {"event": "plain \ufffd text"},
        ]


def test_loki(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(
            peer.url("/loki/api/v1/push"),
            format="loki",
            labels={"app": "shop"},
            label_fields={"logger": "logger", "code": "http.code"},
            metadata_fields={"trace_id": "trace.id"},
        )
        when = 1_700_000_000.5
        batch = [
            record("a", logger="x", trace={"id": "t1"})._replace(created=when),
            record("b", 40, logger="x", http={"code": 404}),
            record("c", logger="x", trace={"id": "t2"}),
            record("d", logger="y"),
        ]
        sink.write(batch)

        document = orjson.loads(peer.requests[0].body)
        assert document == {
            "streams": [
                {
                    "stream": {"level": "info", "app": "shop", "logger": "x"},
                    "values": [
                        ["1700000000500000000", batch[0].line.decode(), {"trace_id": "t1"}],
                        ["0", batch[2].line.decode(), {"trace_id": "t2"}],
                    ],
                },
                {
                    "stream": {"level": "error", "app": "shop", "logger": "x", "code": "404"},
                    "values": [["0", batch[1].line.decode(), {}]],
                },
                {
                    "stream": {"level": "info", "app": "shop", "logger": "y"},
                    "values": [["0", batch[3].line.decode(), {}]],
                },
            ]
        }


def test_loki_without_fields_takes_lines_that_are_no_json(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer, format="loki")
        sink.write([record("x")._replace(line=b"plain")])
        assert orjson.loads(peer.requests[0].body) == {
            "streams": [{"stream": {"level": "info"}, "values": [["0", "plain"]]}]
        }


@pytest.mark.parametrize(
    ("auth", "expected"),
    [(("user", "pä:ss"), "Basic dXNlcjpww6Q6c3M="), ("t0ken", "Bearer t0ken"), (None, None)],
)
def test_headers_and_authorization(auth, expected, open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer, auth=auth, headers={"X-Scope-OrgID": "a", "content-type": "x/y"})
        sink.write(records(1))
        headers = peer.requests[0].headers
        assert headers.get("Authorization") == expected
        assert headers["X-Scope-OrgID"] == "a"
        assert headers["content-type"] == "x/y"
        assert "Content-Type" not in headers
        assert "t0ken" not in repr(sink)


def test_a_batch_goes_in_portions_of_max_batch_bytes(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer, max_batch_bytes=100)
        batch = [*records(20), record("x" * 500), *records(3)]
        sink.write(batch)

        assert peer.lines == lines(batch)
        sizes = [len(request.body) for request in peer.requests]
        assert max(size for size in sizes if size < 500) <= 100
        assert [len(request.lines) for request in peer.requests if len(request.body) > 100] == [1]


def test_one_connection_is_used_again_and_a_stale_one_replaced(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer)
        for _ in range(3):
            sink.write(records(1))
        assert len({request.connection for request in peer.requests}) == 1
        peer.hang_up()
        sink.write(records(1))
        assert len({request.connection for request in peer.requests}) == 2
        assert not sink.statistics().errors


def test_a_connection_that_ends_while_a_request_is_under_way_is_tried_once_more(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer)
        sink.write(records(1))
        answers = [Reply(500, ending="cut"), 200]
        peer.answer = lambda _: answers.pop(0)
        sink.write(records(1, first=1))
        assert peer.lines == lines(records(2))

        answers = [Reply(500, ending="cut"), Reply(500, ending="cut")]
        error = refusal(sink, records(1))
        assert isinstance(error, SinkUnavailableError)


# -- what the answers mean ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_two_hundreds_are_accepted(status, open_sink):
    with HttpPeer(lambda _: status) as peer:
        sink = open_sink(peer, gzip=False)
        if status == 204:
            peer.answer = lambda _: Reply(204, b"")
        sink.write(records(3))
        assert balanced(sink).written == 3


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 415, 429, 500, 502, 503, 504])
def test_what_says_nothing_about_the_records_is_retryable(status, open_sink, clock):
    with HttpPeer(lambda _: Reply(status, b"the reason")) as peer:
        sink = open_sink(peer)
        batch = records(5)
        error = refusal(sink, batch)
        assert isinstance(error, SinkUnavailableError)
        assert error.unwritten == tuple(batch)
        assert f"HTTP {status}: the reason" in str(error)
        assert error.retry_after == pytest.approx(0.1)
        assert balanced(sink).received == 0

        refusal(sink, batch)  # at once, without a request
        assert len(peer.requests) == 1
        clock.advance(1)
        peer.answer = lambda _: 200
        sink.write(batch)
        assert peer.lines == lines(batch)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(status, form, open_sink, clock):
    asked = "7" if form == "seconds" else email.utils.formatdate(clock.time() + 7, usegmt=True)
    with HttpPeer(lambda _: Reply(status, headers={"Retry-After": asked})) as peer:
        sink = open_sink(peer)
        assert refusal(sink, records(1)).retry_after == pytest.approx(7)
        clock.advance(6.9)
        assert refusal(sink, records(1)).retry_after == pytest.approx(0.1)
        assert len(peer.requests) == 1
        clock.advance(0.2)
        refusal(sink, records(1))
        assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("31536000", 300), ("soon", 0.1), ("-5", 0.1), ("", 0.1), ("Thu, 01 Jan 1970 00:00:00 GMT", None)],
)  # fmt: skip
def test_no_server_makes_us_wait_for_a_year_or_stumble(asked, seconds, open_sink):
    with HttpPeer(lambda _: Reply(503, headers={"Retry-After": asked})) as peer:
        error = refusal(open_sink(peer), records(1))
        assert error.retry_after == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("status", [400, 409, 422])
def test_the_records_that_are_the_trouble_are_found_and_rejected_alone(status, open_sink):
    def answer(request):
        return Reply(status, b"bad field") if b"poison" in request.body else 200

    with HttpPeer(answer) as peer:
        sink = open_sink(peer)
        batch = records(100)
        for position in (0, 41, 42, 99):
            batch[position] = record("poison", n=position)
        error = refusal(sink, batch)

        assert isinstance(error, SinkRejectedError)
        assert error.unwritten == tuple(batch[position] for position in (0, 41, 42, 99))
        assert error.reasons == (f"HTTP {status}: bad field",) * 4
        good = [record for record in batch if b"poison" not in record.line]
        assert peer.lines == lines(good)
        assert balanced(sink).written == 96
        assert len(peer.requests) < 60


def test_a_batch_that_is_too_large_is_halved_until_it_fits(open_sink):
    with HttpPeer(lambda request: 413 if len(request.body) > 300 else 200) as peer:
        sink = open_sink(peer)
        batch = [*records(50), record("x" * 400), *records(50, first=50)]
        error = refusal(sink, batch)

        assert isinstance(error, SinkRejectedError)
        assert error.unwritten == (batch[50],)
        assert peer.lines == lines(batch[:50] + batch[51:])
        assert sink.statistics().details["http.splits"] > 3


def test_a_failure_in_the_middle_names_exactly_what_is_left(open_sink, clock):
    state = {"down": False}

    def answer(request):
        if b"poison" in request.body:
            return 400
        if state["down"]:
            return 503
        state["down"] = b'"30"' in request.body
        return 200

    with HttpPeer(answer) as peer:
        sink = open_sink(peer, max_batch_bytes=200)
        batch = records(100)
        batch[5] = record("poison")
        error = refusal(sink, batch)

        assert error.retryable
        assert error.unwritten[0] == batch[5]
        assert error.unwritten[1:] == tuple(batch[len(batch) - len(error.unwritten) + 1 :])
        assert balanced(sink).written == 100 - len(error.unwritten)
        state["down"] = False
        clock.advance(60)
        last = refusal(sink, error.unwritten)
        assert isinstance(last, SinkRejectedError)
        assert last.unwritten == (batch[5],)
        assert sorted(peer.lines) == sorted(lines(batch[:5] + batch[6:]))


def test_a_server_that_refuses_everything_is_no_endless_loop(open_sink):
    with HttpPeer(lambda _: 400) as peer:
        sink = open_sink(peer)
        error = refusal(sink, records(32))
        assert len(error.unwritten) == 32
        assert len(peer.requests) == 63


# -- servers that are not there -------------------------------------------------------------------


def test_nobody_there(open_sink, clock):
    with a_port_where_nobody_listens() as port:
        sink = open_sink(f"http://127.0.0.1:{port}/")
        waits = []
        for _ in range(8):
            waits.append(refusal(sink, records(1)).retry_after)
            clock.advance(60)
        assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8])


def test_no_answer_in_time(open_sink):
    with HttpPeer(lambda _: Reply(ending="stall")) as peer:
        sink = open_sink(peer, timeout=0.2)
        started = time.monotonic()
        error = refusal(sink, records(2))
        assert isinstance(error, SinkTimeoutError)
        assert len(error.unwritten) == 2
        assert time.monotonic() - started < 5


def test_what_is_no_http(open_sink):
    with tcp_peer() as peer:
        peer.close_after = 1
        error = refusal(open_sink(f"http://127.0.0.1:{peer.port}"), records(2))
        assert error.retryable


def test_an_endless_answer_is_not_read_to_its_end(open_sink):
    with HttpPeer(lambda _: Reply(400, b"x" * 3_000_000)) as peer:
        sink = open_sink(peer)
        error = refusal(sink, records(1))
        assert len(str(error)) < 1000
        peer.answer = lambda _: 200
        sink.write(records(1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_opens_its_own_connection(open_sink):
    with HttpPeer() as peer:
        sink = open_sink(peer)
        sink.write(records(1))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                sink.write(records(1, first=1))
                sink.close(5)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        sink.write(records(1, first=2))
        first, child, last = [request.connection for request in peer.requests]
        assert first == last != child


# -- TLS ------------------------------------------------------------------------------------------


def test_https(tmp_path, open_sink):
    ca = write_ca(tmp_path)
    cert, key = write_pair(tmp_path, certificate("client.example"))
    with HttpPeer(context=server_context(asks_for="ours")) as peer:
        sink = open_sink(peer.url(scheme="https"), ca_file=ca, cert_file=cert, key_file=key)
        sink.write(records(2))
        assert peer.lines == lines(records(2))
        sink.close(1)


@pytest.mark.parametrize(
    "made",
    [
        lambda: certificate("other.example"),
        lambda: certificate(expired=True),
        lambda: certificate(of="theirs"),
    ],
    ids=["wrong name", "expired", "unknown authority"],
)
def test_a_server_that_cannot_be_trusted_gets_nothing(made, tmp_path, open_sink):
    with HttpPeer(context=server_context(made())) as peer:
        error = refusal(open_sink(peer.url(scheme="https"), ca_file=write_ca(tmp_path)), records(1))
        assert error.retryable
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert not peer.requests

        open_sink(peer.url(scheme="https"), verify=False).write(records(1))  # and no warning
        assert peer.lines == lines(records(1))


def test_the_expected_name_can_be_another_than_the_address(tmp_path, open_sink):
    with HttpPeer(context=server_context(certificate("logs.example"))) as peer:
        options = {"ca_file": write_ca(tmp_path), "server_hostname": "logs.example"}
        open_sink(peer.url(scheme="https"), **options).write(records(1))
        assert peer.lines == lines(records(1))


# -- the client's own logs ------------------------------------------------------------------------


def test_one_event_at_debug_is_one_event_whatever_the_client_says(capfd):
    with HttpPeer() as peer, a_port_where_nobody_listens() as dead:
        kept = MemorySink()
        pylog_struct.configure(
            level="DEBUG",
            format="json",
            sink=QueueSink(
                FanOutSink(
                    [kept, HttpSink(peer.url()), HttpSink(f"http://127.0.0.1:{dead}", name="dead")]
                ),
                retry_min=0.01,
                retry_max=0.02,
            ),
        )
        pylog_struct.get_logger("app").info("the only one")
        pylog_struct.flush(1)
        pylog_struct.shutdown(1)

        assert [orjson.loads(line)["event"] for line in peer.lines] == ["the only one"]
        assert [one.fields["event"] for one in kept.records] == ["the only one"]


def test_what_the_application_does_with_the_same_client_is_logged(open_sink):
    import urllib3

    with HttpPeer() as peer:
        kept = MemorySink()
        pylog_struct.configure(level="DEBUG", format="json", sink=kept)
        open_sink(peer).write(records(1))
        assert not kept.records
        with urllib3.PoolManager() as pool:
            pool.request("POST", peer.url(), body=b"x")
        assert {one.fields["logger"] for one in kept.records} == {"urllib3.connectionpool"}
        logging.getLogger("urllib3.x").warning("not in a request")
        assert kept.records[-1].fields["event"] == "not in a request"


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "localhost", "ftp://h/", "http://", "http://h:99999/", "http://h/a b", None, 5, "http://[::1"]
)  # fmt: skip
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ConfigError, match=r"HttpSink\.url: .* is no URL"):
        HttpSink(url)


@pytest.mark.parametrize("url", ["https://user:s3cret@host/", "https://user:s3cret@host:99999/"])
def test_a_password_in_the_url_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError, match=r"auth=|//…@host:99999") as caught:
        HttpSink(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "xml"}, "format: 'xml' is none"),
        ({"labels": {"a": "b"}}, 'labels: has no effect without format="loki"'),
        ({"format": "loki", "labels": {"a-b": "c"}}, "labels: 'a-b' is no name for Loki"),
        ({"format": "loki", "labels": {"a": 1}}, r"labels\['a'\]: 1 is no text"),
        ({"format": "loki", "labels": "a"}, "labels: 'a' is no mapping"),
        ({"format": "loki", "label_fields": {"a": ".b"}}, r"label_fields\['a'\]"),
        ({"gzip": 5}, "gzip: 5 is neither"),
        ({"headers": {"a b": "c"}}, "headers: not a mapping"),
        ({"headers": {"a": "b\r\nc: d"}}, "headers: not a mapping"),
        ({"headers": {"a": 5}}, "headers: not a mapping"),
        ({"headers": "abc"}, "headers: not a mapping"),
        ({"auth": "two words"}, "auth: is neither"),
        ({"auth": ("a:b", "c")}, "auth: is neither"),
        ({"auth": ("a",)}, "auth: is neither"),
        ({"timeout": 0}, "timeout"),
        ({"connect_timeout": None}, "connect_timeout"),
        ({"max_batch_bytes": 0}, "max_batch_bytes"),
        ({"ca_file": "x"}, "ca_file: the connection is not encrypted"),
    ],
)
def test_nonsense_is_refused_with_one_clear_error(options, words):
    with pytest.raises(ConfigError, match=rf"HttpSink\.{words}"):
        HttpSink("http://localhost/", **options)


def test_without_urllib3_there_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ConfigError, match=r'pip install "pylog-struct\[http\]"'):
        HttpSink("http://localhost/")

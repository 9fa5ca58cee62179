"""ElasticsearchSink against a server that answers everything a cluster may answer."""

from __future__ import annotations

import os
import random
import threading
import time

import orjson
import pytest
from support.fake_elasticsearch import CutError, FakeElasticsearch, Reply, error
from support.process import run

from pylog_struct.errors import (
    SinkClosedError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.ledger import DropReason
from pylog_struct.record import Record
from pylog_struct.sinks import ElasticsearchSink, MemorySink, QueueSink
from pylog_struct.testing import check_sink
from pylog_struct.testing.clock import FakeClock

NOW = 1_794_997_600.25


def event(number=0, created=NOW, **fields):
    document = {"@timestamp": "2026-11-18T10:26:40.250Z", "n": number, **fields}
    return Record(20, orjson.dumps(document), created)


def events(number):
    return [event(position, NOW + position / 1000) for position in range(number)]


@pytest.fixture
def server():
    with FakeElasticsearch() as fake:
        yield fake


@pytest.fixture
def make(server):
    made = []

    def build(hosts=None, **options):
        if not {"index", "data_stream"} & options.keys():
            options["index"] = "logs"
        made.append(ElasticsearchSink(hosts or server.url, request_timeout=5, **options))
        return made[-1]

    yield build
    for sink in made:
        sink.close(1)


def failure(sink, batch, kind):
    with pytest.raises(kind) as caught:
        sink.write(batch)
    assert sink.statistics().balanced
    return caught.value


def test_a_very_long_timeout_is_one(server):
    sink = ElasticsearchSink(server.url, index="logs", request_timeout=1e12, max_bulk_records=2)
    sink.write(events(5))
    sink.close(1)

    assert len(server.lines) == 5


# -- what is sent ---------------------------------------------------------------------------------


def test_a_document_is_the_line_byte_for_byte(server, make):
    batch = [Record(20, b'{ "@timestamp":1 ,\t"x":1.50, "\xc3\xbc":"\\u00fc" }', NOW), event(2)]

    make(data_stream="logs-shop-default").write(batch)

    assert server.lines == [record.line for record in batch]
    assert server.bulks[0].path == "/logs-shop-default/_bulk"
    assert server.bulks[0].headers["content-type"] == "application/x-ndjson"


def test_gzip_is_sent_when_asked_for(server, make):
    make(compress=True).write(events(50))

    assert server.bulks[0].headers["content-encoding"] == "gzip"
    assert len(server.lines) == 50


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ({"api_key": "encoded=="}, "ApiKey encoded=="),
        ({"api_key": ["id", "key"]}, "ApiKey aWQ6a2V5"),
        ({"basic_auth": "me:secret"}, "Basic bWU6c2VjcmV0"),
        ({"bearer_auth": "token"}, "Bearer token"),
    ],
)
def test_the_login_goes_with_every_request(server, make, login, sent):
    make(**login).write(events(1))

    assert server.bulks[0].headers["authorization"] == sent


def test_a_login_in_the_url_counts_and_headers_are_added(server, make):
    url = server.url.replace("//", "//me:s%40cret@")

    make(url, headers={"X-Tenant": "7"}).write(events(1))

    assert server.bulks[0].headers["authorization"] == "Basic bWU6c0BjcmV0"
    assert server.bulks[0].headers["x-tenant"] == "7"


def test_an_index_may_have_the_day_of_the_event_in_its_name(server, make):
    day = 86_400.0

    make(index="logs-%d{yyyy.MM.dd}-%d{HH}").write(
        [event(1, NOW), event(2, NOW + day), event(3, 0.0)]
    )

    names = [index for index, _ in server.documents]
    assert names[:2] == ["logs-2026.11.18-10", "logs-2026.11.19-10"]
    assert names[2].startswith(time.strftime("logs-%Y.", time.gmtime()))


def test_a_pipeline_is_named_in_the_request(server, make):
    make(pipeline="geo ip").write(events(1))

    assert "pipeline=geo%20ip" in server.bulks[0].query


def test_a_request_holds_no_more_documents_and_bytes_than_allowed(server, make):
    make(max_bulk_records=4, max_bulk_bytes=100_000).write(events(10))
    assert sorted(len(request.pairs) for request in server.bulks) == [2, 4, 4]

    server.requests.clear()
    make(max_bulk_bytes=1000).write([event(n, NOW, extra="x" * 300) for n in range(5)])
    assert sorted(len(request.pairs) for request in server.bulks) == [1, 2, 2]
    assert all(len(request.body) <= 1000 for request in server.bulks)


# -- what a server answers for each document ------------------------------------------------------


def test_a_document_that_is_there_already_is_done_and_counted(server, make):
    batch = events(3)
    make().write(batch)
    again = make()

    again.write(batch)

    assert len(server.lines) == 3
    assert again.statistics().written == 3
    assert again.statistics().details["elasticsearch.duplicates"] == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_is_to_be_retried_is_given_back_alone(server, make, status):
    batch, sink = events(5), make()
    refusals = {batch[1].line, batch[3].line}
    server.judge = lambda _, line: (status, "overloaded", "x") if line in refusals else None

    problem = failure(sink, batch, SinkUnavailableError)

    assert problem.unwritten == (batch[1], batch[3])
    assert problem.retryable
    refusals.clear()
    sink.write(problem.unwritten)
    assert sorted(server.lines) == sorted(record.line for record in batch)
    assert len(server.bulks[1].pairs) == 2
    assert sink.statistics().written == 5


def test_a_document_that_is_refused_is_rejected_with_the_reason(server, make):
    batch = events(3)
    server.judge = lambda _, line: (
        (400, "mapper_parsing_exception", "failed to parse [n]") if line == batch[1].line else None
    )

    problem = failure(make(), batch, SinkRejectedError)

    assert problem.unwritten == (batch[1],)
    assert not problem.retryable
    assert problem.reasons == ("400 mapper_parsing_exception: failed to parse [n]",)
    assert "failed to parse [n]" in str(problem)
    assert len(server.lines) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, "cluster_block_exception"),
        (403, "security_exception"),
        (404, "index_not_found_exception"),
        (400, "validation_exception"),
        (401, "anything"),
    ],
)
def test_what_is_not_about_the_document_is_no_rejection(server, make, status, kind):
    server.judge = lambda *_: (status, kind, "the index is read-only")

    problem = failure(make(), events(2), SinkUnavailableError)

    assert len(problem.unwritten) == 2
    assert "read-only" in str(problem)


def test_a_batch_with_both_kinds_is_retried_and_the_refused_one_is_not_sent_again(server, make):
    batch, sink = events(4), make()
    verdicts = {batch[0].line: (400, "bad", "is poison"), batch[2].line: (429, "busy", "later")}
    server.judge = lambda _, line: verdicts.get(line)

    both = failure(sink, batch, SinkUnavailableError)
    assert both.unwritten == (batch[0], batch[2])

    again = failure(sink, both.unwritten, SinkUnavailableError)
    assert again.unwritten == both.unwritten
    assert [document for _, document in server.bulks[1].pairs] == [batch[2].line]

    del verdicts[batch[2].line]
    at_last = failure(sink, again.unwritten, SinkRejectedError)
    assert at_last.unwritten == (batch[0],)
    assert at_last.reasons == ("400 bad: is poison",)
    assert len(server.bulks) == 3
    assert sink.statistics().written == 3


def test_only_poison_left_needs_no_request(server, make):
    batch, sink = events(2), make()
    verdicts = {batch[0].line: (400, "bad", "is poison"), batch[1].line: (429, "busy", "later")}
    server.judge = lambda _, line: verdicts.get(line)
    failure(sink, batch, SinkUnavailableError)

    problem = failure(sink, batch[:1], SinkRejectedError)

    assert problem.reasons == ("400 bad: is poison",)
    assert len(server.bulks) == 1


def test_each_dead_letter_has_its_own_reason(server, make):
    batch = events(5)
    verdicts = {batch[1].line: (400, "bad", "first"), batch[3].line: (400, "bad", "second")}
    server.judge = lambda _, line: verdicts.get(line)
    letters = MemorySink()
    queue = QueueSink(make(name="elastic"), dead_letter=letters, linger=0)

    queue.write(batch)
    queue.flush(10)

    found = [record.fields["dead_letter"] for record in letters.records]
    assert found == [
        {"sink": "elastic", "reason": "400 bad: first"},
        {"sink": "elastic", "reason": "400 bad: second"},
    ]
    numbers = queue.statistics()
    queue.close(5)
    assert numbers.written == 3
    assert numbers.drops == {(DropReason.REJECTED, "info"): 2}


# -- requests that are too big --------------------------------------------------------------------


def test_413_halves_the_request_until_it_fits_and_remembers(server, make):
    server.max_bytes = 300_000
    batch = [event(n, NOW + n, extra="x" * 50_000) for n in range(16)]
    sink = make()

    sink.write(batch)

    assert server.lines == [record.line for record in batch]
    assert sink.statistics().details["elasticsearch.splits"] > 0
    server.requests.clear()
    sink.write([event(n, NOW - n - 1, extra="x" * 50_000) for n in range(16)])
    assert all(len(request.body) <= server.max_bytes for request in server.bulks)


def test_one_giant_document_is_replaced_by_a_stub_and_the_rest_is_as_it_was(server, make, capfd):
    server.max_bytes = 30_000
    giant = event(1, level="error", message="ü" * 20_000, blob="x" * 20_000, order=7)
    batch = [event(0), giant, event(2)]
    sink = make()

    sink.write(batch)

    assert server.lines[0] == batch[0].line
    assert server.lines[2] == batch[2].line
    stub = orjson.loads(server.lines[1])
    assert stub["message"] == "ü" * 4096
    assert stub["level"] == "error"
    assert stub["order"] == 7
    assert "blob" not in stub
    assert stub["@timestamp"] == "2026-11-18T10:26:40.250Z"
    assert "replaced by this stub, 413" in stub["pylog.truncated"][0]
    assert stub["pylog.original_bytes"] == len(giant.line)
    assert sink.statistics().written == 3
    assert sink.statistics().details["elasticsearch.stubs"] == 1
    assert "replaced by stubs" in capfd.readouterr().err


def test_a_line_over_the_limit_is_never_sent(server, make):
    sink = make(max_document_bytes=2000)

    sink.write([event(1, blob="x" * 3000)])

    stub = orjson.loads(server.lines[0])
    assert "longer than 2000 bytes" in stub["pylog.truncated"][0]
    assert len(server.bulks) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\xff" * 5000,
        b'{"a":' + b"[" * 4000,
        b'{"' + b"k" * 40_000 + b'":1}',
        b'{"a":["' + b"x" * 5000,
    ],
)
def test_a_stub_can_be_made_of_anything(server, make, line):
    make(data_stream="logs", max_document_bytes=1000).write([Record(40, line, NOW)])

    stub = orjson.loads(server.lines[0])
    assert stub["log.level"] == "error"
    assert stub["@timestamp"] == "2026-11-18T10:26:40.250000Z"
    assert stub["message"]
    assert len(server.lines[0]) < 50_000


def test_even_a_refused_stub_is_the_end_of_one_document_only(server, make):
    server.max_bytes = 200
    batch = [event(0), event(1, blob="x" * 1000), event(2)]

    problem = failure(make(), batch, SinkRejectedError)

    assert problem.unwritten == (batch[1],)
    assert "413" in str(problem)


def test_a_request_refused_with_400_is_halved_down_to_the_culprit(server, make):
    batch = events(9)

    def firewall(request, index):
        return error(400, "blocked", "no way") if batch[4].line in request.body else index(request)

    server.script = [firewall] * 20

    problem = failure(make(), batch, SinkRejectedError)

    assert problem.unwritten == (batch[4],)
    assert problem.reasons == ("400 blocked: no way",)
    assert len(server.lines) == 8


# -- requests that fail as a whole ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check api_key"),
        (403, "create_doc"),
        (404, "pylog elk setup"),
        (406, "bulk API"),
        (500, "oh no"),
        (302, "oh no"),
    ],
)
def test_a_refused_request_says_what_to_do_and_keeps_every_record(server, make, status, advice):
    server.script = [error(status, "some_exception", "oh no")]
    batch = events(3)

    problem = failure(make(), batch, SinkUnavailableError)

    assert problem.unwritten == tuple(batch)
    assert f"{status} some_exception: oh no" in str(problem)
    assert advice in str(problem)


def test_the_first_request_that_is_refused_is_seen_on_stderr(server, make, capfd):
    """P48: behind a queue nobody catches the error, and an unseen outage lasts for weeks."""
    server.script = [error(403, "security_exception", "action is unauthorized")]
    queue = QueueSink(make(), retry_min=0.01, retry_max=0.01)
    batch = events(3)
    queue.write(batch)
    queue.flush(60)
    queue.close(60)

    said = capfd.readouterr().err
    assert "403 security_exception: action is unauthorized" in said
    assert "create_doc" in said  # what to do about it
    assert server.lines == [one.line for one in batch]


def test_what_was_sent_before_the_refusal_stays_sent(server, make):
    batch = events(8)

    def refuse(request, index):
        return error(503) if batch[2].line in request.body else index(request)

    server.script = [refuse] * 8

    problem = failure(make(max_bulk_records=2), batch, SinkUnavailableError)

    assert problem.unwritten == tuple(one for one in batch if one.line not in server.lines)
    assert batch[0] not in problem.unwritten
    assert {batch[2], batch[3], batch[6], batch[7]} <= set(problem.unwritten)


# -- several requests at once ---------------------------------------------------------------------


def test_while_a_server_works_on_one_request_the_next_is_sent(server, make):
    together = threading.Barrier(2, timeout=10)

    def both(request, index):
        together.wait()
        return index(request)

    server.script = [both, both]
    sink = make(max_bulk_records=50)

    sink.write(events(100))
    sink.write([event(n, NOW - n - 1) for n in range(100)])

    assert len(server.lines) == 200
    assert len({request.port for request in server.bulks}) == 2


def test_all_troubles_at_once_and_every_good_document_is_there_once(server, make, capfd):
    """P47: 429 for a third of the items, 413, 503, cuts before and after the commit, two poisoned."""
    chance = random.Random(47)
    batch = [event(n, NOW + n, extra="x" * 1000) for n in range(600)]
    poison = {batch[77].line, batch[401].line}

    def judge(_, line):
        if line in poison:
            return (400, "bad", "is poison")
        return (429, "busy", "later") if chance.random() < 0.3 else None

    def trouble(request, index):
        kind = chance.randrange(8)
        if kind == 0:
            return error(503)
        if kind == 1:
            raise CutError
        reply = index(request)
        if kind == 2:
            raise CutError
        return reply

    server.judge, server.max_bytes = judge, 60_000
    server.script = [trouble] * 10_000
    letters = MemorySink()
    sink = make(max_bulk_records=100)
    queue = QueueSink(
        sink, dead_letter=letters, batch_records=150, retry_min=0.001, retry_max=0.002
    )

    queue.write(batch)
    queue.flush(60)
    queue.close(60)

    wanted = [record.line for record in batch if record.line not in poison]
    assert sorted(server.lines) == sorted(wanted)
    assert len(server.documents) == 598
    assert [record.fields["dead_letter"]["reason"] for record in letters.records] == [
        "400 bad: is poison"
    ] * 2
    numbers = queue.statistics()
    assert (numbers.written, numbers.waiting) == (598, 0)
    assert numbers.drops == {(DropReason.REJECTED, "info"): 2}
    assert sink.statistics().balanced


@pytest.mark.parametrize("cut", [CutError(), error(503), Reply(200, b"rubbish")])
def test_trouble_with_one_of_several_requests_is_about_that_one(server, make, cut):
    batch, sink = events(60), make(max_bulk_records=10, compress=True)
    server.script = [lambda request, index: index(request), cut]
    left = ()
    try:
        sink.write(batch)
    except SinkUnavailableError as problem:
        left = problem.unwritten
    assert left == tuple(one for one in batch if one.line not in server.lines)
    sink.write(left)

    assert sorted(server.lines) == sorted(record.line for record in batch)
    assert sink.statistics().written == 60


def test_several_requests_that_hang_cost_one_timeout(server):
    def hang(request, index):
        server.release.wait(30)
        return index(request)

    server.script = [hang] * 20
    sink = ElasticsearchSink(server.url, index="logs", request_timeout=0.3, max_bulk_records=2)
    started = time.monotonic()

    problem = failure(sink, events(20), SinkTimeoutError)

    assert time.monotonic() - started < 10
    assert len(problem.unwritten) == 20
    assert len(server.bulks) <= 4
    sink.close(1)


def test_a_write_starts_no_more_requests_when_its_time_is_over(server):
    def slow(request, index):
        server.release.wait(0.2)
        return index(request)

    server.script = [slow] * 20
    batch = events(20)
    sink = ElasticsearchSink(server.url, index="logs", request_timeout=0.5, max_bulk_records=1)

    problem = failure(sink, batch, SinkTimeoutError)

    assert "not finished within 0.5 s" in str(problem)
    assert problem.unwritten == tuple(one for one in batch if one.line not in server.lines)
    assert 0 < len(problem.unwritten) < 20
    sink.close(1)


def test_several_requests_go_past_a_node_that_is_gone(server, make, unused_port):
    with FakeElasticsearch() as gateway:
        gateway.script = [error(502)] * 50
        sink = make(
            [gateway.url, server.url, f"http://127.0.0.1:{unused_port}"], max_bulk_records=5
        )
        for number in range(4):
            sink.write([event(n, NOW + number + n / 100) for n in range(20)])
        sink.close(1)

    assert len(server.lines) == 80
    assert sink.statistics().errors == {}


def test_retry_after_is_kept_without_asking_again(server, make):
    clock = FakeClock()
    server.script = [error(429, Retry_After="7")]
    batch, sink = events(2), make(clock=clock)
    assert failure(sink, batch, SinkUnavailableError).retry_after == 7.0

    clock.advance(6.5)
    early = failure(sink, batch, SinkUnavailableError)
    assert early.unwritten == tuple(batch)
    assert early.retry_after == pytest.approx(0.5)
    assert len(server.bulks) == 1

    clock.advance(0.6)
    sink.write(batch)
    assert len(server.lines) == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1e9", 300.0),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 300.0),
    ],
)
def test_odd_values_of_retry_after_do_no_harm(server, make, value, seconds):
    server.script = [error(503, Retry_After=value)]

    assert failure(make(), events(1), SinkUnavailableError).retry_after == seconds


def test_an_overloaded_cluster_gets_smaller_requests_until_one_goes_through(server, make):
    batch = [event(n, NOW + n, extra="x" * 10_000) for n in range(40)]
    sink = make(max_bulk_bytes=420_000)
    server.script = [error(429), error(429)]
    for _ in range(2):
        failure(sink, batch, SinkUnavailableError)

    sink.write(batch)

    sizes = [len(request.body) for request in server.bulks]
    assert sizes[0] > 400_000
    assert sizes[2] <= 105_000
    assert sizes[3] > sizes[2]
    assert len(server.lines) == 40


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b"{}",
        b'{"items":{}}',
        b'{"items":[{}]}',
        b'{"items":[{"create":{"status":"201"}}]}',
        b'{"items":[{"create":{"status":201}},{"create":{"status":201}}]}',
        b'{"errors":false}',
    ],
)
def test_an_answer_that_is_none_means_that_nothing_is_known(server, make, body):
    server.script = [Reply(200, body)]

    problem = failure(make(), events(1), SinkUnavailableError)

    assert len(problem.unwritten) == 1


def test_errors_false_is_not_believed(server, make):
    server.script = [
        Reply(
            body=b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":503}}]}'
        )
    ]
    batch = events(2)

    assert failure(make(), batch, SinkUnavailableError).unwritten == (batch[1],)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}',
        b'{"took":3,"errors":false,"items":[{"create":{"status":200}},{"create":{"status":201}}]}',
        b'{"errors": false, "items": [{"create": {"status": 201}}, {"index": {"status": 201}}]}',
    ],
)
def test_an_answer_may_be_written_in_any_way(server, make, answer):
    server.script = [Reply(body=answer), Reply(body=answer)]
    sink = make()

    sink.write(events(2))

    assert sink.statistics().written == 2
    assert len(failure(sink, events(3), SinkUnavailableError).unwritten) == 3


def test_an_interrupted_write_changes_no_id(server, make, monkeypatch):
    batch, sink = events(3), make()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pylog_struct.sinks._elasticsearch.client.Client.request", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sink.write(batch)
    sink.write(batch)
    make().write(batch)

    assert len(server.lines) == 3


# -- connections ----------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_unavailable(make, unused_port):
    problem = failure(make(f"http://127.0.0.1:{unused_port}"), events(2), SinkUnavailableError)

    assert len(problem.unwritten) == 2
    assert str(unused_port) in str(problem)


@pytest.fixture
def unused_port():
    with FakeElasticsearch() as closed:
        return closed.port


def test_a_server_that_hangs_costs_the_timeout_and_no_more(server):
    def hang(request, index):
        server.release.wait(30)
        return index(request)

    server.script = [hang] * 5
    sink = ElasticsearchSink(server.url, index="logs", request_timeout=0.2)
    started = time.monotonic()

    problem = failure(sink, events(2), SinkTimeoutError)

    assert time.monotonic() - started < 10
    assert len(problem.unwritten) == 2
    sink.close(1)


def test_a_connection_cut_after_the_commit_makes_no_duplicates(server, make):
    def commit_and_cut(request, index):
        index(request)
        raise CutError

    server.script = [commit_and_cut, commit_and_cut]
    batch, sink = events(3), make()

    problem = failure(sink, batch, SinkUnavailableError)
    assert problem.unwritten == tuple(batch)
    sink.write(problem.unwritten)

    assert server.lines == [record.line for record in batch]
    assert sink.statistics().written == 3


def test_a_kept_connection_that_was_closed_behind_our_back_is_replaced_at_once(server, make):
    sink = make()
    sink.write(events(1))
    server.script = [CutError()]

    sink.write([event(7)])

    assert len(server.lines) == 2
    assert sink.statistics().errors == {}


def test_another_node_takes_over(server, make, unused_port):
    sink = make([f"http://127.0.0.1:{unused_port}", server.url])

    for number in range(4):
        sink.write([event(number)])

    assert len(server.lines) == 4
    assert sink.statistics().errors == {}


def test_a_node_that_is_a_gateway_to_nothing_is_passed_over(server, make):
    with FakeElasticsearch() as gateway:
        gateway.script = [error(502)] * 20
        sink = make([gateway.url, server.url])

        for number in range(4):
            sink.write([event(number)])
        sink.close(1)

    assert len(server.lines) == 4


def test_one_connection_is_kept(server, make):
    sink = make()
    for number in range(5):
        sink.write([event(number)])

    assert len({request.port for request in server.bulks}) == 1


def test_closed_is_closed(make, server):
    sink = make()
    sink.write(events(1))
    sink.flush(1)
    sink.close(1)
    sink.close(1)

    assert failure(sink, events(2), SinkClosedError).unwritten == tuple(events(2))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_child_of_a_fork_opens_a_connection_of_its_own(server, make):
    sink = make()
    sink.write([event(1)])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sink.write([event(2)])
            code = 0 if sink.statistics().written == 1 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    sink.write([event(3)])

    assert os.waitstatus_to_exitcode(status) == 0
    first, second, third = [request.port for request in server.bulks]
    assert first == third != second
    assert len(server.lines) == 3


LAST_WORDS = """
import sys, pylog_struct
from pylog_struct.sinks import ElasticsearchSink, QueueSink

elastic = ElasticsearchSink(sys.argv[1], index="logs", max_bulk_records=int(sys.argv[2]))
pylog_struct.configure(format="json", sink=QueueSink(elastic, policy="block", linger=5))
log = pylog_struct.get_logger()
log.info("first")
assert pylog_struct.flush(30)
for number in range(10):
    log.info("last", number=number)
"""


@pytest.mark.parametrize("most", [100, 3])
def test_what_waits_when_the_interpreter_ends_is_written(server, most):
    """At exit urllib3 empties the pools that it finds, connections or not, before our turn comes."""
    done = run(LAST_WORDS, server.url, most)

    assert (done.code, done.stderr) == (0, "")
    assert len(server.lines) == 11


FIRST_WRITE = """
import sys
from pylog_struct.record import Record
from pylog_struct.sinks import ElasticsearchSink

sink = ElasticsearchSink(sys.argv[1].replace("127.0.0.1", "localhost"), index="x", max_bulk_records=2)
before = set(sys.modules)
sink.write([Record(20, b'{"a":%d}' % number, 1.0 + number) for number in range(6)])
print(sorted(set(sys.modules) - before))
"""


def test_the_first_write_imports_nothing(server):
    """The child of a fork in the middle of an import has half a module for ever: it could not send."""
    done = run(FIRST_WRITE, server.url)

    assert (done.code, done.stdout.strip(), done.stderr) == (0, "[]", "")
    assert len(server.lines) == 6


def test_the_contract(server, unused_port):
    def read():
        found = []
        for line in server.read():
            document = orjson.loads(line)
            wrapped = set(document) == {"@timestamp", "log.level", "message"}
            found.append(document["message"].encode() if wrapped else line)
        return found

    server.routes["GET", "/"] = Reply()
    check_sink(
        lambda: ElasticsearchSink(server.url, index="logs", max_document_bytes="10 MB"),
        read=read,
        make_failing=lambda: ElasticsearchSink(f"http://127.0.0.1:{unused_port}", index="logs"),
        resources=False,  # the server's threads are in this process
    )

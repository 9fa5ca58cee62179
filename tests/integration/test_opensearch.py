"""ElasticsearchSink and ``pylog elk`` against a real OpenSearch node."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid

import orjson
import pytest
import structlog
from click.testing import CliRunner
from support import servers
from support.opensearch_server import Node, node_command

import pylog_struct
from pylog_struct.cli.commands import pylog
from pylog_struct.elk.mapping import FIELDS_LIMIT
from pylog_struct.errors import SinkError, SinkRejectedError
from pylog_struct.ledger import DropReason
from pylog_struct.record import Record
from pylog_struct.sinks import (
    ElasticsearchSink,
    FailoverSink,
    FanOutSink,
    MemorySink,
    QueueSink,
    RollingFileSink,
)
from pylog_struct.testing import check_sink

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(600),  # the first run on a machine downloads the server
]


@pytest.fixture
def name():
    return f"logs-{uuid.uuid4().hex[:12]}-default"


def elk(*arguments):
    return CliRunner().invoke(pylog, ["elk", *map(str, arguments)])


def events(number, **fields):
    now = time.time()
    return [
        Record(
            20,
            orjson.dumps({"@timestamp": "2026-11-23T19:34:41.123Z", "n": n, **fields}),
            now + n / 1e3,
        )
        for n in range(number)
    ]


def test_a_source_is_the_line_that_was_logged(opensearch, name):
    elk("setup", name, "--url", opensearch.url)
    memory = MemorySink()
    pylog_struct.configure(
        sink=QueueSink(FanOutSink([ElasticsearchSink(opensearch.url, data_stream=name), memory])),
        format="ecs",
        level="DEBUG",
    )
    log = structlog.get_logger("shop")
    log.info("order placed", order_id=7, price=1.5, tags=["a", "b"], note="grün 日本語 \u2028")
    try:
        raise ValueError("no stock")
    except ValueError:
        log.exception("failed", **{"http.response.status_code": 500})
    logging.getLogger("other").warning("from %s", "the stdlib")
    assert pylog_struct.shutdown(timeout=30).complete

    assert sorted(opensearch.sources(name)) == sorted(record.line for record in memory.records)
    assert len(memory.records) == 3


def test_root_at_debug_one_event_is_one_document(opensearch, name):
    pylog_struct.configure(
        sink=QueueSink(ElasticsearchSink(opensearch.url, index=name), linger=0), level="DEBUG"
    )
    structlog.get_logger().info("the only one")
    assert pylog_struct.flush(timeout=30)
    statistics = pylog_struct.statistics()
    pylog_struct.shutdown(timeout=30)

    assert statistics.emitted == 1
    assert opensearch.count(name) == 1


def test_one_poison_document_of_500_is_a_dead_letter_with_the_servers_reason(opensearch, name):
    opensearch.call("PUT", f"/{name}", {"mappings": {"properties": {"n": {"type": "long"}}}})
    batch = events(500)
    poison = Record(30, b'{"n":{"an":"object"},"@timestamp":"2026-11-23T19:34:41.123Z"}', 1.0)
    batch[250] = poison
    letters = MemorySink()
    queue = QueueSink(ElasticsearchSink(opensearch.url, index=name), dead_letter=letters)

    queue.write(batch)
    queue.flush(60)
    statistics = queue.statistics()
    queue.close(10)

    assert opensearch.count(name) == 499
    assert statistics.written == 499
    assert statistics.drops == {(DropReason.REJECTED, "warning"): 1}
    (letter,) = letters.records
    assert letter.fields["n"] == {"an": "object"}
    assert "mapper_parsing_exception" in letter.fields["dead_letter"]["reason"]


def test_the_same_records_sent_again_are_the_same_documents(opensearch, name):
    batch = [*events(50), *[Record(20, b'{"n":1,"twin":true}', 1_700_000_000.0)] * 3]
    for _ in range(3):
        sink = ElasticsearchSink(opensearch.url, index=name)
        sink.write(batch)
        sink.close(5)

    assert opensearch.count(name) == 53
    assert sink.statistics().details["elasticsearch.duplicates"] == 53


@pytest.mark.parametrize("options", [(), ("--nanoseconds",)])
def test_the_template_knows_every_form_of_a_time(opensearch, name, options):
    elk("setup", name, "--url", opensearch.url, *options)
    moment = 1_795_462_481
    forms = [
        "2026-11-23T19:34:41Z",
        "2026-11-23T19:34:41.1Z",
        "2026-11-23T19:34:41.123456Z",
        "2026-11-23T20:34:41.123456+01:00",
        "2026-11-23T19:34",
        moment * 1000,
    ]
    sink = ElasticsearchSink(opensearch.url, data_stream=name)

    sink.write([Record(20, orjson.dumps({"@timestamp": form}), moment) for form in forms])
    sink.close(5)

    found = {hit["_source"]["@timestamp"]: hit for hit in opensearch.hits(name)}
    assert set(found) == set(forms)
    query = {
        "query": {
            "range": {"@timestamp": {"gte": "2026-11-23T19:34:41", "lt": moment * 1000 + 999}}
        }
    }
    inside = opensearch.call("POST", f"/{name}/_count", query)["count"]
    assert inside == len(forms) - 1  # all but the one without seconds


def test_documents_of_all_kinds_are_taken_by_the_template(opensearch, name):
    elk("setup", name, "--url", opensearch.url)
    sink = ElasticsearchSink(opensearch.url, data_stream=name)
    time_stamp = "2026-11-23T19:34:41.123456Z"
    odd = [
        {"labels": {"a": "x" * 32_766, "b": "1"}},
        {"pylog.folded": {"k" * 600: "x" * 40_000, "deep": {"deeper": [1, "2"]}}},
        {"free": "x" * 32_766},
        {"free": "ü" * 16_383},
        {"http.response.status_code": "none"},
        {"client.ip": "nobody", "event.created": "yesterday", "url.full": "x" * 32_766},
        {
            "error.stack_trace": "x" * 32_766,
            "error.message": "y z " * 8000,
            "message": "m" * 32_766,
        },
        {"pylog.stack": "Stack (most recent call last):" + "x" * 32_000},
        {"data_stream.type": "logs"},
        {"data_stream.type": "metrics"},
        {"when": "2026-11-23"},
        {"when": "not a date"},
        {"process": {"pid": 1, "thread": {"id": 2}}, "process.name": "x"},
        {"dead_letter": {"sink": "elastic", "reason": "400"}},
    ]
    batch = [
        Record(20, orjson.dumps({"@timestamp": time_stamp, **document}), time.time())
        for document in odd
    ]
    batch += [
        Record(20, b'{"timestamp":"x","event":{"dataset":"no time stamp"}}', time.time()),
        Record(20, b"no json at all", time.time()),
        Record(20, b"", time.time()),
    ]

    sink.write(batch)
    sink.close(5)

    assert opensearch.count(name) == len(batch)


@pytest.mark.slow
def test_100_000_hostile_events_are_all_indexed(opensearch, name):
    elk("setup", name, "--url", opensearch.url, "--replicas", 0)
    pylog_struct.configure(
        format="ecs",
        level="INFO",
        stdlib=False,
        sink=QueueSink(
            ElasticsearchSink(opensearch.url, data_stream=name, request_timeout=60),
            capacity=50_000,
            max_bytes="256 MB",
            batch_records=4000,
            policy="block",
            block_timeout=60,
        ),
    )
    log = structlog.get_logger("hostile")
    flips = [
        1,
        "x",
        1.5,
        True,
        None,
        {"a": 1},
        [1, "2"],
        {"a": {"b": 2}},
        "2026-11-24",
        float("nan"),
    ]
    ecs = [
        "http",
        "host",
        "error",
        "event",
        "service",
        "log",
        "message",
        "labels",
        "url",
        "process",
    ]
    number = 100_000
    for position in range(number):
        kind = position % 10
        flip = flips[position // 10 % len(flips)]
        fields = {"n": position}
        if kind == 0:
            fields["flip"] = flip
        elif kind == 1:
            fields[ecs[position // 10 % 10]] = flip
        elif kind == 2:
            fields[f"key_{position // 10 % 5000}"] = flip
        elif kind == 3:
            fields.update({"client.ip": flip, "http.response.status_code": flip})
        elif kind == 4 and position % 2500 == 4:
            fields["long"] = "ü" * 524_288
        elif kind == 5:
            fields[f"a.b.{position % 7}"], fields["a"] = flip, position
        log.info("hostile", **fields)
    assert pylog_struct.flush(timeout=300)
    statistics = pylog_struct.statistics()
    assert pylog_struct.shutdown(timeout=60).complete

    assert opensearch.count(name) == number
    sink = statistics["elasticsearch"]
    assert (sink.written, sink.dropped) == (number, 0)
    assert "elasticsearch.stubs" not in sink.details
    assert statistics["queue"].drops == {}
    assert statistics.emitted == number
    fields = mapped(opensearch, name)
    keys = [path for path in fields if path.rpartition(".")[2].startswith("key_")]
    assert 0 < len(keys) < 1000  # of 5,000: the rest is in pylog.folded
    assert len(fields) < FIELDS_LIMIT


def mapped(opensearch, name):
    """The paths of all fields that the index of *name* has now, objects and sub-fields included."""
    (index,) = opensearch.call("GET", f"/{name}/_mapping").values()
    found = []

    def walk(fields, prefix):
        for key, field in fields.items():
            found.append(f"{prefix}{key}")
            walk(field.get("properties", {}), f"{prefix}{key}.")
            walk(field.get("fields", {}), f"{prefix}{key}.")

    walk(index["mappings"]["properties"], "")
    return found


def test_a_request_that_is_too_big_for_the_server_is_split(opensearch_of_my_own, name):
    node = opensearch_of_my_own(**{"http.max_content_length": "1mb"})
    batch = events(30, blob="x" * 100_000)
    batch[7] = Record(20, orjson.dumps({"n": 7, "message": "x" * 2_000_000}), time.time())
    sink = ElasticsearchSink(node.url, index=name)

    sink.write(batch)
    sink.close(5)

    assert node.client.count(name) == 30
    assert sink.statistics().details["elasticsearch.stubs"] == 1
    (stub,) = [hit for hit in node.client.hits(name) if "pylog.truncated" in hit["_source"]]
    assert stub["_source"]["pylog.original_bytes"] == len(batch[7].line)


@pytest.fixture
def opensearch_of_my_own(tmp_path, tmp_path_factory):
    command = node_command(tmp_path_factory, *servers.QUICK_JAVA)
    nodes = []

    def start(**settings):
        nodes.append(Node(command, tmp_path, **settings).start())
        return nodes[-1]

    yield start
    for node in nodes:
        node.process.kill()


@pytest.mark.slow
def test_killed_and_restarted_under_load_no_event_is_missing(opensearch_of_my_own, name, tmp_path):
    node = opensearch_of_my_own()
    path = tmp_path / "logs" / "app.jsonl"
    queue = QueueSink(
        FailoverSink(
            [
                ElasticsearchSink(node.url, index=name, request_timeout=5),
                RollingFileSink(path, max_bytes="100 MB", max_files=5),
            ],
            retry_interval=0.3,
        ),
        capacity=50_000,
        policy="block",
    )
    stop = threading.Event()
    sent = []

    def load():
        while not stop.is_set():
            document = {"@timestamp": "2026-11-23T19:34:41.123Z", "id": uuid.uuid4().hex}
            queue.write([Record(20, orjson.dumps(document), time.time())])
            sent.append(document["id"])
            time.sleep(0.0005)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for end in ("kill", "stop"):
            _grows(lambda: node.client.count(name))
            getattr(node.process, end)()
            _grows(lambda: path.stat().st_size if path.exists() else 0)
            node.start()
            _grows(lambda: node.client.count(name))
    finally:
        stop.set()
        thread.join()
    queue.flush(60)
    statistics = queue.statistics()
    queue.close(10)

    there = _ids(hit["_source"] for hit in _all(node.client, name))
    in_file = _ids(json.loads(line) for line in path.read_text().splitlines())
    assert len(set(there)) == len(there)  # duplicates only under one id: none in one index
    assert set(there) | set(in_file) == set(sent)
    assert statistics.balanced
    assert statistics.written == statistics.received == len(sent)
    assert in_file


def _ids(documents):
    """Of the load; the failover's own notices have none."""
    return [document["id"] for document in documents if "id" in document]


def _all(client, name):
    """Every hit, page by page."""
    client.call("PUT", f"/{name}/_settings", {"index": {"max_result_window": 1_000_000}})
    return client.hits(name, size=500_000)


def _grows(size, patience=60.0):
    """Wait until what *size* returns is more than it was."""
    ends = time.monotonic() + patience
    before = size()
    while size() <= before:
        assert time.monotonic() < ends, "it did not grow in time"
        time.sleep(0.05)


def test_the_write_index_is_full_and_nothing_is_rejected(opensearch, name):
    """A disk at its flood stage blocks the index with 403: a state, not a verdict on documents."""
    opensearch.call("PUT", f"/{name}")
    opensearch.call("PUT", f"/{name}/_settings", {"index.blocks.read_only_allow_delete": True})
    sink, batch = ElasticsearchSink(opensearch.url, index=name), events(3)

    with pytest.raises(SinkError) as caught:
        sink.write(batch)
    assert caught.value.retryable
    assert caught.value.unwritten == tuple(batch)

    opensearch.call("PUT", f"/{name}/_settings", {"index.blocks.read_only_allow_delete": None})
    sink.write(caught.value.unwritten)
    sink.close(5)
    assert opensearch.count(name) == 3


def test_broken_documents_are_told_apart_from_their_neighbours(opensearch, name):
    broken = [b'{"n":}', b'{"n":1,"t":"\xff\xfe"}', b'{"n":1}}', b'{"a":1}{"b":2}']
    batch = events(6)
    for position, line in enumerate(broken):
        batch[position + 1] = Record(20, line, time.time())
    sink = ElasticsearchSink(opensearch.url, index=name)

    with pytest.raises(SinkRejectedError) as caught:
        sink.write(batch)
    sink.close(5)

    assert {record.line for record in caught.value.unwritten} <= set(broken)
    assert len(caught.value.reasons) == len(caught.value.unwritten)
    assert opensearch.count(name) == len(batch) - len(caught.value.unwritten)


def test_the_contract(opensearch, name):
    def read():
        if not opensearch.count(name):
            return []
        found = []
        for hit in opensearch.hits(name):
            source = hit["_source"]
            wrapped = set(source) == {"@timestamp", "log.level", "message"}
            found.append(source["message"].encode() if wrapped else orjson.dumps(source))
        return found

    opensearch.call("PUT", f"/{name}", {"settings": {"number_of_shards": 1}})
    check_sink(
        lambda: ElasticsearchSink(opensearch.url, index=name),
        read=read,
        ordered=False,
        max_line=30_000,
        patience=30,
    )


def test_setup_is_idempotent_and_check_says_what_it_finds(opensearch, name):
    missing = elk("check", name, "--url", opensearch.url)
    assert missing.exit_code == 1
    assert "is missing; run: pylog elk setup" in missing.output
    assert opensearch.count(name) == 0  # the check did not make an index that is in the way

    first = elk("setup", name, "--url", opensearch.url, "--replicas", 0)
    second = elk("setup", name, "--url", opensearch.url, "--replicas", 0)
    assert "OpenSearch 2." in first.output
    assert "created   index template" in first.output
    assert "unchanged index template" in second.output

    good = elk("check", name, "--url", opensearch.url, "--replicas", 0)
    assert good.exit_code == 0, good.output
    assert "FAILED" not in good.output
    assert good.output.endswith("documents arrive\n")
    assert opensearch.call("GET", f"/_data_stream/{name}")["data_streams"][0]["name"] == name
    assert opensearch.count(name) == 0  # the test document is gone

    again = elk("check", name, "--url", opensearch.url, "--replicas", 0)
    assert "its newest index is ours" in again.output
    changed = elk("setup", name, "--url", opensearch.url, "--replicas", 0, "--nanoseconds")
    assert "updated   index template" in changed.output


def test_an_index_in_the_way_of_the_data_stream_is_found(opensearch, name):
    opensearch.call("PUT", f"/{name}")
    elk("setup", name, "--url", opensearch.url)

    found = elk("check", name, "--url", opensearch.url)

    assert found.exit_code == 1
    assert "is an ordinary index, made before the template" in found.output

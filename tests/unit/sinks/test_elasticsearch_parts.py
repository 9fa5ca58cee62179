"""Identities, documents, names and connections of ElasticsearchSink."""

from __future__ import annotations

import logging
import ssl
import sys
import warnings
from base64 import urlsafe_b64decode

import orjson
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from support.fake_elasticsearch import FakeElasticsearch, error

import pylog_struct
from pylog_struct.errors import ConfigError, SinkUnavailableError
from pylog_struct.record import Record
from pylog_struct.sinks import ElasticsearchSink, MemorySink, QueueSink
from pylog_struct.sinks._elasticsearch.bulk import BulkSize
from pylog_struct.sinks._elasticsearch.documents import as_document
from pylog_struct.sinks._elasticsearch.identity import Identities

NOW = 1_794_997_600.25


# -- identities -----------------------------------------------------------------------------------


def record(text=b'{"n":1}', created=NOW):
    return Record(20, text, created)


def test_an_id_is_a_function_of_the_record_and_the_origin():
    mine = Identities("host").give(record())

    assert mine == Identities("host").give(record())
    assert mine != Identities("other").give(record())
    assert mine != Identities("host").give(record(created=NOW + 1e-6))
    assert mine != Identities("host").give(record(b'{"n":2}'))


def test_the_formula_is_the_documented_one():
    from base64 import urlsafe_b64encode
    from hashlib import blake2b
    from struct import pack

    person = blake2b(b"host", digest_size=16).digest()
    salted = blake2b(b'{"n":1}', digest_size=11, salt=pack(">d", NOW), person=person).digest()
    raw = int(NOW * 1_000_000).to_bytes(7, "big") + salted

    assert Identities("host").give(record()) == urlsafe_b64encode(raw).decode()


def test_ids_begin_with_the_time_so_that_a_server_need_not_look_for_new_ones():
    ids = [Identities("host").give(record(created=NOW + step / 1000)) for step in range(500)]
    stored = [urlsafe_b64decode(identity) for identity in ids]

    assert stored == sorted(stored)
    assert {len(raw) for raw in stored} == {18}


ODD_TIMES = [0.0, -0.0, -1e-9, -1.0, float("nan"), float("inf"), 1e300, 2.0**56 / 1e6, 72e9]


@pytest.mark.parametrize("created", ODD_TIMES)
def test_odd_times_have_ids_too(created):
    assert len(Identities("host").give(record(created=created))) == 24


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [record(b"%d" % number, NOW + number / 7) for number in range(50)],
        [record(b"%d" % (number % 3), NOW) for number in range(50)],
        *([record(), record(created=created), record()] for created in ODD_TIMES),
        [record(b"%d" % number) for number in range(10_050)],
    ],
)
def test_many_ids_at_once_are_those_that_one_by_one_would_be(batch):
    one_by_one, at_once = Identities("host"), Identities("host")

    for _ in range(3):
        given_out = [one_by_one.give(one) for one in batch]
        assert at_once.give_all(batch) == given_out
        assert len(set(given_out)) == len(batch)
        for identity in given_out[::2]:
            one_by_one.take_back(identity)
            at_once.take_back(identity)


def test_many_ids_at_once_need_no_more_memory():
    identities = Identities("host")
    for first in range(0, 50_000, 700):
        identities.give_all([record(b"%d" % number) for number in range(first, first + 700)])

    assert 10_000 <= len(identities._recent) + len(identities._older) <= 20_000


def test_equal_calls_are_different_documents():
    identities = Identities("host")
    given_out = [identities.give(record()) for _ in range(3)]

    assert given_out == [given_out[0], f"{given_out[0]}.1", f"{given_out[0]}.2"]


def test_a_twin_that_was_given_back_gets_its_own_id_again():
    identities = Identities("host")
    first, second, third = (identities.give(record()) for _ in range(3))
    for identity in (third, second):
        identities.take_back(identity)

    assert [identities.give(record()) for _ in range(3)] == [second, third, f"{first}.3"]


def test_memory_is_bounded_and_what_is_forgotten_keeps_its_first_id():
    identities = Identities("host")
    old = identities.give(record())
    identities.take_back(old)
    for number in range(50_000):
        identity = identities.give(record(b"%d" % number))
        identities.take_back(identity)

    assert len(identities._recent) + len(identities._older) <= 20_000
    assert len(identities._free) <= 20_000
    assert identities.give(record()) == old


def test_a_record_that_comes_back_late_keeps_its_number():
    identities = Identities("host")
    first, second = identities.give(record()), identities.give(record())
    for number in range(10_000):
        identities.give(record(b"%d" % number))
    identities.take_back(second)

    assert identities.give(record()) == second
    assert identities.give(record()) == f"{first}.2"


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40))
def test_whatever_is_given_back_no_two_written_records_share_an_id(steps):
    identities, written, open_ = Identities("host"), set(), []
    for number, accepted in steps:
        mine = record(b"%d" % number)
        again = [identity for identity, of in open_ if of == mine]
        identity = identities.give(mine)
        if again:
            assert identity in again
            open_.remove((identity, mine))
        if accepted:
            assert identity not in written
            written.add(identity)
        else:
            identities.take_back(identity)
            open_.append((identity, mine))


# -- documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        (b'{"@timestamp":1,"a":2}', b'{"@timestamp":1,"a":2}'),
        (b'{"a":1, "@timestamp": 2}', b'{"a":1, "@timestamp": 2}'),
        (b'{"a":1}', b'{"@timestamp":"2026-11-18T10:26:40.250000Z","a":1}'),
        (b"{}", b'{"@timestamp":"2026-11-18T10:26:40.250000Z"}'),
        (b'{\n"@timestamp":1\n}', b'{ "@timestamp":1 }'),
        (b' {"@timestamp":1}\r\n', b'{"@timestamp":1}'),
    ],
)
def test_a_line_for_a_data_stream(line, sent):
    assert as_document(record(line), 0.0, needs_timestamp=True) == sent


@pytest.mark.parametrize("line", [b'{"a":1}', b"{}", b'{"a": {"b": []}}'])
def test_a_line_for_an_index_is_left_alone(line):
    assert as_document(record(line), 0.0, needs_timestamp=False) == line


@pytest.mark.parametrize("line", [b"", b"text", b"[1]", b"two\nlines", b"\xff", b"null", b' {"a"'])
def test_what_is_no_object_becomes_the_message_of_one(line):
    document = orjson.loads(as_document(record(line), 0.0, needs_timestamp=False))

    assert document["message"] == line.decode("utf-8", "replace")
    assert document["log.level"] == "info"
    assert document["@timestamp"] == "2026-11-18T10:26:40.250000Z"


def test_the_size_of_requests_shrinks_and_grows_back_below_what_was_refused():
    size = BulkSize(100, 4_000_000)
    size.too_much()
    assert size.size == 2_000_000
    size.fine()
    size.fine()
    assert size.size == 4_000_000
    size.too_big(3_000_000)
    assert size.size == 1_500_000
    size.fine()
    assert size.size == 1_500_000
    for _ in range(20):
        size.too_much()
        size.too_big(10)
    assert size.size == 65_536


# -- arguments ------------------------------------------------------------------------------------

HOST = "http://localhost"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hosts": []}, "hosts: .* names no host"),
        ({"hosts": None}, "hosts: .* names no host"),
        ({"hosts": "localhost:9200"}, "hosts: 'localhost:9200' is no node"),
        ({"hosts": "ftp://x"}, "is no node"),
        ({"hosts": "http://x:99999"}, "is no node"),
        ({"hosts": "http://x?y"}, "is no node"),
        ({"hosts": [7]}, "hosts: 7 is no node"),
        ({"hosts": [HOST, HOST + ":9200"]}, "listed twice"),
        ({"index": None}, "give data_stream or index"),
        ({"data_stream": "logs"}, "give data_stream or index"),
        ({"index": "Logs"}, "index: 'Logs' is no name"),
        ({"index": "-x"}, "is no name"),
        ({"index": "a/b"}, "is no name"),
        ({"index": "x" * 256}, "is no name"),
        ({"index": 5}, "is no name"),
        ({"index": "logs-%d{yyyy.ww}"}, "'ww' in .* is no unit"),
        ({"index": "logs-%d"}, "stray"),
        ({"index": "logs-100%-%d{yyyy}"}, "stray"),
        ({"pipeline": ""}, "pipeline: '' is no name"),
        ({"compress": "gzip"}, "compress: 'gzip' is no flag"),
        ({"verify_certs": None}, "verify_certs: None is no flag"),
        ({"origin": 5}, "origin: 5 is no text"),
        ({"headers": ["x"]}, "headers: use a mapping"),
        ({"headers": {"x": 5}}, "headers: use a mapping"),
        ({"headers": {"x": "a\nb"}}, "headers: use a mapping"),
        ({"headers": {"x y": "a"}}, "headers: use a mapping"),
        ({"headers": {"x": "€"}}, "headers: use a mapping"),
        ({"bearer_auth": "€"}, "bearer_auth: not usable"),
        ({"api_key": "€"}, "api_key: not usable"),
        ({"api_key": ""}, "api_key: not usable"),
        ({"api_key": ["a"]}, "api_key: not usable"),
        ({"basic_auth": "nobody"}, "basic_auth: not usable"),
        ({"bearer_auth": ["a", "b"]}, "bearer_auth: not usable"),
        ({"bearer_auth": "a", "api_key": "b"}, "api_key and bearer_auth are given"),
        ({"hosts": "http://a:b@c", "api_key": "b"}, "basic_auth and api_key are given"),
        ({"ca_certs": "ca.pem"}, "ca_certs: needs hosts that start with https"),
        ({"hosts": "https://x", "ca_certs": 5}, "ca_certs: 5 is no path"),
        ({"hosts": "https://x", "client_key": "k"}, "client_key: needs client_cert"),
        ({"hosts": "https://x", "fingerprint": "12"}, "fingerprint: '12' is no SHA-256"),
        ({"max_bulk_bytes": "1 B"}, "max_bulk_bytes: '1 B' is no size"),
        ({"max_bulk_records": 0}, "max_bulk_records: 0 is no number of documents"),
        ({"max_document_bytes": "x"}, "max_document_bytes"),
        ({"request_timeout": 0}, "request_timeout: 0 is no duration"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    arguments = {"hosts": HOST, "index": "logs", **arguments}

    with pytest.raises(ConfigError, match=message) as caught:
        ElasticsearchSink(arguments.pop("hosts"), **arguments)
    assert "ElasticsearchSink" in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:s3/cr@et@h?x", "ftp://me:s3cret@h", "http://me:s3cret@h:0", "me:s3cret@h:9200"])  # fmt: skip
def test_no_password_is_in_an_error(url):
    with pytest.raises(ConfigError, match="…@h") as caught:
        ElasticsearchSink(url, index="logs")
    assert "s3" not in str(caught.value)


def test_secrets_are_neither_in_messages_nor_in_reprs():
    for arguments in ({"basic_auth": ["me", "hidden", "x"]}, {"bearer_auth": "hid\nden"}):
        with pytest.raises(ConfigError) as caught:
            ElasticsearchSink(HOST, index="logs", **arguments)
        assert "hid" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        ElasticsearchSink("http://me:hidden@x?y", index="logs")
    assert "hidden" not in str(caught.value)
    sink = ElasticsearchSink(HOST, index="logs", api_key="hidden")
    assert "hidden" not in repr(sink) + repr(sink._connection)


def test_without_the_extra_the_constructor_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "elastic_transport", None)

    with pytest.raises(ConfigError, match=r'pip install "pylog-struct\[elasticsearch\]"'):
        ElasticsearchSink(HOST, index="logs")


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.configure_cert(context)
    with FakeElasticsearch(context) as fake:
        fake.certificate = certificate
        yield fake


def fingerprint(certificate):
    import hashlib

    data = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return hashlib.sha256(data).hexdigest()


def test_a_server_that_cannot_be_verified_gets_nothing(server):
    sink = ElasticsearchSink(server.url, index="logs")

    with pytest.raises(SinkUnavailableError, match="TLS error") as caught:
        sink.write([record()])
    assert len(caught.value.unwritten) == 1
    assert server.bulks == []
    sink.close(1)


def test_ca_certs_verifies_it(server, authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    sink = ElasticsearchSink(server.url, index="logs", ca_certs=path, max_bulk_records=1)

    sink.write([record()])
    sink.write([record(b"%d" % number) for number in range(3)])
    sink.close(1)

    assert len(server.lines) == 4


def test_a_fingerprint_is_enough_and_a_wrong_one_is_not(server):
    right = fingerprint(server.certificate)
    sink = ElasticsearchSink(server.url, index="logs", fingerprint=right.upper())
    sink.write([record()])
    sink.close(1)
    wrong = ElasticsearchSink(server.url, index="logs", fingerprint="0" * 64, max_bulk_records=1)

    for batch in ([record(b'{"n":2}')], [record(b'{"n":2}'), record(b'{"n":3}')]):
        with pytest.raises(SinkUnavailableError):
            wrong.write(batch)
    wrong.close(1)
    assert server.lines == [b'{"n":1}']


def test_verifying_can_be_switched_off_and_that_is_said(server, capfd):
    sink = ElasticsearchSink(server.url, index="logs", verify_certs=False)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sink.write([record()])
    sink.close(1)

    assert len(server.lines) == 1
    assert "verify_certs is off" in capfd.readouterr().err


def test_a_certificate_file_that_is_missing_is_no_crash(server, tmp_path):
    sink = ElasticsearchSink(server.url, index="logs", ca_certs=tmp_path / "missing.pem")

    with pytest.raises(SinkUnavailableError) as caught:
        sink.write([record()])
    assert len(caught.value.unwritten) == 1
    sink.close(1)


def test_a_client_that_cannot_even_be_made_is_no_crash(monkeypatch):
    import elastic_transport

    def fail(*_, **__):
        raise OSError("too many open files")

    monkeypatch.setattr(elastic_transport, "NodePool", fail)
    sink = ElasticsearchSink(HOST, index="logs")

    with pytest.raises(SinkUnavailableError, match="too many open files") as caught:
        sink.write([record()])
    assert len(caught.value.unwritten) == 1
    sink.close(1)


# -- in a pipeline --------------------------------------------------------------------------------


def test_one_event_is_one_document_though_the_client_logs_at_debug(capfd):
    with FakeElasticsearch() as server:
        server.script = [error(503), error(503)]
        pylog_struct.configure(
            sink=QueueSink(
                ElasticsearchSink([server.url, "http://127.0.0.1:9"], index="logs"),
                linger=0,
                retry_min=0.01,
            ),
            level="DEBUG",
        )
        logging.getLogger("urllib3").setLevel(logging.DEBUG)
        logging.getLogger("mine").debug("the only event")
        assert pylog_struct.flush(timeout=10)
        statistics = pylog_struct.statistics()
        pylog_struct.shutdown(timeout=5)

        assert statistics.emitted == 1
        assert [orjson.loads(line)["event"] for line in server.lines] == ["the only event"]
    assert "elastic_transport.node_pool: Node" in capfd.readouterr().err


def test_the_same_library_used_by_the_application_is_logged_as_ever():
    memory = MemorySink()
    pylog_struct.configure(sink=memory, level="DEBUG")

    logging.getLogger("urllib3.connectionpool").debug("the application's own request")
    pylog_struct.shutdown(timeout=5)

    assert len(memory.records) == 1

"""KafkaSink against real brokers: everything arrives once, in order per key, from forks and at exit."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict

import psutil
import pytest
from support.kafka_server import Topic, new_topic
from support.process import run

import pylog_struct
from pylog_struct.errors import SinkRejectedError, SinkUnavailableError
from pylog_struct.levels import INFO
from pylog_struct.record import Record
from pylog_struct.sinks import KafkaSink, MemorySink, QueueSink
from pylog_struct.testing import check_sink

pytestmark = pytest.mark.timeout(600)  # the first run on a machine downloads a broker

PATIENT = {"timeout": 30}


@pytest.fixture
def topic(kafka_broker):
    return Topic(kafka_broker, new_topic(kafka_broker, partitions=3))


def ids(lines):
    """How often each id is there; events without one are of the pipeline itself."""
    found = map(json.loads, lines)
    return Counter(event["id"] for event in found if "id" in event)


def test_the_contract(kafka_broker):
    topics, kept = {}, []

    def make():
        name = new_topic(kafka_broker)
        sink = KafkaSink(kafka_broker, name, **PATIENT)
        topics[id(sink)] = Topic(kafka_broker, name)
        kept.append(sink)
        return sink

    check_sink(
        make,
        read=lambda sink: topics[id(sink)].lines(),
        make_failing=lambda: KafkaSink("127.0.0.1:1", "logs", timeout=0.3),
        patience=30,
    )


def test_every_event_arrives_once_under_load(kafka_broker, topic):
    sink = QueueSink(KafkaSink(kafka_broker, topic.name, **PATIENT), policy="block", capacity=2000)
    pylog_struct.configure(sink=sink, level="INFO", format="json")

    def work(number):
        log = pylog_struct.get_logger("load").bind(thread=number)
        for i in range(5000):
            log.info("order placed", id=f"{number}-{i}", customer="c-1042", amount=12.5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = pylog_struct.shutdown(60)
    assert report.complete
    found = ids(topic.lines())
    assert len(found) == 20_000
    assert set(found.values()) == {1}
    now = pylog_struct.statistics()
    assert now.balanced
    assert (now["kafka"].written, now["kafka"].waiting, now["kafka"].dropped) == (20_000, 0, 0)


def test_records_of_one_key_stay_in_order_in_one_partition(kafka_broker, topic):
    sink = KafkaSink(kafka_broker, topic.name, key_field="user.id", **PATIENT)
    queue = QueueSink(sink, policy="block", batch_records=100)
    for i in range(3000):
        line = json.dumps({"event": "e", "user": {"id": f"u{i % 7}"}, "id": i})
        queue.write([Record(INFO, line.encode())])
    queue.close(60)
    seen, places = defaultdict(list), defaultdict(set)
    for message in topic.messages():
        seen[message.key()].append(json.loads(message.value())["id"])
        places[message.key()].add(message.partition())
    assert set(seen) == {f"u{i}".encode() for i in range(7)}
    for key, found in seen.items():
        assert found == sorted(found), key
        assert len(found) == len(set(found))
        assert len(places[key]) == 1
    assert len(set().union(*places.values())) > 1


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression(kafka_broker, topic, compression):
    sink = KafkaSink(kafka_broker, topic.name, compression=compression, **PATIENT)
    batch = [Record(INFO, b'{"id":%d}' % i) for i in range(200)]
    sink.write(batch)
    sink.close(10)
    assert sorted(topic.lines()) == sorted(one.line for one in batch)


def test_without_idempotence(kafka_broker, topic):
    sink = KafkaSink(kafka_broker, topic.name, acks=1, idempotence=False, **PATIENT)
    sink.write([Record(INFO, b'{"id":%d}' % i) for i in range(200)])
    sink.close(10)
    assert ids(topic.lines()) == dict.fromkeys(range(200), 1)


def test_the_client_does_not_log_into_the_pipeline_that_it_serves(kafka_broker, topic):
    """P23: everything at DEBUG, the standard library bridged, the client told to say all it knows."""
    sink = KafkaSink(kafka_broker, topic.name, config={"debug": "all"}, **PATIENT)
    pylog_struct.configure(sink=QueueSink(sink), level="DEBUG", format="json", stdlib=True)
    pylog_struct.get_logger("app").info("one", id=1)
    assert pylog_struct.shutdown(60).complete
    assert [json.loads(line)["event"] for line in topic.lines()] == ["one"]


def test_memory_does_not_grow_with_the_number_of_records(kafka_broker, topic):
    sink = KafkaSink(kafka_broker, topic.name, **PATIENT)
    process = psutil.Process()

    def write(batches):
        for _ in range(batches):
            sink.write([Record(INFO, b'{"pad":"%s"}' % (b"x" * 500)) for _ in range(1000)])

    write(50)
    before = process.memory_info().rss
    write(100)
    assert process.memory_info().rss - before < 25_000_000  # 50 MB were written
    sink.close(10)


EXIT = """
    import sys, pylog_struct
    from pylog_struct.sinks import KafkaSink, QueueSink
    sink = QueueSink(KafkaSink(sys.argv[1], sys.argv[2], timeout=30), capacity=20000, policy="block")
    pylog_struct.configure(sink=sink, level="INFO", format="json", shutdown_timeout=30)
    log = pylog_struct.get_logger("exit")
    for i in range(10000):
        log.info("last words", id=i)
"""


def test_what_is_queued_at_exit_arrives(kafka_broker, topic):
    """P70: the script ends with thousands of events in the queue."""
    done = run(EXIT, kafka_broker, topic.name)
    assert (done.code, done.stderr) == (0, "")
    found = ids(topic.lines())
    assert len(found) == 10_000
    assert set(found.values()) == {1}


FORK = """
    import os, sys, time, pylog_struct
    from pylog_struct.sinks import KafkaSink, QueueSink
    sink = QueueSink(KafkaSink(sys.argv[1], sys.argv[2], timeout=30), capacity=20000, policy="block")
    pylog_struct.configure(sink=sink, level="INFO", format="json", shutdown_timeout=30)
    log = pylog_struct.get_logger("fork")
    log.info("warm", id="parent-warm")
    assert pylog_struct.flush(30)
    for i in range(5000):
        log.info("backlog", id=f"parent-{i}")
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            for i in range(500):
                log.info("from a worker", id=f"child-{number}-{i}")
            if number == 0:
                grandchild = os.fork()
                if grandchild == 0:
                    log.info("from a grandchild", id="grandchild")
                    sys.exit(0)
                assert os.waitpid(grandchild, 0)[1] == 0
            sys.exit(0)
        children.append(pid)
    started = time.monotonic()
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    log.info("after", id="parent-after")
"""


def test_a_pipeline_that_was_configured_before_the_fork(kafka_broker, topic):
    """P71: each process has a producer of its own, and the parent's backlog stays the parent's."""
    done = run(FORK, kafka_broker, topic.name)
    assert done.code == 0, done.stderr
    assert "join" not in done.stderr  # what librdkafka says when an inherited producer is freed
    found = ids(topic.lines())
    expected = {"parent-warm", "parent-after", "grandchild"}
    expected |= {f"parent-{i}" for i in range(5000)}
    expected |= {f"child-{number}-{i}" for number in range(3) for i in range(500)}
    assert set(found) == expected
    assert set(found.values()) == {1}


# -- what only Apache Kafka does ------------------------------------------------------------------


@pytest.fixture
def real(kafka):
    return kafka["bootstrap"]


@pytest.mark.servers
def test_a_topic_that_does_not_exist_is_named_and_may_come_later(real):
    sink = KafkaSink(real, "no-such-topic", timeout=3)
    with pytest.raises(SinkUnavailableError, match="UNKNOWN_TOPIC") as found:
        sink.write([Record(INFO, b"{}")])
    assert found.value.retryable
    assert len(found.value.unwritten) == 1
    sink.close(5)


@pytest.mark.servers
def test_a_limit_of_the_topic_rejects_only_what_is_above_it(real):
    """The broker refuses whole requests, whatever in them is too large."""
    topic = Topic(real, new_topic(real, max_message_bytes=5000))
    sink = KafkaSink(real, topic.name, compression="none", **PATIENT)
    giant = Record(INFO, b'{"id":"giant","pad":"%s"}' % (b"x" * 20_000))
    small = [Record(INFO, b'{"id":%d,"pad":"%s"}' % (i, b"x" * 100)) for i in range(200)]
    with pytest.raises(SinkRejectedError, match="MSG_SIZE_TOO_LARGE") as found:
        sink.write([*small[:100], giant, *small[100:]])
    assert found.value.unwritten == (giant,)
    assert ids(topic.lines()) == dict.fromkeys(range(200), 1)
    now = sink.statistics()
    assert (now.received, now.written, now.balanced) == (200, 200, True)
    sink.close(5)


@pytest.mark.servers
def test_a_compacted_topic_rejects_what_has_no_key(real):
    topic = Topic(real, new_topic(real, cleanup_policy="compact"))
    dead = MemorySink()
    sink = KafkaSink(real, topic.name, key_field="user", **PATIENT)
    queue = QueueSink(sink, dead_letter=dead, spill=False)
    queue.write([Record(INFO, b'{"user":"a"}'), Record(INFO, b"{}"), Record(INFO, b'{"user":"b"}')])
    queue.close(60)
    assert [message.key() for message in topic.messages()] == [b"a", b"b"]
    assert "INVALID_RECORD" in dead.records[0].fields["dead_letter"]["reason"]
    now = queue.statistics()
    assert (now.received, now.written, now.dropped) == (3, 2, 1)

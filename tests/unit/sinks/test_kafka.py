"""KafkaSink against librdkafka's mock cluster, which fails on request."""

from __future__ import annotations

import gc
import logging
import threading
import time
from pathlib import Path

import orjson
import pytest
from support import kafka_mock as mock
from support.kafka_server import Topic

from pylog_struct import diagnostics
from pylog_struct.errors import (
    SinkClosedError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.levels import INFO
from pylog_struct.record import Record
from pylog_struct.sinks import FailoverSink, KafkaSink, MemorySink, QueueSink
from pylog_struct.testing import check_sink

pytestmark = pytest.mark.timeout(120)

CREATED = 1_790_000_000.125


def records(number, start=0, **fields):
    return [
        Record(INFO, orjson.dumps({"event": "e", "i": i, **fields}), CREATED)
        for i in range(start, start + number)
    ]


@pytest.fixture
def make(cluster):
    """Makes sinks for the topic ``logs`` of the mock cluster, and closes them.

    They are patient: a first connection may take its time.  A test that means a time-out to pass
    shortens it (``sink._timeout``) when the connection is there.
    """
    made = []

    def build(topic="logs", **settings):
        sink = KafkaSink(cluster.bootstrap, topic, **{"timeout": 30, **settings})
        made.append(sink)
        return sink

    yield build
    for sink in made:
        sink.close(5)


def refused(sink, batch, kind):
    """What ``write`` raises, as fast as it does so."""
    with pytest.raises(kind) as found:
        sink.write(batch)
    return found.value


def balanced(sink, **numbers):
    now = sink.statistics()
    assert now.balanced
    assert {key: getattr(now, key) for key in numbers} == numbers


# -- when all goes well ---------------------------------------------------------------------------


def test_a_batch_is_acknowledged_when_write_returns(cluster, make):
    sink, batch = make(), records(500)
    sink.write(batch)
    assert sorted(Topic(cluster.bootstrap, "logs").lines()) == sorted(one.line for one in batch)
    balanced(sink, received=500, written=500, dropped=0, waiting=0)
    assert sink.statistics().bytes_written == sum(len(one.line) for one in batch)


@pytest.mark.parametrize("timeout", ["3 hours", "30 days", 1e12])
def test_a_very_long_timeout_is_one(cluster, make, timeout):
    """librdkafka has limits of its own, and C's integers."""
    cluster.delay(0.2)
    sink = make(timeout=timeout)
    sink.write(records(1))
    balanced(sink, received=1, written=1, dropped=0, waiting=0)


def test_the_time_of_the_call_is_the_timestamp(cluster, make):
    make().write([Record(INFO, b"{}", CREATED)])
    [message] = Topic(cluster.bootstrap, "logs").messages()
    assert message.timestamp()[1] == int(CREATED * 1000)


@pytest.mark.parametrize("created", [0.0, float("nan"), float("inf"), -1e300, 1e300])
def test_an_unknown_time_is_now(cluster, make, created):
    make().write([Record(INFO, b"{}", created)])
    [message] = Topic(cluster.bootstrap, "logs").messages()
    assert abs(message.timestamp()[1] / 1000 - time.time()) < 60


def test_keys_and_headers(cluster, make):
    sink = make(key_field="user", headers={"content-type": "application/json", "b": b"\xff"})
    sink.write([Record(INFO, b'{"user":"u-1"}', CREATED), Record(INFO, b"{}", CREATED)])
    messages = Topic(cluster.bootstrap, "logs").messages()
    assert {message.value(): message.key() for message in messages} == {
        b'{"user":"u-1"}': b"u-1",
        b"{}": None,
    }
    assert messages[0].headers() == [("content-type", b"application/json"), ("b", b"\xff")]


def test_poll_serves_an_idle_producer(make):
    seen = []
    sink = make(config={"statistics.interval.ms": 10, "stats_cb": seen.append})
    assert sink.poll(0.0) is None
    sink.write(records(1))
    ends = time.monotonic() + 20
    while not seen and time.monotonic() < ends:
        assert sink.poll(0.0) == 1.0
    assert orjson.loads(seen[0])["type"] == "producer"


def test_a_callback_that_raises_is_reported_and_goes_no_further(make, capfd):
    def stats(_):
        raise RuntimeError("broken callback")

    sink = make(config={"statistics.interval.ms": 1, "stats_cb": stats})
    ends = time.monotonic() + 20
    said = ""
    while "broken callback" not in said and time.monotonic() < ends:
        sink.write(records(1))
        said += capfd.readouterr().err
    assert "broken callback" in said
    assert sink.statistics().dropped == 0


def test_the_contract(cluster):
    def new():
        cluster.names += 1
        name = f"check-{cluster.names}"
        cluster.create(name)
        # Idempotence costs half a second at the start of each producer; brokers test it with it.
        sink = KafkaSink(cluster.bootstrap, name, timeout=10, idempotence=False)
        topics[id(sink)] = Topic(cluster.bootstrap, name)
        kept.append(sink)
        return sink

    topics, kept = {}, []
    check_sink(
        new,
        read=lambda sink: topics[id(sink)].lines(),
        make_failing=lambda: KafkaSink("127.0.0.1:1", "logs", timeout=0.3),
        fork=False,  # the mock cluster is in this process: see tests/integration/test_kafka_brokers.py
        resources=False,
    )


# -- when the destination fails -------------------------------------------------------------------


def test_the_client_tries_again_by_itself(cluster, make):
    sink = make()
    sink.write(records(10))
    cluster.fail(mock.PRODUCE, mock.NOT_ENOUGH_REPLICAS, mock.REQUEST_TIMED_OUT)
    sink.write(records(10, start=10))
    assert len(Topic(cluster.bootstrap, "logs").lines()) == 20
    balanced(sink, received=20, written=20)


def test_nobody_there_is_a_timeout_within_the_timeout():
    sink, batch = KafkaSink("127.0.0.1:1", "logs", timeout=0.5), records(10)
    started = time.monotonic()
    error = refused(sink, batch, SinkTimeoutError)
    assert time.monotonic() - started < 5
    assert error.retryable
    assert list(error.unwritten) == batch
    assert all(map(lambda one, other: one is other, error.unwritten, batch))
    assert "127.0.0.1:1" in str(error) or "brokers are down" in str(error)
    balanced(sink, received=0, waiting=0)
    refused(sink, batch, SinkTimeoutError)
    assert sink.statistics().details["kafka.producers"] == 1  # it settled all that was taken back
    sink.close(1)


def test_brokers_that_are_down_cost_one_timeout_and_not_each_time_again():
    sink = KafkaSink("127.0.0.1:1", "logs", timeout=60)
    sink._silent = 1  # as after a first write that waited for the whole minute
    started = time.monotonic()
    refused(sink, records(1), SinkTimeoutError)
    assert time.monotonic() - started < 30
    sink.close(1)


def test_every_fourth_write_waits_for_the_whole_timeout(monkeypatch):
    sink = KafkaSink("127.0.0.1:1", "logs", timeout=50)
    waits = []
    for silent in range(9):
        sink._silent = silent
        waits.append(sink._patience())
    assert waits == [50, 2, 2, 2, 50, 2, 2, 2, 50]


def test_a_broker_that_comes_back_is_found(cluster, make):
    sink = make()
    sink.write(records(5))
    sink._timeout = 1
    cluster.down()
    refused(sink, records(5, start=5), SinkTimeoutError)
    cluster.up()
    sink._timeout = 60
    sink.write(records(5, start=5))
    balanced(sink, received=10, written=10)
    arrived = {orjson.loads(line)["i"] for line in Topic(cluster.bootstrap, "logs").lines()}
    assert arrived == set(range(10))


def test_what_was_under_way_is_unwritten_and_counted_as_unconfirmed(cluster, make):
    sink = make(idempotence=True)
    sink.write(records(5))
    sink._timeout = 1
    cluster.delay(30)
    batch = records(5, start=5)
    error = refused(sink, batch, SinkTimeoutError)
    assert list(error.unwritten) == batch
    assert sink.statistics().details["kafka.unconfirmed"] == 5
    cluster.delay(0)
    sink._timeout = 60
    sink.write(error.unwritten)
    assert sink.statistics().details["kafka.producers"] == 2
    arrived = [orjson.loads(line)["i"] for line in Topic(cluster.bootstrap, "logs").lines()]
    assert set(arrived) == set(range(10))


@pytest.mark.parametrize("code", [mock.TOPIC_AUTHORIZATION_FAILED, mock.UNKNOWN_TOPIC_OR_PART])
def test_a_topic_that_one_may_not_write_to_can_be_repaired(cluster, make, code):
    sink, batch = make(timeout=5), records(3)
    cluster.fail_topic("logs", code)
    error = refused(sink, batch, SinkUnavailableError)
    assert error.retryable
    assert list(error.unwritten) == batch
    assert "TOPIC" in str(error)
    cluster.fail_topic("logs", 0)
    sink._timeout = 60
    sink.write(batch)
    balanced(sink, received=3, written=3)


def test_a_permission_that_is_taken_away_and_given_back(cluster, make):
    sink = make()
    sink.write(records(1))
    cluster.fail(mock.PRODUCE, mock.TOPIC_AUTHORIZATION_FAILED)
    error = refused(sink, records(3, key="same"), SinkUnavailableError)
    assert "TOPIC_AUTHORIZATION_FAILED" in str(error)
    sink.write(error.unwritten)
    balanced(sink, received=4, written=4, dropped=0)


def test_a_producer_that_is_dead_is_replaced(cluster, make):
    sink = make()
    cluster.fail(mock.INIT_PRODUCER_ID, *[mock.CLUSTER_AUTHORIZATION_FAILED] * 5)
    error = refused(sink, records(3), SinkUnavailableError)
    assert "CLUSTER_AUTHORIZATION_FAILED" in str(error)
    assert len(error.unwritten) == 3
    cluster.heal(mock.INIT_PRODUCER_ID)
    sink.write(error.unwritten)
    assert sink.statistics().details["kafka.producers"] == 2
    balanced(sink, received=3, written=3)


def test_a_contradiction_in_the_settings_is_an_error_of_write_too(make):
    sink = make(config={"max.in.flight.requests.per.connection": 50})
    error = refused(sink, records(2), SinkUnavailableError)
    assert "max.in.flight" in str(error)
    assert len(error.unwritten) == 2


# -- when a record is the trouble -----------------------------------------------------------------


def test_only_the_record_that_is_too_large_is_rejected(cluster, make):
    sink = make()
    giant = Record(INFO, b'{"event":"%s"}' % (b"x" * 2_000_000), CREATED)
    batch = [*records(3), giant, *records(3, start=3)]
    error = refused(sink, batch, SinkRejectedError)
    assert not error.retryable
    assert error.unwritten == (giant,)
    assert error.unwritten[0] is giant
    assert len(Topic(cluster.bootstrap, "logs").lines()) == 6
    balanced(sink, received=6, written=6)


def test_a_request_that_is_too_large_is_sent_in_parts(cluster, make):
    sink = make()
    sink.write(records(1))
    cluster.fail(mock.PRODUCE, mock.MSG_SIZE_TOO_LARGE)
    sink.write([Record(INFO, one.line, CREATED) for one in records(64, start=1)])
    arrived = [orjson.loads(line)["i"] for line in Topic(cluster.bootstrap, "logs").lines()]
    assert sorted(arrived) == list(range(65))
    balanced(sink, received=65, written=65, dropped=0)


def test_records_that_the_broker_never_takes_are_rejected_one_by_one(cluster, make):
    sink, batch = make(), records(4)
    cluster.fail(mock.PRODUCE, *[mock.INVALID_RECORD] * 50)
    error = refused(sink, batch, SinkRejectedError)
    assert list(error.unwritten) == batch
    assert "INVALID_RECORD" in str(error)
    cluster.heal(mock.PRODUCE)
    sink.write(records(4))
    balanced(sink, received=4, written=4)


def test_rejected_and_unavailable_in_one_batch(cluster, make):
    sink = make()
    sink.write(records(1))
    sink._timeout = 1
    cluster.down()
    giant = Record(INFO, b"x" * 2_000_000, CREATED)
    batch = [*records(2, start=1), giant, *records(2, start=3)]
    error = refused(sink, batch, SinkTimeoutError)
    assert list(error.unwritten) == [one for one in batch if one is not giant]
    balanced(sink, received=2, written=1, dropped=1)
    assert sink.statistics().drops == {("rejected", "info"): 1}


def test_the_rejected_record_goes_to_the_dead_letters_of_the_queue(make):
    dead = MemorySink()
    queue = QueueSink(make(), dead_letter=dead, spill=False)
    queue.write([*records(1), Record(INFO, b'{"e":"%s"}' % (b"x" * 2_000_000)), *records(1)])
    queue.close(30)
    assert queue.statistics().written == 2
    assert [one.fields["dead_letter"]["sink"] for one in dead.records] == ["kafka"]


# -- back-pressure --------------------------------------------------------------------------------


def test_the_clients_full_queue_is_waited_for(cluster, make):
    sink = make(config={"queue.buffering.max.messages": 10})
    sink.write(records(500))
    assert len(Topic(cluster.bootstrap, "logs").lines()) == 500
    balanced(sink, received=500, written=500)


def test_a_full_queue_that_stays_full_leaves_the_rest_unwritten():
    sink = KafkaSink("127.0.0.1:1", "x", timeout=0.3, config={"queue.buffering.max.messages": 10})
    batch = records(50)
    error = refused(sink, batch, SinkTimeoutError)
    assert list(error.unwritten) == batch
    balanced(sink, received=0)
    sink.close(1)


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 1, None])
def test_close_is_bounded_when_nobody_is_there(timeout):
    sink = KafkaSink("127.0.0.1:1", "logs", timeout=0.2)
    refused(sink, records(10), SinkTimeoutError)
    started = time.monotonic()
    sink.close(timeout)
    assert time.monotonic() - started < 10
    refused(sink, records(1), SinkClosedError)
    sink.close()


def test_close_does_not_wait_for_a_client_that_hangs(make, monkeypatch):
    sink = make()
    sink.write(records(1))
    over = threading.Event()

    class Stuck:
        """A producer whose threads do not end: librdkafka waits for a name server."""

        def purge(self, **_):
            pass

        def __del__(self):
            over.wait(60)

    sink._producer._producer = Stuck()
    try:
        started = time.monotonic()
        sink.close(0.1)
        assert time.monotonic() - started < 20
    finally:
        over.set()  # for the thread that waits in its place


PROCESS = Path("/proc/self")


def held():
    """How many threads (those of librdkafka, too) and descriptors this process has."""
    return len(list((PROCESS / "task").iterdir())), len(list((PROCESS / "fd").iterdir()))


@pytest.mark.skipif(not PROCESS.exists(), reason="counts threads in /proc")
def test_threads_and_descriptors_end_with_close(cluster):
    threads, files = held()
    for _ in range(5):
        sink = KafkaSink(cluster.bootstrap, "logs", timeout=10)
        sink.write(records(10))
        sink.close(5)
    ends = time.monotonic() + 10
    while time.monotonic() < ends and (held()[0] > threads or held()[1] > files):
        time.sleep(0.01)
    assert held()[0] <= threads
    assert held()[1] <= files


def test_an_interrupt_makes_a_new_producer_and_loses_nothing(cluster, make):
    sink = make()
    sink.write(records(1))
    old = sink._producer

    class Interrupted:
        """The producer, with a Ctrl-C in the middle of waiting."""

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def flush(self, _):
            raise KeyboardInterrupt

    old._producer = Interrupted(old._producer)
    with pytest.raises(KeyboardInterrupt):
        sink.write(records(5, start=1))
    balanced(sink, received=1)
    sink.write(records(5, start=1))
    assert sink._producer is not old
    balanced(sink, received=6, written=6)


def test_a_client_that_does_not_settle_leaves_everything_unwritten(cluster, make):
    sink = make()
    sink.write(records(1))
    sink._timeout = 1

    class Unsettled:
        """A producer that never comes to an end."""

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def flush(self, _):
            return 3

    sink._producer._producer = Unsettled(sink._producer._producer)
    batch = records(5, start=1)
    error = refused(sink, batch, SinkTimeoutError)
    assert list(error.unwritten) == batch
    balanced(sink, received=1)


# -- its own log ----------------------------------------------------------------------------------


def test_the_clients_own_log_goes_to_stderr_and_never_into_logging(caplog, capfd):
    """P23: the root logger is at DEBUG and would bring everything back to the sink."""
    caplog.set_level(logging.DEBUG)
    sink = KafkaSink("127.0.0.1:1", "logs", timeout=0.5, config={"debug": "all"})
    refused(sink, records(1), SinkTimeoutError)
    sink.close(1)
    said = capfd.readouterr().err
    assert "Connection refused" in said
    assert all(row.startswith("pylog_struct: ") for row in said.splitlines())
    assert caplog.records == []


def test_the_child_of_a_fork_does_not_free_the_parents_producer(make):
    sink = make()
    sink.write(records(1))
    freed = []

    class Inherited:
        """A producer of which librdkafka would join the threads, which are not here."""

        def __del__(self):
            freed.append(self)

    parents, sink._producer._producer = sink._producer._producer, Inherited()
    sink._after_fork_in_child()
    gc.collect()
    assert not freed
    assert sink.poll(0.0) is None
    sink.write(records(1))
    balanced(sink, received=1, written=1)
    del parents


def test_a_producer_that_breaks_while_idle_is_reported_by_poll(make, capfd):
    sink = make()
    sink.write(records(1))

    class Broken:
        """The producer, with a fatal error to tell."""

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def poll(self, _):
            raise RuntimeError("fatal")

    sink._producer._producer = Broken(sink._producer._producer)
    diagnostics.reset()
    assert sink.poll(0.0) == 1.0
    assert "needs a new producer" in capfd.readouterr().err
    sink.write(records(1))
    assert sink.statistics().details["kafka.producers"] == 2


def test_failover_hands_over_exactly_what_is_unwritten(cluster, make):
    other = MemorySink()
    kafka = make()
    sink = FailoverSink([kafka, other])
    sink.write(records(5))
    kafka._timeout = 1
    cluster.down()
    sink.write(records(5, start=5))
    in_kafka = {orjson.loads(line)["i"] for line in lines_when_up(cluster)}
    elsewhere = {one.fields["i"] for one in other.records if "i" in one.fields}
    assert in_kafka == set(range(5))
    assert elsewhere == set(range(5, 10))
    assert sink.statistics().balanced
    sink.close(5)


def lines_when_up(cluster):
    cluster.up()
    return Topic(cluster.bootstrap, "logs").lines()

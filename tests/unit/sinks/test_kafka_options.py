"""What a KafkaSink can be told, and what it says about mistakes, without any broker."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from support.process import run

from pylog_struct.errors import ConfigError
from pylog_struct.sinks import KafkaSink
from pylog_struct.testing._checks_watch import io_in_constructors

NOBODY = "127.0.0.1:1"


def test_the_least_that_it_needs():
    sink = KafkaSink(NOBODY, "logs")
    assert sink.name == "kafka"
    assert sink.poll(0.0) is None
    sink.flush()
    sink.close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"bootstrap_servers": ["one:9092", "two:9092"]},
        {"bootstrap_servers": "one:9092, two"},
        {"bootstrap_servers": "SASL_SSL://one.example.com:9093"},
        {"bootstrap_servers": "[::1]:9092"},
        {"headers": {"content-type": "application/json", "b": b"\xff", "none": None}},
        {"headers": {}},
        {"acks": -1},
        {"acks": 1, "idempotence": False},
        {"compression": "none"},
        {"compression": "zstd"},
        {"timeout": "250 ms"},
        {"config": {"linger.ms": 50, "stats_cb": print, "statistics.interval.ms": 1000}},
        {"config": {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
                    "sasl.username": "u", "sasl.password": "p"}},
        {"key_field": "trace.id"},
        {"name": "orders"},
    ],
)  # fmt: skip
def test_good_arguments_are_taken(arguments):
    KafkaSink(**{"bootstrap_servers": NOBODY, "topic": "logs", **arguments}).close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bootstrap_servers": ""}, r"KafkaSink\.bootstrap_servers: ''.*host:9092"),
        ({"bootstrap_servers": []}, r"KafkaSink\.bootstrap_servers: \[\]"),
        ({"bootstrap_servers": "a,,b"}, r"KafkaSink\.bootstrap_servers: 'a,,b'"),
        ({"bootstrap_servers": "http://a/b"}, r"KafkaSink\.bootstrap_servers"),
        ({"bootstrap_servers": "a:b"}, r"KafkaSink\.bootstrap_servers"),
        ({"bootstrap_servers": [9092]}, r"KafkaSink\.bootstrap_servers: \[9092\]"),
        ({"bootstrap_servers": None}, r"KafkaSink\.bootstrap_servers: None"),
        ({"topic": ""}, r"KafkaSink\.topic: ''.*249"),
        ({"topic": "a b"}, r"KafkaSink\.topic: 'a b'"),
        ({"topic": ".."}, r"KafkaSink\.topic: '\.\.'"),
        ({"topic": "x" * 250}, r"KafkaSink\.topic"),
        ({"topic": None}, r"KafkaSink\.topic: None"),
        ({"key_field": ""}, r"KafkaSink\.key_field: ''"),
        ({"headers": ["a"]}, r"KafkaSink\.headers: \['a'\]"),
        ({"headers": {"a": 1}}, r"KafkaSink\.headers: 'a': 1"),
        ({"headers": {"": "x"}}, r"KafkaSink\.headers"),
        ({"acks": 2}, r"KafkaSink\.acks: 2.*\"all\" or 1"),
        ({"acks": 0, "idempotence": False}, r"KafkaSink\.acks: 0 is no acknowledgement"),
        ({"acks": True}, r"KafkaSink\.acks: True"),
        ({"acks": [1]}, r"KafkaSink\.acks: \[1\]"),
        ({"acks": 1}, r"KafkaSink\.acks: 1 is too few for idempotence.*idempotence=False"),
        ({"idempotence": "yes"}, r"KafkaSink\.idempotence: 'yes'"),
        ({"compression": "brotli"}, r"KafkaSink\.compression: 'brotli'.*'zstd'"),
        ({"compression": None}, r"KafkaSink\.compression: None"),
        ({"timeout": 0}, r"KafkaSink\.timeout: 0"),
        ({"timeout": "soon"}, r"KafkaSink\.timeout: 'soon'"),
        ({"config": ["linger.ms"]}, r"KafkaSink\.config: \['linger\.ms'\]"),
        ({"config": {"lingr.ms": 1}}, r"KafkaSink\.config: .*lingr\.ms"),
        ({"config": {"linger.ms": "soon"}}, r"KafkaSink\.config: Invalid value"),
        ({"config": {"client.id": "x", "lingr.ms": 1}}, r"KafkaSink\.config: .*lingr\.ms"),
        ({"config": {"acks": 1}}, r"KafkaSink\.config: 'acks' is the sink's.*argument acks"),
        ({"config": {"delivery.timeout.ms": 1}}, r"'delivery\.timeout\.ms'.*argument timeout"),
        ({"config": {"transactional.id": "x"}}, r"'transactional\.id' is the sink's"),
        ({"config": {"error_cb": print}}, r"'error_cb' is the sink's"),
        ({"config": {"stats_cb": 5}}, r"KafkaSink\.config: 'stats_cb': 5 cannot be called"),
        ({"name": "no spaces"}, r"KafkaSink\.name"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_with_what_would_be_right(arguments, words):
    with pytest.raises(ConfigError, match=words):
        KafkaSink(**{"bootstrap_servers": NOBODY, "topic": "logs", **arguments})


def test_the_constructor_starts_nothing():
    KafkaSink(NOBODY, "logs")  # imports the client
    threads = threading.active_count()
    with io_in_constructors() as found:
        KafkaSink(NOBODY, "logs", config={"linger.ms": 5})
    assert not found
    assert threading.active_count() == threads


def test_the_constructor_starts_no_thread_of_the_client_either():
    done = run(
        f"""
        import os
        from pylog_struct.sinks import KafkaSink
        sink = KafkaSink("{NOBODY}", "logs", config={{"linger.ms": 5, "debug": "broker"}})
        print(len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1)
        """
    )
    assert (done.code, done.stdout.strip(), done.stderr) == (0, "1", "")


def test_without_the_extra_the_constructor_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r'pip install "pylog-struct\[kafka\]"'):
        KafkaSink(NOBODY, "logs")


def test_importing_the_sinks_does_not_import_the_client():
    script = "import sys, pylog_struct.sinks; print('confluent_kafka' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"

"""What SocketSink's constructor takes, and the syslog header that it makes."""

from __future__ import annotations

import os
import re
import socket

import pytest
from support.peers import split_counted, tcp_peer
from support.wrappers import record

from pylog_struct.errors import ConfigError
from pylog_struct.sinks import SocketSink


@pytest.mark.parametrize(
    "url",
    [
        "tcp://localhost:5140", "TCP://[::1]:5140", "tls://logs.example.com:6514", "udp://10.0.0.1:514",
        "unix:///run/x.sock", "unixgram:///dev/log", "tcp://localhost:5140/",
    ],
)  # fmt: skip
def test_addresses_are_taken(url):
    assert repr(SocketSink(url)).endswith(f"to {url.lower().rstrip('/')}>")


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:5140", "tcp://localhost", "tcp://:5140", "tcp://localhost:0", "tcp://h:70000",
        "tcp://h:1/path", "tcp://u:p@h:1", "tcp://h:1?x=1", "tcp://h:1#x", "http://h:1", "unix://run/x",
        "unix://", "tcp://[::1:5", f"tcp://{'a' * 70}.example:1", None, 5, b"tcp://h:1", "unix:///a\0b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match=r"SocketSink\.url: .* is no address; use \"tcp://"):
        SocketSink(url)


def test_no_password_is_in_an_error():
    with pytest.raises(ConfigError, match="tls://…@h:1") as caught:
        SocketSink("tls://me:s3cret@h:1")
    assert "s3cret" not in str(caught.value)


def test_a_system_without_unix_sockets_says_so(monkeypatch):
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConfigError, match="no Unix sockets"):
        SocketSink("unix:///run/x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"framing": "lines"},
            r'framing: \'lines\' is none; use one of "newline", "octet_counting"',
        ),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"write_timeout": "soon"}, "write_timeout"),
        ({"write_timeout": float("inf")}, "write_timeout"),
        ({"stall_timeout": -1}, "stall_timeout"),
        ({"backoff_min": 0}, "backoff_min"),
        ({"backoff_min": 5, "backoff_max": 1}, "backoff_max"),
        ({"facility": "local8"}, "facility: 'local8' is no facility; use 0 to 23 or one of kern"),
        ({"facility": 24}, "facility"),
        ({"facility": True}, "facility"),
        ({"app_name": "with space"}, "app_name: 'with space' does not fit; use 1 to 48"),
        ({"app_name": "x" * 49}, "app_name"),
        ({"hostname": "grün"}, "hostname"),
        ({"proc_id": ""}, "proc_id"),
        ({"msg_id": 7}, "msg_id"),
        ({"structured_data": {"a b": {}}}, "structured_data"),
        ({"structured_data": {"a@1": {'x"': "1"}}}, "structured_data"),
        ({"structured_data": {"a@1": "x"}}, "structured_data"),
        ({"structured_data": "[a]"}, "structured_data"),
        ({"ca_file": "ca.pem"}, "ca_file: the connection is not encrypted"),
        ({"server_hostname": "x"}, "server_hostname: the connection is not encrypted"),
        ({"verify": False}, "verify: False, but the connection is not encrypted"),
        ({"verify": "no"}, "verify: 'no' is neither True nor False"),
        ({"name": "no name"}, "name"),
    ],
)
def test_nonsense_is_refused_with_one_clear_error(options, words):
    with pytest.raises(ConfigError, match=rf"SocketSink\.{words}"):
        SocketSink("tcp://localhost:1", **options)


@pytest.mark.parametrize("framing", ["octet_counting", "rfc5424_newline"])
def test_datagrams_take_no_frame(framing):
    with pytest.raises(ConfigError, match="a datagram needs no frame"):
        SocketSink("udp://localhost:1", framing=framing)


def test_tls_options_are_checked_without_reading_files():
    SocketSink("tls://h:1", ca_file="/nowhere", cert_file="/nowhere", key_file="/nowhere")
    with pytest.raises(ConfigError, match="key_file: a key without a certificate"):
        SocketSink("tls://h:1", key_file="k")
    with pytest.raises(ConfigError, match=r"ca_file: 5 is no text"):
        SocketSink("tls://h:1", ca_file=5)
    with pytest.raises(ConfigError, match=r"key_password: \*\*\* is no text"):
        SocketSink("tls://h:1", key_password="pass\0word")


# -- RFC 5424 -------------------------------------------------------------------------------------

HEADER = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<proc>\S+) (?P<msg>\S+)"
    rb" (?P<sd>-|(?:\[.*?(?<!\\)\])+) (?P<text>.*)",
    re.DOTALL,
)


def sent(batch, **options):
    """What arrives of *batch*, taken apart."""
    counted = options.get("framing", "rfc5424") == "rfc5424"
    with tcp_peer(**({"split": split_counted} if counted else {})) as peer:
        sink = SocketSink(f"tcp://127.0.0.1:{peer.port}", **{"framing": "rfc5424", **options})
        sink.write(batch)
        frames = peer.wait_for(len(batch))
        sink.close(5)
    return [HEADER.fullmatch(frame).groupdict() for frame in frames]


def test_the_header_by_default():
    (found,) = sent([record("hello")._replace(created=1_700_000_000.123456)])

    assert found == {
        "pri": b"14",  # user.info
        "time": b"2023-11-14T22:13:20.123456Z",
        "host": socket.gethostname().encode(),
        "app": b"-",
        "proc": str(os.getpid()).encode(),
        "msg": b"-",
        "sd": b"-",
        "text": record("hello").line,
    }


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (0, 7),
        (5, 7),
        (10, 7),
        (19, 7),
        (20, 6),
        (25, 5),
        (30, 4),
        (39, 4),
        (40, 3),
        (50, 2),
        (60, 1),
    ],
)
def test_severity_follows_the_level(level, severity):
    (found,) = sent([record("x", level)], facility="local3")
    assert int(found["pri"]) == 19 * 8 + severity
    assert found["time"] == b"-"  # a record without a time of its own


def test_everything_in_the_header_can_be_set():
    (found,) = sent(
        [record("x")],
        framing="rfc5424_newline",
        facility=0,
        app_name="checkout",
        hostname="web-1.example",
        proc_id="worker-7",
        msg_id="json",
        structured_data={"origin@32473": {"env": 'p"r]o\\d', "n": 1}, "empty@32473": {}},
        bom=True,
    )
    assert found["pri"] == b"6"
    assert found["app"] == b"checkout"
    assert found["host"] == b"web-1.example"
    assert found["proc"] == b"worker-7"
    assert found["msg"] == b"json"
    assert found["sd"] == rb'[origin@32473 env="p\"r\]o\\d" n="1"][empty@32473]'
    assert found["text"] == b"\xef\xbb\xbf" + record("x").line


def test_counted_syslog_keeps_line_breaks_and_newline_syslog_makes_them_spaces():
    batch = [record("x")._replace(line=b"one\ntwo")]
    assert sent(batch)[0]["text"] == b"one\ntwo"
    assert sent(batch, framing="rfc5424_newline")[0]["text"] == b"one two"


def test_a_machine_with_an_odd_name_still_makes_headers(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "my höst")
    assert sent([record("x")])[0]["host"] == b"myhst"
    monkeypatch.setattr(socket, "gethostname", lambda: "  ")
    assert sent([record("x")])[0]["host"] == b"-"

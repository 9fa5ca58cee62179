"""SocketSink and a real rsyslog: what arrives is what was logged."""

from __future__ import annotations

import os
import time

import orjson
import pytest
from support.rsyslog_server import Rsyslog
from support.tls import certificate, write_ca, write_pair

import pylog_struct
from pylog_struct.errors import SinkError
from pylog_struct.record import Record
from pylog_struct.sinks import FailoverSink, QueueSink, RollingFileSink, SocketSink

pytestmark = pytest.mark.timeout(300)

# Everything after the header, untouched: what the sink sent.
MESSAGES = """
template(name="messages" type="string" string="%msg%\\n")
template(name="raw" type="string" string="%rawmsg%\\n")
template(name="taken_apart" type="list" option.jsonf="on") {
    property(outname="severity" name="syslogseverity-text" format="jsonf")
    property(outname="facility" name="syslogfacility-text" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="process" name="procid" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="message" name="msg" format="jsonf")
}
"""
LIMITS = 'global(maxMessageSize="1m" parser.escapeControlCharactersOnReceive="off")\n'


def tcp(template="messages", *, module="", listener="", ruleset=""):
    """A listener whose messages go to one file."""
    return f"""{LIMITS}{MESSAGES}
module(load="imtcp" maxFrameSize="1000000" {module})
input(type="imtcp" address="127.0.0.1" port="@PORT@" ruleset="out" maxSessions="50" {listener})
ruleset(name="out" {ruleset}) {{
    action(type="omfile" file="@OUT@" template="{template}" flushOnTXEnd="on")
}}
"""


def documents(number, first=0, **fields):
    """Records with a number and something that is not ASCII."""
    return [
        Record(20, orjson.dumps({"event": "bestellt", "n": n, "text": 'grün 日本 \t"', **fields}), 1_700_000_000.25)
        for n in range(first, first + number)
    ]  # fmt: skip


def refused(sink, batch):
    """Whether *sink* refuses *batch*; waits a little if not."""
    try:
        sink.write(batch)
    except SinkError:
        return True
    time.sleep(0.01)
    return False


def wait_for_lines(server, number, patience=60.0):
    ends = time.monotonic() + patience
    while len(found := server.lines()) < number and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def write_all(sink, batch, patience=60.0):
    """Write in portions, and again what was not taken."""
    ends = time.monotonic() + patience
    for begin in range(0, len(batch), 500):
        rest = batch[begin : begin + 500]
        while rest:
            assert time.monotonic() < ends, "the server did not take it"
            try:
                sink.write(rest)
                rest = ()
            except SinkError as error:
                if not error.retryable:
                    raise
                rest = error.unwritten
                time.sleep(0.01)


@pytest.mark.parametrize("framing", ["rfc5424", "rfc5424_newline"])
def test_syslog_headers_are_understood(framing, tmp_path):
    with Rsyslog(tmp_path, tcp("taken_apart")) as server:
        sink = SocketSink(
            f"tcp://127.0.0.1:{server.port}",
            framing=framing,
            facility="local5",
            app_name="checkout",
            hostname="web-1",
            msg_id="json",
            structured_data={"origin@32473": {"env": 'pr"o]d'}},
        )
        batch = documents(3)
        batch[1] = batch[1]._replace(level=40)
        sink.write(batch)
        sink.close(10)
        found = [orjson.loads(line) for line in wait_for_lines(server, 3)]

    assert [one["message"] for one in found] == [record.line.decode() for record in batch]
    assert [one["severity"] for one in found] == ["info", "err", "info"]
    assert found[0] == {
        "severity": "info",
        "facility": "local5",
        "time": "2023-11-14T22:13:20.250000Z",
        "host": "web-1",
        "app": "checkout",
        "process": str(os.getpid()),
        "id": "json",
        "data": r'[origin@32473 env="pr\"o\]d"]',
        "message": batch[0].line.decode(),
    }


@pytest.mark.parametrize("framing", ["newline", "octet_counting"])
def test_plain_json_lines_arrive_as_they_are(framing, tmp_path):
    with Rsyslog(tmp_path, tcp("raw")) as server:
        sink = SocketSink(f"tcp://127.0.0.1:{server.port}", framing=framing)
        batch = [*documents(1000), *documents(1, first=1000, long="x" * 500_000)]
        write_all(sink, batch)
        sink.close(10)
        assert wait_for_lines(server, 1001) == [record.line for record in batch]


def test_tls_with_certificates_on_both_sides(tmp_path):
    ca = write_ca(tmp_path)
    cert, key = write_pair(tmp_path)
    configuration = f"""
global(defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
""" + tcp(
        "messages",
        module='streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name"'
        ' permittedPeer=["client.example"]',
    )
    (tmp_path / "client").mkdir()
    (tmp_path / "stranger").mkdir()
    mine = write_pair(tmp_path / "client", certificate("client.example"))
    strange = write_pair(tmp_path / "stranger", certificate("stranger.example"))
    with Rsyslog(tmp_path, configuration, modules=["lmnsd_gtls"]) as server:
        batch = documents(2000)
        options = {"framing": "rfc5424", "ca_file": ca, "app_name": "checkout"}
        url = f"tls://localhost:{server.port}"
        sink = SocketSink(url, cert_file=mine[0], key_file=mine[1], **options)
        write_all(sink, batch)
        sink.close(10)
        assert wait_for_lines(server, 2000) == [record.line for record in batch]

        stranger = SocketSink(url, cert_file=strange[0], key_file=strange[1], **options)
        # At once, or when rsyslog has looked at the certificate.
        assert any(refused(stranger, documents(1, first=9_999_999)) for _ in range(200))
        with pytest.raises(SinkError):
            SocketSink(url, framing="rfc5424").write(batch)  # it is not trusted
        assert not any(b"9999999" in line for line in server.lines())


def test_udp_and_unix_datagrams(tmp_path):
    configuration = f"""{LIMITS}{MESSAGES}
module(load="imudp")
module(load="imuxsock" sysSock.use="off")
input(type="imudp" address="127.0.0.1" port="@PORT@" ruleset="out" rcvbufSize="4m")
input(type="imuxsock" socket="@FOLDER@/log" ruleset="out" useSpecialParser="off" parseHostname="on"
      rateLimit.interval="0")
ruleset(name="out") {{
    action(type="omfile" file="@OUT@" template="messages" flushOnTXEnd="on")
}}
"""
    with Rsyslog(tmp_path, configuration, ready=False) as server:
        server.process.wait_until((tmp_path / "log").exists, timeout=30)
        for url in (f"udp://127.0.0.1:{server.port}", f"unixgram://{tmp_path}/log"):
            before = len(server.lines())
            sink = SocketSink(url, framing="rfc5424")
            batch = documents(200)
            for begin in range(0, 200, 20):  # UDP promises nothing to bursts
                sink.write(batch[begin : begin + 20])
                wait_for_lines(server, before + begin + 20, patience=5)
            sink.close(5)
            assert server.lines()[before:] == [record.line for record in batch]


@pytest.mark.slow
def test_100_000_lines_over_restarts_arrive_once_and_in_order(tmp_path):
    """rsyslog ends properly, five times: it reads what its kernel has confirmed before it goes."""
    with Rsyslog(tmp_path, tcp("raw")) as server:
        sink = SocketSink(f"tcp://127.0.0.1:{server.port}", framing="octet_counting")
        batch = documents(100_000)
        for number in range(5):
            part = batch[20_000 * number : 20_000 * (number + 1)]
            write_all(sink, part)
            sink.flush(30)
            wait_for_lines(server, 20_000 * (number + 1))
            server.stop()
            if number == 2:  # and somebody writes meanwhile
                with pytest.raises(SinkError) as caught:
                    sink.write(batch[60_000:60_010])
                assert caught.value.retryable
            server.start()
        sink.close(30)

        assert wait_for_lines(server, 100_000) == [record.line for record in batch]
        details = sink.statistics().details
        assert details["socket.connects"] == 5
        assert "socket.unconfirmed_bytes" not in details
        assert sink.statistics().written == 100_000


@pytest.mark.slow
def test_100_000_lines_over_a_sigkill_lose_only_what_tcp_can_lose(tmp_path):
    """Behind queue and failover: what is in neither place was confirmed by a kernel whose program died."""
    server = Rsyslog(tmp_path, tcp("raw"))
    server.start()
    try:
        network = SocketSink(
            f"tcp://127.0.0.1:{server.port}", framing="octet_counting", backoff_max=0.2
        )
        pylog_struct.configure(
            level="INFO",
            format="json",
            sink=QueueSink(
                FailoverSink(
                    [network, RollingFileSink(tmp_path / "fallback.jsonl")], retry_interval=0.05
                ),
                policy="block",
                batch_records=200,
            ),
        )
        log = pylog_struct.get_logger("load")
        total = 0

        def order(number):
            nonlocal total
            for _ in range(number):
                log.info("bestellt", n=total)
                total += 1

        order(30_000)
        for _ in range(2):
            server.kill()
            order(5_000)
            server.start()
            before = network.statistics().written
            ends = time.monotonic() + 30
            while network.statistics().written == before:  # until it is found again
                assert time.monotonic() < ends, "the failover did not come back"
                order(10)
                time.sleep(0.002)
            order(30_000)
        assert pylog_struct.flush(60) or network.statistics().details["socket.unconfirmed_bytes"]
        now = pylog_struct.statistics()
        pylog_struct.shutdown(30)
    finally:
        if server.process is not None:
            server.stop()

    # Killed in the middle of a line, rsyslog goes on behind the piece.
    there = [orjson.loads(line[line.rindex(b'{"timestamp"') :]) for line in server.lines()]
    kept = (tmp_path / "fallback.jsonl").read_bytes().splitlines()
    in_server = [one["n"] for one in there if "n" in one]
    in_file = [one["n"] for one in map(orjson.loads, kept) if "n" in one]
    missing = set(range(total)) - set(in_server) - set(in_file)

    assert now.balanced
    assert in_file, "there was no failover"
    assert total >= 100_000
    # No record is in both places, or twice in one: what was not taken is handed on, what was, is not.
    assert len(in_server) + len(in_file) == len(set(in_server) | set(in_file))
    # What is missing is at the two kills: rsyslog's memory, and the buffers of both kernels.
    assert len(missing) < 2 * 20_000
    runs = _runs(missing)
    assert len(runs) <= 4


def _runs(numbers):
    """The unbroken runs among *numbers*."""
    ordered = sorted(numbers)
    return [
        number
        for position, number in enumerate(ordered)
        if not position or ordered[position - 1] != number - 1
    ]
